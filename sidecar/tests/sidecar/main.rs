//! The whole sidecar against real agents: HTTP servers, programs, a control plane of our own, and SIGKILL.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests are sentences, and a panic is how they say no")]

mod calls;
mod command;
mod crash;
mod drain;
mod harness;
mod http;
mod ledger;
mod registry;
mod start;
mod vitals;
