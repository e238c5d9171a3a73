//! Declared rates: how many calls in a second an agent, a capability or a tenant takes.
//!
//! A limit on concurrency says how many calls are under way; a provider's quota, or a bill, counts how many are made. A
//! rate is kept by the generic cell rate algorithm (ITU-T I.371 annex A, in its form of virtual scheduling): one point in
//! time, at which the next call would come if all came evenly spaced, is the whole state. There is no timer that refills
//! anything, no window whose edge lets two bursts through, and integers of nanoseconds never drift.
//!
//! **Whoever is over the rate gets a turn.** The same point in time says when a call that cannot go now may go, so a turn
//! can be booked: those who wait do not race for each place that becomes free, and whoever's turn would come after their
//! deadline is told so on arrival. A turn is good for one interval. What could not be sent then (the agent was busy) must
//! book again, so that old turns do not pile up to a burst; a turn that nobody takes is lost, never handed to two.
//!
//! A meter is a machine: a restart forgets it, and lets one burst through at most.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Mono;

mod limits;
mod target;

pub use limits::{Limits, Over, Refused, Shown, Turns};
pub use target::{Target, TargetError};

/// So many calls in a second, minute or hour, and so many at once. Written `10/s`, `90/m`, `1000/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    calls: Pace,
    burst: u32,
}

/// Calls in a unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    calls: u32,
    per: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
}

/// What is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// The calls in a unit of time.
    #[error("must be 1 to 1000000 calls in a second, minute or hour, like 10/s, 90/m or 1000/h")]
    Calls,
    /// The calls at once.
    #[error("must be 1 to 1000000")]
    Burst,
}

/// A rate, and how much of it is used: the state of the algorithm.
#[derive(Debug, Clone)]
struct Meter {
    rate: Rate,
    /// The time of one call.
    interval: Duration,
    /// How far ahead of an even spacing calls may come.
    slack: Duration,
    /// When the next call would come if all came evenly spaced: the "theoretical arrival time".
    due: Mono,
}

// === impl Rate ===

impl Rate {
    /// Most calls in a unit of time, and at once: beyond what one control plane carries.
    pub const MOST: u32 = 1_000_000;

    /// A rate like `10/s`. Without a `burst`, so many calls may come at once as come in a second, and at least one.
    ///
    /// # Errors
    /// [`RateError`] says which part is wrong, as the end of a sentence about it.
    pub fn read(calls: &str, burst: Option<u32>) -> Result<Self, RateError> {
        let calls: Pace = calls.parse()?;
        let seconds = u32::try_from(calls.per.span().as_secs()).unwrap_or(u32::MAX);
        let burst = burst.unwrap_or_else(|| calls.calls.div_ceil(seconds));
        if (1..=Rate::MOST).contains(&burst) { Ok(Self { calls, burst }) } else { Err(RateError::Burst) }
    }

    /// Calls that may come at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// The time of one call, rounded up: never more calls than asked for.
    #[must_use]
    pub fn interval(&self) -> Duration {
        let nanos = self.calls.per.span().as_nanos().div_ceil(u128::from(self.calls.calls));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.calls)
    }
}

impl Unit {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    const fn span(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_secs(60),
            Self::Hour => Duration::from_secs(3_600),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.calls, self.per.as_str())
    }
}

impl FromStr for Pace {
    type Err = RateError;
    fn from_str(text: &str) -> Result<Self, RateError> {
        let (calls, per) = text.split_once('/').ok_or(RateError::Calls)?;
        let per = Unit::ALL.into_iter().find(|unit| unit.as_str() == per).ok_or(RateError::Calls)?;
        let plain = !calls.is_empty() && calls.bytes().all(|byte| byte.is_ascii_digit());
        let calls = calls.parse().ok().filter(|calls| plain && (1..=Rate::MOST).contains(calls));
        Ok(Self { calls: calls.ok_or(RateError::Calls)?, per })
    }
}

impl Serialize for Pace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("rate {text:?} {error}")))
    }
}

// === impl Meter ===

impl Meter {
    /// A meter of which nothing is used.
    fn new(rate: Rate) -> Self {
        let interval = rate.interval();
        Self { rate, interval, slack: interval.saturating_mul(rate.burst - 1), due: Mono::default() }
    }

    /// Another rate from now on. What is booked beyond its burst is forgotten, so that a higher rate helps at once.
    fn change(&mut self, rate: Rate, now: Mono) {
        let due = self.due;
        *self = Self::new(rate);
        self.due = due.min(now + self.slack);
    }

    /// When a call that comes `now` may go: now, if that is not later.
    fn next(&self, now: Mono) -> Mono {
        now.max(Mono::at(self.due.since_origin().saturating_sub(self.slack)))
    }

    /// Counts a call that may go by [`Meter::next`].
    fn spend(&mut self, now: Mono) {
        self.due = self.due.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests;
