//! What the calls of a version came to, and whether one version does worse than the other.
//!
//! Shares are compared by their Wilson score intervals (Wilson: "Probable Inference, the Law of Succession, and
//! Statistical Inference", JASA 22, 1927): the candidate is worse when even the lower end of its interval lies above the
//! upper end of the stable version's, by more than is tolerated. That two intervals do not overlap is a stricter demand
//! than a test of their difference (Schenker, Gentleman: "On Judging the Significance of Differences by Examining the
//! Overlap Between Confidence Intervals", The American Statistician 55, 2001). The Wilson interval holds what it promises
//! also for a handful of calls and for shares near zero, where the usual test of two proportions does not: three failures in
//! twenty calls against none in four hundred would be significant there, and are bad luck one time in a thousand.
//!
//! Slow answers are compared the same way, as the share of answers beyond a cut that is drawn where a tenth of *all*
//! answers lie beyond: a test of medians (Mood, 1950) moved to where agents differ. Means would be ruled by one outlier.
//!
//! All of it is whole numbers, so that the same calls give the same verdict on every machine.

use std::time::Duration;

use crate::outcome::Class;

/// How many standard errors wide the intervals are to each side. Chance alone crosses four once in thirty thousand looks,
/// and a stage is looked at a few dozen times.
const Z: u64 = 4;

/// Shares are whole parts of this.
const MILLION: u64 = 1_000_000;

/// Where both tallies are halved, so that what happens now is not drowned by what happened last week.
const FORGET_AT: u32 = 16_384;

/// Buckets of latency: four for each doubling, from a microsecond to over an hour.
const BUCKETS: usize = 4 * 33;

/// Of all answers, the share beyond the cut is a tenth.
const BEYOND: u32 = 10;

/// The calls of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Calls that ended in a way that says something about the agent.
    pub ended: u32,
    /// Those that failed, broken contracts among them.
    pub failed: u32,
    /// Those whose input or output did not hold to the contract.
    pub breached: u32,
    /// Latencies of answers.
    buckets: Box<[u32; BUCKETS]>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { ended: 0, failed: 0, breached: 0, buckets: Box::new([0; BUCKETS]) }
    }
}

impl Tally {
    /// Counts a call. Busy is not dead, and what a caller took back says nothing. An input that an agent refuses does: a
    /// caller's mistakes meet both versions alike, a stricter schema only one.
    pub fn count(&mut self, class: Class, latency: Duration) {
        match class {
            Class::Success => self.answered(latency),
            Class::ContractBreach | Class::CallerFault => {
                self.failed += 1;
                self.breached += 1;
            }
            Class::Transport
            | Class::Timeout
            | Class::AgentError
            | Class::LowConfidence
            | Class::OverBudget => {
                self.failed += 1;
            }
            Class::Overload | Class::Unavailable | Class::Cancelled => return,
        }
        self.ended += 1;
    }

    fn answered(&mut self, latency: Duration) {
        if let Some(count) = self.buckets.get_mut(bucket(latency)) {
            *count += 1;
        }
    }

    /// Whether it holds so much that the past should fade.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.ended >= FORGET_AT
    }

    /// Believes half as much of everything.
    pub fn halve(&mut self) {
        self.ended /= 2;
        self.failed /= 2;
        self.breached /= 2;
        self.buckets.iter_mut().for_each(|count| *count /= 2);
    }

    /// Answers.
    #[must_use]
    pub fn answers(&self) -> u32 {
        self.buckets.iter().sum()
    }

    /// The time within which nine of ten answers came, to within a fifth; `None` without answers.
    #[must_use]
    pub fn slow(&self) -> Option<Duration> {
        let answers = self.answers();
        (answers > 0).then(|| upper_edge(cut(&[self], answers)))
    }

    fn beyond(&self, cut: usize) -> u32 {
        self.buckets.iter().skip(cut + 1).sum()
    }
}

/// Whether `bad` of `of` is a larger share than `than`, by more than `slack_bp` basis points and more than chance.
#[must_use]
pub fn is_worse((bad, of): (u32, u32), (than_bad, than_of): (u32, u32), slack_bp: u32) -> bool {
    let (lower, _) = wilson(bad, of);
    let (_, upper) = wilson(than_bad, than_of);
    lower > upper + u64::from(slack_bp) * 100
}

/// Whether the slow answers of `candidate` are slower than those of `stable` by more than `slack_bp` basis points of
/// theirs, and by more than chance.
#[must_use]
pub fn is_slower(candidate: &Tally, stable: &Tally, slack_bp: u32) -> bool {
    let (Some(slow), Some(usual)) = (candidate.slow(), stable.slow()) else { return false };
    let tolerated = usual.as_micros() * u128::from(10_000 + slack_bp) / 10_000;
    if slow.as_micros() <= tolerated {
        return false;
    }
    let (of, than_of) = (candidate.answers(), stable.answers());
    let cut = cut(&[candidate, stable], of + than_of);
    is_worse((candidate.beyond(cut), of), (stable.beyond(cut), than_of), 0)
}

/// The Wilson score interval of `bad` of `of`, in millionths. Nothing known is the whole range.
#[must_use]
pub fn wilson(bad: u32, of: u32) -> (u64, u64) {
    if of == 0 {
        return (0, MILLION);
    }
    let (x, n, m) = (u128::from(bad.min(of)), u128::from(of), u128::from(MILLION));
    let z = u128::from(Z);
    // (2x + z² ± z·√(z² + 4x(n−x)/n)) / 2(n + z²), the root in millionths.
    let root = ((z * z * n + 4 * x * (n - x)) * m * m / n).isqrt();
    let centre = (2 * x + z * z) * m;
    let whole = 2 * (n + z * z);
    let narrow = |end: u128| u64::try_from(end).unwrap_or(MILLION).min(MILLION);
    (narrow(centre.saturating_sub(z * root) / whole), narrow((centre + z * root).div_ceil(whole)))
}

/// The first bucket behind which lies at most a tenth of `answers`.
fn cut(tallies: &[&Tally], answers: u32) -> usize {
    let (mut beyond, mut at) = (0_u32, BUCKETS - 1);
    let in_bucket = |at: usize| tallies.iter().map(|tally| tally.buckets[at]).sum::<u32>();
    while at > 0 && beyond + in_bucket(at) <= answers / BEYOND {
        beyond += in_bucket(at);
        at -= 1;
    }
    at
}

/// Four buckets for each doubling of the microseconds.
fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(4);
    let octave = micros.ilog2() as usize;
    let quarter = (micros >> (octave - 2) & 3) as usize;
    (4 * octave + quarter).min(BUCKETS - 1)
}

fn upper_edge(bucket: usize) -> Duration {
    let (octave, quarter) = (bucket / 4, (bucket % 4) as u64);
    Duration::from_micros((5 + quarter) << octave.saturating_sub(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_intervals_are_those_of_the_formula() {
        // Computed with z = 4 by hand: 10 of 20, 4 of 380, 0 of 380.
        assert_eq!(wilson(10, 20), (166_666, 833_334));
        let (lower, upper) = wilson(4, 380);
        assert!((1_800..1_900).contains(&lower) && (58_000..60_000).contains(&upper), "{lower} {upper}");
        let (lower, upper) = wilson(0, 380);
        assert!(lower == 0 && (40_000..41_000).contains(&upper), "{upper}");
        assert_eq!(wilson(0, 0), (0, MILLION));
    }

    #[test]
    fn a_handful_of_failures_is_bad_luck_and_half_of_all_is_not() {
        assert!(!is_worse((3, 20), (0, 400), 100));
        assert!(is_worse((10, 20), (4, 380), 100));
    }

    #[test]
    fn what_is_slower_by_less_than_is_tolerated_or_only_now_and_then_is_not_slower() {
        let tally = |times: &[(u64, u32)]| {
            let mut tally = Tally::default();
            for &(millis, count) in times {
                (0..count).for_each(|_| tally.count(Class::Success, Duration::from_millis(millis)));
            }
            tally
        };
        let usual = tally(&[(100, 900), (300, 100)]);
        assert!(is_slower(&tally(&[(100, 40), (900, 60)]), &usual, 5_000));
        assert!(!is_slower(&tally(&[(110, 90), (330, 10)]), &usual, 5_000));
        assert!(!is_slower(&tally(&[(100, 19), (60_000, 1)]), &usual, 5_000), "one outlier");
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_share_and_narrows_with_more_calls(bad in 0_u32..5_000, good in 0_u32..5_000) {
            let of = bad + good;
            prop_assume!(of > 0);
            let share = u64::from(bad) * MILLION / u64::from(of);
            let (lower, upper) = wilson(bad, of);
            prop_assert!(lower <= share && share <= upper && upper <= MILLION);
            let (more_lower, more_upper) = wilson(bad * 3, of * 3);
            prop_assert!(more_lower + 2 >= lower && more_upper <= upper + 2);
        }

        #[test]
        fn a_latency_lies_within_a_fifth_below_its_edge(micros in 4_u64..3_600_000_000) {
            let edge = upper_edge(bucket(Duration::from_micros(micros))).as_micros() as u64;
            prop_assert!(edge > micros && edge <= micros + micros / 4 + 1, "{micros} {edge}");
        }
    }
}
