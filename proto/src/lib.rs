//! Mainstay's wire: package `mainstay.v1`, and nothing else.
//!
//! - [`pb`]: the generated messages, clients and servers. Never used past the border: parse with the conversions here.
//! - [`reason`]: every reason code a client may see, with its page for `mainstay explain`.
//! - [`pages`]: the same for findings about workflow documents and schemas, and one place to look for any code.
//! - [`fault`]: one error shape, turned into a `tonic::Status` with `ErrorInfo` and `BadRequest` in one place.
//! - [`agent`], [`context`], [`drill`], [`event`], [`mode`], [`outcome`], [`pause`], [`priority`], [`rate`], [`route`], [`run`], [`time`]: conversions to and from the kernel's types; each names the field at fault.

pub mod agent;
mod breaker;
pub mod chain;
pub mod context;
mod context_budget;
pub mod drill;
pub mod event;
pub mod fault;
mod hedge;
pub mod mode;
pub mod outcome;
pub mod pages;
pub mod pause;
pub mod priority;
pub mod rate;
pub mod reason;
pub mod route;
pub mod run;
pub mod time;

pub mod pb {
    //! Generated from `proto/mainstay/v1/*.proto`, where every field is documented.
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    #![allow(clippy::wildcard_enum_match_arm, clippy::unused_async, clippy::unwrap_used)]
    tonic::include_proto!("mainstay.v1");
}

/// All descriptors of the package, encoded, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
