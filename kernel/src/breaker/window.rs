//! Calls counted over a rolling window of time.
//!
//! The window is a ring of buckets. A bucket is emptied when its turn comes again, so counting costs the same however many
//! calls there were, and what is forgotten at once is a tenth of the window.

use std::time::Duration;

use crate::time::Mono;

/// Ten: the window's edge is then off by at most a tenth of it, and summing stays trivial.
const BUCKETS: usize = 10;

/// How calls went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Calls that say something about the agent.
    pub calls: u32,
    /// Those that weigh anything as failures, timeouts included.
    pub failed: u32,
    /// What they weigh together, in basis points of a failure.
    pub weight: u64,
    /// Those that timed out.
    pub timed_out: u32,
    /// Those answered after the SLA.
    pub slow: u32,
}

impl Counts {
    /// What is left without `others`, which are among them; what the window has forgotten of those is not counted twice.
    pub(super) const fn without(self, others: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(others.calls),
            failed: self.failed.saturating_sub(others.failed),
            weight: self.weight.saturating_sub(others.weight),
            timed_out: self.timed_out.saturating_sub(others.timed_out),
            slow: self.slow.saturating_sub(others.slow),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Window {
    bucket: Duration,
    buckets: [Counts; BUCKETS],
    /// The number of the newest bucket since the clock's origin.
    newest: u64,
}

impl Window {
    pub(super) fn new(span: Duration, now: Mono) -> Self {
        let bucket = (span / 10).max(Duration::from_millis(1));
        let mut window = Self { bucket, buckets: [Counts::default(); BUCKETS], newest: 0 };
        window.newest = window.number(now);
        window
    }

    pub(super) fn add(&mut self, mark: Counts, now: Mono) {
        // A result that carries an older time than one before it counts as of the newer.
        let number = self.number(now).max(self.newest);
        let stale = (number - self.newest).min(BUCKETS as u64);
        for passed in 0..stale {
            self.buckets[slot(number - passed)] = Counts::default();
        }
        self.newest = number;
        self.buckets[slot(number)] += mark;
    }

    pub(super) fn counts(&self, now: Mono) -> Counts {
        let passed = self.number(now).saturating_sub(self.newest);
        let mut sum = Counts::default();
        for age in 0..(BUCKETS as u64).saturating_sub(passed).min(self.newest + 1) {
            sum += self.buckets[slot(self.newest - age)];
        }
        sum
    }

    pub(super) fn clear(&mut self) {
        self.buckets = [Counts::default(); BUCKETS];
    }

    fn number(&self, at: Mono) -> u64 {
        u64::try_from(at.since_origin().as_nanos() / self.bucket.as_nanos()).unwrap_or(u64::MAX - 1)
    }
}

fn slot(number: u64) -> usize {
    usize::try_from(number % BUCKETS as u64).unwrap_or(0)
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        self.weight = self.weight.saturating_add(other.weight);
        self.timed_out = self.timed_out.saturating_add(other.timed_out);
        self.slow = self.slow.saturating_add(other.slow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: Counts = Counts { calls: 1, failed: 0, weight: 0, timed_out: 0, slow: 0 };

    fn ms(n: u64) -> Mono {
        Mono::at(Duration::from_millis(n))
    }

    proptest! {
        /// Against the plain model: a list of times, counted anew each time.
        #[test]
        fn counts_what_fell_into_the_last_ten_buckets(gaps in proptest::collection::vec(0_u64..5_000, 1..100)) {
            let mut window = Window::new(Duration::from_secs(10), ms(0));
            let (mut at, mut model) = (0, Vec::new());
            for gap in gaps {
                at += gap;
                window.add(ONE, ms(at));
                model.push(at / 1_000);
                let later = at + gap / 2;
                let kept = model.iter().filter(|bucket| **bucket + 10 > later / 1_000).count();
                prop_assert_eq!(window.counts(ms(later)).calls as usize, kept);
            }
        }
    }
}
