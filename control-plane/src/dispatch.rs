//! From "this capability is needed" to "this instance answered".
//!
//! Every decision is [`mainstay_kernel::call`]'s: whom to call, when to wait, when to ask a ledger, when to stop. Here is
//! the thin loop that carries them out over the instances the registry knows. It spawns nothing and holds no lock
//! while it waits; what it holds (a permit, work begun at a sidecar) is given back when the call is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mainstay_kernel::call::{self, Decision, IfPaused, Waiting};
use mainstay_kernel::chain::Chain;
use mainstay_kernel::dice::Dice;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::id::{AttemptId, RunId};
use mainstay_kernel::json::{Json, Limits};
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::{Answer, Class, Failure};
use mainstay_kernel::priority::Priority;
use mainstay_kernel::queue::Refused;
use mainstay_kernel::rate::Turns;
use mainstay_kernel::retry::budget::Leave;
use mainstay_kernel::retry::{Retries, RetryPolicy};
use mainstay_kernel::run::AttemptRecord;
use mainstay_kernel::time::{Mono, Wall};
use tokio_util::sync::CancellationToken;

use crate::faults::{Faults, Sending};
use crate::host::Clock;
use crate::metrics::Metrics;
use crate::registry::{self, Candidate, Fleet, Queued, Route};
use crate::{modes, rollouts};

mod chain;
mod exchange;
mod flights;
mod inquire;
mod permit;
mod pool;
mod report;
mod retract;
mod shadow;
mod versions;
mod waits;

use exchange::Exchange;
use flights::Flights;
use pool::Live;
use report::Mark;
use retract::Retractor;
use shadow::Shadows;
use versions::Versions;
use waits::Waits;

/// Makes calls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    clock: Clock,
    registry: registry::Handle,
    limits: Limits,
    metrics: Metrics,
    retractor: Retractor,
    waits: Waits,
    faults: Option<Faults>,
    rollouts: rollouts::Handle,
    modes: modes::Handle,
    shadows: Shadows,
}

/// A call to be made.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whose call.
    pub tenant: Name,
    /// What is to be done.
    pub capability: Name,
    /// Only by this agent.
    pub agent: Option<Name>,
    /// By none of these agents: it is their work that is looked at.
    pub not_by: Vec<Name>,
    /// What the agent is given.
    pub input: Json,
    /// The idempotency key of the first attempt.
    pub key: AttemptId,
    /// The number of the first attempt, for the record.
    pub number: u32,
    /// The run and step it serves; neither for a direct call.
    pub step: Option<(RunId, String)>,
    /// What the person asked for.
    pub intent: Arc<str>,
    /// Labels of its run.
    pub labels: Arc<BTreeMap<String, String>>,
    /// The most time one attempt may take.
    pub timeout: Duration,
    /// When the whole call must have ended.
    pub deadline: Mono,
    /// How failed attempts are repeated here.
    pub policy: RetryPolicy,
    /// Whether anything that reaches an agent may be repeated here.
    pub retries: Retries,
    /// The calls on whose behalf it is made.
    pub chain: Chain,
    /// How urgent it is.
    pub priority: Priority,
    /// The call may have been sent before a crash, but not before this time: the ledgers are asked first if it could have
    /// had a side effect.
    pub resumed: Option<Wall>,
    /// Set by the caller before it drops the call although the work is still owed.
    pub left: Arc<AtomicBool>,
}

/// How a call went.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it may have done to the world.
    pub effect: EffectClass,
    /// Its end.
    pub result: Result<Answer, Failure>,
    /// What was tried, for the record.
    pub attempts: Vec<AttemptRecord>,
}

/// The attempt that decided how a call ended: the one that was answered, which of several side by side is not always the last.
#[must_use]
pub fn decisive(attempts: &[AttemptRecord]) -> Option<&AttemptRecord> {
    attempts.iter().rfind(|attempt| attempt.class == Class::Success).or(attempts.last())
}

// === impl Handle ===

impl Handle {
    /// Calls over the instances of a registry. Answers hold to `limits`.
    #[must_use]
    pub fn new(
        clock: Clock,
        registry: registry::Handle,
        rollouts: rollouts::Handle,
        modes: modes::Handle,
        limits: Limits,
        metrics: Metrics,
    ) -> Self {
        Self {
            clock,
            registry,
            limits,
            metrics,
            retractor: Retractor::default(),
            waits: Waits::default(),
            faults: None,
            rollouts,
            modes,
            shadows: Shadows::default(),
        }
    }

    /// With a layer that may strike what is sent.
    #[must_use]
    pub fn with_faults(self, faults: Option<Faults>) -> Self {
        Self { faults, ..self }
    }

    /// The layer, if there is one.
    pub(crate) const fn faults(&self) -> Option<&Faults> {
        self.faults.as_ref()
    }

    /// Makes a call. It ends by its deadline at the latest.
    pub async fn call(&self, call: Call) -> Report {
        let route = self.registry.route(&call.tenant, &call.capability);
        let effect = route.strictest_effect();
        let mut dice = self.clock.dice();
        let faults = self.faults.as_ref();
        if let Err(failure) = self.admit(&call) {
            return Report { effect, result: Err(failure), attempts: Vec::new() };
        }
        let counted = faults.and_then(|faults| faults.call(&call.tenant, &call.capability, call.deadline));
        if let (Some(since), EffectClass::SideEffecting) = (call.resumed, effect)
            && let Some(settled) = inquire::settle(self, &route, &call, since).await
        {
            if let Some(counted) = counted {
                counted.ended(settled.result.as_ref().err());
            }
            return Report { effect, result: settled.result, attempts: vec![settled.record] };
        }
        let mut machine = call::Call::new(call::Request {
            key: call.key,
            effect,
            timeout: call.timeout,
            deadline: call.deadline,
            policy: call.policy.clone(),
            if_paused: if call.step.is_some() { IfPaused::Wait } else { IfPaused::Fail },
            retries: call.retries,
        });
        let (mut marks, mut versions) = (Vec::new(), Versions::default());
        let result = self.drive(&mut machine, &mut versions, &route, &call, &mut dice, &mut marks).await;
        let mut attempts = report::attempts(&self.registry, self.clock.now(), &call, machine.into_record());
        versions.tell(&mut attempts);
        report::mark(&mut attempts, marks);
        if let Some(counted) = counted {
            counted.ended(result.as_ref().err());
        }
        for attempt in &attempts {
            self.metrics.attempt(attempt.class, attempt.duration);
            if attempt.hedge_after.is_some() {
                self.metrics.hedge(attempt.class);
            }
        }
        Report { effect, result, attempts }
    }

    /// Asks leave to call an agent again after a failure, in less than `patience`. One that is no longer on record is nobody's load.
    pub fn leave(&self, fleet: Option<&Fleet>, patience: Duration) -> Leave {
        let leave =
            fleet.map_or(Leave::Granted { left: 0 }, |fleet| fleet.retry(self.clock.mono(), patience));
        self.metrics.retry(leave);
        leave
    }

    async fn drive(
        &self,
        machine: &mut call::Call,
        versions: &mut Versions,
        route: &Arc<Route>,
        call: &Call,
        dice: &mut Dice,
        marks: &mut Vec<Mark>,
    ) -> Result<Answer, Failure> {
        let (mut queued, mut turns) = (None::<Queued>, Turns::default());
        let mut flights = None::<Flights<'_>>;
        loop {
            let choosy = call.agent.is_some() || !call.not_by.is_empty() || machine.is_bound();
            // Before looking, so that a change between the look and the wait is not missed.
            let (changed, amended) = (route.changed(), route.amended());
            let may_look = choosy || route.may_look(call.priority, queued.as_ref());
            let candidates = self.candidates(route, call, machine, versions);
            let mut pool = Live::new(self, call, route, &candidates, &mut turns, may_look);
            match machine.next(&mut pool, self.clock.mono(), dice) {
                Decision::Finish(result) => return result,
                Decision::Send(dispatch) => {
                    route.served();
                    queued = None;
                    let candidate = &candidates.all[dispatch.index];
                    let sending = self.faults.as_ref();
                    let sending =
                        sending.and_then(|faults| faults.sending(&candidate.instance, &call.capability));
                    let epoch = dispatch.epoch;
                    let first = epoch == 1 && call.number == 1;
                    let chosen = versions.sent(epoch, first, &candidate.instance);
                    // Most calls are not hedged, and need nothing to race in. None of them is copied: while versions are
                    // compared, nobody hedges.
                    if machine.is_hedged() || flights.is_some() {
                        let flights = flights.get_or_insert_with(Flights::new);
                        flights.send(self, call, candidate.clone(), dispatch, sending, chosen);
                        continue;
                    }
                    let shadow = chosen.as_ref().and_then(|chosen| self.shadow(call, route, chosen, dice));
                    let started = chosen.as_ref().map(|_| self.clock.mono());
                    let ended = self.exchange(call, candidate, dispatch, sending.as_ref(), None, dice).await;
                    let now = self.clock.mono();
                    if let (Some(chosen), Some(started)) = (chosen, started) {
                        self.compare(&chosen, &ended, now - started);
                    }
                    if let Some(shadow) = shadow {
                        shadow.counts(&ended);
                    }
                    marks.extend(sending.and_then(|sending| Mark::of(epoch, sending, &ended)));
                    machine.on_attempt_ended(epoch, ended, now);
                }
                Decision::Wait { until, why: Waiting::UnderWay } => {
                    let flights = flights.get_or_insert_with(Flights::new);
                    self.race(machine, flights, until, marks).await;
                }
                Decision::AskLedger { instance, key, timeout } => {
                    let answer = inquire::ask(self, instance, key, timeout).await;
                    machine.on_ledger_answer(answer, self.clock.mono(), dice);
                }
                Decision::Wait { until, why } => {
                    let until = self.clock.sleep_until(until);
                    if !why.ends_with_pool_change() {
                        until.await;
                        continue;
                    }
                    // Who has its own turn at a rate has no use for a place that becomes free, and must not be told of it.
                    let lines_up = !choosy && why.ends_with_room();
                    if queued.as_ref().is_none_or(|place| place.is_in_line() != lines_up) {
                        drop(queued.take());
                        let place = queued.insert(self.enter(route, call, lines_up));
                        place.waits_for_room(why.is_for_room());
                        if lines_up && route.may_look(call.priority, Some(place)) {
                            // What became free between the look and the entry was told to nobody.
                            continue;
                        }
                    }
                    let Some(place) = &queued else { continue };
                    place.waits_for_room(why.is_for_room());
                    let _shown = self.waits.begin(call.step.as_ref(), &why);
                    let told = async {
                        match place.told() {
                            Some(told) => told.await,
                            None if why.ends_with_room() => changed.await,
                            None => amended.await,
                        }
                    };
                    tokio::select! { biased; () = until => {}, () = told => {} }
                    if place.is_displaced() {
                        self.metrics.refused();
                        machine.send_away(Refused::displaced(route.waiting()), self.clock.mono());
                    }
                }
            }
        }
    }

    /// A place among those who wait. The work of a run is durable, and never sent away.
    fn enter(&self, route: &Arc<Route>, call: &Call, lines_up: bool) -> Queued {
        if !lines_up {
            return route.wait_apart();
        }
        route.wait(call.priority, call.step.is_none(), self.registry.queue().most)
    }

    /// What the call of a step waits for right now, if it waits.
    #[must_use]
    pub fn waiting(&self, run: RunId, step: &str) -> Option<String> {
        self.waits.of(run, step)
    }

    /// One sending to one instance, with its permit, and what its end teaches about the instance. It ends as cancelled when it
    /// is `retracted`.
    async fn exchange(
        &self,
        call: &Call,
        candidate: &Candidate,
        dispatch: call::Dispatch<permit::Held>,
        sending: Option<&Sending>,
        retracted: Option<&CancellationToken>,
        dice: &mut Dice,
    ) -> Result<Answer, Failure> {
        let started = self.clock.mono();
        let exchange = Exchange {
            channel: candidate.instance.channel.clone(),
            key: dispatch.key,
            epoch: self.epoch(dispatch.epoch),
            timeout: dispatch.timeout,
            limits: self.limits,
            agent: candidate.instance.spec.name.clone(),
        };
        let begun = self.retractor.guard(&candidate.instance.channel, dispatch.key, Arc::clone(&call.left));
        let run = async {
            match sending {
                None => exchange.run(call).await,
                Some(sending) => exchange.run_under(sending, call).await,
            }
        };
        let ended = match retracted {
            None => Some(run.await),
            Some(retracted) => tokio::select! {
                biased;
                ended = run => Some(ended),
                () = retracted.cancelled() => None,
            },
        };
        if ended.is_some() {
            begun.over();
        } else {
            drop(begun);
        }
        let ended = ended.unwrap_or_else(|| Err(exchange::retracted()));
        let now = self.clock.mono();
        let class = ended.as_ref().map_or_else(|failure| failure.class, |_| Class::Success);
        if ended.is_ok() {
            candidate.instance.fleet.succeeded(now);
        }
        if let Some(hedging) = &candidate.hedging {
            hedging.ended(class, now - started, now);
        }
        if let Some(change) = dispatch.permit.end(class, now - started, now, dice) {
            self.registry.breaker_changed(&candidate.instance, &call.capability, &change);
            self.rollouts.breaker_changed(&candidate.instance, &call.capability, &change);
        }
        self.registry.observe(&candidate.instance, mainstay_kernel::health::Evidence::Call(class));
        ended
    }

    /// The machine counts the sendings of one call; a call made again after a restart must count on. The wall clock makes
    /// it so: more than a thousand sendings of one key in a millisecond do not happen.
    fn epoch(&self, sending: u64) -> u64 {
        u64::try_from(self.clock.wall().as_millis()).unwrap_or(0).saturating_mul(1024).saturating_add(sending)
    }
}

#[cfg(test)]
mod tests;
