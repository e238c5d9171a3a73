//! Mainstay's gRPC transport, shared by the two servers that must not know each other.
//!
//! - [`server`]: serves gRPC on a listener, and bounds what any peer can make it hold.
//! - [`deadline`]: one deadline travels with a call, and shrinks at every hop.
//! - [`retry`]: the mark that forbids everyone below to repeat a call.
//! - [`health`]: the standard health service.
//! - [`channel`]: a warm connection to one checked address, which knows whether a failed request was ever sent.

pub mod channel;
pub mod deadline;
pub mod health;
mod host;
pub mod retry;
pub mod server;
#[cfg(test)]
mod testbed;
