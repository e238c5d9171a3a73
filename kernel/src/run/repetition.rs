//! Noticing that a run does the same over and over.
//!
//! Steps of a workflow were written by a person; those that grow were not. A supervisor that hands the same question to
//! the same worker again is told so by its pattern; but several supervisors, plans and lists in one run, each of which
//! sees only what lies in it, can still go round together. So before a call that grew begins, the run looks whether others
//! that grew made the very same call, and names it once it was made often. It goes on: what bounds it are the rounds, the
//! budget and the number of steps that may grow.

use crate::run::event::Event;
use crate::run::fold::FoldError;
use crate::run::hand_off;
use crate::run::state::{State, StepState};
use crate::workflow::{StepId, StepKind};

/// How often the same call with the same input may be made by steps that grow before it is named: a handful of equal items
/// in a list is common, and says nothing.
pub const MOST_REPETITIONS: usize = 3;

/// The step at `at` is about to begin: names what it repeats, once for each call that is repeated.
pub(super) fn notice(run: &State, at: usize) -> Option<Event> {
    if run.steps[at].repeats || before(run, at) != MOST_REPETITIONS {
        return None;
    }
    let spec = run.spec(at);
    let capability = spec.kind.call()?.capability.clone();
    let times = u32::try_from(MOST_REPETITIONS).unwrap_or(u32::MAX);
    Some(Event::RepetitionNoticed { step: spec.id.clone(), capability, times })
}

/// How many other steps that grew have begun the call that the one at `at` is about to make; nothing for a step of the
/// workflow, or one that makes no call.
fn before(run: &State, at: usize) -> usize {
    let own = run.workflow.steps().len();
    let StepKind::Call(call) = &run.spec(at).kind else { return 0 };
    let others = run.each().enumerate().skip(own).filter(|(other, (spec, step))| {
        let begun = *other != at && step.started_at.is_some();
        begun && matches!(&spec.kind, StepKind::Call(its) if its == call)
    });
    let others: Vec<_> = others.map(|(_, (_, step))| &step.input).collect();
    if at < own || others.len() < MOST_REPETITIONS {
        return 0;
    }
    let Ok(input) = hand_off::input(run, at) else { return 0 };
    others.into_iter().filter(|other| other.as_ref() == Some(&input)).count()
}

impl State {
    /// A repetition is noticed once, before the step begins.
    pub(super) fn repeats(&mut self, step: &StepId) -> Result<(), FoldError> {
        let at = self.position(step)?;
        if self.steps[at].state != StepState::Pending || notice(self, at).is_none() {
            return Err(FoldError::Repetition { step: step.clone() });
        }
        self.steps[at].repeats = true;
        Ok(())
    }
}
