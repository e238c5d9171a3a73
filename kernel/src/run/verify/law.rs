//! What may happen to an answer that is verified.

use std::sync::Arc;

use super::Verifying;
use super::is_due;
use super::part::{Part, part_of};
use super::verdict::{Soundness, Verified};
use crate::outcome::Answer;
use crate::run::event::AttemptRecord;
use crate::run::fold::{FoldError, Happening};
use crate::run::state::State;
use crate::schema::Schema;
use crate::workflow::StepId;

impl State {
    /// What the answer of a step must meet that grows in the one at `inside` for its verification; nothing if it grows for
    /// something else.
    pub(in crate::run) fn schema_of_verification(&self, inside: usize, id: &StepId) -> Option<Schema> {
        let spec = self.spec(inside);
        self.steps[inside].verifying.as_ref()?;
        match part_of(self, inside, id)? {
            Part::Repair => Some(spec.output_schema.clone()),
            Part::Verify => Some(spec.verification.as_ref()?.by.as_ref()?.word.clone()),
        }
    }

    /// Whether the step `id`, which grows in the one at `inside`, does its work again.
    pub(in crate::run) fn is_repair(&self, inside: usize, id: &StepId) -> bool {
        self.steps[inside].verifying.is_some() && part_of(self, inside, id) == Some(Part::Repair)
    }

    /// The answer of a step is verified from now on: where the workflow says so, once.
    pub(in crate::run) fn begin_verifying(
        &mut self,
        step: &StepId,
        answer: &Arc<Answer>,
        repairs: u32,
        attempts: &[Arc<AttemptRecord>],
    ) -> Result<(), FoldError> {
        self.check_inside(step)?;
        let at = self.position(step)?;
        if !is_due(self, at) {
            return Err(FoldError::Verification { step: step.clone() });
        }
        let run = self.advance(step, Happening::Verifying)?;
        run.verifying = Some(Verifying { answer: Arc::clone(answer), repairs, from: run.verdicts.len() });
        run.failure = None;
        self.record(step, attempts)?;
        Ok(())
    }

    /// A verdict is reached on the answer of a step.
    pub(in crate::run) fn reach(&mut self, step: &StepId, verified: &Arc<Verified>) -> Result<(), FoldError> {
        let at = self.position(step)?;
        self.check_verdict(step, at)?;
        self.steps[at].verdicts.push(Arc::clone(verified));
        Ok(())
    }

    /// A verdict is reached on an answer that is being verified, and none follows one that lets it pass.
    fn check_verdict(&self, step: &StepId, at: usize) -> Result<(), FoldError> {
        let reached = &self.steps[at].verdicts;
        let may = self.steps[at].verifying.as_ref().is_some_and(|verifying| {
            let since = reached.get(verifying.from..).unwrap_or_default();
            let refused = since.iter().all(|before| before.verdict == Soundness::Refused);
            refused && since.len() <= usize::try_from(verifying.repairs).unwrap_or(usize::MAX)
        });
        if may { Ok(()) } else { Err(FoldError::Verification { step: step.clone() }) }
    }

    /// An answer that must be verified does not count before it was.
    pub(in crate::run) fn check_verified(&self, step: &StepId) -> Result<(), FoldError> {
        let at = self.position(step)?;
        let passed = match &self.steps[at].verifying {
            None => !is_due(self, at),
            Some(verifying) => {
                let since = self.steps[at].verdicts.get(verifying.from..);
                since.and_then(<[_]>::last).is_some_and(|last| last.verdict.lets_pass())
            }
        };
        if passed { Ok(()) } else { Err(FoldError::Verification { step: step.clone() }) }
    }
}
