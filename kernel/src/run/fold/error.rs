//! What may not happen to a run.

use crate::name::Name;
use crate::workflow::StepId;

/// Why events cannot have happened to a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// Events are missing, or there twice.
    #[error("event {expected} should come next, not {found}")]
    Gap {
        /// The number that should come next.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A transition in which nothing happens.
    #[error("the transition has no events")]
    Empty,
    /// The first event is not the run's start.
    #[error("the journal does not begin with the start of a run")]
    NoStart,
    /// A start that is not the first event.
    #[error("the run has started already")]
    StartedTwice,
    /// The run is pinned to another workflow than the one at hand.
    #[error("the run is pinned to {pinned}, which is not the workflow at hand")]
    OtherWorkflow {
        /// What it is pinned to: name, version and hash.
        pinned: String,
    },
    /// The workflow has no such step.
    #[error("the workflow has no step `{step}`")]
    UnknownStep {
        /// The step.
        step: StepId,
    },
    /// The event cannot happen to a step in this state.
    #[error("step `{step}` is {state} and cannot be {event}")]
    Illegal {
        /// The step.
        step: StepId,
        /// Its state.
        state: &'static str,
        /// What is said to have happened to it.
        event: &'static str,
    },
    /// A try that is not the one whose turn it is.
    #[error("the try of step `{step}` is not the one whose turn it is")]
    WrongAttempt {
        /// The step.
        step: StepId,
    },
    /// A first try without an input, or a later one with another.
    #[error("step `{step}` is given its input with its first try and only then")]
    WrongInput {
        /// The step.
        step: StepId,
    },
    /// A step that began before what it depends on had ended, or beyond the workflow's cap.
    #[error("step `{step}` cannot begin yet")]
    TooEarly {
        /// The step.
        step: StepId,
    },
    /// A step that cannot grow there: its name is taken or another's, it waits for one that is not beside it, or there are
    /// too many.
    #[error("step `{step}` cannot grow there")]
    Graft {
        /// The step.
        step: StepId,
    },
    /// A step that ended before those that grew in it.
    #[error("step `{step}` cannot end before those inside it")]
    OpenInside {
        /// The step.
        step: StepId,
    },
    /// A signal that came already, or one too many.
    #[error("signal `{name}` came already, or too many did")]
    Signal {
        /// The signal.
        name: Name,
    },
    /// An answer where nobody was asked, or somebody answered already.
    #[error("step `{step}` asks nothing, or was answered")]
    NotAsked {
        /// The step.
        step: StepId,
    },
    /// Something found out that the step did not ask.
    #[error("step `{step}` asks nothing of the world, or knows already")]
    NotInquired {
        /// The step.
        step: StepId,
    },
    /// A remedy that the step does not have, or that began before.
    #[error("step `{step}` has no such remedy left")]
    Remedy {
        /// The step.
        step: StepId,
    },
    /// An undoing that began before, or while steps had not ended.
    #[error("the run cannot begin to undo what it did")]
    Undoing,
    /// A step that undoes nothing, undoes it twice, or out of its turn.
    #[error("step `{step}` undoes nothing that is to be undone then")]
    Undo {
        /// The step.
        step: StepId,
    },
    /// A repetition that is none, or was noticed already.
    #[error("step `{step}` repeats nothing, or that was noticed")]
    Repetition {
        /// The step.
        step: StepId,
    },
    /// A verdict on what is not verified, or an answer that counts without one.
    #[error("the answer of step `{step}` is not verified so")]
    Verification {
        /// The step.
        step: StepId,
    },
    /// Nobody cancels a run twice.
    #[error("the run was cancelled already")]
    CancelledTwice,
    /// An end while steps have not ended.
    #[error("the run cannot end while steps have not ended")]
    OpenSteps,
    /// Something after the end.
    #[error("the run has ended")]
    AfterEnd,
}
