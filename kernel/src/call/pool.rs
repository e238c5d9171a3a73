//! The instances a call may go to, as the kernel sees them: the shell keeps the locks.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::record::PassedOver;
use crate::balance::{self, Candidates};
use crate::bulkhead::Wall;
use crate::dice::Dice;
use crate::ejection;
use crate::health;
use crate::hedge::Hedge;
use crate::id::InstanceId;
use crate::pause::Pause;
use crate::queue;
use crate::rate;
use crate::retry::budget::Leave;
use crate::time::Mono;

/// The candidates of one call, numbered from 0. What lies behind a number may change only between two decisions.
pub trait Pool {
    /// Leave to call an instance; must be given back.
    type Permit;

    /// How many candidates there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The candidates of tier `number`, from 0; `None` behind the last. Those of one tier are equals, and a tier is asked
    /// only when nobody before it may be called.
    fn tier(&self, number: usize) -> Option<Range<usize>> {
        (number == 0).then(|| 0..self.len())
    }

    /// Which instance candidate `index` is.
    fn instance(&self, index: usize) -> InstanceId;

    /// Whether candidate `index` had a part in the work that this call looks at: then it never gets it.
    fn is_barred(&self, index: usize) -> bool {
        let _ = index;
        false
    }

    /// How loaded it is for this capability; see [`super::Lane::score`].
    fn score(&self, index: usize, now: Mono) -> f64;

    /// How readily it is chosen; see [`super::Lane::weight`].
    fn weight(&self, index: usize, now: Mono) -> f64;

    /// Whether the verdicts on health and siblings are set aside; see [`crate::panic`].
    fn is_panicking(&self) -> bool {
        false
    }

    /// Takes leave to call it; see [`super::Lane::admit`].
    ///
    /// # Errors
    /// The first gate that stays shut.
    fn gate(&mut self, index: usize, now: Mono) -> Result<Self::Permit, Rejection>;

    /// When a call that candidate `index` takes long for is sent to another one too; `None` if it is not.
    fn hedge(&self, index: usize, now: Mono) -> Option<Hedge> {
        let _ = (index, now);
        None
    }

    /// Asks leave for a hedge, now that its time has come: others may wait by now, or all that may be hedged has been.
    fn leave_to_hedge(&mut self, now: Mono) -> bool {
        let _ = now;
        false
    }

    /// Whether a permit lets a probe through; asked where calls are hedged.
    fn is_probe(&self, permit: &Self::Permit) -> bool {
        let _ = permit;
        false
    }

    /// Whether a call to candidate `index` would be no probe; asked where calls are hedged.
    fn is_trusted(&self, index: usize) -> bool {
        let _ = index;
        true
    }

    /// The pause that keeps the call from every candidate, those that may still come included.
    fn pause(&self) -> Option<Arc<Pause>> {
        None
    }

    /// Whether the call may wait for its turn, with so much time left; asked when it would begin to wait. Work of a run,
    /// which is durable and whose number is bounded elsewhere, always may.
    ///
    /// # Errors
    /// Why it may not, and when to try again.
    fn queue(&self, remaining: Duration) -> Result<(), queue::Refused>;

    /// When the call's turn comes at the rate that keeps it from this instance. A turn is booked for it unless it has one
    /// that can still be taken; it is the call's until it is sent, and [`Pool::gate`] then lets it through.
    ///
    /// # Errors
    /// It would come after so much time, and none is booked. A pool that never says [`Rejection::Rated`] is never asked.
    fn turn(&mut self, instance: InstanceId, remaining: Duration, now: Mono) -> Result<Mono, rate::Refused> {
        let _ = (instance, remaining);
        Ok(now)
    }

    /// Whether it is the call's turn to look: not while others wait for a busy instance who come first.
    fn may_look(&self) -> bool {
        true
    }

    /// Whether a call that has waited can still be answered, with so much time left; asked when it is its turn.
    ///
    /// # Errors
    /// Why it is sent away, and when to try again.
    fn still(&self, _remaining: Duration) -> Result<(), queue::Refused> {
        Ok(())
    }

    /// Asks the budget of this instance's agent for a retry, now and not later. The instance need not be a candidate any more.
    fn retry(&mut self, instance: InstanceId, now: Mono) -> Leave;
}

/// Why a candidate was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// This logical attempt was refused there already.
    AlreadyTried,
    /// Its agent had a part in the work that the call looks at: nobody looks at their own.
    Barred,
    /// Its health does not allow it.
    Unhealthy(health::State, health::Reason),
    /// It does worse than its siblings.
    Ejected {
        /// When it comes back.
        until: Mono,
        /// How much worse.
        reason: ejection::Reason,
    },
    /// Its breaker is open; `None` means until an operator resets it.
    BreakerOpen {
        /// When it lets probes through.
        until: Option<Mono>,
    },
    /// Its breaker is half-open and all probes are under way.
    Probing,
    /// Its breaker is not closed, and a hedge is no probe: it is to be answered soon.
    Untrusted,
    /// It has as many calls as it takes. Busy is not dead.
    Busy {
        /// Calls under way.
        in_flight: u32,
        /// How many it takes.
        max: u32,
    },
    /// All places that somebody may have at once are taken.
    Bulkhead {
        /// By whose calls.
        wall: Wall,
        /// How many there are.
        most: u32,
        /// When to look again: a place that becomes free is not told to everyone who could use it.
        until: Mono,
    },
    /// The call is over a rate it is subject to there.
    Rated(rate::Over),
    /// It, or its agent, is paused.
    Paused(Arc<Pause>),
}

/// Who will do for a sending.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Nobody of these: this attempt went there already.
    pub(super) tried: &'a [InstanceId],
    /// Nobody but this one.
    pub(super) only: Option<InstanceId>,
    /// Nobody on probation.
    pub(super) trusted: bool,
}

/// Chooses among the candidates that will do, and notes whom it passed over.
pub(super) fn choose<P: Pool>(
    pool: &mut P,
    wanted: Wanted<'_>,
    passed_over: &mut PassedOver,
    now: Mono,
    dice: &mut Dice,
) -> Option<(usize, P::Permit)> {
    *passed_over = PassedOver::default();
    if let Some(pause) = pool.pause() {
        passed_over.all_paused(pause);
        return None;
    }
    if !pool.may_look() {
        passed_over.others_first();
        return None;
    }
    let mut number = 0;
    while let Some(tier) = pool.tier(number) {
        let mut sieve = Sieve { pool, tier, wanted, passed_over, now };
        if let Some(found) = balance::choose(&mut sieve, dice) {
            let (index, permit) = found;
            return Some((sieve.tier.start + index, permit));
        }
        number += 1;
    }
    None
}

struct Sieve<'a, P> {
    pool: &'a mut P,
    tier: Range<usize>,
    wanted: Wanted<'a>,
    passed_over: &'a mut PassedOver,
    now: Mono,
}

impl<P: Pool> Candidates for Sieve<'_, P> {
    type Permit = P::Permit;

    fn len(&self) -> usize {
        self.tier.len()
    }

    fn score(&self, index: usize) -> f64 {
        self.pool.score(self.tier.start + index, self.now)
    }

    fn weight(&self, index: usize) -> f64 {
        self.pool.weight(self.tier.start + index, self.now)
    }

    fn take(&mut self, index: usize) -> Option<P::Permit> {
        let index = self.tier.start + index;
        let instance = self.pool.instance(index);
        let leave = match self.wanted.only {
            Some(only) if only != instance => return None,
            Some(_) | None if self.pool.is_barred(index) => Err(Rejection::Barred),
            None if self.wanted.tried.contains(&instance) => Err(Rejection::AlreadyTried),
            None if self.wanted.trusted && !self.pool.is_trusted(index) => Err(Rejection::Untrusted),
            Some(_) | None => self.pool.gate(index, self.now),
        };
        leave.map_err(|rejection| self.passed_over.add(instance, rejection)).ok()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyTried => f.write_str("tried already"),
            Self::Barred => f.write_str("had a part in the work that is looked at"),
            Self::Unhealthy(state, reason) => write!(f, "{}: {reason}", state.as_str()),
            Self::Ejected { reason, .. } => write!(f, "ejected: {reason}"),
            Self::BreakerOpen { until: Some(_) } => f.write_str("breaker open"),
            Self::BreakerOpen { until: None } => f.write_str("breaker opened by hand"),
            Self::Probing => f.write_str("breaker half-open, all probes under way"),
            Self::Untrusted => f.write_str("breaker not closed"),
            Self::Busy { in_flight, max } => write!(f, "busy: {in_flight} of {max} calls"),
            Self::Bulkhead { wall, most, .. } => {
                write!(f, "{wall} has {most} calls under way, all it may have")
            }
            Self::Rated(over) => write!(f, "{over}"),
            Self::Paused(pause) => write!(f, "{pause}"),
        }
    }
}
