//! The only door to the operating system's clock and dice. Everything else is handed what it needs.
//!
//! [`Clock`] reads both of the kernel's clocks. The wall clock is asked once, when the clock is made; after that
//! [`Wall`] is that anchor plus monotonic time, so an operator who sets the system clock an hour ahead moves neither a
//! lease nor a deadline of a run under way, and an id made later orders after one made before. The monotonic side is
//! tokio's, so a test that pauses the clock holds all of Mainstay still.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_kernel::dice::Dice;
use mainstay_kernel::time::{Mono, Now, Wall};
use parking_lot::Mutex;
use tokio::time::Instant;
use uuid::{Builder, Uuid};

/// Both clocks and the dice. Cheap to clone; clones read the same clock and never draw the same id.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origin: Instant,
    anchor: Wall,
    dice: Mutex<Dice>,
    /// Milliseconds and counter of the newest id, so that ids of one millisecond order as they were made.
    newest: Mutex<(u64, u16)>,
    /// Where ids come from in a simulation, which must be able to happen again; the operating system's dice otherwise.
    fate: Option<Mutex<Dice>>,
}

/// Ids of one millisecond that order as they were made: the twelve bits UUIDv7 has for a counter (RFC 9562, 6.2).
const COUNTER_MAX: u16 = 0x0fff;

impl Clock {
    /// A clock anchored at the system's time now, with dice seeded by the operating system.
    #[must_use]
    pub fn system() -> Self {
        let uuid = Uuid::new_v4();
        let (high, low) = uuid.as_u64_pair();
        Self::anchored(wall(), high ^ low.rotate_left(32))
    }

    /// A clock that shows `wall` now, with dice seeded by `seed`: for tests and simulations. Ids stay unpredictable.
    #[must_use]
    pub fn anchored(wall: Wall, seed: u64) -> Self {
        Self::with(wall, seed, None)
    }

    /// As [`Clock::anchored`], with ids and secrets that follow from the seed as well: for simulations, and nothing else.
    #[must_use]
    pub fn simulated(wall: Wall, seed: u64) -> Self {
        Self::with(wall, seed, Some(Mutex::new(Dice::seeded(!seed))))
    }

    fn with(wall: Wall, seed: u64, fate: Option<Mutex<Dice>>) -> Self {
        Self(Arc::new(Inner {
            origin: Instant::now(),
            anchor: wall,
            dice: Mutex::new(Dice::seeded(seed)),
            newest: Mutex::new((0, 0)),
            fate,
        }))
    }

    /// The monotonic clock.
    #[must_use]
    pub fn mono(&self) -> Mono {
        Mono::at(self.0.origin.elapsed())
    }

    /// The wall clock, as derived from the monotonic one.
    #[must_use]
    pub fn wall(&self) -> Wall {
        self.now().wall
    }

    /// Both clocks at one moment.
    #[must_use]
    pub fn now(&self) -> Now {
        let elapsed = self.0.origin.elapsed();
        let millis = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        let wall = Wall::from_millis(self.0.anchor.as_millis().saturating_add(millis));
        Now { mono: Mono::at(elapsed), wall }
    }

    /// The runtime's instant for `at`, to sleep until.
    #[must_use]
    pub fn instant(&self, at: Mono) -> Instant {
        // A point so far off that it overflows is a point nobody waits for.
        let far = Duration::from_secs(365 * 24 * 3600);
        self.0.origin + at.since_origin().min(self.0.origin.elapsed() + far)
    }

    /// Waits until `at`.
    pub async fn sleep_until(&self, at: Mono) {
        tokio::time::sleep_until(self.instant(at)).await;
    }

    /// Waits until `at`; for ever if there is none.
    pub async fn sleep_until_some(&self, at: Option<Mono>) {
        match at {
            Some(at) => self.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Dice of one's own: each worker takes one and rolls it without a lock.
    #[must_use]
    pub fn dice(&self) -> Dice {
        Dice::seeded(self.0.dice.lock().roll())
    }

    /// Runs what blocks, on a disk or on long work, on a thread that may. In a simulation it runs at once: threads end in an
    /// order that no seed decides.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        if self.0.fate.is_some() {
            return work();
        }
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// A UUIDv7: orders by the time it was made, also within one millisecond.
    #[must_use]
    pub fn id(&self) -> Uuid {
        let now = u64::try_from(self.wall().as_millis()).unwrap_or(0);
        let (millis, counter) = {
            let mut newest = self.0.newest.lock();
            *newest = match *newest {
                (millis, _) if millis < now => (now, 0),
                // The counter is spent: borrow the next millisecond, as RFC 9562 allows.
                (millis, COUNTER_MAX) => (millis + 1, 0),
                (millis, counter) => (millis, counter + 1),
            };
            *newest
        };
        let mut random = [0; 10];
        random.copy_from_slice(&self.secret().as_bytes()[6..]);
        random[..2].copy_from_slice(&counter.to_be_bytes());
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// 128 bits nobody can guess: for what whoever holds it may use, such as a lease.
    #[must_use]
    pub fn secret(&self) -> Uuid {
        let Some(fate) = &self.0.fate else { return Uuid::new_v4() };
        let mut dice = fate.lock();
        Uuid::from_u64_pair(dice.roll(), dice.roll())
    }
}

/// The system's wall clock, asked once per clock.
#[allow(clippy::disallowed_methods, reason = "this is the one place that asks")]
fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Memory of this process that is in use, in bytes; `None` where the system does not say.
#[must_use]
pub fn resident_memory() -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Memory that this process may use, in bytes: what its control group grants, else what the machine has.
#[must_use]
pub fn granted_memory() -> Option<u64> {
    let machine = kibibytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    // Version 2, then 1. The group of a process in a container lies at the root that it sees.
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let granted = group.iter().find_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok());
    Some(granted.map_or(machine, |granted: u64| granted.min(machine)))
}

/// The number after `name` in a table of the kernel's, in bytes.
fn kibibytes(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn both_clocks_follow_the_runtimes_and_stand_still_with_it() {
        let clock = Clock::anchored(Wall::from_millis(1_000), 1);
        let before = clock.now();
        assert_eq!(clock.now(), before);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.mono() - before.mono, Duration::from_secs(5));
        assert_eq!(clock.wall(), Wall::from_millis(6_000));
    }

    #[tokio::test(start_paused = true)]
    async fn ids_made_within_one_millisecond_order_as_they_were_made() {
        let clock = Clock::anchored(Wall::from_millis(1_000), 1);
        let ids: Vec<Uuid> = (0..10_000).map(|_| clock.id()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(clock.id() > ids[9_999]);
        assert_eq!(ids[0].get_version_num(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_rolls_the_same_and_each_worker_its_own() {
        let rolls = |seed| {
            let clock = Clock::anchored(Wall::default(), seed);
            (clock.dice().roll(), clock.dice().roll())
        };
        assert_eq!(rolls(7), rolls(7));
        assert_ne!(rolls(7).0, rolls(7).1);
    }
}
