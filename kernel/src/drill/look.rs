//! What a drill looks at: parts of the system that are well or not, and counts of the traffic.

use serde::{Deserialize, Serialize};

use crate::time::Mono;

/// One look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// Every part that the fault could turn, with names that do not change.
    pub parts: Vec<Part>,
    /// The traffic since the drill began.
    pub tally: Tally,
}

/// Something that is well or not: a breaker, an instance's health, the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// For people: `breaker of writer/one for draft`.
    pub name: String,
    /// Whether it is as it should be.
    pub well: bool,
    /// Grows each time it stops being well, where that is counted: two looks may miss what happened between them.
    pub turned: u64,
    /// Since when it is as it is.
    pub since: Mono,
    /// Why, in its own words.
    pub reason: String,
}

/// Traffic since the drill began. Every count only grows, except what is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Sent to the target: sendings of calls, or writes for the store.
    pub sent: u64,
    /// Of these, given the fault.
    pub struck: u64,
    /// Of these, not given the fault and ended well: traffic flows.
    pub flowed: u64,
    /// Of those given the fault, recognized as pushback.
    pub pushed_back: u64,
    /// Answers of a router agent that routing refused.
    pub disbelieved: u64,
    /// Calls of what the target offers, as their callers saw them.
    pub inside: Calls,
    /// All other calls.
    pub outside: Calls,
    /// Calls begun before the fault ended that have not ended.
    pub under_way: u64,
    /// Requests that were accepted and never answered: calls whose deadline is long over or that broke inside, runs that
    /// are neither open nor ended.
    pub lost: u64,
}

/// Calls that have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Calls {
    /// How many.
    pub ended: u64,
    /// Of these, failed for a reason that is not the caller's own.
    pub failed: u64,
}

impl Calls {
    /// The share that failed, in basis points, rounded up so that one failure is never shown as none.
    #[must_use]
    pub fn failed_bp(self) -> u32 {
        share_bp(self.failed, self.ended)
    }
}

/// `part` of `whole` in basis points, rounded up; 0 of nothing.
pub(super) fn share_bp(part: u64, whole: u64) -> u32 {
    if whole == 0 {
        return 0;
    }
    let share = (u128::from(part.min(whole)) * 10_000).div_ceil(u128::from(whole));
    u32::try_from(share).unwrap_or(super::plan::WHOLE_BP)
}
