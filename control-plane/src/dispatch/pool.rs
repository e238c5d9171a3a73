//! The live instances, as the kernel's call machine sees them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::call::{Pool, Rejection};
use mainstay_kernel::health;
use mainstay_kernel::hedge::Hedge;
use mainstay_kernel::id::InstanceId;
use mainstay_kernel::pause::Pause;
use mainstay_kernel::queue::{self, Ahead};
use mainstay_kernel::rate::{self, Turns};
use mainstay_kernel::retry::budget::Leave;
use mainstay_kernel::time::Mono;

use super::permit::Held;
use super::versions::Candidates;
use super::{Call, Handle};
use crate::pauses::Look;
use crate::registry::{Candidate, Route};
use crate::rollouts::Arranged;

/// When a call that found a bulkhead full looks again. A place that becomes free wakes a call of the same capability; one
/// of another may use it as well, and finds out by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A snapshot of candidates with their live lanes.
pub(super) struct Live<'a> {
    dispatch: &'a Handle,
    call: &'a Call,
    route: &'a Arc<Route>,
    candidates: &'a [Candidate],
    /// What the call has booked with the rates it is subject to.
    turns: &'a mut Turns,
    arranged: Option<&'a Arranged>,
    compared: bool,
    paused: Look,
    may_look: bool,
    panicking: bool,
}

impl<'a> Live<'a> {
    pub(super) fn new(
        dispatch: &'a Handle,
        call: &'a Call,
        route: &'a Arc<Route>,
        candidates: &'a Candidates,
        turns: &'a mut Turns,
        may_look: bool,
    ) -> Self {
        let Candidates { all, arranged, compared } = candidates;
        let (candidates, arranged, compared) = (&**all, arranged.as_deref(), *compared);
        let paused = dispatch.registry.pauses().look(&call.tenant);
        let panicking = route.is_panicking();
        Self { dispatch, call, route, candidates, turns, arranged, compared, paused, may_look, panicking }
    }

    /// What keeps this call from this candidate, by a newer look than the first, if there is one.
    fn paused_since(&self, candidate: &Candidate) -> Option<Arc<Pause>> {
        let Call { tenant, capability, .. } = self.call;
        let newer = self.dispatch.registry.pauses().since(&self.paused, tenant)?;
        let instance = &candidate.instance;
        newer.call(tenant, capability).or_else(|| newer.candidate(&instance.spec.name, &instance.name))
    }
}

impl Pool for Live<'_> {
    type Permit = Held;

    fn len(&self) -> usize {
        self.candidates.len()
    }

    fn tier(&self, number: usize) -> Option<Range<usize>> {
        match self.arranged {
            Some(arranged) => arranged.tier(number),
            None => (number == 0).then(|| 0..self.len()),
        }
    }

    fn instance(&self, index: usize) -> InstanceId {
        self.candidates[index].instance.id
    }

    fn is_barred(&self, index: usize) -> bool {
        self.call.not_by.contains(&self.candidates[index].instance.spec.name)
    }

    fn score(&self, index: usize, now: Mono) -> f64 {
        self.candidates[index].lane.lock().score(now)
    }

    fn weight(&self, index: usize, now: Mono) -> f64 {
        self.candidates[index].lane.lock().weight(now)
    }

    fn is_panicking(&self) -> bool {
        self.panicking
    }

    fn gate(&mut self, index: usize, now: Mono) -> Result<Held, Rejection> {
        let candidate = &self.candidates[index];
        if let Some(pause) = self.paused.candidate(&candidate.instance.spec.name, &candidate.instance.name) {
            return Err(Rejection::Paused(pause));
        }
        let (agent, capability) = (&candidate.instance.spec.name, &self.call.capability);
        let rates = candidate.instance.fleet.rates();
        rates.check(agent, capability, self.turns, now).map_err(Rejection::Rated)?;
        let place = candidate.instance.fleet.enter().map_err(|(wall, full)| Rejection::Bulkhead {
            wall,
            most: full.most,
            until: now + LOOK_AGAIN,
        })?;
        let health = candidate.instance.verdict();
        let (leave, change) = candidate.lane.lock().admit(health, self.panicking, now);
        if let Some(change) = change {
            self.dispatch.registry.breaker_changed(&candidate.instance, &self.call.capability, &change);
        }
        let held = Held::new(Arc::clone(&candidate.lane), Arc::clone(self.route), place, leave?);
        // Asked again with the permit in hand: a drain that did not count it is seen here.
        if let Some(pause) = self.paused_since(candidate) {
            return Err(Rejection::Paused(pause));
        }
        // Last of all, so that only a call that is made counts.
        rates.admit(agent, capability, self.turns, now).map_err(Rejection::Rated)?;
        Ok(held)
    }

    fn is_probe(&self, permit: &Held) -> bool {
        permit.is_probe()
    }

    fn is_trusted(&self, index: usize) -> bool {
        self.candidates[index].lane.lock().is_trusted()
    }

    /// While versions are compared, no call of theirs is hedged: a slow version would be helped by its hedges, and what is cut
    /// short tells nothing.
    fn hedge(&self, index: usize, now: Mono) -> Option<Hedge> {
        let hedging = self.candidates[index].hedging.as_ref().filter(|_| !self.compared)?;
        if self.dispatch.may_hedge() { hedging.hedge(now) } else { None }
    }

    fn leave_to_hedge(&mut self, now: Mono) -> bool {
        let granted = self.dispatch.may_hedge() && self.route.leave_to_hedge(now);
        if !granted {
            self.dispatch.metrics.hedge_refused();
        }
        granted
    }

    fn pause(&self) -> Option<Arc<Pause>> {
        self.paused.call(&self.call.tenant, &self.call.capability)
    }

    fn may_look(&self) -> bool {
        self.may_look
    }

    fn still(&self, remaining: Duration) -> Result<(), queue::Refused> {
        if self.call.step.is_some() || !self.may_look {
            return Ok(());
        }
        self.counted(self.ahead().still(remaining, self.call.timeout))
    }

    fn queue(&self, remaining: Duration) -> Result<(), queue::Refused> {
        if self.call.step.is_some() {
            return Ok(());
        }
        self.counted(self.dispatch.registry.queue().admit(self.ahead(), remaining))
    }

    fn turn(&mut self, instance: InstanceId, remaining: Duration, now: Mono) -> Result<Mono, rate::Refused> {
        let Some(candidate) = self.candidates.iter().find(|it| it.instance.id == instance) else {
            return Ok(now);
        };
        let instance = &candidate.instance;
        let of = (&instance.spec.name, &self.call.capability);
        self.dispatch.registry.rates().book(instance.fleet.rates(), of, self.turns, remaining, now)
    }

    fn retry(&mut self, instance: InstanceId, _: Mono) -> Leave {
        let instance = self.dispatch.registry.instance(instance);
        self.dispatch.leave(instance.as_ref().map(|instance| &*instance.fleet), Duration::ZERO)
    }
}

impl Live<'_> {
    /// What the call finds in front of it.
    fn ahead(&self) -> Ahead {
        let healthy = |candidate: &&Candidate| candidate.instance.verdict().state == health::State::Healthy;
        let (mut places, mut known, mut total) = (0_u32, 0_u32, Duration::ZERO);
        for candidate in self.candidates.iter().filter(healthy) {
            let lane = candidate.lane.lock();
            places = places.saturating_add(lane.limit().0);
            if let Some(latency) = lane.latency() {
                known += 1;
                total = total.saturating_add(latency);
            }
        }
        let latency = total.checked_div(known);
        let (waiting, behind, displaces) = self.route.ahead_of(self.call.priority);
        Ahead { waiting, behind, displaces, places, latency }
    }

    fn counted(&self, admitted: Result<(), queue::Refused>) -> Result<(), queue::Refused> {
        if admitted.is_err() {
            self.dispatch.metrics.refused();
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use mainstay_kernel::effect::EffectClass;
    use mainstay_kernel::time::Wall;

    use super::*;
    use crate::testbed::{Bed, call, name, registration};

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_comes_between_the_look_and_the_permit_takes_the_permit_back() {
        for target in ["tenant/default", "capability/work", "agent/a", "instance/a/i"] {
            let bed = Bed::new().await;
            let offer = registration("a", "i", &[("work", EffectClass::ReadOnly)]);
            let granted = bed.registry.register(offer).await.unwrap();
            bed.healthy(granted.id);
            let (call, route) = (call(&bed, "work", 1), bed.registry.route(&name("default"), &name("work")));
            let candidates = Candidates::of(route.candidates());
            let mut turns = Turns::default();
            let mut pool = Live::new(&bed.dispatch, &call, &route, &candidates, &mut turns, true);
            drop(pool.gate(0, bed.clock.mono()).unwrap());
            let (reason, since) = ("upgrade".to_owned(), Wall::from_millis(1));
            let pause = Pause { target: target.parse().unwrap(), reason, by: String::new(), since };
            bed.registry.pause(&name("default"), pause).await.unwrap();
            let refused = pool.gate(0, bed.clock.mono()).unwrap_err();
            assert!(
                matches!(&refused, Rejection::Paused(it) if it.target.to_string() == target),
                "{refused:?}"
            );
            assert_eq!(bed.registry.instance(granted.id).unwrap().in_flight(), 0, "nothing is under way");
        }
    }
}
