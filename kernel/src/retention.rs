//! Which finished runs go, and when a limit is near enough to speak of.
//!
//! Two bounds, because each fails alone: by age only, a burst fills the disk; by number only, a quiet system forgets what
//! happened last week because somebody ran a test. Whichever is met first removes the oldest.

use std::time::Duration;

use crate::time::Wall;

/// How long a finished run stays whatever the bounds say: whoever waited for its end must be able to read it.
pub const SETTLED: Duration = Duration::from_secs(10);

/// Share of a limit, in percent, at which it is near.
const NEAR: u64 = 90;

/// Share of a limit, in percent, below which it is no longer near: the gap keeps one that swings from being told again and
/// again.
const CLEAR: u64 = 80;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long a finished run is kept.
    pub keep_for: Duration,
    /// Most finished runs kept.
    pub keep: u64,
}

/// Why a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It ended longer ago than runs are kept.
    Age,
    /// More runs are kept than should be, and it is the oldest.
    Number,
}

impl Default for Policy {
    /// Thirty days, because what is asked about is asked within a month; a million, because that is some gigabytes of small
    /// runs.
    fn default() -> Self {
        Self { keep_for: Duration::from_secs(30 * 24 * 3600), keep: 1_000_000 }
    }
}

impl Policy {
    /// Whether the oldest finished run goes, which ended at `ended`. `kept` is how many there are, `None` while that is not
    /// known.
    #[must_use]
    pub fn goes(&self, kept: Option<u64>, ended: Wall, now: Wall) -> Option<Reason> {
        let age = now.saturating_since(ended);
        if age < SETTLED {
            None
        } else if age >= self.keep_for {
            Some(Reason::Age)
        } else {
            self.is_over(kept).then_some(Reason::Number)
        }
    }

    /// Whether any run that was made at `made` or later can be due, however it ended. A run that took long ends after ones
    /// that were made after it, so the first that stays is not the end of what goes.
    #[must_use]
    pub fn reaches(&self, kept: Option<u64>, made: Wall, now: Wall) -> bool {
        self.is_over(kept) || now.saturating_since(made) >= self.keep_for
    }

    fn is_over(&self, kept: Option<u64>) -> bool {
        kept.is_some_and(|kept| kept > self.keep)
    }
}

/// Whether a limit is near, given whether it was before.
#[must_use]
pub fn is_near(used: u64, most: u64, was: bool) -> bool {
    let share = if was { CLEAR } else { NEAR };
    used.saturating_mul(100) >= most.saturating_mul(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { keep_for: Duration::from_secs(3600), keep: 10 };

    fn after(seconds: u64, kept: Option<u64>) -> Option<Reason> {
        let ended = Wall::from_millis(1_000_000);
        POLICY.goes(kept, ended, ended + Duration::from_secs(seconds))
    }

    #[test]
    fn a_run_goes_by_age_or_by_number_whichever_comes_first() {
        assert_eq!(after(3599, Some(10)), None);
        assert_eq!(after(3600, Some(1)), Some(Reason::Age));
        assert_eq!(after(3600, None), Some(Reason::Age));
        assert_eq!(after(60, Some(11)), Some(Reason::Number));
        assert_eq!(after(60, None), None, "what is not counted is not too many");
    }

    #[test]
    fn a_run_that_has_just_ended_stays_for_whoever_waited_for_it() {
        assert_eq!(after(9, Some(1_000)), None);
        assert_eq!(after(10, Some(1_000)), Some(Reason::Number));
        let ahead = Wall::from_millis(2_000_000);
        assert_eq!(POLICY.goes(Some(1_000), ahead, Wall::from_millis(0)), None, "a clock that was set back");
    }

    #[test]
    fn a_bound_reaches_as_far_as_a_run_behind_it_could_be_due() {
        let now = Wall::from_millis(10_000_000);
        let reaches = |kept, seconds: i64| {
            let made = Wall::from_millis(10_000_000 - seconds * 1000);
            POLICY.reaches(kept, made, now)
        };
        assert!(reaches(Some(10), 3600) && !reaches(Some(10), 3599), "by age, from when it was made");
        assert!(reaches(Some(11), 0), "by number, whatever the age");
        assert!(!reaches(None, 0), "what is not counted is not too many");
    }

    #[test]
    fn a_limit_is_near_from_nine_tenths_on_until_below_eight() {
        assert!(!is_near(899, 1_000, false) && is_near(900, 1_000, false));
        assert!(is_near(800, 1_000, true) && !is_near(799, 1_000, true));
        assert!(is_near(u64::MAX, 1, false));
    }
}
