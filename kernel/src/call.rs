//! One call's life: candidates → health → breaker → concurrency → choice → attempt → classify → what next.
//!
//! **Why one machine and not a stack of middlewares?** Because its parts share state. Whether to try another instance
//! depends on whether the agent began; how long to wait depends on which breaker opens first; what a time-out means
//! depends on the effect class. A stack hides each of these from the next layer, and the record of what happened with it.
//!
//! The shell drives it: it calls [`Call::next`], carries the [`Decision`] out, reports back through
//! [`Call::on_attempt_ended`] or [`Call::on_ledger_answer`], and calls `next` again, until [`Decision::Finish`].
//!
//! # Attempts, keys and instances
//! - **Fail-over.** An attempt that certainly did not begin moves on to another instance at once, under the same key: it is
//!   still the same logical attempt. At most [`MAX_SENDS`] times, and only to an instance that can take it right now. If
//!   the sending reached somebody who was too busy, going on is a retry in all but name: it needs what a retry needs.
//! - **Retry.** What fails beyond that is put to [`crate::retry::decide`], which also says whether the key is kept. A call
//!   for a run has [`crate::retry::RetryPolicy::NONE`]: there the journal retries. A direct call brings a policy and retries
//!   here, unless it was itself made for a call ([`crate::retry::Retries::Forbidden`]) or the agent's
//!   [`crate::retry::budget`] is spent.
//! - **Doubt.** If a side effect may have happened, the ledger of the instance that was called is asked, as long as the
//!   work could still be going on. "Never seen" makes the attempt one that did not begin; it is then sent to *that*
//!   instance only, where the ledger would join or refuse a straggler of the first sending. Nobody else is asked to do it.
//!
//! What this asks of the ledger: its answer "never seen" is a promise. An older sending of that key (a lower
//! [`Dispatch::epoch`]) that arrives afterwards is refused.
//!
//! # Waiting
//! A call that finds nobody to take it waits for the pool to change, for the first breaker to let a probe through, or for
//! its deadline, whichever is first. Fail-over does not wait: it has a failure to report, and a back-off to wait in. Where
//! a pause is all that stands in the way, the [`Request`] says whether to wait: a person ends it, and may take hours. Where
//! it is a declared rate ([`crate::rate`]), the call's turn is booked and waited for. And whoever could not have its turn
//! before its deadline is told so at once ([`crate::queue`]).
//!
//! # Hedges
//! A read-only call whose capability declares it is sent to one more instance when it takes long ([`crate::hedge`]). Several
//! sendings are then under way at once, told apart by [`Dispatch::epoch`], and end with [`Call::on_attempt_ended`] each by
//! itself. The first good answer ends the attempt; it fails when the last of them has. They share all that bounds an attempt:
//! its key, its time, and [`MAX_SENDS`]. And a hedge uses up an attempt of the policy: who allows three gets three sendings,
//! side by side or one after the other.
//!
//! **Invariant:** between two decisions the machine holds no permit. The only one it ever takes goes out with
//! [`Decision::Send`]. And only what is read-only is ever under way twice.

use std::time::Duration;

use crate::dice::Dice;
use crate::id::{AttemptId, InstanceId};
use crate::outcome::{
    Answer, Began, CALL_CANCELLED, Class, DEADLINE_PASSED, Failure, NO_INSTANCE, NO_OTHER_AGENT, OVERLOADED,
    PAUSED, RATE_LIMITED,
};
use crate::queue;
use crate::retry::GiveUp;
use crate::time::Mono;

mod decision;
mod doubt;
mod failed;
mod inquiry;
mod lane;
mod pool;
mod race;
mod record;

pub use decision::{Decision, Dispatch, IfPaused, Request};
use doubt::Doubt;
pub use inquiry::{Inquiry, inquiry};
pub use lane::{Lane, Permit, SLOW_START};
use pool::Wanted;
pub use pool::{Pool, Rejection};
use race::Race;
pub use record::{Considered, Ledger, PassedOver, Record, Search, Sent, Waiting};

/// The most instances one logical attempt is sent to. Three that refuse are a failing pool, not bad luck.
pub const MAX_SENDS: u32 = 3;

/// The most time kept back from an attempt for its answer's way home, and for asking the ledger if none comes. The share
/// is a twentieth of what remains; 250 ms is several round trips between continents.
const MAX_RESERVE: Duration = Duration::from_millis(250);

/// When a call that failed at a pause is worth making again. A person ends a pause: sooner would be load without hope.
const PAUSED_RETRY: Duration = Duration::from_secs(30);

/// Below this, an attempt could not even be sent.
const LEAST_USEFUL: Duration = Duration::from_millis(1);

/// The machine. See the module's page.
#[derive(Debug)]
pub struct Call {
    request: Request,
    phase: Phase,
    key: AttemptId,
    /// Which key, from 1.
    key_number: u32,
    /// Which logical attempt, from 1.
    attempt: u32,
    /// Hedges of all attempts.
    hedges: u32,
    /// Where this logical attempt was sent.
    tried: Vec<InstanceId>,
    /// The only instance that may be called, once its ledger has spoken for the key.
    only: Option<InstanceId>,
    /// How the last sending failed.
    last: Option<Failure>,
    search: SearchState,
    record: Record,
}

#[derive(Debug, Clone)]
enum Phase {
    /// Looking for an instance. Moving on after a failure, it does not wait.
    Choose {
        moving_on: bool,
    },
    /// What follows a failure is to be decided; another instance may do if it is `movable`.
    Failed {
        failure: Failure,
        movable: bool,
    },
    BackOff {
        until: Mono,
    },
    UnderWay(Race),
    /// In doubt: the ledger is to be asked at that time.
    Ask {
        at: Mono,
        doubt: Doubt,
    },
    Asking {
        due: Mono,
        doubt: Doubt,
    },
    Done(Result<Answer, Failure>),
}

/// A search for an instance under way.
#[derive(Debug, Default)]
struct SearchState {
    since: Option<Mono>,
    why: Option<Waiting>,
    panicking: bool,
    passed_over: PassedOver,
}

impl Call {
    /// A call to be made.
    #[must_use]
    pub fn new(request: Request) -> Self {
        Self {
            key: request.key,
            request,
            phase: Phase::Choose { moving_on: false },
            key_number: 1,
            attempt: 1,
            hedges: 0,
            tried: Vec::new(),
            only: None,
            last: None,
            search: SearchState::default(),
            record: Record::default(),
        }
    }

    /// What to do now.
    pub fn next<P: Pool>(&mut self, pool: &mut P, now: Mono, dice: &mut Dice) -> Decision<P::Permit> {
        // Every pass but the last ends the phase it began in or a hedge's time, and phases only lead onwards to `Done`.
        loop {
            match &self.phase {
                Phase::Done(end) => return Decision::Finish(end.clone()),
                Phase::UnderWay(race) => {
                    let race = *race;
                    let Some(due) = race.due_hedge(now) else {
                        return Decision::Wait { until: race.until(), why: Waiting::UnderWay };
                    };
                    if let Some(decision) = self.hedge(race, due, pool, now, dice) {
                        return decision;
                    }
                }
                Phase::Asking { due, .. } => return Decision::Wait { until: *due, why: Waiting::Ledger },
                Phase::BackOff { until } if now < *until => {
                    return Decision::Wait { until: *until, why: Waiting::BackOff };
                }
                Phase::BackOff { .. } => self.phase = Phase::Choose { moving_on: false },
                Phase::Ask { at, .. } if now < *at => {
                    return Decision::Wait { until: *at, why: Waiting::Ledger };
                }
                Phase::Ask { doubt, .. } if now >= doubt.until => self.stays_unknown(doubt.clone()),
                Phase::Failed { failure, movable } => {
                    let (failure, movable) = (failure.clone(), *movable);
                    self.after_failure(failure, movable, pool, now, dice);
                }
                Phase::Ask { doubt, .. } => return self.ask(doubt.clone(), now),
                Phase::Choose { moving_on } => {
                    if let Some(decision) = self.choose(*moving_on, pool, now, dice) {
                        return decision;
                    }
                }
            }
        }
    }

    /// The ledger answered, or could not be asked.
    pub fn on_ledger_answer(&mut self, answer: Ledger, now: Mono, dice: &mut Dice) {
        let Phase::Asking { doubt, .. } = &self.phase else { return };
        let mut doubt = doubt.clone();
        doubt.asked += 1;
        self.record.asked(&answer);
        match answer {
            Ledger::Ended(Ok(answer)) => self.phase = Phase::Done(Ok(answer)),
            Ledger::Ended(Err(failure)) if failure.began == Began::Unknown => {
                self.stays_unknown(Doubt { failure, ..doubt });
            }
            Ledger::Ended(Err(failure)) => self.phase = Phase::Failed { failure, movable: false },
            Ledger::NeverSeen => {
                let failure = Failure { began: Began::No, ..doubt.failure };
                self.only = Some(doubt.instance);
                self.phase = Phase::Failed { failure, movable: true };
            }
            Ledger::Lost => self.stays_unknown(doubt),
            Ledger::Running | Ledger::Unreachable => {
                let at = doubt.pause(now, dice);
                self.phase = Phase::Ask { at, doubt };
            }
        }
    }

    /// The caller no longer wants the call. What is on its way must be stopped by the shell.
    pub fn cancel(&mut self, now: Mono) {
        let began = match self.phase {
            Phase::Done(_) => return,
            Phase::Choose { .. } | Phase::BackOff { .. } => Began::No,
            Phase::Failed { ref failure, .. } => failure.began,
            Phase::UnderWay(_) | Phase::Ask { .. } | Phase::Asking { .. } => Began::Unknown,
        };
        let failure = failure(Class::Cancelled, CALL_CANCELLED, "the call was cancelled".into(), began);
        if let Phase::UnderWay(race) = self.phase {
            self.retract(race, &failure.message, now);
        }
        self.close_search(now);
        self.phase = Phase::Done(Err(failure));
    }

    /// The call may not wait any longer. Nothing happens if it does not wait for an instance.
    pub fn send_away(&mut self, refused: queue::Refused, now: Mono) {
        if !matches!(self.phase, Phase::Choose { .. }) {
            return;
        }
        self.refuse(OVERLOADED, refused.to_string(), refused.retry_after, now);
    }

    /// Whether a ledger has spoken for the key, so that its instance alone may take the call.
    #[must_use]
    pub const fn is_bound(&self) -> bool {
        self.only.is_some()
    }

    /// Which logical attempt it is at, from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How it went, so far.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// How it went.
    #[must_use]
    pub fn into_record(self) -> Record {
        self.record
    }

    fn choose<P: Pool>(
        &mut self,
        moving_on: bool,
        pool: &mut P,
        now: Mono,
        dice: &mut Dice,
    ) -> Option<Decision<P::Permit>> {
        let Some(timeout) = self.allowance(now) else {
            self.out_of_time(now);
            return None;
        };
        if self.search.since.is_some()
            && let Err(refused) = pool.still(self.request.deadline - now)
        {
            self.send_away(refused, now);
            return None;
        }
        self.search.panicking = pool.is_panicking();
        let wanted = Wanted { tried: &self.tried, only: self.only, trusted: false };
        let found = pool::choose(pool, wanted, &mut self.search.passed_over, now, dice);
        if let Some((index, permit)) = found {
            let hedge = self.hedging(pool, index, &permit, now);
            return Some(self.send(index, pool.instance(index), permit, timeout, hedge, now));
        }
        if moving_on && let Some(failure) = self.last.take() {
            self.phase = Phase::Failed { failure, movable: false };
            return None;
        }
        let why = self.search.passed_over.why_none();
        let begins = self.search.since.is_none();
        self.search.since.get_or_insert(now);
        self.search.why = Some(why.clone());
        if let (Waiting::Paused(pause), IfPaused::Fail) = (&why, self.request.if_paused) {
            let failure = self.last.take().unwrap_or_else(|| Failure {
                retry_after: Some(PAUSED_RETRY),
                ..failure(Class::Unavailable, PAUSED, pause.to_string(), Began::No)
            });
            self.close_search(now);
            self.phase = Phase::Done(Err(failure));
            return None;
        }
        let remaining = self.request.deadline - now;
        if begins && let Err(refused) = pool.queue(remaining) {
            self.send_away(refused, now);
            return None;
        }
        let opening = match self.search.passed_over.soonest() {
            None => self.search.passed_over.try_again().unwrap_or(self.request.deadline),
            Some((instance, _)) => match pool.turn(instance, remaining, now) {
                Ok(turn) => turn,
                Err(refused) => {
                    self.refuse(RATE_LIMITED, refused.to_string(), refused.retry_after, now);
                    return None;
                }
            },
        };
        // A breaker lets probes through then, or it is the call's turn. Never at once: a pool that errs must not make the
        // shell spin.
        let until = opening.max(now + LEAST_USEFUL).min(self.request.deadline);
        Some(Decision::Wait { until, why })
    }

    /// The call cannot have its turn in time. If something failed before, that is what is told.
    fn refuse(&mut self, code: &str, message: String, retry_after: Duration, now: Mono) {
        let failure = self.last.take().unwrap_or_else(|| Failure {
            retry_after: Some(retry_after),
            ..failure(Class::Overload, code, message, Began::No)
        });
        self.close_search(now);
        self.phase = Phase::Done(Err(failure));
    }

    fn ask<P>(&mut self, doubt: Doubt, now: Mono) -> Decision<P> {
        let instance = doubt.instance;
        let timeout = doubt.ask_timeout(now);
        self.phase = Phase::Asking { due: now + timeout, doubt };
        Decision::AskLedger { instance, key: self.key, timeout }
    }

    fn stays_unknown(&mut self, doubt: Doubt) {
        self.phase = Phase::Failed { failure: doubt.unresolved(), movable: false };
    }

    fn out_of_time(&mut self, now: Mono) {
        self.record.gave_up = Some(GiveUp::DeadlineTooNear);
        let failure = self.last.take().unwrap_or_else(|| match self.search.since {
            Some(since) => {
                let passed_over = &self.search.passed_over;
                let message = format!("no instance could take the call in {:?}: {passed_over}", now - since);
                #[allow(
                    clippy::wildcard_enum_match_arm,
                    reason = "whatever else it waited for, it was an instance"
                )]
                let code = match self.search.why {
                    Some(Waiting::Paused(_)) => PAUSED,
                    Some(Waiting::NoOtherAgent) => NO_OTHER_AGENT,
                    _ => NO_INSTANCE,
                };
                failure(Class::Unavailable, code, message, Began::No)
            }
            None => {
                let message = "the deadline had passed before the call could be sent".into();
                failure(Class::Timeout, DEADLINE_PASSED, message, Began::No)
            }
        });
        self.close_search(now);
        self.phase = Phase::Done(Err(failure));
    }

    /// How long an attempt that starts now may take; `None` if it is not worth sending.
    fn allowance(&self, now: Mono) -> Option<Duration> {
        let remaining = self.request.deadline - now;
        let allowed = self.request.timeout.min(remaining - (remaining / 20).min(MAX_RESERVE));
        (allowed >= LEAST_USEFUL).then_some(allowed)
    }

    fn sends_left(&self) -> bool {
        self.tried.len() < MAX_SENDS as usize
    }

    fn end_search(&mut self, now: Mono) -> Search {
        let SearchState { since, why, panicking, passed_over } = std::mem::take(&mut self.search);
        let waited = since.map_or(Duration::ZERO, |since| now - since);
        Search { waited, why, panicking, passed_over }
    }

    /// The call ends while looking for an instance: the record keeps what was found.
    fn close_search(&mut self, now: Mono) {
        let search = self.end_search(now);
        let looked = search.why.is_some() || search.passed_over.total() > 0;
        self.record.unanswered = looked.then_some(search);
    }
}

fn failure(class: Class, code: &str, message: String, began: Began) -> Failure {
    Failure { class, code: code.into(), message, began, retry_after: None }
}

#[cfg(test)]
mod tests;
