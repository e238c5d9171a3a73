//! Sendings under way: one, or several where the call is hedged. They share the key and the time of the attempt, each
//! goes to another instance, and the first good answer wins; nobody hears from the others any more.
//!
//! The machine holds no permit of any of them: each went out with its own [`Decision::Send`], and the record says which have
//! not ended. A hedge is looked for once, when its time has come. A call that finds nobody to hedge with, or gets no leave,
//! goes on as it was.

use std::time::Duration;

use super::pool::{self, Pool, Wanted};
use super::record::{PassedOver, Search, Sent};
use super::{Call, Decision, Dispatch, LEAST_USEFUL, Phase, failed, failure};
use crate::dice::Dice;
use crate::effect::EffectClass;
use crate::hedge::Hedge;
use crate::id::InstanceId;
use crate::outcome::{Answer, Began, CALL_CANCELLED, Class, Failure};
use crate::time::Mono;

/// What is said of a sending that lost.
const OUTRUN: &str = "another instance answered first";

/// Where an attempt stands whose sendings are under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Race {
    /// The place of its first sending in the record.
    first: usize,
    /// When the attempt must have ended.
    due: Mono,
    /// The hedge to be made, and when.
    hedge: Option<(Mono, Hedge)>,
}

impl Race {
    /// Of one sending that begins `now`, the next in the record.
    pub(super) fn new(first: usize, due: Mono, hedge: Option<Hedge>, now: Mono) -> Self {
        Self { first, due, hedge: hedge.map(|hedge| (now + hedge.after, hedge)) }
    }

    /// When to look again.
    pub(super) fn until(&self) -> Mono {
        self.hedge.map_or(self.due, |(at, _)| at.min(self.due))
    }

    /// The hedge whose time has come.
    pub(super) fn due_hedge(&self, now: Mono) -> Option<Hedge> {
        self.hedge.filter(|(at, _)| *at <= now).map(|(_, hedge)| hedge)
    }
}

impl Call {
    /// The first sending of an attempt, or the next one after it moved on.
    pub(super) fn send<P>(
        &mut self,
        index: usize,
        instance: InstanceId,
        permit: P,
        timeout: Duration,
        hedge: Option<Hedge>,
        now: Mono,
    ) -> Decision<P> {
        let search = self.end_search(now);
        self.phase = Phase::UnderWay(Race::new(self.record.sent.len(), now + timeout, hedge, now));
        self.dispatch(index, instance, permit, timeout, search, now)
    }

    fn dispatch<P>(
        &mut self,
        index: usize,
        instance: InstanceId,
        permit: P,
        timeout: Duration,
        search: Search,
        now: Mono,
    ) -> Decision<P> {
        self.record.sent(Sent::new(self.key, self.attempt, instance, now, timeout, search));
        self.tried.push(instance);
        let epoch = self.record.sent.len() as u64;
        let (key, attempt) = (self.key, self.attempt);
        Decision::Send(Dispatch { index, instance, permit, key, attempt, epoch, timeout })
    }

    /// The sending of this [`super::Dispatch::epoch`] has ended. Of one that the machine no longer waits for, nothing is
    /// learnt.
    pub fn on_attempt_ended(&mut self, epoch: u64, ended: Result<Answer, Failure>, now: Mono) {
        let Phase::UnderWay(race) = self.phase else { return };
        let place = usize::try_from(epoch).ok().and_then(|epoch| epoch.checked_sub(1));
        let Some(place) = place.filter(|place| *place >= race.first && self.record.is_under_way(*place))
        else {
            return;
        };
        self.record.ended(place, &ended, now);
        let others = (race.first..self.record.sent.len()).any(|place| self.record.is_under_way(place));
        self.phase = match ended {
            Ok(answer) => Phase::Done(Ok(answer)),
            // Another may still answer; only a call that is wrong in itself is wrong everywhere.
            Err(failure) if others && failure.class != Class::CallerFault => return,
            Err(failure) => {
                let movable =
                    failure.began == Began::No && self.only.is_none() && failed::can_move_on(failure.class);
                Phase::Failed { failure, movable }
            }
        };
        self.retract(race, OUTRUN, now);
    }

    /// Whether sendings are under way. Those that still are when this turns false are to be stopped.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        matches!(self.phase, Phase::UnderWay(_))
    }

    /// Whether another sending may be made beside the one under way.
    #[must_use]
    pub const fn is_hedged(&self) -> bool {
        matches!(self.phase, Phase::UnderWay(Race { hedge: Some(_), .. }))
    }

    /// Notes of all sendings under way that nobody waits for their end.
    pub(super) fn retract(&mut self, race: Race, why: &str, now: Mono) {
        for place in race.first..self.record.sent.len() {
            if self.record.is_under_way(place) {
                let failure = failure(Class::Cancelled, CALL_CANCELLED, why.into(), Began::Unknown);
                self.record.ended(place, &Err(failure), now);
            }
        }
    }

    /// When to hedge a sending to candidate `index`, as often as the policy leaves attempts for. A probe is not hedged: it is
    /// there to be answered.
    pub(super) fn hedging<P: Pool>(
        &self,
        pool: &P,
        index: usize,
        permit: &P::Permit,
        now: Mono,
    ) -> Option<Hedge> {
        if self.request.effect != EffectClass::ReadOnly || !self.request.retries.are_allowed() {
            return None;
        }
        let hedge = pool.hedge(index, now).filter(|_| !pool.is_probe(permit))?;
        // A policy of one attempt says that it is not repeated here when it fails, not that it may not be hedged.
        let most = self.request.policy.max_attempts.max(1 + hedge.max);
        let max = hedge.max.min(most.saturating_sub(self.attempt + self.hedges));
        (max > 0).then_some(Hedge { max, ..hedge })
    }

    /// One more sending, now that its time has come.
    pub(super) fn hedge<P: Pool>(
        &mut self,
        race: Race,
        hedge: Hedge,
        pool: &mut P,
        now: Mono,
        dice: &mut Dice,
    ) -> Option<Decision<P::Permit>> {
        self.phase = Phase::UnderWay(Race { hedge: None, ..race });
        let timeout = self.allowance(now)?.min(race.due - now);
        if timeout < LEAST_USEFUL || !self.sends_left() || !pool.leave_to_hedge(now) {
            return None;
        }
        let (wanted, mut passed_over) =
            (Wanted { tried: &self.tried, only: None, trusted: true }, PassedOver::default());
        let (index, permit) = pool::choose(pool, wanted, &mut passed_over, now, dice)?;
        let search = Search { passed_over, panicking: pool.is_panicking(), ..Search::default() };
        let sent = self.dispatch(index, pool.instance(index), permit, timeout, search, now);
        self.record.hedge(hedge.after);
        self.hedges += 1;
        let next = (hedge.max > 1).then(|| (now + hedge.after, Hedge { max: hedge.max - 1, ..hedge }));
        self.phase = Phase::UnderWay(Race { hedge: next, ..race });
        Some(sent)
    }
}
