//! Copies of calls, for a version that is not trusted with them yet.
//!
//! A copy is made of a call that changes nothing, beside it and under a key of its own. Nobody waits for it, nobody retries
//! it, and its answer goes nowhere; it is only compared with the one that counts. It passes the same gates as any call, but
//! takes a place only of an instance more than half of whose places are free, so that copies never crowd out calls.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use mainstay_kernel::call::{self, Decision, IfPaused};
use mainstay_kernel::dice::Dice;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::health::Evidence;
use mainstay_kernel::id::{AttemptId, RunId};
use mainstay_kernel::outcome::{Answer, Class, Failure};
use mainstay_kernel::priority::Priority;
use mainstay_kernel::rate::Turns;
use mainstay_kernel::retry::{Retries, RetryPolicy};
use mainstay_kernel::rollout::Side;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

use super::exchange::Exchange;
use super::permit::Held;
use super::pool::Live;
use super::versions::{Candidates, Chosen};
use super::{Call, Handle};
use crate::registry::{Candidate, Route};
use crate::rollouts::Trial;

/// Copies under way at once. One that finds no place is left out: a sample does not need to be complete.
const MAX_UNDER_WAY: usize = 64;

/// Bounds the copies under way. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Shadows(Arc<Semaphore>);

/// A copy under way, which waits for the answer that it is compared with.
#[must_use]
pub(super) struct Shadow(oneshot::Sender<Option<Answer>>);

impl Default for Shadows {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_UNDER_WAY)))
    }
}

impl Shadow {
    /// The call that counts has ended.
    pub(super) fn counts(self, ended: &Result<Answer, Failure>) {
        // An error means that the copy has been given up.
        self.0.send(ended.as_ref().ok().cloned()).ok();
    }
}

impl Handle {
    /// Sends a copy of a call that goes to the stable version, if it is one of those that are copied.
    pub(super) fn shadow(
        &self,
        call: &Call,
        route: &Arc<Route>,
        chosen: &Chosen,
        dice: &mut Dice,
    ) -> Option<Shadow> {
        let trial = &chosen.trial;
        if !chosen.is_evidence || chosen.pick.side != Side::Stable || !trial.copies(call.key) {
            return None;
        }
        // By the strictest declaration: a call that anybody could take for a change of the world is never made twice.
        if route.strictest_effect() != EffectClass::ReadOnly {
            return None;
        }
        let Some((place, candidate, dispatch)) = self.room_for(call, route, trial, dice) else {
            trial.shadowed.skipped.fetch_add(1, Relaxed);
            return None;
        };
        trial.shadowed.sent.fetch_add(1, Relaxed);
        let (sender, answer) = oneshot::channel();
        let (handle, call, trial) = (self.clone(), call.clone(), Arc::clone(trial));
        tokio::spawn(async move {
            let copied = handle.copy(&call, &candidate, dispatch).await;
            drop(place);
            if let Ok(Some(answer)) = answer.await {
                judge(&trial, &answer, &copied);
            }
        });
        Some(Shadow(sender))
    }

    /// A place for a copy, here and at an instance of the candidate that has plenty.
    fn room_for(
        &self,
        call: &Call,
        route: &Arc<Route>,
        trial: &Trial,
        dice: &mut Dice,
    ) -> Option<(tokio::sync::OwnedSemaphorePermit, Candidate, call::Dispatch<Held>)> {
        let place = Arc::clone(&self.shadows.0).try_acquire_owned().ok()?;
        let is_idle = |it: &&Candidate| {
            let spec = &it.instance.spec;
            let lane = it.lane.lock();
            spec.name == *trial.rollout.agent()
                && trial.rollout.side(&spec.version) == Some(Side::Candidate)
                && lane.in_flight() * 2 < lane.limit().0
        };
        let all: Arc<[Candidate]> = route.candidates().iter().filter(is_idle).cloned().collect();
        if all.is_empty() {
            return None;
        }
        let candidates = Candidates::of(all);
        let mut machine = call::Call::new(call::Request {
            // A key of its own, which no call has: a run of this id is never made.
            key: AttemptId::derive(RunId::from_bytes(*call.key.as_bytes()), "shadow", 1),
            effect: EffectClass::ReadOnly,
            timeout: call.timeout,
            deadline: call.deadline,
            policy: RetryPolicy::NONE,
            if_paused: IfPaused::Fail,
            retries: Retries::Forbidden,
        });
        let mut turns = Turns::default();
        // A copy goes before nobody who waits.
        let may_look = route.may_look(Priority::Sheddable, None);
        let mut pool = Live::new(self, call, route, &candidates, &mut turns, may_look);
        match machine.next(&mut pool, self.clock.mono(), dice) {
            Decision::Send(dispatch) => {
                let candidate = candidates.all[dispatch.index].clone();
                Some((place, candidate, dispatch))
            }
            // Whatever it would have to wait for: a copy does not.
            Decision::Wait { .. } | Decision::AskLedger { .. } | Decision::Finish(_) => None,
        }
    }

    async fn copy(
        &self,
        call: &Call,
        to: &Candidate,
        dispatch: call::Dispatch<Held>,
    ) -> Result<Answer, Failure> {
        let started = self.clock.mono();
        let exchange = Exchange {
            channel: to.instance.channel.clone(),
            key: dispatch.key,
            epoch: self.epoch(dispatch.epoch),
            timeout: dispatch.timeout,
            limits: self.limits,
            agent: to.instance.spec.name.clone(),
        };
        let ended = exchange.run(call).await;
        let (now, mut dice) = (self.clock.mono(), self.clock.dice());
        let class = ended.as_ref().map_or_else(|failure| failure.class, |_| Class::Success);
        if let Some(change) = dispatch.permit.end(class, now - started, now, &mut dice) {
            self.registry.breaker_changed(&to.instance, &call.capability, &change);
            self.rollouts.breaker_changed(&to.instance, &call.capability, &change);
        }
        self.registry.observe(&to.instance, Evidence::Call(class));
        ended
    }
}

/// Compares a copy with the answer that counted. Layout of the JSON does not matter.
fn judge(trial: &Trial, answer: &Answer, copied: &Result<Answer, Failure>) {
    let shadowed = &trial.shadowed;
    let value = |answer: &Answer| serde_json::from_str::<Value>(answer.output.as_str()).ok();
    let counter = match copied {
        Err(_) => &shadowed.failed,
        Ok(copy) if value(copy) == value(answer) => &shadowed.same,
        Ok(_) => &shadowed.different,
    };
    counter.fetch_add(1, Relaxed);
}
