//! The steps that grow for a verification, told apart from everything else that grows by their names.

use crate::run::state::State;
use crate::workflow::StepId;

/// What a step that grows for a verification is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum Part {
    /// It gives a verdict.
    Verify,
    /// It does the work again.
    Repair,
}

impl Part {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Repair => "repair",
        }
    }
}

/// The name of the step inside the one at `at` that verifies, or repairs, for the `number`th time, from 1.
pub(super) fn id(run: &State, at: usize, part: Part, number: usize) -> Option<StepId> {
    run.name_inside(at, &format!("{}_{number}", part.as_str()))
}

/// What the step at `child` is there for, if it grew for the verification of the one it lies in.
pub(in crate::run) fn part_at(run: &State, child: usize) -> Option<Part> {
    let host = run.inside(child)?;
    part_of(run, host, &run.spec(child).id)
}

pub(super) fn part_of(run: &State, host: usize, child: &StepId) -> Option<Part> {
    let verdicts = run.steps[host].verdicts.len();
    let is = |part| (1..=verdicts + 1).any(|number| id(run, host, part, number).as_ref() == Some(child));
    run.spec(host).verification.as_ref()?;
    [Part::Verify, Part::Repair].into_iter().find(|part| is(*part))
}
