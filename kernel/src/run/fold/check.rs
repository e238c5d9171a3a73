//! What the law of steps cannot see: turns, places, tries, and what lies inside what.

use super::FoldError;
use crate::run::budget::Fit;
use crate::run::event::{Attempt, EndState, SkipReason};
use crate::run::state::{State, StepState};
use crate::time::Wall;
use crate::workflow::StepId;

impl State {
    /// The step's turn, the try's identity, the input. A step in a state that cannot begin is left to the law.
    pub(super) fn check_start(
        &self,
        step: &StepId,
        attempt: Attempt,
        has_input: bool,
        now: Wall,
    ) -> Result<(), FoldError> {
        let at = self.position(step)?;
        let (due, first) = match self.steps[at].state {
            StepState::Pending => (Attempt::first(self.id, step.as_str()), true),
            StepState::BackingOff { next, .. } => (next, false),
            StepState::Running { .. }
            | StepState::Gathering { .. }
            | StepState::Completed
            | StepState::Failed
            | StepState::Skipped
            | StepState::Cancelled => return Ok(()),
        };
        // One that grew was given its input then.
        let lacks_input = first && self.steps[at].input.is_none();
        let spent = !first && self.fit_held(at).is_some();
        if spent || first && !(self.is_ready(at) && self.has_room() && self.fit(at, now) == Fit::Now) {
            Err(FoldError::TooEarly { step: step.clone() })
        } else if attempt != due {
            Err(FoldError::WrongAttempt { step: step.clone() })
        } else if lacks_input != has_input {
            Err(FoldError::WrongInput { step: step.clone() })
        } else {
            Ok(())
        }
    }

    /// A step that calls nobody itself needs no place, only its turn.
    pub(in crate::run) fn check_open(&self, step: &StepId) -> Result<(), FoldError> {
        let at = self.position(step)?;
        let early = self.steps[at].state == StepState::Pending && !self.is_ready(at);
        if early { Err(FoldError::TooEarly { step: step.clone() }) } else { Ok(()) }
    }

    /// A step ends after all that grew in it.
    pub(in crate::run) fn check_inside(&self, step: &StepId) -> Result<(), FoldError> {
        let at = self.position(step)?;
        let open = self.within(at).any(|inside| !self.steps[inside].state.has_ended());
        if open { Err(FoldError::OpenInside { step: step.clone() }) } else { Ok(()) }
    }

    /// A mode or a budget leaves out only what the workflow lets it, when its turn has come.
    pub(super) fn check_skip(&self, step: &StepId, reason: SkipReason, now: Wall) -> Result<(), FoldError> {
        let at = self.position(step)?;
        let spec = self.spec(at);
        // What makes no call of its own needs no place.
        let its_turn = self.is_ready(at) && (spec.kind.is_open() || self.has_room());
        let right = match reason {
            SkipReason::RunEnded | SkipReason::NotNeeded => true,
            SkipReason::Mode(mode) => its_turn && spec.drop_in.is_some_and(|from| mode >= from),
            SkipReason::Budget(over) => {
                self.is_ready(at) && self.may_lack(at) && self.fit(at, now) == Fit::Never(over)
            }
        };
        if right { Ok(()) } else { Err(FoldError::TooEarly { step: step.clone() }) }
    }

    pub(super) fn check_next(&self, step: &StepId, next: Attempt) -> Result<(), FoldError> {
        let StepState::Running { attempt } = self.steps[self.position(step)?].state else { return Ok(()) };
        let follows = |same_key| next == attempt.next(self.id, step.as_str(), same_key);
        if follows(true) || follows(false) {
            Ok(())
        } else {
            Err(FoldError::WrongAttempt { step: step.clone() })
        }
    }

    pub(super) fn check_end(&self, state: EndState) -> Result<(), FoldError> {
        let open = self.steps.iter().any(|step| !step.state.has_ended());
        // Whoever completes has done everything; a failure that was allowed is done too.
        let undone = (0..self.workflow.steps().len()).any(|at| !self.is_settled(at));
        let other = self.undoing.as_ref().is_some_and(|undoing| undoing.state != state);
        if open || other || (state == EndState::Completed && undone) {
            Err(FoldError::OpenSteps)
        } else {
            Ok(())
        }
    }
}
