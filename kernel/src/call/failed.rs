//! What follows a failure: another instance, another attempt, a question to the ledger, or the end.
//!
//! Whatever would reach an agent a second time needs leave: nobody above the call retries, and the agent's budget has a
//! retry left. Going on from an instance that could not even be reached needs none, because it adds to nobody's load.

use super::{Call, Doubt, Phase, Pool, Request};
use crate::dice::Dice;
use crate::id::AttemptId;
use crate::outcome::{Class, Failure};
use crate::retry::budget::Leave;
use crate::retry::{self, GiveUp, Retries, Retry};
use crate::time::Mono;

impl Call {
    /// Moves on to another instance, or takes the failure as that of the logical attempt.
    pub(super) fn after_failure<P: Pool>(
        &mut self,
        failure: Failure,
        movable: bool,
        pool: &mut P,
        now: Mono,
        dice: &mut Dice,
    ) {
        let reached = self.only.is_none() && matches!(failure.class, Class::Overload | Class::Timeout);
        if movable && self.sends_left() && (!reached || self.leave(pool, now).is_ok()) {
            self.last = Some(failure);
            self.phase = Phase::Choose { moving_on: true };
        } else {
            self.settle(failure, pool, now, dice);
        }
    }

    /// Puts a failed logical attempt to [`retry::decide`].
    fn settle<P: Pool>(&mut self, failure: Failure, pool: &mut P, now: Mono, dice: &mut Dice) {
        let remaining = self.request.deadline - now;
        let Request { policy, effect, .. } = &self.request;
        match retry::decide(policy, *effect, &failure, self.attempt + self.hedges, remaining, dice) {
            retry::Verdict::Retry { after, same_key } => match self.leave(pool, now) {
                Ok(budget) => {
                    self.record.retried(Retry { after, same_key, remaining, budget });
                    self.again(failure, same_key, now + after);
                }
                Err(why) => self.give_up(why, failure, now),
            },
            retry::Verdict::AskLedger => match self.record.sent.last() {
                Some(sent) => {
                    let doubt = Doubt::about(sent, failure, self.request.deadline);
                    self.phase = Phase::Ask { at: now, doubt };
                }
                // Nothing was ever sent, so there is nobody to ask and nothing to doubt.
                None => self.phase = Phase::Done(Err(failure)),
            },
            retry::Verdict::GiveUp { why } => self.give_up(why, failure, now),
        }
    }

    /// Leave to bother again the agent that was called last: what its budget has left, if there is such an agent.
    fn leave<P: Pool>(&self, pool: &mut P, now: Mono) -> Result<Option<u32>, GiveUp> {
        if self.request.retries == Retries::Forbidden {
            return Err(GiveUp::Forbidden);
        }
        let Some(sent) = self.record.sent.last() else { return Ok(None) };
        match pool.retry(sent.instance, now) {
            Leave::Granted { left } => Ok(Some(left)),
            // A caller waits for a direct call, and it is told now rather than later.
            Leave::Later { .. } | Leave::Refused => Err(GiveUp::BudgetSpent),
        }
    }

    fn again(&mut self, failure: Failure, same_key: bool, until: Mono) {
        self.attempt += 1;
        if !same_key {
            self.key_number += 1;
            self.key = nth_key(self.request.key, self.key_number);
            self.only = None;
        }
        self.tried.clear();
        self.last = Some(failure);
        self.phase = Phase::BackOff { until };
    }

    fn give_up(&mut self, why: GiveUp, failure: Failure, now: Mono) {
        self.record.gave_up = Some(why);
        self.close_search(now);
        self.phase = Phase::Done(Err(failure));
    }
}

/// Whether another instance may do better with an attempt that did not begin.
pub(super) const fn can_move_on(class: Class) -> bool {
    matches!(class, Class::Transport | Class::Timeout | Class::Overload | Class::Unavailable)
}

/// The key of the `number`-th logical attempt that has one of its own.
fn nth_key(first: AttemptId, number: u32) -> AttemptId {
    let mut hash = blake3::Hasher::new_derive_key("mainstay repeated attempt id v1");
    hash.update(first.as_bytes()).update(&number.to_be_bytes());
    let mut bytes = [0; 16];
    hash.finalize_xof().fill(&mut bytes);
    AttemptId::from_bytes(bytes)
}
