//! The seeded simulation: thousands of worlds in virtual time, each of them decided by its seed.
//!
//! What a test of real processes meets once a week, a world meets in its first second: a request that arrives after it was
//! given up, a crash between two writes, a breaker that half-opens while its agent leaves. Laws are looked at after every
//! event, and the seed that breaks one plays it again, event by event.
//!
//! - [`machines`]: the kernel's machines together, without a runtime; ten thousand worlds a run.
//! - [`shell`]: the whole control plane, killed and started again, on a network in memory.
//! - [`seeds`]: which worlds are played (`SEED`, `SEEDS`); [`agenda`]: virtual time; [`transcript`]: what happened.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "transcripts and figures are what a simulation gives people to read")]

mod agenda;
mod machines;
mod seeds;
mod shell;
mod transcript;
