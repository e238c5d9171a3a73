//! Whether a call may wait for a busy agent: only in a queue that has room, and only if its turn can come in time.
//!
//! A queue that is longer than what can be worked off within the callers' deadlines serves nobody: each call waits in vain
//! and is answered when its caller has gone. So the wait is estimated on arrival by Little's law (Little, 1961: those
//! ahead × time of one ÷ places), and whoever would come too late is told so at once, with the time after which it is
//! worth trying. A queue nobody can estimate is given the benefit of the doubt: a call refused wrongly is worse than one
//! that waits in vain.
//!
//! **Why is it not enough that a call has as much time left as one takes?** Under overload a line is as long as its callers'
//! patience lets it be, so everyone who is served has waited for as long as anybody may: what is asked of the last is what
//! all have. With the mean, half of all places went to callers who left before their answer came, and goodput fell by a third at
//! five times the capacity. So a call must have [`Ahead::need`] left when its turn comes: twice the mean, which few calls exceed.
//!
//! Who waits is served in the order of [`mod@line`], by priority. So only those who are at least as urgent are ahead of a call; a
//! full queue still takes one that is more urgent than somebody in it, and sends that one away; and whoever was overtaken so
//! long that its turn comes too late is sent away when it comes, instead of being served in vain.

use std::fmt;
use std::time::Duration;

pub mod line;

/// Longest queue that can be asked for: at some 10 KB a call, 1 GB.
pub const LONGEST: u32 = 100_000;

/// The shortest and the longest time after which a refused call may try again. Sooner would be polling; later, the
/// estimate says nothing any more.
const SOONEST: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(30);

/// How many times the mean time of a call one must have left when it begins. Of calls whose times are spread as widely as
/// exponential ones are, one in seven takes longer; of most agents' calls, one in twenty or fewer.
const ENOUGH: u32 = 2;

/// How long a queue may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Most calls that wait for one capability: 1 to [`LONGEST`].
    pub most: u32,
}

/// What a call finds in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ahead {
    /// Calls that wait already and are served first.
    pub waiting: u32,
    /// Calls that wait already and are served later, because they are less urgent.
    pub behind: u32,
    /// Whether one of those may be sent away to make room.
    pub displaces: bool,
    /// Calls that are worked on at once.
    pub places: u32,
    /// The time of one call, if that is known.
    pub latency: Option<Duration>,
}

/// Why a call may not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The queue is full.
    Full,
    /// Its turn would come too late to be answered before its deadline.
    TooLate,
    /// A call that is more urgent needed its place.
    Displaced,
}

/// A call that may not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// Calls that wait.
    pub waiting: u32,
    /// When it is worth trying again.
    pub retry_after: Duration,
}

impl Default for Config {
    /// Two thousand: some 20 MB, and far more than any agent works off within a deadline.
    fn default() -> Self {
        Self { most: 2_000 }
    }
}

impl Config {
    /// Whether a call with `remaining` until its deadline may wait behind `ahead`.
    ///
    /// # Errors
    /// [`Refused`] says why not, and when to try again.
    pub fn admit(&self, ahead: Ahead, remaining: Duration) -> Result<(), Refused> {
        let wait = ahead.wait().unwrap_or_default();
        let latest = remaining.saturating_sub(ahead.need(remaining).unwrap_or_default());
        let reason = if ahead.total() >= self.most && !ahead.displaces {
            Reason::Full
        } else if wait > latest {
            Reason::TooLate
        } else {
            return Ok(());
        };
        Err(ahead.refused(reason))
    }
}

impl Ahead {
    /// Whether a call that has waited, and whose turn it is, can still be answered with `remaining` of its `patience` until
    /// its deadline.
    ///
    /// # Errors
    /// [`Refused`] if it probably cannot.
    pub fn still(&self, remaining: Duration, patience: Duration) -> Result<(), Refused> {
        let too_late = self.need(patience).is_some_and(|need| need > remaining);
        if too_late { Err(self.refused(Reason::TooLate)) } else { Ok(()) }
    }

    /// What a call must have left of its `patience` when it begins; nothing if nobody can tell what it takes. One whose whole
    /// patience is little more than a call takes may wait for half of what it has to spare.
    #[must_use]
    pub fn need(&self, patience: Duration) -> Option<Duration> {
        let latency = self.latency?;
        Some(latency.saturating_mul(ENOUGH).min(latency.saturating_add(patience) / 2))
    }

    /// Everyone who waits.
    const fn total(&self) -> u32 {
        self.waiting.saturating_add(self.behind)
    }

    fn refused(&self, reason: Reason) -> Refused {
        let retry_after = self.wait().unwrap_or(LATEST / 30).clamp(SOONEST, LATEST);
        Refused { reason, waiting: self.total(), retry_after }
    }

    /// How long it takes until those who are served first have begun; nothing if nobody can tell.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        let latency = self.latency.filter(|_| self.places > 0)?;
        Some(latency.saturating_mul(self.waiting) / self.places)
    }
}

impl Refused {
    /// Sent away for a call that is more urgent, out of a queue of so many.
    #[must_use]
    pub const fn displaced(waiting: u32) -> Self {
        Self { reason: Reason::Displaced, waiting, retry_after: Duration::from_secs(1) }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiting;
        match self.reason {
            Reason::Full => write!(f, "{waiting} calls wait for it already, and no more may"),
            Reason::Displaced => {
                write!(f, "{waiting} calls wait for it, and one that is more urgent needed this one's place")
            }
            Reason::TooLate => {
                write!(
                    f,
                    "{waiting} calls wait for it already, and this one's turn would come too late for its deadline"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MOST: u32 = 2_000;

    fn admit(ahead: Ahead, remaining: Duration) -> Result<(), Refused> {
        Config { most: MOST }.admit(ahead, remaining)
    }

    fn behind(waiting: u32, places: u32) -> Ahead {
        Ahead { waiting, places, latency: Some(SECOND), ..Ahead::default() }
    }

    #[test]
    fn a_call_whose_turn_comes_in_time_waits_and_one_too_late_is_told_when_to_come_back() {
        assert_eq!(admit(behind(32, 4), 10 * SECOND), Ok(()));
        let refused = admit(behind(36, 4), 10 * SECOND).unwrap_err();
        assert_eq!((refused.reason, refused.retry_after), (Reason::TooLate, 9 * SECOND));
        assert!(refused.to_string().contains("too late for its deadline"));
    }

    #[test]
    fn nobody_waits_in_a_full_queue_whatever_its_deadline() {
        let refused = admit(behind(MOST, 0), 3_600 * SECOND).unwrap_err();
        assert_eq!((refused.reason, refused.retry_after), (Reason::Full, SECOND));
    }

    #[test]
    fn an_urgent_call_waits_for_its_equals_only_and_finds_room_where_someone_makes_it() {
        let urgent = Ahead { behind: MOST, displaces: true, ..behind(1, 4) };
        assert_eq!(admit(urgent, 3 * SECOND), Ok(()));
        let refused = admit(Ahead { displaces: false, ..urgent }, 3 * SECOND).unwrap_err();
        assert_eq!((refused.reason, refused.waiting), (Reason::Full, MOST + 1));
    }

    #[test]
    fn whose_turn_comes_too_late_is_sent_away_when_it_comes() {
        assert_eq!(behind(0, 1).still(2 * SECOND, 10 * SECOND), Ok(()));
        let late = behind(0, 1).still(2 * SECOND - Duration::from_millis(1), 10 * SECOND);
        assert_eq!(late.unwrap_err().reason, Reason::TooLate, "half of all calls take longer than the mean");
        assert_eq!(Ahead { latency: None, ..behind(0, 1) }.still(Duration::ZERO, SECOND), Ok(()));
    }

    #[test]
    fn who_has_little_patience_may_wait_for_half_of_what_it_has_to_spare() {
        let patience = SECOND + SECOND / 2;
        assert_eq!(behind(0, 1).need(patience), Some(SECOND + SECOND / 4));
        assert_eq!(behind(0, 1).need(3 * SECOND), Some(2 * SECOND));
        assert_eq!(behind(0, 1).need(60 * SECOND), Some(2 * SECOND));
        assert!(admit(behind(1, 4), patience).is_ok() && admit(behind(2, 4), patience).is_err());
    }

    #[test]
    fn a_queue_nobody_can_estimate_is_waited_in() {
        assert_eq!(admit(behind(MOST - 1, 0), Duration::from_millis(1)), Ok(()));
        let new = Ahead { latency: None, ..behind(MOST - 1, 1) };
        assert_eq!(admit(new, Duration::from_millis(1)), Ok(()));
    }

    proptest! {
        #[test]
        fn whoever_is_first_may_wait_and_a_longer_queue_never_helps(
            waiting in 0..3_000_u32, places in 0..100_u32, millis in 0..100_000_u64, remaining in 1..100_000_u64,
        ) {
            let (latency, remaining) = (Some(Duration::from_millis(millis)), Duration::from_millis(remaining));
            let ahead = |waiting| Ahead { waiting, places, latency, ..Ahead::default() };
            prop_assert_eq!(admit(ahead(0), remaining), Ok(()));
            if let Err(refused) = admit(ahead(waiting), remaining) {
                prop_assert!(admit(ahead(waiting + 1), remaining).is_err());
                prop_assert!((SOONEST..=LATEST).contains(&refused.retry_after));
            }
        }
    }
}
