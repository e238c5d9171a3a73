//! Bugs that are planted, one at a time, to prove that the laws bite. Each is a line of the wiring left out or doubled, as
//! it could happen to the shell; the kernel stays as it is.

use super::laws;

/// A bug, and in which words of [`laws`] it is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A call that timed out keeps its permit.
    PermitLeaked,
    /// A half-open breaker that has all its probes under way lets one more through.
    ProbeNotCounted,
    /// A retry is made although the budget said no.
    BudgetOverdrawn,
    /// A breaker that opens is opened for ever.
    NoWayBack,
    /// A call that found nobody is forgotten.
    CallForgotten,
    /// A repeated sending goes under a key of its own.
    RetryWithoutKey,
    /// The ledger forgets what it said was never seen.
    NoFencing,
    /// A sidecar that refused a call takes a second copy of it.
    RefusalTakenBack,
    /// The ledger does not know what it has done.
    NoLedger,
    /// A late answer is handed on to a caller who has one.
    AnsweredTwice,
    /// A place becomes free and nobody who waits is told.
    LostWakeUp,
    /// The ledger lets work begin before its key is on disk.
    BeganBeforeSync,
    /// A paused instance is called.
    PauseNotAsked,
    /// A call is made without a place behind the bulkheads.
    PlaceNotTaken,
    /// An unhealthy instance is called.
    HealthNotAsked,
    /// A broken connection is taken for one that was never made.
    BrokenTakenForRefused,
    /// A sending that lost to another one keeps its permit.
    LoserKeepsPermit,
    /// A hedge is made although there was no leave.
    HedgeWithoutLeave,
    /// A hedge goes to whoever is on probation.
    HedgeForProbe,
    /// A random choice comes from the operating system.
    ForeignDice,
}

impl Bug {
    pub(crate) const ALL: [(Self, &'static str); 19] = [
        (Self::PermitLeaked, laws::PERMITS),
        (Self::ProbeNotCounted, laws::PROBES),
        (Self::BudgetOverdrawn, laws::BUDGETS),
        (Self::NoWayBack, laws::WAY_BACK),
        (Self::CallForgotten, laws::ONE_ANSWER),
        (Self::RetryWithoutKey, laws::KEYS),
        (Self::NoFencing, laws::ONCE),
        (Self::RefusalTakenBack, laws::ONCE),
        (Self::NoLedger, laws::ONCE),
        (Self::AnsweredTwice, laws::ONE_ANSWER),
        (Self::LostWakeUp, laws::OPEN_DOOR),
        (Self::BeganBeforeSync, laws::ONCE),
        (Self::PauseNotAsked, laws::GATES),
        (Self::PlaceNotTaken, laws::SHARES),
        (Self::HealthNotAsked, laws::GATES),
        (Self::BrokenTakenForRefused, laws::ONCE),
        (Self::LoserKeepsPermit, laws::PERMITS),
        (Self::HedgeWithoutLeave, laws::BUDGETS),
        (Self::HedgeForProbe, laws::HEDGES),
    ];
}
