//! One instance's side of one capability: its breaker, its load, its places. What [`super::Pool::gate`] is made of.

use std::time::Duration;

use super::pool::Rejection;
use crate::balance::Load;
use crate::breaker::{self, Admission, Breaker, Change, Refusal};
use crate::concurrency::Limit;
use crate::dice::Dice;
use crate::health;
use crate::outcome::Class;
use crate::time::Mono;

/// The gates a call passes on its way to one instance, in order: health, breaker, concurrency.
#[derive(Debug, Clone)]
pub struct Lane {
    breaker: Breaker,
    load: Load,
    limit: Limit,
}

/// Leave to make one call through a [`Lane`]: a place in its bulkhead and the breaker's admission. Give it back through
/// [`Lane::end`] or [`Lane::abandon`], exactly once; the type allows no more, and a drop guard in the shell no less.
#[derive(Debug)]
#[must_use = "a permit not given back takes a place for ever"]
pub struct Permit {
    admission: Admission,
}

impl Lane {
    /// A lane that takes at most `max_concurrency` calls at once.
    #[must_use]
    pub fn new(breaker: Breaker, max_concurrency: u32, now: Mono) -> Self {
        Self { breaker, load: Load::new(now), limit: Limit::new(max_concurrency, now) }
    }

    /// Asks leave for one call. The change, if any, is the breaker's.
    pub fn admit(
        &mut self,
        health: health::Verdict,
        now: Mono,
    ) -> (Result<Permit, Rejection>, Option<Change>) {
        if health.state != health::State::Healthy {
            return (Err(Rejection::Unhealthy(health.state, health.reason)), None);
        }
        let (leave, change) = self.breaker.admit(now);
        let (in_flight, max) = (self.load.under_way(), self.limit.now());
        let leave = match leave {
            Err(Refusal::Open { until }) => Err(Rejection::BreakerOpen { until }),
            Err(Refusal::Probing) => Err(Rejection::Probing),
            Ok(admission) if in_flight >= max => {
                self.breaker.abandon(admission);
                Err(Rejection::Busy { in_flight, max })
            }
            Ok(admission) => {
                self.load.begin();
                Ok(Permit { admission })
            }
        };
        (leave, change)
    }

    /// What a call would be told now, without taking leave. Nothing that is on probation is recommended: its probes are for
    /// calls whose end is seen here.
    ///
    /// # Errors
    /// The first gate that is shut.
    pub fn look(&self, health: health::Verdict) -> Result<(), Rejection> {
        let (in_flight, max) = (self.load.under_way(), self.limit.now());
        match self.breaker.state() {
            _ if health.state != health::State::Healthy => {
                Err(Rejection::Unhealthy(health.state, health.reason))
            }
            breaker::State::Open => Err(Rejection::BreakerOpen { until: self.breaker.poll_timeout() }),
            breaker::State::HalfOpen => Err(Rejection::Probing),
            breaker::State::Closed if in_flight >= max => Err(Rejection::Busy { in_flight, max }),
            breaker::State::Closed => Ok(()),
        }
    }

    /// The call ended: its class, and how long it took.
    pub fn end(
        &mut self,
        permit: Permit,
        class: Class,
        latency: Duration,
        now: Mono,
        dice: &mut Dice,
    ) -> Option<Change> {
        self.limit.ended(class, latency, self.load.under_way(), now);
        self.load.end(class, latency, now);
        self.breaker.record(permit.admission, class, latency, now, dice)
    }

    /// The call was never made, or nobody waited for its end.
    pub fn abandon(&mut self, permit: Permit) {
        self.load.abandon();
        self.breaker.abandon(permit.admission);
    }

    /// How loaded the lane is; see [`Load::score`].
    #[must_use]
    pub fn score(&self, now: Mono) -> f64 {
        self.load.score(now)
    }

    /// Calls under way.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.load.under_way()
    }

    /// How long a call took of late, once enough of them ended.
    #[must_use]
    pub const fn latency(&self) -> Option<Duration> {
        self.limit.latency()
    }

    /// How many calls it takes at once: now, and at most.
    #[must_use]
    pub fn limit(&self) -> (u32, u32) {
        (self.limit.now(), self.limit.most())
    }

    /// The breaker, to show and to keep.
    #[must_use]
    pub const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// The breaker, for its timer and for an operator's hand.
    pub const fn breaker_mut(&mut self) -> &mut Breaker {
        &mut self.breaker
    }

    /// The capability was registered again with another promise. Calls under way keep their places.
    pub fn set_promise(&mut self, policy: breaker::Config, sla: Duration, max_concurrency: u32, now: Mono) {
        self.breaker.set_policy(policy, sla, now);
        self.limit.set_most(max_concurrency);
    }
}
