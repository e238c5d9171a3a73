//! Hedging: a second sending of a call that takes long, to another instance; the first good answer wins.
//!
//! Of many answers a few take far longer than the rest, for reasons that have nothing to do with the question: a cold
//! cache, a busy neighbour, a model that is being moved. Who asks somebody else after most calls would have been
//! answered pays a few per cent more calls for a tail that is as short as the second-slowest of two (Dean and Barroso,
//! "The Tail at Scale", 2013; `hedgingPolicy` of gRPC, `hedge_policy` of Envoy, `BackupRequestFilter` of Finagle).
//!
//! Twice the calls is what an overloaded system needs least. So a capability must declare that it is hedged and must be
//! read-only, nobody above may repeat the call, and the hedge goes only to an instance that can take it right now: it never
//! waits, and it is not made while others do. Above all it is paid for. Hedges have a budget of their own, a share of the
//! calls that go well ([`crate::retry::budget`]): those of an author who wrote too short a time must not use up the retries
//! that callers of a failing agent need. Where everybody is slow there are few successes, the budget runs dry, and hedging
//! stops.
//!
//! "Most calls" is either a time that the author knows, or a percentile of what calls of the capability took of late.
//!
//! # What a percentile must not learn from
//! A sending that lost is given up, and nobody will know how long it would have taken. Were it left out, the tail would be
//! cut off what is learnt from, the percentile would sink, and more calls would be hedged each time. So it counts with the
//! time it had, which was longer than the percentile, as that is why there was a hedge. A hedge that lost had less, and says
//! nothing.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::outcome::Class;
use crate::retry::budget::{self, Budget, Leave};
use crate::share::{self, WHOLE};
use crate::time::{Mono, text};

mod latencies;

pub use latencies::Latencies;

/// Most hedges of one attempt. With the first sending that makes three, as many as an attempt is sent to at all.
pub const MOST: u32 = 2;

/// The least time before a hedge: below it, the hedge would be on its way before an answer could be back.
const SOONEST: Duration = Duration::from_millis(1);

/// The longest time before a hedge: the tail of what takes longer is not cut by asking twice.
const LATEST: Duration = Duration::from_secs(600);

/// The percentiles that can be declared. Below the half, most calls would be made twice; above the 99th, the time is that
/// of a handful of answers.
const PERCENTILES: std::ops::RangeInclusive<u8> = 50..=99;

/// How long successes pay for hedges: long enough for agents that take a few calls in it.
const WINDOW: Duration = Duration::from_secs(60);

/// Hedges in a minute that nobody pays for. They let a capability with next to no traffic be hedged at all, and are nobody's
/// overload.
pub const RESERVE: u32 = 5;

const BUDGET: budget::Config =
    budget::Config { share_bp: Policy::SHARE_BP, window: WINDOW, reserve: RESERVE };

/// What a capability declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// When a hedge is made.
    pub after: After,
    /// How many an attempt has at most, each so long after the one before: 1 ..= [`MOST`].
    pub max: u32,
    /// How many hedges there may be for the calls that go well, in basis points: 1 ..= [`WHOLE`].
    pub share_bp: u32,
}

/// When a hedge is made, counted from the sending before. Written `300ms` or `p95`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// After a time: 1 ms to 10 min.
    Span(Duration),
    /// Once so many of 100 calls would have been answered: 50 to 99.
    Percentile(u8),
}

/// A policy that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The time.
    #[error("must be 1ms to 10m, or p50 to p99")]
    After,
    /// The number.
    #[error("must be 1 to {MOST}")]
    Max,
    /// The share.
    #[error("must be 0.01% to 100%")]
    Share,
}

/// When to hedge one call, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hedge {
    /// How long after the sending before.
    pub after: Duration,
    /// How often at most.
    pub max: u32,
}

/// What hedges of one capability are decided by: how long calls took of late, and what their successes pay for.
#[derive(Debug, Clone)]
pub struct Watch {
    latencies: Latencies,
    budget: Budget,
}

// === impl Policy ===

impl Policy {
    /// Unless declared, one hedge for ten calls that go well: twice what a 95th percentile needs.
    pub const SHARE_BP: u32 = 1_000;

    /// A policy, every field checked.
    ///
    /// # Errors
    /// [`PolicyError`] says which field is wrong, as the end of a sentence about it.
    pub fn try_new(after: After, max: u32, share_bp: u32) -> Result<Self, PolicyError> {
        let can_be_meant = match after {
            After::Span(span) => (SOONEST..=LATEST).contains(&span),
            After::Percentile(percentile) => PERCENTILES.contains(&percentile),
        };
        if !can_be_meant {
            return Err(PolicyError::After);
        }
        if !(1..=MOST).contains(&max) {
            return Err(PolicyError::Max);
        }
        if !(1..=WHOLE).contains(&share_bp) {
            return Err(PolicyError::Share);
        }
        Ok(Self { after, max, share_bp })
    }

    /// Reads a policy as a person writes it: `p95`, 1, `10%`. What is not given is 1 hedge, and [`Policy::SHARE_BP`].
    ///
    /// # Errors
    /// As [`Policy::try_new`].
    pub fn read(after: &str, max: Option<u32>, share: Option<&str>) -> Result<Self, PolicyError> {
        let share_bp = share.map_or(Ok(Self::SHARE_BP), share::parse).map_err(|_| PolicyError::Share)?;
        Self::try_new(after.parse()?, max.unwrap_or(1), share_bp)
    }
}

impl std::str::FromStr for After {
    type Err = PolicyError;
    fn from_str(written: &str) -> Result<Self, PolicyError> {
        match written.strip_prefix('p') {
            // A number may be written with a sign, a percentile is not.
            Some(percentile) if percentile.starts_with('+') => Err(PolicyError::After),
            Some(percentile) => percentile.parse().map(Self::Percentile).map_err(|_| PolicyError::After),
            None => text::parse(written).map(Self::Span).map_err(|_| PolicyError::After),
        }
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Span(span) => write!(f, "{}", text::Human(*span)),
            Self::Percentile(percentile) => write!(f, "p{percentile}"),
        }
    }
}

impl Serialize for After {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("hedge after {text:?} {error}")))
    }
}

// === impl Watch ===

impl Watch {
    /// Of no call yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { latencies: Latencies::new(), budget: Budget::new(BUDGET) }
    }

    /// From now on successes pay as this policy says. What was paid in before stays.
    pub const fn declare(&mut self, policy: &Policy) {
        self.budget.set_share(policy.share_bp);
    }

    /// When to hedge a call that begins now; `None` as long as nobody can tell.
    #[must_use]
    pub fn hedge(&self, policy: &Policy, now: Mono) -> Option<Hedge> {
        Some(Hedge { after: self.after(policy, now)?, max: policy.max })
    }

    /// A sending ended.
    pub fn ended(&mut self, policy: &Policy, class: Class, latency: Duration, now: Mono) {
        match class {
            Class::Success => {
                self.budget.deposit(now);
                self.latencies.add(latency, now);
            }
            // How long it would have taken is not known, but that it was long.
            Class::Timeout => self.latencies.add(latency, now),
            Class::Cancelled if self.after(policy, now).is_some_and(|after| latency >= after) => {
                self.latencies.add(latency, now);
            }
            // What fails at once says nothing about how long an answer takes.
            Class::Cancelled
            | Class::Transport
            | Class::Overload
            | Class::AgentError
            | Class::ContractBreach
            | Class::LowConfidence
            | Class::OverBudget
            | Class::CallerFault
            | Class::Unavailable => {}
        }
    }

    /// Asks leave for one hedge. It is paid for even if nobody can take the hedge then: where nobody has room, the next call
    /// had better not look for it.
    pub fn leave(&mut self, now: Mono) -> bool {
        matches!(self.budget.withdraw(now, Duration::ZERO), Leave::Granted { .. })
    }

    fn after(&self, policy: &Policy, now: Mono) -> Option<Duration> {
        match policy.after {
            After::Span(span) => Some(span),
            After::Percentile(percentile) => self.latencies.percentile(percentile, now),
        }
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
