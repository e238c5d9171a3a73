//! Two clocks, never mixed.
//!
//! [`Mono`] orders what happens inside one process: leases, timeouts, breaker windows. It never jumps. [`Wall`] is what
//! a record shows and what survives a restart: deadlines of runs, timestamps of events. The shell derives `Wall` from a
//! monotonic anchor taken at start, so a clock step while running moves neither.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub mod text;

/// A point on this process's monotonic clock: time since an arbitrary origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(Duration);

impl Mono {
    /// The point `since_origin` after the clock's origin.
    #[must_use]
    pub const fn at(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    /// Time since the clock's origin.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// Time from `earlier` to `self`, zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Mono {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl Sub for Mono {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

impl fmt::Debug for Mono {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?}", self.0)
    }
}

/// Milliseconds since the Unix epoch, UTC. For records and for deadlines that outlive a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(i64);

impl Wall {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Time from `earlier` to `self`, zero if `earlier` is later.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Wall {
    type Output = Self;
    /// Rounds up to the next millisecond, so that a wait never ends early.
    fn add(self, rhs: Duration) -> Self {
        let ms = rhs.as_nanos().div_ceil(1_000_000);
        Self(self.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
    }
}

/// Both clocks read at one moment: what it takes to write a monotonic point down, or to read one back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub mono: Mono,
    /// The wall clock.
    pub wall: Wall,
}

impl Now {
    /// What the wall clock shows at `point`.
    #[must_use]
    pub fn wall_at(self, point: Mono) -> Wall {
        if point >= self.mono {
            return self.wall + (point - self.mono);
        }
        let ago = i64::try_from((self.mono - point).as_millis()).unwrap_or(i64::MAX);
        Wall(self.wall.0.saturating_sub(ago))
    }

    /// The monotonic point at which the wall clock shows `wall`; the clock's origin for anything before it.
    #[must_use]
    pub fn mono_at(self, wall: Wall) -> Mono {
        let ahead = wall.saturating_since(self.wall);
        let ago = self.wall.saturating_since(wall);
        Mono((self.mono.0.saturating_add(ahead)).saturating_sub(ago))
    }
}

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_never_goes_below_zero() {
        let (a, b) = (Mono::at(Duration::from_secs(1)), Mono::at(Duration::from_secs(2)));
        assert_eq!(a - b, Duration::ZERO);
        assert_eq!(b - a, Duration::from_secs(1));
        assert_eq!(Wall::from_millis(5).saturating_since(Wall::from_millis(9)), Duration::ZERO);
    }

    #[test]
    fn a_monotonic_point_survives_a_restart_through_the_wall_clock() {
        let before = Now { mono: Mono::at(Duration::from_secs(100)), wall: Wall::from_millis(1_000_000) };
        let written = before.wall_at(Mono::at(Duration::from_secs(130)));
        assert_eq!(written, Wall::from_millis(1_030_000));
        assert_eq!(before.wall_at(Mono::at(Duration::from_secs(90))), Wall::from_millis(990_000));

        let after = Now { mono: Mono::at(Duration::from_secs(5)), wall: Wall::from_millis(1_010_000) };
        assert_eq!(after.mono_at(written), Mono::at(Duration::from_secs(25)));
        assert_eq!(after.mono_at(Wall::from_millis(0)), Mono::default());
    }

    #[test]
    fn a_wait_in_wall_time_rounds_up() {
        assert_eq!(Wall::from_millis(0) + Duration::from_micros(1), Wall::from_millis(1));
    }
}
