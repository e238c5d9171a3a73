//! What the rules of modes look at: memory, and how attempts went lately.
//!
//! Attempts are counted where they end, in atomics: three additions each. A reading takes what was counted since the last
//! one and halves what was before, so that the past fades within seconds and nobody keeps a list of times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_kernel::mode::Readings;
use mainstay_kernel::outcome::Class;
use mainstay_kernel::share::WHOLE;

use crate::host;

/// Fewer attempts than this say nothing about a share or a percentile.
const ENOUGH: u64 = 100;

/// Steps of the scale of times: four an octave, from a microsecond to some hours. A percentile is known to a fifth.
const STEPS: usize = 4 * 34;

/// So much more than its soft limit, in basis points of it, is more than a server should go on with: it hands over to its
/// next start. The soft limit leaves room for it below what the system grants.
const EXHAUSTED: u64 = 12_500;

/// How attempts went since the last reading. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Vitals(Arc<Counted>);

/// What reads them, and the memory. There is one.
#[derive(Debug)]
pub(super) struct Reader {
    vitals: Vitals,
    memory: Memory,
    /// What was counted before, fading.
    ended: u64,
    failed: u64,
    times: Vec<u64>,
}

/// Memory to live with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// The soft limit, in bytes; `None` watches nothing.
    pub soft_limit: Option<u64>,
}

#[derive(Debug)]
struct Counted {
    ended: AtomicU64,
    failed: AtomicU64,
    times: [AtomicU64; STEPS],
}

impl Default for Counted {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { ended: zero(), failed: zero(), times: std::array::from_fn(|_| zero()) }
    }
}

impl Memory {
    /// Three quarters of what the system grants: the hard mark, a quarter above it, then still leaves a sixteenth of the
    /// whole for an orderly end.
    #[must_use]
    pub fn of_the_system() -> Self {
        Self { soft_limit: host::granted_memory().map(|granted| granted / 4 * 3) }
    }
}

impl Vitals {
    /// An attempt on an instance ended.
    pub fn ended(&self, class: Class, took: Duration) {
        let counted = &*self.0;
        counted.ended.fetch_add(1, Ordering::Relaxed);
        counted.failed.fetch_add(u64::from(is_failure(class)), Ordering::Relaxed);
        counted.times[step(took)].fetch_add(1, Ordering::Relaxed);
    }
}

impl Reader {
    pub(super) fn new(vitals: Vitals, memory: Memory) -> Self {
        Self { vitals, memory, ended: 0, failed: 0, times: vec![0; STEPS] }
    }

    /// How things stand. What was counted before the last reading counts half.
    pub(super) fn read(&mut self) -> Readings {
        let counted = &*self.vitals.0;
        self.ended = self.ended / 2 + counted.ended.swap(0, Ordering::Relaxed);
        self.failed = self.failed / 2 + counted.failed.swap(0, Ordering::Relaxed);
        for (kept, new) in self.times.iter_mut().zip(&counted.times) {
            *kept = *kept / 2 + new.swap(0, Ordering::Relaxed);
        }
        let soft = self.memory.soft_limit.filter(|soft| *soft > 0);
        let memory = soft.and_then(|soft| Some(share(host::resident_memory()?, soft)));
        let errors = (self.ended >= ENOUGH).then(|| share(self.failed, self.ended));
        Readings { memory, errors, latency: self.slowest_hundredth(), queue: None }
    }

    /// Whether more memory is in use than a server should go on with.
    pub(super) fn is_exhausted(&self, readings: &Readings) -> bool {
        readings.memory.is_some_and(|of_soft| of_soft >= EXHAUSTED)
    }

    fn slowest_hundredth(&self) -> Option<u64> {
        let total: u64 = self.times.iter().sum();
        let mut above = total.checked_div(100).filter(|_| total >= ENOUGH)?;
        let at =
            self.times.iter().enumerate().rev().find_map(|(at, count)| match above.checked_sub(*count) {
                Some(rest) if rest > 0 => {
                    above = rest;
                    None
                }
                Some(_) | None => Some(at),
            });
        at.map(upper)
    }
}

/// What speaks against an agent or the way to it. Busy is not dead, and a caller's mistake is the caller's.
const fn is_failure(class: Class) -> bool {
    match class {
        Class::Transport | Class::Timeout | Class::AgentError | Class::ContractBreach => true,
        Class::Success
        | Class::Overload
        | Class::LowConfidence
        | Class::OverBudget
        | Class::CallerFault
        | Class::Unavailable
        | Class::Cancelled => false,
    }
}

fn share(part: u64, whole: u64) -> u64 {
    let share = u128::from(part) * u128::from(WHOLE) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// Where a time lies on the scale: its octave, and the quarter of it.
fn step(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let octave = micros.ilog2();
    let quarter = if octave >= 2 { (micros >> (octave - 2)) & 3 } else { 0 };
    let at = octave as usize * 4 + usize::try_from(quarter).unwrap_or_default();
    at.min(STEPS - 1)
}

/// The longest time of a step, in microseconds.
fn upper(at: usize) -> u64 {
    let (octave, quarter) = (at / 4, (at % 4) as u64);
    (1_u64 << octave) * (5 + quarter) / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(soft_limit: Option<u64>) -> Reader {
        Reader::new(Vitals::default(), Memory { soft_limit })
    }

    #[test]
    fn the_slowest_hundredth_is_known_to_a_quarter() {
        let mut vitals = reader(None);
        for _ in 0..980 {
            vitals.vitals.ended(Class::Success, Duration::from_millis(1));
        }
        for _ in 0..20 {
            vitals.vitals.ended(Class::Timeout, Duration::from_secs(2));
        }
        let readings = vitals.read();
        let latency = readings.latency.unwrap();
        assert!((2_000_000..=2_500_000).contains(&latency), "{latency}");
        assert_eq!(readings.errors, Some(200));
    }

    #[test]
    fn the_past_fades_and_too_little_says_nothing() {
        let mut vitals = reader(None);
        assert_eq!((vitals.read().errors, vitals.read().latency), (None, None));
        for _ in 0..150 {
            vitals.vitals.ended(Class::AgentError, Duration::from_millis(5));
        }
        assert_eq!(vitals.read().errors, Some(10_000));
        assert_eq!(vitals.read().errors, None, "75 are too few");
    }

    #[test]
    fn busy_and_a_callers_mistake_are_no_failures() {
        let mut vitals = reader(None);
        for _ in 0..100 {
            vitals.vitals.ended(Class::Overload, Duration::from_millis(5));
            vitals.vitals.ended(Class::CallerFault, Duration::from_millis(5));
        }
        assert_eq!(vitals.read().errors, Some(0));
    }

    #[test]
    fn memory_is_read_off_the_process_and_its_limit_off_the_system() {
        let granted = Memory::of_the_system().soft_limit.unwrap();
        assert!(granted > 16 * 1024 * 1024);
        let mut tight = reader(Some(1024));
        let readings = tight.read();
        assert!(tight.is_exhausted(&readings));
        let mut wide = reader(Some(u64::MAX / 2));
        let readings = wide.read();
        assert!(!wide.is_exhausted(&readings));
    }
}
