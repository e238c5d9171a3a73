//! When a breaker opens, how long it waits, what closes it.

use std::time::Duration;

use super::chance;
use super::reason::Reason;
use super::weights::Weights;
use super::window::Counts;
use crate::dice::Dice;
use crate::share::WHOLE;

/// The share of its SLA an agent must have been given before a timeout is held against it. Not all of it: of a call
/// that is given exactly its SLA, the hops take a little.
pub(super) const FAIR_SHARE_OF_SLA: f64 = 0.75;

/// Thresholds and waits. The default suits most agents; adjust a copy and [`Config::validate`] it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How far back calls are measured: 1 s ..= 10 min.
    pub window: Duration,
    /// No ratio is judged over fewer calls than this: 1 ..= 10,000.
    pub min_calls: u32,
    /// The share of failures that opens it, in basis points: the weight of the calls that failed over all that count. Over
    /// few calls it must be exceeded by what chance makes of it (see the breaker's page), as the other two must.
    pub failed_bp: u32,
    /// The ratio of timed-out calls that opens it, in basis points.
    pub timed_out_bp: u32,
    /// The ratio of slow answers that opens it, in basis points.
    pub slow_bp: u32,
    /// Calls in a row that weigh as much as so many failures open it at once, unless the calls before them make such a row
    /// likely: 1 ..= 1,000.
    pub in_a_row: u32,
    /// The first wait, before jitter: 100 ms up to [`Config::max_wait`].
    pub wait: Duration,
    /// The longest wait: at most 1 h.
    pub max_wait: Duration,
    /// How many probes may be under way at once: 1 ..= 100.
    pub probes: u32,
    /// How many good probes close it: 1 ..= 100.
    pub passes: u32,
    /// What each class counts for.
    pub weights: Weights,
}

/// A [`Config`] that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("breaker setting `{setting}` must be {bounds}")]
pub struct ConfigError {
    /// The name of the setting.
    pub setting: &'static str,
    /// Its bounds, in words.
    pub bounds: &'static str,
}

/// A setting: its name, and its bounds in words and as values.
#[derive(Debug)]
pub(super) struct Bounds<T> {
    name: &'static str,
    words: &'static str,
    least: T,
    most: T,
}

pub(super) const WINDOW: Bounds<Duration> = bounds("window", "1s to 10m", ms(1_000), ms(600_000));
pub(super) const MIN_CALLS: Bounds<u32> = bounds("min_calls", "1 to 10000", 1, 10_000);
pub(super) const FAILED: Bounds<u32> = bounds("failed", "0.01% to 100%", 1, WHOLE);
pub(super) const TIMED_OUT: Bounds<u32> = bounds("timed_out", "0.01% to 100%", 1, WHOLE);
pub(super) const SLOW: Bounds<u32> = bounds("slow", "0.01% to 100%", 1, WHOLE);
pub(super) const IN_A_ROW: Bounds<u32> = bounds("in_a_row", "1 to 1000", 1, 1_000);
pub(super) const WAIT: Bounds<Duration> = bounds("wait", "100ms to 1h", ms(100), ms(3_600_000));
pub(super) const MAX_WAIT: Bounds<Duration> = bounds("max_wait", "100ms to 1h", ms(100), ms(3_600_000));
pub(super) const PROBES: Bounds<u32> = bounds("probes", "1 to 100", 1, 100);
pub(super) const PASSES: Bounds<u32> = bounds("passes", "1 to 100", 1, 100);
pub(super) const WEIGHT: Bounds<u32> = bounds("weights", "0% to 100%", 0, WHOLE);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn bounds<T>(name: &'static str, words: &'static str, least: T, most: T) -> Bounds<T> {
    Bounds { name, words, least, most }
}

impl<T: Copy + PartialOrd> Bounds<T> {
    /// The value, if it is within bounds.
    pub(super) fn check(&self, value: T) -> Result<T, ConfigError> {
        if value < self.least || value > self.most { Err(self.missed()) } else { Ok(value) }
    }

    /// The value that `parse` finds in a text, if it is within bounds.
    pub(super) fn read(&self, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, ConfigError> {
        parse(text).ok_or_else(|| self.missed()).and_then(|value| self.check(value))
    }

    const fn missed(&self) -> ConfigError {
        ConfigError { setting: self.name, bounds: self.words }
    }
}

/// Whether the first wait is no longer than the longest.
pub(super) fn waits(wait: Duration, max_wait: Duration) -> Result<(), ConfigError> {
    if wait > max_wait {
        return Err(ConfigError { setting: WAIT.name, bounds: "at most `max_wait`" });
    }
    Ok(())
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // As Envoy's admission control. Shorter windows (Linkerd: 10 s) rarely hold enough calls that take seconds.
            window: Duration::from_secs(30),
            // Between Linkerd's 5 and resilience4j's 100: agents get tens of calls a minute, not thousands a second.
            min_calls: 10,
            // resilience4j's half.
            failed_bp: 5_000,
            // Lower than for failures: each timed-out call holds its caller and its slot for the whole of its time.
            timed_out_bp: 3_000,
            // Higher than for failures: a late answer is still an answer.
            slow_bp: 8_000,
            // As Envoy and Dapr.
            in_a_row: 5,
            // A sidecar or agent restarts in a few seconds; Envoy's 30 s would leave a repaired one idle for long.
            wait: Duration::from_secs(5),
            // As Linkerd and Dapr: one probe a minute costs nothing, and a repair is noticed within that minute.
            max_wait: Duration::from_secs(60),
            // Enough that one slow probe does not hold up the recovery, few enough that a broken agent harms few calls.
            probes: 3,
            // Linkerd closes after one; one lucky answer in a flapping agent would let all traffic in.
            passes: 3,
            weights: Weights::default(),
        }
    }
}

impl Config {
    /// Checks the bounds of every setting.
    ///
    /// # Errors
    /// [`ConfigError`] names the first setting that is out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        WINDOW.check(self.window)?;
        MIN_CALLS.check(self.min_calls)?;
        FAILED.check(self.failed_bp)?;
        TIMED_OUT.check(self.timed_out_bp)?;
        SLOW.check(self.slow_bp)?;
        IN_A_ROW.check(self.in_a_row)?;
        MAX_WAIT.check(self.max_wait)?;
        WAIT.check(self.wait)?;
        PROBES.check(self.probes)?;
        PASSES.check(self.passes)?;
        waits(self.wait, self.max_wait)
    }

    /// Why a window like this opens the breaker, if it does.
    pub(super) fn verdict(&self, counts: Counts) -> Option<Reason> {
        if counts.calls < self.min_calls {
            return None;
        }
        let reaches = |part: u32, threshold| {
            chance::reaches(u64::from(part) * u64::from(WHOLE), counts.calls, threshold)
        };
        if chance::reaches(counts.weight, counts.calls, self.failed_bp) {
            return Some(Reason::FailedRate { failed: counts.failed, of: counts.calls });
        }
        if reaches(counts.timed_out, self.timed_out_bp) {
            return Some(Reason::TimedOutRate { timed_out: counts.timed_out, of: counts.calls });
        }
        reaches(counts.slow, self.slow_bp).then_some(Reason::SlowRate { slow: counts.slow, of: counts.calls })
    }

    /// Whether failures in a row open the breaker; `before` is what the window has beside them.
    pub(super) fn is_enough(&self, in_a_row: Counts, before: Counts) -> bool {
        let heavy = in_a_row.weight >= u64::from(self.in_a_row) * u64::from(WHOLE);
        // Whoever wants the first failure to open it means that.
        heavy && (self.in_a_row == 1 || !chance::is_likely(in_a_row.calls, before.failed, before.calls))
    }

    /// The wait of a breaker that opened for the `level`-th time in a row (from 0), spread over the upper half of its span:
    /// the floor is what the agent needs in peace, the spread keeps breakers of one outage from probing in step.
    pub(super) fn wait(&self, level: u32, dice: &mut Dice) -> Duration {
        dice.half_jitter(self.wait.saturating_mul(1 << level.min(16)).min(self.max_wait))
    }
}
