//! Those who want something done, and the drive of their calls: what `control-plane/src/dispatch.rs` does, step by step.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use mainstay_kernel::call::{self, Decision, Dispatch, IfPaused, Ledger, Waiting};
use mainstay_kernel::dice::Dice;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::health::Evidence;
use mainstay_kernel::id::AttemptId;
use mainstay_kernel::outcome::{Answer, Began, Class, Failure};
use mainstay_kernel::retry::{Retries, RetryPolicy};
use mainstay_kernel::time::Mono;

use super::bugs::Bug;
use super::laws;
use super::plane::{Capability, Held, View};
use super::sidecar::{Ended, Request, failure};
use super::world::{Event, World};

/// One who wants something done.
#[derive(Debug)]
pub(crate) struct Caller {
    /// `None` once the call is over.
    machine: Option<call::Call>,
    pub(crate) tenant: usize,
    pub(crate) capability: usize,
    /// Only this agent will do.
    pub(crate) agent: Option<usize>,
    effect: EffectClass,
    step: bool,
    /// Whether a side effect that failed may be tried afresh.
    afresh: bool,
    arrived: Mono,
    deadline: Mono,
    /// Counts decisions; what belongs to an earlier one is late.
    number: u64,
    /// Its sendings under way: several where it is hedged.
    under_way: Vec<UnderWay>,
    asking: bool,
    /// A bulkhead was full when it last looked: until then it does not look again.
    pub(crate) walled_until: Mono,
    keys: Vec<AttemptId>,
    answers: u32,
}

#[derive(Debug)]
struct UnderWay {
    /// The decision that it was.
    number: u64,
    /// What the machine calls it.
    epoch: u64,
    key: AttemptId,
    held: Held,
    started: Mono,
    is_hedge: bool,
}

impl Caller {
    /// Whether only one instance may take it, whose ledger has spoken.
    pub(crate) fn is_bound(&self) -> bool {
        self.machine.as_ref().is_none_or(call::Call::is_bound)
    }
}

impl World {
    /// Somebody wants something done.
    pub(crate) fn arrives(&mut self) {
        let (no, now) = (self.callers.len(), self.now());
        let capability = self.dice.below(self.plane.capabilities.len());
        let tenant = self.dice.below(self.plane.tenants.len());
        let (effect, sla) =
            (self.plane.capabilities[capability].effect, self.plane.capabilities[capability].sla);
        let agents: Vec<usize> =
            (0..self.plane.agents.len()).filter(|at| self.plane.agents[*at].tenant == tenant).collect();
        let agent = (self.dice.below(4) == 0).then(|| agents[self.dice.below(agents.len())]);
        let step = self.dice.below(3) == 0;
        let afresh = self.dice.below(4) == 0;
        let policy = RetryPolicy {
            max_attempts: if step { 1 } else { 1 + self.dice.below(4) as u32 },
            initial: Duration::from_millis(20),
            max: Duration::from_millis(500),
            retry_agent_errors: afresh,
            ..RetryPolicy::DEFAULT
        };
        let deadline = now + sla * (2 + self.dice.below(4) as u32);
        let mut key = [0; 16];
        key[8..].copy_from_slice(&(no as u64 + 1).to_be_bytes());
        let request = call::Request {
            key: AttemptId::from_bytes(key),
            effect,
            timeout: sla,
            deadline,
            policy,
            if_paused: if step { IfPaused::Wait } else { IfPaused::Fail },
            retries: if self.dice.below(5) == 0 { Retries::Forbidden } else { Retries::Allowed },
        };
        if self.bug == Some(Bug::ForeignDice) {
            self.dice = Dice::seeded(RandomState::new().hash_one(no));
        }
        self.log(format_args!(
            "call {no} of tenant{tenant} wants do{capability} ({}) of {agent:?}",
            effect.as_str()
        ));
        self.callers.push(Caller {
            machine: Some(call::Call::new(request)),
            tenant,
            capability,
            agent,
            effect,
            step,
            afresh,
            arrived: now,
            deadline,
            number: 0,
            under_way: Vec::new(),
            asking: false,
            walled_until: now,
            keys: Vec::new(),
            answers: 0,
        });
        self.unanswered.insert((deadline, no));
        self.witness.tally.count("calls");
        if self.now() < self.heals_at && self.dice.below(20) == 0 {
            let soon = self.dice.jitter(sla);
            self.agenda.after(soon, Event::Cancels(no));
        }
        self.drive(no);
    }

    /// Carries out what the machine decides, until it waits for something.
    fn drive(&mut self, no: usize) {
        self.stop_waiting(no);
        let Some(mut machine) = self.callers[no].machine.take() else { return };
        self.callers[no].number += 1;
        let decision = self.decide(no, &mut machine);
        // Before the sending: who is let in by a breaker that half-opens is its first probe.
        self.settle_changes();
        match decision {
            Decision::Finish(_) if self.forgets(no) => {}
            Decision::Finish(result) => self.answer(no, &result),
            Decision::Send(dispatch) => {
                let is_hedged = machine.is_hedged();
                self.callers[no].machine = Some(machine);
                self.send(no, dispatch);
                if is_hedged {
                    // To hear when the hedge is to be made.
                    self.drive(no);
                }
            }
            Decision::AskLedger { instance, key, timeout } => {
                self.callers[no].machine = Some(machine);
                self.ask(no, usize::from(instance.as_bytes()[0]), key, timeout);
            }
            Decision::Wait { until, why } => {
                // Each sending has a timer of its own; only a hedge has to be woken up for.
                let is_timed = why != Waiting::UnderWay || machine.is_hedged();
                self.callers[no].machine = Some(machine);
                if is_timed {
                    self.wait(no, until, &why);
                }
            }
        }
    }

    fn decide(&mut self, no: usize, machine: &mut call::Call) -> Decision<Held> {
        let now = self.now();
        let Caller { tenant, capability, agent, step, .. } = self.callers[no];
        let candidates = self.plane.candidates(tenant, agent);
        let mut view = View {
            plane: &mut self.plane,
            witness: &mut self.witness,
            candidates: &candidates,
            tenant,
            capability,
            step,
            bug: self.bug,
            walled: false,
        };
        let decision = machine.next(&mut view, now, &mut self.lot);
        if view.walled {
            self.witness.tally.count("calls before a full bulkhead");
            self.callers[no].walled_until = now + Duration::from_millis(100);
        }
        decision
    }

    fn send(&mut self, no: usize, dispatch: Dispatch<Held>) {
        let (now, number) = (self.now(), self.callers[no].number);
        let Dispatch { permit: held, mut key, attempt, epoch: sent, timeout, .. } = dispatch;
        if self.bug == Some(Bug::RetryWithoutKey) {
            let mut bytes = *key.as_bytes();
            bytes[0] = bytes[0].wrapping_add(sent as u8 - 1);
            key = AttemptId::from_bytes(bytes);
        }
        let at = held.instance;
        self.log(format_args!("call {no}/{number} goes to at{at}, attempt {attempt}, for {timeout:?}"));
        self.witness_sending(no, &held, key);
        let capability = &self.plane.capabilities[self.callers[no].capability];
        let Capability { effect, sla, .. } = *capability;
        let (capability, life) = (self.callers[no].capability, self.sidecars[at].life);
        // Decisions of a call are counted, so a later sending has a higher epoch than any question before it.
        let request =
            Request { call: no, number, life, capability, key, epoch: number, effect, sla, timeout };
        let is_hedge = !self.callers[no].under_way.is_empty();
        self.callers[no].under_way.push(UnderWay { number, epoch: sent, key, held, started: now, is_hedge });
        self.agenda.after(timeout, Event::Timer { call: no, number });
        self.deliver(at, request);
    }

    /// Whether the gates were right to let it through, and its key is the one it must have.
    fn witness_sending(&mut self, no: usize, held: &Held, key: AttemptId) {
        let (at, capability) = (held.instance, held.capability);
        let instance = &self.plane.instances[at];
        let probe = instance.lanes[capability].breaker().state() == mainstay_kernel::breaker::State::HalfOpen;
        let caller = &self.callers[no];
        if self.plane.pause(caller.tenant, capability, at).is_some() {
            self.witness.complain(laws::GATES, format!("at{at} is paused, and call {no} went there"));
        }
        if !instance.registered || !instance.health.is_routable() {
            self.witness.complain(laws::GATES, format!("at{at} is not there, and call {no} went there"));
        }
        if !caller.under_way.is_empty() {
            let declared = self.plane.capabilities[capability].hedge.map_or(0, |policy| policy.max);
            let well = caller.effect == EffectClass::ReadOnly
                && caller.under_way.len() <= declared as usize
                && caller.under_way.iter().all(|other| other.held.instance != at)
                && !probe;
            if !well {
                self.witness.complain(laws::HEDGES, format!("a hedge of call {no} goes to at{at}"));
            }
        }
        self.witness.sent((at, capability), (no, caller.number), probe);
        let caller = &mut self.callers[no];
        caller.keys.push(key);
        caller.keys.dedup();
        let keeps = caller.effect == EffectClass::Idempotent
            || caller.effect == EffectClass::SideEffecting && !caller.afresh;
        if keeps && caller.keys.len() > 1 {
            let what = format!("{} call {no} goes under another key", caller.effect.as_str());
            self.witness.complain(laws::KEYS, what);
        }
    }

    fn ask(&mut self, no: usize, at: usize, key: AttemptId, timeout: Duration) {
        let number = self.callers[no].number;
        self.witness.tally.count("questions to a ledger");
        self.log(format_args!("call {no}/{number} asks the ledger of at{at}"));
        self.callers[no].asking = true;
        self.agenda.after(timeout, Event::Timer { call: no, number });
        let delay = self.delay();
        self.agenda.after(delay, Event::Asks { at, call: no, number, key });
    }

    fn wait(&mut self, no: usize, until: Mono, why: &Waiting) {
        let number = self.callers[no].number;
        self.log(format_args!("call {no}/{number} waits: {why}"));
        self.agenda.at(until, Event::Timer { call: no, number });
        if why.ends_with_pool_change() {
            let route = self.plane.route(self.callers[no].tenant, self.callers[no].capability);
            self.plane.waiting[route].push(no);
        }
    }

    fn stop_waiting(&mut self, no: usize) {
        let route = self.plane.route(self.callers[no].tenant, self.callers[no].capability);
        self.plane.waiting[route].retain(|waiting| *waiting != no);
    }

    /// Everyone who waits for this capability looks again.
    pub(crate) fn wake(&mut self, route: usize) {
        if self.bug != Some(Bug::LostWakeUp) {
            let now = self.now();
            for call in self.plane.waiting[route].clone() {
                self.agenda.at(now, Event::Wakes(call));
            }
        }
    }

    pub(crate) fn wake_all(&mut self) {
        (0..self.plane.waiting.len()).for_each(|route| self.wake(route));
    }

    pub(crate) fn wakes(&mut self, no: usize) {
        if self.plane.waiting.iter().flatten().any(|waiting| *waiting == no) {
            self.drive(no);
        }
    }

    /// The time of a decision is over.
    pub(crate) fn timer(&mut self, no: usize, number: u64) {
        let caller = &self.callers[no];
        if caller.under_way.iter().any(|sending| sending.number == number) {
            self.replied(no, number, Err(failure(Class::Timeout, Began::Unknown)));
        } else if caller.number != number || caller.machine.is_none() {
            // It belongs to a decision that is done with.
        } else if caller.asking {
            self.told(no, number, Ledger::Unreachable);
        } else {
            self.drive(no);
        }
    }

    /// The answer to a sending arrives, or its time is over.
    pub(crate) fn replied(&mut self, no: usize, number: u64, mut ended: Ended) {
        let now = self.now();
        let under_way = &mut self.callers[no].under_way;
        let Some(place) = under_way.iter().position(|sending| sending.number == number) else {
            self.witness.tally.count("late answers");
            if self.bug == Some(Bug::AnsweredTwice) && self.callers[no].machine.is_none() {
                self.answer(no, &ended);
            }
            return;
        };
        let UnderWay { epoch, held, started, is_hedge, .. } = under_way.remove(place);
        if let (Some(Bug::BrokenTakenForRefused), Err(failure)) = (self.bug, &mut ended) {
            failure.began = Began::No;
        }
        let class = ended.as_ref().map_or_else(|failure| failure.class, |_| Class::Success);
        self.log(format_args!("call {no}/{number} ended at at{}: {}", held.instance, class.as_str()));
        self.give_back(no, number, held, Some((class, now - started)));
        let Some(machine) = &mut self.callers[no].machine else { return };
        machine.on_attempt_ended(epoch, ended, now);
        if !machine.is_under_way() {
            if is_hedge && class == Class::Success {
                self.witness.tally.count("hedges that won");
            }
            self.retract(no);
        }
        self.drive(no);
    }

    /// Nobody waits for what is still under way: it ends as cancelled.
    fn retract(&mut self, no: usize) {
        let now = self.now();
        let losers = std::mem::take(&mut self.callers[no].under_way);
        for UnderWay { number, key, held, started, is_hedge, .. } in losers {
            self.tell_given_up(held.instance, no, number, key);
            self.log(format_args!("call {no}/{number} is given up at at{}", held.instance));
            if is_hedge {
                self.witness.tally.count("hedges that lost");
            }
            self.give_back(no, number, held, Some((Class::Cancelled, now - started)));
        }
    }

    /// A permit goes back, with what its call taught if it ended.
    fn give_back(&mut self, no: usize, number: u64, held: Held, taught: Option<(Class, Duration)>) {
        let (now, at) = (self.now(), held.instance);
        self.witness.ended((at, held.capability), (no, number));
        let agent = self.plane.instances[at].agent;
        match taught {
            Some((Class::Timeout, _)) if self.bug == Some(Bug::PermitLeaked) => return,
            Some((Class::Cancelled, _)) if self.bug == Some(Bug::LoserKeepsPermit) => return,
            Some((class, latency)) => {
                if class == Class::Success {
                    self.witness.succeeded(agent, now);
                    self.pays_for_hedges(agent, held.capability);
                }
                self.plane.ended(held, class, latency, now);
                self.observe(at, Evidence::Call(class));
            }
            None => self.plane.dropped(held),
        }
        self.settle_changes();
        let route = self.plane.route(self.callers[no].tenant, self.callers[no].capability);
        self.wake(route);
    }

    fn pays_for_hedges(&mut self, agent: usize, capability: usize) {
        let route = self.plane.route(self.plane.agents[agent].tenant, capability);
        if let Some(policy) = &self.plane.capabilities[capability].hedge {
            self.witness.paid_for_hedges(route, policy);
        }
    }

    pub(crate) fn told(&mut self, no: usize, number: u64, ledger: Ledger) {
        let now = self.now();
        let caller = &mut self.callers[no];
        if caller.number != number || !std::mem::take(&mut caller.asking) {
            return;
        }
        if let Some(machine) = &mut caller.machine {
            machine.on_ledger_answer(ledger, now, &mut self.lot);
        }
        self.drive(no);
    }

    pub(crate) fn cancels(&mut self, no: usize) {
        let now = self.now();
        if self.callers[no].machine.is_none() {
            return;
        }
        self.witness.tally.count("calls cancelled");
        self.log(format_args!("call {no} is cancelled"));
        self.callers[no].asking = false;
        for UnderWay { number, held, .. } in std::mem::take(&mut self.callers[no].under_way) {
            self.give_back(no, number, held, None);
        }
        if let Some(machine) = &mut self.callers[no].machine {
            machine.cancel(now);
        }
        self.drive(no);
    }

    fn forgets(&mut self, no: usize) -> bool {
        self.bug == Some(Bug::CallForgotten) && self.callers[no].keys.is_empty()
    }

    fn answer(&mut self, no: usize, result: &Result<Answer, Failure>) {
        let told = result.as_ref().map_or_else(|failure| failure.class.as_str(), |_| "success");
        self.log(format_args!("call {no} is answered: {told}"));
        self.witness.tally.count(if result.is_ok() { "calls that went well" } else { "calls that failed" });
        self.callers[no].answers += 1;
        let caller = &self.callers[no];
        self.unanswered.remove(&(caller.deadline, no));
        if caller.answers > 1 {
            self.witness.complain(laws::ONE_ANSWER, format!("call {no} got {}", caller.answers));
        }
        if let Err(failure) = result
            && caller.arrived >= self.heals_at + laws::returns_within(self)
        {
            let what = format!("call {no} failed long after all is well: {}", failure.message);
            self.witness.complain(laws::RETURN, what);
        }
        if result.is_ok() && !caller.keys.iter().any(|key| self.witness.has_begun(*key)) {
            self.witness.complain(laws::ONE_ANSWER, format!("call {no} got one that no agent gave"));
        }
    }
}
