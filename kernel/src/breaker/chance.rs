//! What chance makes of a few calls.
//!
//! An agent that fails three times in ten is below a threshold of one half, and still one in seven of its first ten calls
//! show five failures, and five in a row come up every few hundred. A breaker that takes each of these at its word opens,
//! lets its probes through, closes and opens again: it flaps, and harms more calls than the agent does.

use crate::share::WHOLE;

/// From so many calls on a share is taken as it is: a share that is truly 30 % then looks like 50 % once in 100,000 times.
const SURE: f64 = 100.0;

/// By how many standard deviations a share of very few calls must exceed its threshold: chance does that once in 40 times
/// where the share is at the threshold, and hardly ever where it is well below.
const DEVIATIONS: f64 = 2.0;

/// A row of failures as unlikely as this is no accident. A busy agent makes a million calls in an hour or two, and the
/// price of the rare mistake is one wait.
const UNLIKELY: f64 = 1e-6;

/// Whether `weight` (in basis points of a call) is so much of `calls` that the share truly reaches `threshold` (in basis
/// points). Below [`SURE`] calls it must exceed the threshold by the deviation of a binomial share, fading out linearly.
pub(super) fn reaches(weight: u64, calls: u32, threshold: u32) -> bool {
    let (calls, threshold) = (f64::from(calls), f64::from(threshold) / f64::from(WHOLE));
    let doubt = (1.0 - calls / SURE).max(0.0);
    let margin = DEVIATIONS * (calls * threshold * (1.0 - threshold)).sqrt() * doubt;
    weight as f64 / f64::from(WHOLE) >= (calls * threshold + margin).min(calls)
}

/// Whether chance may well make so many failures in a row, where `failed` of the `calls` before them failed. Of an agent
/// that was never called nothing is known, and no row of its failures is put down to chance.
pub(super) fn is_likely(in_a_row: u32, failed: u32, calls: u32) -> bool {
    // Laplace's rule with a pessimist's prior: after few calls the agent may be worse than it looks.
    let share = f64::from(failed + 1) / f64::from(calls + 4);
    calls > 0 && share.powi(i32::try_from(in_a_row).unwrap_or(i32::MAX)) > UNLIKELY
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least of `calls` failures that reach a threshold of one half.
    fn least(calls: u32) -> u32 {
        (0..=calls).find(|failed| reaches(u64::from(failed * WHOLE), calls, WHOLE / 2)).unwrap()
    }

    #[test]
    fn the_fewer_the_calls_the_plainer_the_failures_must_be() {
        assert_eq!([10, 20, 50, 100, 1_000].map(least), [8, 14, 29, 50, 500]);
        assert!(reaches(10 * 10_000, 10, 10_000) && !reaches(9 * 10_000, 10, 10_000), "all is all");
        assert!(reaches(10 * 10_000, 10, 9_000), "and all is always enough");
    }

    #[test]
    fn a_row_of_failures_weighs_by_what_went_before() {
        let needed = |failed, calls| (1..).find(|row| !is_likely(*row, failed, calls)).unwrap();
        assert_eq!(needed(0, 0), 1, "nothing is known");
        assert_eq!(needed(0, 1_000), 2, "it never failed");
        assert_eq!(needed(100, 1_000), 7);
        assert_eq!(needed(300, 1_000), 12);
        assert_eq!(needed(0, 1), 9, "one good call proves little");
    }
}
