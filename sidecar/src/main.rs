//! The `mainstay-sidecar` command.
fn main() {}
