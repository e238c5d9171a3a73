//! Runs that break what drives them.
//!
//! A run is data, and some data finds a fault of ours: a decision that panics, or one that its journal does not take. The
//! run is taken up again then, as after a crash, because most such faults pass. One that comes back each time would be
//! taken up for ever and cost its neighbours the time: after [`TRIES`] falls without progress the run is *parked*. It
//! stays open and on record, nobody drives it, and a person is told why. This is the poison message of queues, kept in its
//! place instead of moved to another queue, because a run cannot be separated from its journal.
//!
//! Only what a run did itself counts. A disk that refuses writes, or a server that is killed, is no fault of a run, and a
//! run that waited through a hundred restarts has no falls.

use serde::{Deserialize, Serialize};

use crate::time::Wall;

/// Falls at one place after which a run is parked. One may be chance and two may be bad luck; each try may call agents
/// again.
pub const TRIES: u32 = 3;

/// Falls in all after which a run is parked, though it got further each time: one that needs more would write its journal
/// by falling.
pub const TRIES_IN_ALL: u32 = 10;

/// Longest reason in bytes: the message of a panic, without what it printed of data.
pub const MAX_REASON: usize = 512;

/// Why nobody drives a run for now, or any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Falls {
    /// How far the run had got: the number of its last event on record; 0 if that was not known.
    pub at_event: u64,
    /// How often it fell there.
    pub here: u32,
    /// How often it fell since it was last let go on by a person.
    pub in_all: u32,
    /// When it fell last.
    pub last: Wall,
    /// What happened then.
    pub reason: String,
}

impl Falls {
    /// One more fall, after those `before`; what is too long of its reason is cut.
    #[must_use]
    pub fn after(before: Option<&Self>, at_event: u64, reason: &str, now: Wall) -> Self {
        let here = before.filter(|before| before.at_event == at_event).map_or(0, |before| before.here);
        let in_all = before.map_or(0, |before| before.in_all);
        let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
        Self {
            at_event,
            here: here.saturating_add(1),
            in_all: in_all.saturating_add(1),
            last: now,
            reason: reason.to_owned(),
        }
    }

    /// Whether the run waits for a person, instead of being taken up again.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.here >= TRIES || self.in_all >= TRIES_IN_ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn falls(at: &[u64]) -> Falls {
        let mut falls = None;
        for &at_event in at {
            falls = Some(Falls::after(falls.as_ref(), at_event, "index out of bounds", Wall::from_millis(7)));
        }
        falls.expect("at least one")
    }

    #[test]
    fn a_run_is_parked_when_it_falls_three_times_at_one_place() {
        assert!(!falls(&[4]).is_parked());
        assert!(!falls(&[4, 4]).is_parked());
        assert!(falls(&[4, 4, 4]).is_parked());
    }

    #[test]
    fn one_that_gets_further_is_tried_anew_but_not_for_ever() {
        assert!(!falls(&[4, 4, 5, 5, 6]).is_parked());
        let further: Vec<u64> = (1..=u64::from(TRIES_IN_ALL)).collect();
        assert!(!falls(&further[1..]).is_parked());
        assert!(falls(&further).is_parked());
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let falls = Falls::after(None, 1, &"ä".repeat(MAX_REASON), Wall::from_millis(0));
        assert_eq!((falls.reason.len(), falls.here), (MAX_REASON, 1));
        assert!(
            Falls::after(None, 1, &format!("x{}", "ä".repeat(MAX_REASON)), falls.last).reason.len()
                < MAX_REASON
        );
    }
}
