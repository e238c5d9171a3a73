//! How long calls took of late: percentiles of it, to a quarter of a doubling.
//!
//! A histogram with four buckets to a doubling, twice: 264 counters instead of a list of latencies. Of the two the older
//! is thrown away from time to time, so that the past is forgotten.

use std::time::Duration;

use crate::time::Mono;

/// The fewest answers a percentile is read from: below it, one of them would be the whole tail.
const LEAST_ANSWERS: u64 = 20;

/// How long answers are counted before the older half is forgotten. An agent that takes a call every five seconds is known
/// after two of them, and one that became slower has had its new times learnt in as long.
const HALF: Duration = Duration::from_secs(60);

/// Buckets for each doubling. A bucket is then at most a quarter wider than the last.
const PER_DOUBLING: u32 = 4;

/// From one microsecond to more than an hour, the longest promise of a capability.
const BUCKETS: usize = 33 * PER_DOUBLING as usize;

/// How long calls of one capability took of late.
#[derive(Debug, Clone)]
pub struct Latencies {
    newer: [u32; BUCKETS],
    older: [u32; BUCKETS],
    /// When the newer half began.
    since: Mono,
}

impl Latencies {
    /// Of no call yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { newer: [0; BUCKETS], older: [0; BUCKETS], since: Mono::at(Duration::ZERO) }
    }

    /// A call took so long.
    pub fn add(&mut self, latency: Duration, now: Mono) {
        if now - self.since >= HALF {
            let newer = std::mem::replace(&mut self.newer, [0; BUCKETS]);
            self.older = if now - self.since < HALF * 2 { newer } else { [0; BUCKETS] };
            self.since = now;
        }
        let count = &mut self.newer[bucket(latency)];
        *count = count.saturating_add(1);
    }

    /// What so many of 100 calls took at most, rounded up; `None` if there were too few.
    #[must_use]
    pub fn percentile(&self, percentile: u8, now: Mono) -> Option<Duration> {
        if now - self.since >= HALF * 2 {
            return None;
        }
        let both =
            || self.newer.iter().zip(&self.older).map(|(newer, older)| u64::from(*newer) + u64::from(*older));
        let answers: u64 = both().sum();
        if answers < LEAST_ANSWERS {
            return None;
        }
        let wanted = (answers * u64::from(percentile)).div_ceil(100);
        let mut counted = 0;
        let reached = both().position(|count| {
            counted += count;
            counted >= wanted
        });
        reached.map(edge)
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// The bucket of a latency: its doubling, and which quarter of that.
fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
    let doubling = micros.ilog2();
    let quarter = (u128::from(micros - (1 << doubling)) * u128::from(PER_DOUBLING)) >> doubling;
    let bucket = u128::from(doubling * PER_DOUBLING) + quarter;
    usize::try_from(bucket).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The upper edge of a bucket.
fn edge(bucket: usize) -> Duration {
    let (doubling, quarter) = (bucket / PER_DOUBLING as usize, bucket as u64 % u64::from(PER_DOUBLING));
    let least = 1_u64 << doubling;
    Duration::from_micros(least + (least * (quarter + 1)).div_ceil(u64::from(PER_DOUBLING)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(n: u64) -> Mono {
        Mono::at(Duration::from_millis(n))
    }

    fn add(latencies: &mut Latencies, times: usize, latency: u64, at: u64) {
        (0..times).for_each(|_| latencies.add(Duration::from_millis(latency), ms(at)));
    }

    #[test]
    fn too_few_answers_have_no_percentile_and_old_ones_are_forgotten() {
        let mut latencies = Latencies::new();
        add(&mut latencies, 19, 10, 0);
        assert_eq!(latencies.percentile(95, ms(0)), None);
        add(&mut latencies, 1, 10, 0);
        let read = latencies.percentile(95, ms(0)).unwrap();
        assert!((Duration::from_millis(10)..Duration::from_millis(13)).contains(&read), "{read:?}");
        add(&mut latencies, 20, 1_000, 60_000);
        add(&mut latencies, 20, 1_000, 120_000);
        assert!(
            latencies.percentile(50, ms(120_000)).unwrap() >= Duration::from_secs(1),
            "the first are forgotten"
        );
        assert!(latencies.percentile(50, ms(239_999)).is_some());
        assert_eq!(latencies.percentile(50, ms(240_000)), None, "nobody was called for long");
        add(&mut latencies, 1, 10, 240_000);
        assert_eq!(latencies.percentile(50, ms(240_000)), None, "one answer in a long time");
    }

    #[test]
    fn a_percentile_is_not_that_of_another() {
        let mut latencies = Latencies::new();
        add(&mut latencies, 90, 10, 0);
        add(&mut latencies, 10, 1_000, 0);
        assert!(latencies.percentile(90, ms(0)).unwrap() < Duration::from_millis(13));
        assert!(latencies.percentile(91, ms(0)).unwrap() >= Duration::from_secs(1));
    }

    #[test]
    fn whatever_a_call_takes_has_a_bucket() {
        for latency in [Duration::ZERO, Duration::MAX] {
            let mut latencies = Latencies::new();
            (0..20).for_each(|_| latencies.add(latency, ms(0)));
            assert!(latencies.percentile(99, ms(0)).is_some(), "{latency:?}");
        }
    }

    proptest! {
        #[test]
        fn a_percentile_is_that_of_the_sorted_list_or_a_quarter_more(
            micros in proptest::collection::vec(1..4_000_000_000_u64, 20..300),
            percentile in 50..=99_u8,
        ) {
            let mut latencies = Latencies::new();
            micros.iter().for_each(|micros| latencies.add(Duration::from_micros(*micros), ms(0)));
            let mut sorted = micros;
            sorted.sort_unstable();
            let exact = sorted[(sorted.len() * usize::from(percentile)).div_ceil(100) - 1];
            let read = u64::try_from(latencies.percentile(percentile, ms(0)).unwrap().as_micros()).unwrap();
            prop_assert!((exact..=exact + exact / 4 + 2).contains(&read), "{read} for {exact}");
        }
    }
}
