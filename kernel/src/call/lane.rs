//! One instance's side of one capability: its breaker, its load, its places. What [`super::Pool::gate`] is made of.

use std::time::Duration;

use super::pool::Rejection;
use crate::balance::Load;
use crate::breaker::{self, Admission, Breaker, Change, Refusal};
use crate::concurrency::Limit;
use crate::dice::Dice;
use crate::ejection::{Ejected, Reason, Sibling, Standing};
use crate::health;
use crate::outcome::Class;
use crate::panic::Fitness;
use crate::time::Mono;

/// How long a new or recovered instance's share of the traffic grows, unless set otherwise: an agent needs a few answers to show
/// what it can do, and they take seconds each. Traefik's and HAProxy's examples lie between 10 s and a minute.
pub const SLOW_START: Duration = Duration::from_secs(30);

/// The gates a call passes on its way to one instance, in order: health, ejection, breaker, concurrency.
#[derive(Debug, Clone)]
pub struct Lane {
    breaker: Breaker,
    load: Load,
    limit: Limit,
    standing: Standing,
    slow_start: Duration,
}

/// Leave to make one call through a [`Lane`]: a place in its bulkhead and the breaker's admission. Give it back through
/// [`Lane::end`] or [`Lane::abandon`], exactly once; the type allows no more, and a drop guard in the shell no less.
#[derive(Debug)]
#[must_use = "a permit not given back takes a place for ever"]
pub struct Permit {
    admission: Admission,
}

impl Permit {
    /// Whether the call is a probe of a breaker.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.admission.is_probe()
    }
}

impl Lane {
    /// A lane that takes at most `max_concurrency` calls at once.
    #[must_use]
    pub fn new(breaker: Breaker, max_concurrency: u32, now: Mono) -> Self {
        Self {
            breaker,
            load: Load::new(now),
            limit: Limit::new(max_concurrency, now),
            standing: Standing::default(),
            slow_start: SLOW_START,
        }
    }

    /// The same, with another time for its slow starts; none if it is zero.
    #[must_use]
    pub fn with_slow_start(self, slow_start: Duration) -> Self {
        Self { slow_start, ..self }
    }

    /// Asks leave for one call. The change, if any, is the breaker's. In a panic ([`crate::panic`]) an instance that looks unwell
    /// or is ejected may be called.
    pub fn admit(
        &mut self,
        health: health::Verdict,
        panicking: bool,
        now: Mono,
    ) -> (Result<Permit, Rejection>, Option<Change>) {
        if let Some(rejection) = self.excluded(health, panicking) {
            return (Err(rejection), None);
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
    pub fn look(&self, health: health::Verdict, panicking: bool) -> Result<(), Rejection> {
        let (in_flight, max) = (self.load.under_way(), self.limit.now());
        if let Some(rejection) = self.excluded(health, panicking) {
            return Err(rejection);
        }
        match self.breaker.state() {
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
        if let Some(weight) = self.breaker.weigh(class, latency) {
            self.standing.count(weight);
        }
        let change = self.breaker.record(permit.admission, class, latency, now, dice);
        if change.as_ref().is_some_and(|change| change.to == breaker::State::Closed) {
            self.warm_up(now);
        }
        change
    }

    /// It is new, or back: its share of the traffic grows slowly. See [`Load::warm_up`].
    pub fn warm_up(&mut self, now: Mono) {
        self.load.warm_up(now, self.slow_start);
    }

    /// Until when its share of the traffic grows, if it does.
    #[must_use]
    pub fn warming_until(&self, now: Mono) -> Option<Mono> {
        self.load.warming_until(now)
    }

    /// How readily the lane is chosen; see [`Load::weight`].
    #[must_use]
    pub fn weight(&self, now: Mono) -> f64 {
        self.load.weight(now)
    }

    /// What to compare with its siblings.
    #[must_use]
    pub fn sibling(&self, health: health::Verdict) -> Sibling {
        let well = health.state == health::State::Healthy && self.breaker.state() == breaker::State::Closed;
        match self.standing.ejected() {
            Some(_) => Sibling::Ejected,
            None if well => Sibling::Usable(self.standing.tally()),
            None => Sibling::Excluded,
        }
    }

    /// It is left out from now on, for a while; see [`crate::ejection`].
    pub fn eject(&mut self, reason: Reason, now: Mono, dice: &mut Dice) -> Ejected {
        self.standing.eject(reason, now, dice)
    }

    /// Whether its ejection is over: it is back then, with a slow start.
    pub fn handle_timeout(&mut self, now: Mono) -> bool {
        let is_back = self.standing.handle_timeout(now);
        if is_back {
            self.warm_up(now);
        }
        is_back
    }

    /// Its siblings have been compared with it.
    pub fn compared(&mut self) {
        self.standing.age();
    }

    /// Whether it is left out, until when, and why.
    #[must_use]
    pub const fn ejected(&self) -> Option<Ejected> {
        self.standing.ejected()
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

    /// Whether its breaker is closed, so that a call there is no probe.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.breaker.state() == breaker::State::Closed
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

    /// Whether it is unwell or worse than its siblings, and that is to be believed.
    fn excluded(&self, health: health::Verdict, panicking: bool) -> Option<Rejection> {
        match (Fitness::of(health), self.standing.ejected()) {
            (Fitness::LooksUnfit, _) if panicking => None,
            (Fitness::LooksUnfit | Fitness::Unfit, _) => {
                Some(Rejection::Unhealthy(health.state, health.reason))
            }
            (Fitness::Fit, Some(ejected)) if !panicking => {
                Some(Rejection::Ejected { until: ejected.until, reason: ejected.reason })
            }
            (Fitness::Fit, _) => None,
        }
    }
}
