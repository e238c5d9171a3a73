//! Panic: when most instances of a capability look unusable, the judgement is doubted and not the instances.
//!
//! One instance that does not answer its polls is broken. If most of a pool do not answer at the same moment, it is as likely that
//! whoever polls them is: a partition, a starved control plane, a bad deploy of the probe. Leaving them all out sends
//! everything to the few that are left, and they fall too (Envoy, "Panic threshold"; `lb_panic`). So below a threshold,
//! half of the pool as in Envoy, the verdicts are set aside and all that hold a lease are used.
//!
//! What is not set aside:
//! - **pauses and drains, and breakers**. An operator's word is no estimate; and a breaker rests on real calls of this very instance,
//!   has probes of its own, and would bring a retry storm upon what is down if it were passed by;
//! - an instance that **itself** says it is not serving: that is its word and not our judgement;
//! - an instance **never seen** to answer. Its first poll is due at once; it is neither counted nor used.
//!
//! An open breaker counts as unusable all the same: what is left to take the traffic is what matters.
//!
//! A pool of one or two never panics: that its only instance is down is the likeliest reason for it to look down, and a
//! call that waits until it is back is better off than one that is sent into the void.
//!
//! There is no hysteresis. Panic only lets more through, so that a flip costs nothing; each is on record.

use std::fmt;

use crate::breaker;
use crate::health::{self, PollFailure, Verdict};
use crate::share::{Human, WHOLE};

/// The smallest pool that panics. See the module's page.
pub const LEAST_POOL: u32 = 3;

/// When routing panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Below this share of usable instances, in basis points: 0 (never) to 10,000.
    pub threshold_bp: u32,
}

/// How many instances of a pool can take calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usable {
    /// Those that can: well, not ejected, breaker not open.
    pub usable: u32,
    /// Of so many that hold a lease, have been seen to answer, and are not paused.
    pub of: u32,
}

/// What a verdict on an instance's health comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fitness {
    /// It may be called.
    Fit,
    /// It looks unwell from here: it may be called in a panic.
    LooksUnfit,
    /// It may not be called, panic or not.
    Unfit,
}

/// Routing of a capability began or ceased to panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the record must hear of a change"]
pub enum Change {
    /// All are used from now on.
    Began(Usable, Config),
    /// Only those that are well, again.
    Ended(Usable),
}

impl Default for Config {
    /// Half, as in Envoy.
    fn default() -> Self {
        Self { threshold_bp: WHOLE / 2 }
    }
}

impl Config {
    /// Whether a pool like this makes routing panic.
    #[must_use]
    pub fn panics(&self, pool: Usable) -> bool {
        let Usable { usable, of } = pool;
        of >= LEAST_POOL
            && u64::from(usable) * u64::from(WHOLE) < u64::from(of) * u64::from(self.threshold_bp)
    }

    /// What becomes of a panic as the pool is now.
    pub fn change(&self, panicking: bool, pool: Usable) -> Option<Change> {
        match (panicking, self.panics(pool)) {
            (false, true) => Some(Change::Began(pool, *self)),
            (true, false) => Some(Change::Ended(pool)),
            (true, true) | (false, false) => None,
        }
    }

    /// The least instances of so many that must stay usable.
    #[must_use]
    pub fn least_usable(&self, of: usize) -> usize {
        (of * self.threshold_bp as usize).div_ceil(WHOLE as usize)
    }
}

impl Usable {
    /// Counts one instance.
    pub fn count(&mut self, health: Verdict, breaker: breaker::State, ejected: bool) {
        if health.state == health::State::Unknown {
            return;
        }
        self.of += 1;
        let usable = health.state == health::State::Healthy && breaker != breaker::State::Open && !ejected;
        self.usable += u32::from(usable);
    }
}

impl Fitness {
    /// What this verdict comes to.
    #[must_use]
    pub const fn of(verdict: Verdict) -> Self {
        match (verdict.state, verdict.reason) {
            (health::State::Healthy, _) => Self::Fit,
            (health::State::Unknown, _)
            | (
                _,
                health::Reason::LeaseLapsed
                | health::Reason::PollsFailed { last: PollFailure::NotServing, .. },
            ) => Self::Unfit,
            (health::State::Unhealthy, _) => Self::LooksUnfit,
        }
    }
}

impl fmt::Display for Usable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} instances usable", self.usable, self.of)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began(pool, config) => {
                write!(f, "{pool}, fewer than {}: all that hold a lease are used", Human(config.threshold_bp))
            }
            Self::Ended(pool) => write!(f, "{pool} again: only those are used"),
        }
    }
}

#[cfg(test)]
mod tests;
