//! How a call went: who was called, who was passed over, what was waited for, and why it ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::pool::Rejection;
use crate::id::{AttemptId, InstanceId};
use crate::outcome::{Answer, Class, Failure, Usage};
use crate::pause::Pause;
use crate::rate::Over;
use crate::retry::{GiveUp, Retry};
use crate::time::Mono;

/// How many passed-over candidates are kept by name; the rest is counted. A page, not a dump of the pool.
const MAX_NAMED: usize = 8;

/// How a call went. Bounded by the retry policy: at most [`super::MAX_SENDS`] sendings a logical attempt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// Every sending, in order.
    pub sent: Vec<Sent>,
    /// The search that was under way when the call ended without one more sending.
    pub unanswered: Option<Search>,
    /// Why the failure was final, if a rule said so.
    pub gave_up: Option<GiveUp>,
}

/// One sending to one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The idempotency key.
    pub key: AttemptId,
    /// Which logical attempt, from 1. Sendings that share it are fail-overs.
    pub attempt: u32,
    /// Who was called.
    pub instance: InstanceId,
    /// When.
    pub started: Mono,
    /// How long it was allowed to take.
    pub timeout: Duration,
    /// The search before it.
    pub search: Search,
    /// From sent to classified; `None` while it is under way.
    pub latency: Option<Duration>,
    /// How it ended, as far as is known: the ledger may have corrected it. `None` while it is under way.
    pub class: Option<Class>,
    /// The failure, unless it succeeded.
    pub failure: Option<Failure>,
    /// What it consumed, if it was answered.
    pub usage: Option<Usage>,
    /// How often the ledger was asked about it.
    pub asked: u32,
    /// The retry that followed.
    pub retried: Option<Retry>,
    /// It is a hedge: made when the sending before it had taken so long.
    pub hedge: Option<Duration>,
}

/// A search for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// How long it waited for one.
    pub waited: Duration,
    /// For what it waited last, if it did.
    pub why: Option<Waiting>,
    /// Whether so many looked unusable then that all that hold a lease were used; see [`crate::panic`].
    pub panicking: bool,
    /// Who was passed over when it last looked: those it looked at. A choice that succeeds looks at one or two.
    pub passed_over: PassedOver,
}

/// The candidates passed over in one look at the pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PassedOver {
    first: Vec<Considered>,
    unhealthy: u32,
    ejected: u32,
    open: u32,
    busy: u32,
    tried: u32,
    paused: u32,
    rated: u32,
    barred: u32,
    /// Where the call would have its turn first, and the rate that it is over there.
    soonest: Option<(InstanceId, Over)>,
    /// Nobody was looked at: others come first.
    behind: bool,
    /// The first pause that was met.
    pause: Option<Arc<Pause>>,
    try_again: Option<Mono>,
}

/// A candidate, and why it was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// Who.
    pub instance: InstanceId,
    /// Why not.
    pub rejection: Rejection,
}

/// What a call waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// An instance: none is registered.
    NoCandidate,
    /// An instance of an agent that had no part in the work it looks at: all that could take it are of those who did.
    NoOtherAgent,
    /// An instance that can take the call: of those registered, so many each could not.
    NonePermitted {
        /// Not healthy.
        unhealthy: u32,
        /// Left out because they do worse than their siblings.
        ejected: u32,
        /// Breaker open or all its probes under way.
        open: u32,
        /// At their limit.
        busy: u32,
    },
    /// Its turn: others came first who wait for a busy instance.
    Line,
    /// The end of a pause: it is all that keeps the call back.
    Paused(Arc<Pause>),
    /// Its turn at a rate: it is all that keeps the call back.
    Turn(Over),
    /// The end of a back-off.
    BackOff,
    /// The time to ask the ledger again, or its answer.
    Ledger,
    /// The end of the attempt under way.
    UnderWay,
}

/// What a ledger says of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Ledger {
    /// It ended like this.
    Ended(Result<Answer, Failure>),
    /// It is still going on.
    Running,
    /// It never arrived, and will be refused if it still does.
    NeverSeen,
    /// It began, and a crash hides how it ended.
    Lost,
    /// The ledger could not be asked.
    Unreachable,
}

impl Record {
    pub(super) fn sent(&mut self, sent: Sent) {
        self.sent.push(sent);
    }

    pub(super) fn is_under_way(&self, place: usize) -> bool {
        self.sent.get(place).is_some_and(|sent| sent.latency.is_none())
    }

    /// The last sending is a hedge.
    pub(super) fn hedge(&mut self, after: Duration) {
        if let Some(sent) = self.sent.last_mut() {
            sent.hedge = Some(after);
        }
    }

    pub(super) fn ended(&mut self, place: usize, ended: &Result<Answer, Failure>, now: Mono) {
        if let Some(sent) = self.sent.get_mut(place) {
            sent.latency = Some(now - sent.started);
            sent.settle(ended);
        }
    }

    pub(super) fn asked(&mut self, answer: &Ledger) {
        if let Some(sent) = self.sent.last_mut() {
            sent.asked += 1;
            if let Ledger::Ended(ended) = answer {
                sent.settle(ended);
            }
        }
    }

    pub(super) fn retried(&mut self, retried: Retry) {
        if let Some(sent) = self.sent.last_mut() {
            sent.retried = Some(retried);
        }
    }
}

impl Sent {
    pub(super) fn new(
        key: AttemptId,
        attempt: u32,
        instance: InstanceId,
        started: Mono,
        timeout: Duration,
        search: Search,
    ) -> Self {
        Self {
            key,
            attempt,
            instance,
            started,
            timeout,
            search,
            latency: None,
            class: None,
            failure: None,
            usage: None,
            asked: 0,
            retried: None,
            hedge: None,
        }
    }

    fn settle(&mut self, ended: &Result<Answer, Failure>) {
        self.class = Some(ended.as_ref().map_or_else(|failure| failure.class, |_| Class::Success));
        self.failure = ended.as_ref().err().cloned();
        self.usage = ended.as_ref().ok().map(|answer| answer.usage);
    }
}

impl PassedOver {
    pub(super) fn add(&mut self, instance: InstanceId, rejection: Rejection) {
        match &rejection {
            Rejection::AlreadyTried => self.tried += 1,
            Rejection::Barred => self.barred += 1,
            Rejection::Unhealthy(..) => self.unhealthy += 1,
            Rejection::Ejected { until, .. } => {
                self.ejected += 1;
                self.try_again = [self.try_again, Some(*until)].into_iter().flatten().min();
            }
            Rejection::BreakerOpen { until } => {
                self.open += 1;
                self.try_again = [self.try_again, *until].into_iter().flatten().min();
            }
            Rejection::Probing | Rejection::Untrusted => self.open += 1,
            Rejection::Busy { .. } => self.busy += 1,
            Rejection::Bulkhead { until, .. } => {
                self.busy += 1;
                self.try_again = [self.try_again, Some(*until)].into_iter().flatten().min();
            }
            Rejection::Rated(over) => {
                self.rated += 1;
                self.try_again = [self.try_again, Some(over.until)].into_iter().flatten().min();
                if self.soonest.as_ref().is_none_or(|(_, soonest)| over.until < soonest.until) {
                    self.soonest = Some((instance, over.clone()));
                }
            }
            Rejection::Paused(pause) => {
                self.paused += 1;
                self.pause.get_or_insert_with(|| Arc::clone(pause));
            }
        }
        if self.first.len() < MAX_NAMED {
            self.first.push(Considered { instance, rejection });
        }
    }

    /// Nobody was looked at: the pause is of them all.
    pub(super) fn all_paused(&mut self, pause: Arc<Pause>) {
        self.pause = Some(pause);
    }

    /// Nobody was looked at: others come first.
    pub(super) fn others_first(&mut self) {
        self.behind = true;
    }

    /// The first few, with their reasons.
    #[must_use]
    pub fn first(&self) -> &[Considered] {
        &self.first
    }

    /// How many were passed over in all.
    #[must_use]
    pub const fn total(&self) -> u32 {
        let held = self.unhealthy + self.ejected + self.open + self.busy;
        held + self.tried + self.paused + self.rated + self.barred
    }

    pub(super) const fn try_again(&self) -> Option<Mono> {
        self.try_again
    }

    /// Where the call would have its turn first, if a rate is all that stands in the way.
    pub(super) fn soonest(&self) -> Option<(InstanceId, &Over)> {
        match self {
            Self { unhealthy: 0, ejected: 0, open: 0, busy: 0, soonest: Some((instance, over)), .. } => {
                Some((*instance, over))
            }
            _ => None,
        }
    }

    /// A rate or a pause is named where it is all that stands in the way: who is busy or recovers may take the call sooner.
    pub(super) fn why_none(&self) -> Waiting {
        if let Some((_, over)) = self.soonest() {
            return Waiting::Turn(over.clone());
        }
        match self {
            Self { behind: true, .. } => Waiting::Line,
            Self { unhealthy: 0, ejected: 0, open: 0, busy: 0, pause: Some(pause), .. } => {
                Waiting::Paused(Arc::clone(pause))
            }
            Self { unhealthy: 0, ejected: 0, open: 0, busy: 0, barred: 1.., .. } => Waiting::NoOtherAgent,
            Self { unhealthy: 0, ejected: 0, open: 0, busy: 0, .. } => Waiting::NoCandidate,
            &Self { unhealthy, ejected, open, busy, .. } => {
                Waiting::NonePermitted { unhealthy, ejected, open, busy }
            }
        }
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.why_none();
        fmt::Display::fmt(&why, f)?;
        if self.rated > 0 && !matches!(why, Waiting::Turn(_)) {
            write!(f, ", {} over their rate", self.rated)?;
        }
        if self.paused > 0 && !matches!(why, Waiting::Paused(_)) {
            write!(f, ", {} paused", self.paused)?;
        }
        Ok(())
    }
}

impl Waiting {
    /// Whether a change of the pool ends the wait: look again then, and not only when time is up.
    #[must_use]
    pub const fn ends_with_pool_change(&self) -> bool {
        match self {
            Self::NoCandidate
            | Self::NoOtherAgent
            | Self::NonePermitted { .. }
            | Self::Line
            | Self::Paused(_)
            | Self::Turn(_) => true,
            Self::BackOff | Self::Ledger | Self::UnderWay => false,
        }
    }

    /// Whether a place that becomes free ends it. It is of no use to a call that waits for its turn, which would only take
    /// the news from another.
    #[must_use]
    pub const fn ends_with_room(&self) -> bool {
        self.ends_with_pool_change() && !matches!(self, Self::Turn(_))
    }

    /// Whether someone is busy, so that whoever comes now must not go first.
    #[must_use]
    pub const fn is_for_room(&self) -> bool {
        matches!(self, Self::NonePermitted { busy: 1.., .. } | Self::Line)
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCandidate => f.write_str("none is registered"),
            Self::NoOtherAgent => f.write_str("only agents that had a part in the work offer to look at it"),
            Self::NonePermitted { unhealthy, ejected, open, busy } => {
                let parts = [
                    (unhealthy, "not healthy"),
                    (ejected, "ejected"),
                    (open, "with an open breaker"),
                    (busy, "busy"),
                ];
                let mut separator = "";
                for (count, what) in parts.into_iter().filter(|(count, _)| **count > 0) {
                    write!(f, "{separator}{count} {what}")?;
                    separator = ", ";
                }
                Ok(())
            }
            Self::Paused(pause) => write!(f, "{pause}"),
            Self::Turn(over) => write!(f, "{over}"),
            Self::Line => f.write_str("its turn among those who wait"),
            Self::BackOff => f.write_str("backing off"),
            Self::Ledger => f.write_str("asking the ledger"),
            Self::UnderWay => f.write_str("under way"),
        }
    }
}
