//! Mainstay's sidecar: the shell beside an agent.
//!
//! It makes any program that answers JSON a well-behaved member of the system, without an SDK: it registers the agent,
//! tells whether it is well, and lets no call reach it unchecked, unlimited or twice.
//!
//! - [`options`] and [`manifest`]: what a person writes.
//! - [`sidecar`]: from the start to the drained end; `server` and `service` are its gRPC face.
//! - `desk`: the life of one call; `ledger`: what became of each idempotency key; `adapter`: the last step to the agent.
//! - `registration`: a lease at the control plane; `vitals` and `probe`: whether the agent is well.
//! - [`host`]: the only file that asks the operating system for time, randomness and signals.

mod adapter;
mod desk;
mod failure;
pub mod host;
mod ledger;
pub mod manifest;
mod money;
pub mod options;
mod probe;
mod registration;
mod server;
mod service;
pub mod sidecar;
mod tokens;
mod vitals;

pub use ledger::OpenError;
pub use manifest::{Manifest, ManifestError};
pub use options::{Options, SidecarArgs};
pub use sidecar::{Sidecar, StartError};
