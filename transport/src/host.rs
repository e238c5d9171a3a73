//! The only place of this crate that asks the operating system for randomness. Time is tokio's, which tests can pause.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// 64 random bits, good enough for jitter: the standard library seeds its hash maps from the system's source, and every
/// state differs from the one before. Not for secrets.
pub(crate) fn roll() -> u64 {
    RandomState::new().build_hasher().finish()
}
