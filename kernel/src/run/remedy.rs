//! What a step that failed falls back on, one remedy after another.
//!
//! A remedy begins as an event of its own, so the record shows what failed, why, and what was done about it. From then on
//! the step is open like one that never called anybody: what it comes to follows from what grew in it, from what a person
//! says, or from the remedy alone. So a crash between any two of these goes on where it was.
//!
//! # What no remedy may do
//! Where the outcome of a side effect is unknown, nobody else is asked to do it, for it may have been done; and nothing
//! stands in for its answer, for that would be to claim one. A person may be asked, or the step fails. An answer that was
//! not taken tells that the work was done: that is not handed on either. A person's no is the last word.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::outcome::{Answer, Began, Class, Failure, OUTCOME_UNKNOWN, Usage};
use crate::run::event::{AttemptRecord, Event};
use crate::run::fold::FoldError;
use crate::run::graft::Graft;
use crate::run::hand_off;
use crate::run::pattern::{self, Progress};
use crate::run::people::Verdict;
use crate::run::state::{State, StepRun, StepState};
use crate::schema::Schema;
use crate::time::Wall;
use crate::workflow::{
    Approve, Below, Call, Confidence, Escalate, Otherwise, Recourse, Remedy, Step, StepId, StepKind, Work,
};

const LOW_CONFIDENCE: &str = "LOW_CONFIDENCE";

/// The remedy that a step has come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remedied {
    /// Its place in the step's list, from 0.
    pub remedy: usize,
    /// What it is a remedy for.
    pub failure: Failure,
    /// The answer that was not good enough, if one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Arc<Answer>>,
}

/// A failure that trying again does not mend.
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// Why it is not tried again, for people.
    pub(super) reason: String,
    pub(super) attempts: Vec<Arc<AttemptRecord>>,
    /// The answer that was not sure enough.
    pub(super) doubtful: Option<Answer>,
    /// Whether the work was done although its answer was not taken, and not to be done twice.
    pub(super) effect_stands: bool,
}

/// An answer, looked at with the step's confidence in mind.
pub(super) enum Assessed {
    /// It goes on.
    Good(Answer),
    /// It does not.
    Doubtful { failure: Failure, answer: Answer },
}

impl Failed {
    /// A failure that no call came to.
    pub(super) const fn uncalled(failure: Failure, reason: String) -> Self {
        Self { failure, reason, attempts: Vec::new(), doubtful: None, effect_stands: false }
    }
}

/// Whether `answer` is as sure as `step` wants it.
pub(super) fn assess(step: &Step, answer: Answer) -> Assessed {
    let Some(Confidence { min_bp, below }) = step.recourse.confidence else { return Assessed::Good(answer) };
    let Some(found) = answer.confidence_bp else {
        return warned(answer, format!("its confidence is not known; {} is wanted", Share(min_bp)));
    };
    if found >= min_bp {
        return Assessed::Good(answer);
    }
    let message = format!("its confidence is {}; {} is wanted", Share(found), Share(min_bp));
    if below == Below::Accept {
        return warned(answer, message);
    }
    let failure =
        Failure { began: Began::Yes, ..hand_off::own(Class::LowConfidence, LOW_CONFIDENCE, message) };
    Assessed::Doubtful { failure, answer }
}

/// An answer that goes on with a word of warning; one read off the record has it already.
fn warned(mut answer: Answer, warning: String) -> Assessed {
    if !answer.warnings.contains(&warning) {
        answer.warnings.push(warning);
    }
    Assessed::Good(answer)
}

/// What follows from a failure that trying again does not mend: the step's next remedy, or its end.
pub(super) fn follows(run: &State, at: usize, failed: Failed, now: Wall) -> Event {
    let Failed { failure, reason, attempts, doubtful, effect_stands } = failed;
    let step = run.spec(at).id.clone();
    let unsure = doubtful.is_some() && failure.class == Class::LowConfidence;
    let Some(remedy) = next(run, at, &failure, unsure, effect_stands) else {
        return Event::StepFailed { step, failure, reason, attempts, effect_stands };
    };
    let until = match &run.spec(at).recourse.remedies[remedy] {
        Remedy::Escalate(Escalate { question, .. }) => Some(now + question.within),
        Remedy::Fallback(_) | Remedy::Default(_) | Remedy::Skip | Remedy::Abort | Remedy::Compensate => None,
    };
    let answer = doubtful.map(Arc::new);
    Event::RemedyBegun { step, remedy, failure, reason, answer, until, attempts }
}

/// The place of the remedy that comes next, if there is one.
fn next(run: &State, at: usize, failure: &Failure, doubtful: bool, effect_stands: bool) -> Option<usize> {
    let Recourse { confidence, remedies, .. } = &run.spec(at).recourse;
    let from = match &run.steps[at].remedied {
        None => 0,
        Some(Remedied { remedy, .. }) if matches!(remedies[*remedy], Remedy::Escalate(_)) => return None,
        Some(Remedied { remedy, .. }) => remedy.saturating_add(1),
    };
    let may_begin = |remedy: &Remedy| match remedy {
        // Without an input there is nothing to hand on.
        Remedy::Fallback(_) => {
            !effect_stands && !is_unknown(run, at, failure) && run.steps[at].input.is_some()
        }
        Remedy::Default(_) => !is_unknown(run, at, failure),
        Remedy::Skip | Remedy::Escalate(_) => true,
        Remedy::Abort | Remedy::Compensate => false,
    };
    let left = || remedies.iter().enumerate().skip(from).filter(|(_, remedy)| may_begin(remedy));
    let wanted = |remedy: &Remedy| match confidence.filter(|_| doubtful).map(|confidence| confidence.below) {
        Some(Below::Fallback) => matches!(remedy, Remedy::Fallback(_)),
        Some(Below::Escalate) => matches!(remedy, Remedy::Escalate(_)),
        Some(Below::Accept | Below::Retry) | None => false,
    };
    left().find(|(_, remedy)| wanted(remedy)).or_else(|| left().next()).map(|(place, _)| place)
}

/// Whether nobody can tell what the step, or one inside it, did to the world.
fn is_unknown(run: &State, at: usize, failure: &Failure) -> bool {
    let unknown = |failure: &Failure| failure.code == OUTCOME_UNKNOWN;
    let inside = |step: &StepRun| step.effect_stands || step.failure.as_ref().is_some_and(unknown);
    unknown(failure) || run.within(at).any(|child| inside(&run.steps[child]))
}

/// What the step at `at` does next, its remedy having begun; `over` once its time is.
pub(super) fn progress(run: &State, at: usize, remedied: &Remedied, over: bool) -> Progress {
    let failed = format!("{}: {}", remedied.failure.code, remedied.failure.message);
    match &run.spec(at).recourse.remedies[remedied.remedy] {
        Remedy::Fallback(call) => fallback(run, at, call, remedied),
        Remedy::Default(value) => {
            pattern::complete(value.clone(), vec![format!("a default stands in: {failed}")])
        }
        Remedy::Escalate(escalate) => escalated(run, at, escalate, remedied, over),
        Remedy::Skip | Remedy::Abort | Remedy::Compensate => {
            pattern::fail(remedied.failure.clone(), "the workflow goes on without it")
        }
    }
}

fn fallback(run: &State, at: usize, call: &Call, remedied: &Remedied) -> Progress {
    let failed = &remedied.failure;
    let Some(id) = fallback_id(run, at, remedied.remedy) else {
        return pattern::fail(failed.clone(), "it lies too deep for another step inside it");
    };
    let Some((_, child)) = run.step(id.as_str()) else {
        let input = run.steps[at].input.clone().unwrap_or_default();
        return Progress::Graft(vec![Graft {
            id,
            work: Work::Call(call.clone()),
            after: Vec::new(),
            input,
            optional: true,
        }]);
    };
    match (child.state, &child.failure) {
        (StepState::Completed, _) => {
            let mut warnings = child.warnings.clone();
            warnings
                .push(format!("`{}` answered instead: {}: {}", call.capability, failed.code, failed.message));
            let output = child.output.clone().unwrap_or_default();
            Progress::Complete(Answer { output, usage: Usage::default(), confidence_bp: None, warnings })
        }
        (StepState::Failed | StepState::Skipped | StepState::Cancelled, cause) => {
            let (code, why, began) = cause.as_ref().map_or(("", "", Began::No), |cause| {
                (cause.code.as_str(), cause.message.as_str(), cause.began)
            });
            let message = format!("{}; `{}` failed as well: {code}: {why}", failed.message, call.capability);
            let began = if began == Began::Unknown { began } else { failed.began };
            let reason = "whom the workflow asks instead failed as well";
            pattern::fail(Failure { message, began, ..failed.clone() }, reason)
        }
        (
            StepState::Pending
            | StepState::Running { .. }
            | StepState::BackingOff { .. }
            | StepState::Gathering { .. },
            _,
        ) => Progress::Wait,
    }
}

/// Whether the step called `id`, inside the one at `at`, is whom that one fell back on.
pub(super) fn is_fallback(run: &State, at: usize, id: &StepId) -> bool {
    let remedies = run.spec(at).recourse.remedies.iter().enumerate();
    let mut fallbacks = remedies.filter(|(_, remedy)| matches!(remedy, Remedy::Fallback(_)));
    fallbacks.any(|(remedy, _)| fallback_id(run, at, remedy).as_ref() == Some(id))
}

/// The name of the step that a fallback is: `quote/fallback`, then `quote/fallback_2`.
fn fallback_id(run: &State, at: usize, remedy: usize) -> Option<StepId> {
    let before = run.spec(at).recourse.remedies.iter().take(remedy);
    match before.filter(|remedy| matches!(remedy, Remedy::Fallback(_))).count() {
        0 => run.name_inside(at, "fallback"),
        others => run.name_inside(at, &format!("fallback_{}", others + 1)),
    }
}

fn escalated(run: &State, at: usize, escalate: &Escalate, remedied: &Remedied, over: bool) -> Progress {
    let question = &escalate.question;
    let failed = &remedied.failure;
    let goes_on = |value: Json, how: String| {
        pattern::complete(value, vec![format!("{how}: {}: {}", failed.code, failed.message)])
    };
    match (run.steps[at].ruling.as_deref(), question.otherwise) {
        (Some(ruling), _) if ruling.verdict == Verdict::Rejected => {
            pattern::fail(pattern::rejection(ruling), "a person said no")
        }
        (Some(ruling), _) => {
            let by = if ruling.by.is_empty() { "a person" } else { &ruling.by };
            let comment =
                if ruling.comment.is_empty() { String::new() } else { format!(" ({})", ruling.comment) };
            let value = ruling.value.clone().unwrap_or_else(|| shown(escalate, remedied));
            goes_on(value, format!("{} by {by}{comment}", ruling.verdict.as_str()))
        }
        (None, _) if !over => Progress::Wait,
        (None, Otherwise::Approve) => goes_on(shown(escalate, remedied), "approved by default".to_owned()),
        (None, Otherwise::Reject) => pattern::fail(pattern::silence(question.within), "silence means no"),
    }
}

/// What a person is shown, and what goes on if they approve it.
fn shown(escalate: &Escalate, remedied: &Remedied) -> Json {
    remedied.answer.as_ref().map_or_else(|| escalate.value.clone(), |answer| answer.output.clone())
}

/// A share, as people write it.
pub(super) struct Share(pub(super) u16);

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 10_000, self.0 % 10_000 / 100)
    }
}

/// What a step asks a person.
pub(super) struct Asking<'a> {
    pub(super) question: &'a Approve,
    /// What is shown.
    pub(super) shown: Json,
    /// What failed, if that is why somebody is asked.
    pub(super) failure: Option<&'a Failure>,
}

impl State {
    /// Whether the step at `at` failed and its workflow goes on as if it were optional.
    pub(super) fn is_passed_over(&self, at: usize) -> bool {
        let remedies = &self.spec(at).recourse.remedies;
        let taken = self.steps[at].remedied.as_ref().map(|remedied| &remedies[remedied.remedy]);
        matches!(taken, Some(Remedy::Skip))
    }

    /// What the step at `at` asks a person, by its kind or because it failed.
    pub(super) fn asking(&self, at: usize) -> Option<Asking<'_>> {
        let (spec, step) = (self.spec(at), &self.steps[at]);
        match (&step.remedied, &spec.kind) {
            (Some(remedied), _) => match &spec.recourse.remedies[remedied.remedy] {
                Remedy::Escalate(escalate) => Some(Asking {
                    question: &escalate.question,
                    shown: shown(escalate, remedied),
                    failure: Some(&remedied.failure),
                }),
                Remedy::Fallback(_)
                | Remedy::Default(_)
                | Remedy::Skip
                | Remedy::Abort
                | Remedy::Compensate => None,
            },
            (None, StepKind::Approve(question)) => {
                Some(Asking { question, shown: step.input.clone().unwrap_or_default(), failure: None })
            }
            (None, _) => None,
        }
    }

    /// The name of a step inside the one at `at` that the workflow inside that may have taken.
    pub(super) fn name_inside(&self, at: usize, name: &str) -> Option<StepId> {
        let mut name = name.to_owned();
        while self.frame(at).is_some_and(|frame| frame.workflow.index_of(&name).is_some()) {
            name.push('_');
        }
        self.spec(at).id.inside(name)
    }

    /// What a step that grows in the one at `inside` has to fall back on: whoever is asked instead must be as sure, and
    /// fails otherwise, unless the step takes what it gets.
    pub(super) fn recourse_inside(&self, inside: usize, id: &StepId) -> Recourse {
        let asked_instead = match self.steps[inside].verifying {
            None => self.steps[inside].remedied.is_some(),
            Some(_) => self.is_repair(inside, id),
        };
        let confidence = self.spec(inside).recourse.confidence.filter(|_| asked_instead);
        let confidence = confidence.map(|confidence| match confidence.below {
            Below::Accept => confidence,
            Below::Retry | Below::Escalate | Below::Fallback => {
                Confidence { below: Below::Retry, ..confidence }
            }
        });
        Recourse { confidence, ..Recourse::default() }
    }

    /// What the answer of a step must meet that grows in the one at `inside`. What whoever is asked instead answers is the
    /// answer of that step, and looked at as such.
    pub(super) fn schema_inside(&self, inside: usize, id: &StepId) -> Schema {
        if let Some(schema) = self.schema_of_verification(inside, id) {
            return schema;
        }
        match &self.steps[inside].remedied {
            Some(_) => Schema::anything(),
            None => self.spec(inside).kind.schema_inside(id.as_str()),
        }
    }

    /// A remedy begins once, in the order of the list, and not before the step's turn.
    pub(super) fn check_remedy(&self, step: &StepId, at: usize, remedy: usize) -> Result<(), FoldError> {
        let begun = self.steps[at].remedied.as_ref().map(|remedied| remedied.remedy);
        let known = self.spec(at).recourse.remedies.get(remedy);
        let known = known.is_some_and(|remedy| !matches!(remedy, Remedy::Abort | Remedy::Compensate));
        let early = self.steps[at].state == StepState::Pending && !self.is_ready(at);
        if !known || begun >= Some(remedy) {
            Err(FoldError::Remedy { step: step.clone() })
        } else if early {
            Err(FoldError::TooEarly { step: step.clone() })
        } else {
            Ok(())
        }
    }
}
