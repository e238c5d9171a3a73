//! The only place where the store asks the operating system for the time, and the only one that sleeps.

use std::time::{Duration, SystemTime};

/// The wall clock, for people to read; no decision depends on it.
#[allow(clippy::disallowed_methods)]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Waits without work, where there is nothing to wait for but time (somebody else's file lock).
#[allow(clippy::disallowed_methods)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
