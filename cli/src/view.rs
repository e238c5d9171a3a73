//! What commands answer, with stable field names: the JSON of `--output json`, and what tables are made of.
//!
//! Messages of the wire are taken apart here and nowhere later. Times are RFC 3339 in UTC, spans are milliseconds,
//! payloads are JSON values exactly as they came, states are lower-case words. Fields are added, never renamed; what is
//! not known is left out.

pub mod agent;
pub mod artifact;
pub mod breaker;
pub mod budget;
pub mod call;
pub mod context;
pub mod decision;
pub mod drill;
pub mod escalation;
pub mod evaluation;
pub mod event;
pub mod finding;
pub mod kept;
pub mod limit;
pub mod log;
pub mod mode;
pub mod page;
pub mod pause;
pub mod rehearsal;
pub mod replay;
pub mod rollout;
pub mod routing;
pub mod run;
pub mod schedule;
pub mod status;
pub mod value;
pub mod workflow;
