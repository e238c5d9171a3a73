//! The law of steps: which state follows which, and by what.

use crate::run::event::Attempt;
#[cfg(doc)]
use crate::run::event::Event;
use crate::run::resume::Ended;
use crate::run::state::StepState;
use crate::time::Wall;

/// What can happen to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum Happening {
    /// [`Event::StepStarted`].
    Started(Attempt),
    /// [`Event::StepOpened`].
    Opened(Option<Wall>),
    /// [`Event::AttemptFailed`].
    Delayed(Attempt, Wall),
    /// [`Event::RemedyBegun`].
    Remedied(Option<Wall>),
    /// [`Event::VerificationBegun`].
    Verifying,
    /// [`Event::StepCompleted`].
    Completed,
    /// [`Event::StepFailed`].
    Failed,
    /// [`Event::StepSkipped`].
    Skipped,
    /// [`Event::StepCancelled`].
    Cancelled,
    /// In the run before; see [`Event::RunStarted`].
    Carried(Ended),
}

/// The law of steps: the state after `happening`, or nothing if that cannot happen.
pub(in crate::run) const fn next_state(state: StepState, happening: Happening) -> Option<StepState> {
    use Happening as H;
    use StepState as S;
    match (state, happening) {
        (S::Pending | S::BackingOff { .. }, H::Started(attempt)) => Some(S::Running { attempt }),
        (S::Running { .. }, H::Delayed(next, until)) => Some(S::BackingOff { next, until }),
        (S::Pending, H::Opened(until)) => Some(S::Gathering { until }),
        // Pending: its input could not be made. Gathering: what it is made of failed, or the remedy before this one did.
        (S::Pending | S::Running { .. } | S::Gathering { .. }, H::Remedied(until)) => {
            Some(S::Gathering { until })
        }
        (S::Running { .. } | S::Gathering { .. }, H::Verifying) => Some(S::Gathering { until: None }),
        (S::Running { .. } | S::Gathering { .. }, H::Completed) => Some(S::Completed),
        // Pending: its input could not be made, so it was never tried.
        // Backing off: its time was over before its next try.
        (S::Pending | S::Running { .. } | S::BackingOff { .. } | S::Gathering { .. }, H::Failed) => {
            Some(S::Failed)
        }
        (S::Pending, H::Skipped) => Some(S::Skipped),
        (S::Running { .. } | S::BackingOff { .. } | S::Gathering { .. }, H::Cancelled) => Some(S::Cancelled),
        (S::Pending | S::Gathering { .. }, H::Carried(ended)) => Some(ended.state()),
        (S::Pending, H::Delayed(..) | H::Verifying | H::Completed | H::Cancelled)
        | (S::Running { .. }, H::Started(_) | H::Opened(_) | H::Skipped | H::Carried(_))
        | (
            S::BackingOff { .. },
            H::Opened(_)
            | H::Delayed(..)
            | H::Remedied(_)
            | H::Verifying
            | H::Completed
            | H::Skipped
            | H::Carried(_),
        )
        | (S::Gathering { .. }, H::Started(_) | H::Opened(_) | H::Delayed(..) | H::Skipped)
        | (
            S::Completed | S::Failed | S::Skipped | S::Cancelled,
            H::Started(_)
            | H::Opened(_)
            | H::Delayed(..)
            | H::Remedied(_)
            | H::Verifying
            | H::Completed
            | H::Failed
            | H::Skipped
            | H::Cancelled
            | H::Carried(_),
        ) => None,
    }
}

impl Happening {
    /// The word used in errors.
    pub(in crate::run) const fn as_str(self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Opened(_) => "opened",
            Self::Delayed(..) => "delayed",
            Self::Remedied(_) => "remedied",
            Self::Verifying => "verified",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Carried(_) => "carried",
        }
    }
}
