//! The commands, one file each.

pub mod agents;
pub mod backup;
pub mod breakers;
pub mod cancel;
pub mod completions;
pub mod doctor;
pub mod drill;
pub mod escalations;
pub mod events;
pub mod explain;
pub mod invoke;
pub mod limits;
pub mod mode;
pub mod pauses;
pub mod replay;
pub mod resolve;
pub mod rollouts;
pub mod routes;
pub mod run;
pub mod runs;
pub mod serve;
pub mod sidecar;
pub mod signal;
pub mod status;
pub mod trace;
pub mod workflows;
