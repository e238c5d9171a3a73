//! The commands, one file each.

pub mod completions;
pub mod explain;
pub mod serve;
pub mod sidecar;
