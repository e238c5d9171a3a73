//! The journal of a run.
//!
//! - [`event`]: what happened, as it stands on disk.

pub mod event;
