//! What comes from outside while a run goes on: signals, and what people answer.
//!
//! **A signal stays.** It is a fact about the run, set once: whoever waits for it later finds it, so it does not matter
//! which of the two comes first, and a client that does not know whether its word arrived says it again. (Restate's
//! durable promises work so; a queue of signals loses this and gains only an order.) **An answer ends a question.** The
//! first one counts; the same one again changes nothing; another one is told that it came too late.
//!
//! Both are on disk before whoever sent them is told that they were taken.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::expr::Mapping;
use crate::json::Json;
use crate::name::Name;
use crate::outcome::Failure;
use crate::run::event::Event;
use crate::run::fold::FoldError;
use crate::run::frame::View;
use crate::run::hand_off::unmapped;
use crate::run::input::Ignored;
use crate::run::remedy::Asking;
use crate::run::state::{State, StepState};
use crate::schema::Schema;
use crate::time::Wall;
use crate::workflow::{Approve, StepId, StepKind, Until, Wait};

/// Longest comment and name of a person who answers, in bytes: a page, and a name with an address.
pub const MAX_COMMENT: usize = 4_096;
/// Longest name of who answers.
pub const MAX_BY: usize = 256;

/// What a person answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// Yes, no, or otherwise.
    pub verdict: Verdict,
    /// What is to go on instead of what was shown; only of a correction.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::run::event::present"
    )]
    pub value: Option<Json>,
    /// Who answered, in their words: nothing checks it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// What they have to say about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// What may be said to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// What was shown goes on.
    Approved,
    /// It does not; the step fails.
    Rejected,
    /// Something else goes on in its place.
    Corrected,
    /// What was shown goes on, with an explanation for whoever works on it next.
    Clarified,
}

/// A question that waits for a person.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The step that asks.
    pub step: StepId,
    /// The question.
    pub question: String,
    /// What it is about.
    pub shown: Json,
    /// What a correction must meet.
    pub form: Schema,
    /// Whose question it is.
    pub assignee: Option<String>,
    /// Since when it waits.
    pub since: Wall,
    /// When its default holds.
    pub until: Wall,
}

/// The questions that wait for a person, in the order of the steps.
#[must_use]
pub fn asked(run: &State) -> Vec<Asked> {
    run.each()
        .enumerate()
        .filter_map(|(at, (spec, step))| {
            let StepState::Gathering { until } = step.state else { return None };
            let Asking { question: approve, shown, failure } = run.asking(at)?;
            let mut question = question(run, at, &approve.ask).unwrap_or_default();
            if let Some(failure) = failure {
                question = format!("{question} [{}: {}]", failure.code, failure.message).trim().to_owned();
            }
            Some(Asked {
                step: spec.id.clone(),
                question,
                shown,
                form: approve.form.clone(),
                assignee: approve.assignee.clone(),
                since: step.started_at.unwrap_or(run.started_at),
                until: until.unwrap_or(run.deadline).min(run.deadline),
            })
        })
        .collect()
}

/// The question of the step at `at` in words.
pub(super) fn question(run: &State, at: usize, ask: &Mapping) -> Result<String, Failure> {
    let text =
        ask.eval(&View::of(run, at).scope()).map_err(|error| unmapped("the question", &error))?.value();
    Ok(text.as_str().map_or_else(|| text.to_string(), str::to_owned))
}

/// What a signal does to a run.
pub(super) fn signal(run: &State, name: Name, value: Json) -> Result<Event, Ignored> {
    let mut waited_for = false;
    for (waits_for, schema) in signals(run) {
        if *waits_for == name {
            waited_for = true;
            schema.check(&value).map_err(Ignored::SignalBreaks)?;
        }
    }
    if !waited_for {
        let mut known: Vec<String> = signals(run).map(|(name, _)| name.to_string()).collect();
        known.sort_unstable();
        known.dedup();
        return Err(Ignored::NoSuchSignal { known });
    }
    match run.signals.get(&name) {
        None => Ok(Event::SignalReceived { name, value }),
        Some(came) if *came == value => Err(Ignored::Repeated),
        Some(_) => Err(Ignored::SignalCame),
    }
}

/// The signals that steps wait for, each with what its value must meet.
fn signals(run: &State) -> impl Iterator<Item = (&Name, &Schema)> {
    run.workflow.all_steps().filter_map(|step| {
        let StepKind::Wait(Wait { until: Until::Signal { name, schema, .. } }) = &step.kind else {
            return None;
        };
        Some((name, schema))
    })
}

/// What a person's answer does to a run.
pub(super) fn answer(run: &State, step: StepId, ruling: Ruling) -> Result<Event, Ignored> {
    let Some((at, asking)) = run.step(step.as_str()) else { return Err(Ignored::NotAsked { step }) };
    match &asking.ruling {
        Some(given) if **given == ruling => return Err(Ignored::Repeated),
        Some(_) => return Err(Ignored::Answered { step }),
        None if !matches!(asking.state, StepState::Gathering { .. }) => {
            return Err(Ignored::NotAsked { step });
        }
        None => {}
    }
    let Some(Asking { question: Approve { form, .. }, failure, .. }) = run.asking(at) else {
        return Err(Ignored::NotAsked { step });
    };
    match (&ruling.value, ruling.verdict) {
        (Some(value), Verdict::Corrected) => {
            form.check(value).map_err(Ignored::AnswerBreaks)?;
            // What goes on instead of a failed answer is what the answer would have had to be.
            if failure.is_some() {
                run.spec(at).output_schema.check(value).map_err(Ignored::AnswerBreaks)?;
            }
        }
        (None, Verdict::Corrected) => return Err(Ignored::CorrectionMissing),
        (Some(_), Verdict::Approved | Verdict::Rejected | Verdict::Clarified) => {
            return Err(Ignored::CorrectionUnasked);
        }
        (None, Verdict::Approved | Verdict::Rejected | Verdict::Clarified) => {}
    }
    Ok(Event::StepAnswered { step, answer: Arc::new(ruling) })
}

impl State {
    /// Keeps a signal.
    pub(super) fn receive(&mut self, name: &Name, value: &Json) -> Result<(), FoldError> {
        if self.signals.contains_key(name) {
            return Err(FoldError::Signal { name: name.clone() });
        }
        Arc::make_mut(&mut self.signals).insert(name.clone(), value.clone());
        Ok(())
    }

    /// Keeps what a person answered to the step at `at`.
    pub(super) fn answer(&mut self, at: usize, ruling: &Arc<Ruling>) -> Result<(), FoldError> {
        let asks = self.asking(at).is_some();
        let step = &mut self.steps[at];
        if !asks || !matches!(step.state, StepState::Gathering { .. }) || step.ruling.is_some() {
            return Err(FoldError::NotAsked { step: self.spec(at).id.clone() });
        }
        step.ruling = Some(Arc::clone(ruling));
        Ok(())
    }
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 4] = [Self::Approved, Self::Rejected, Self::Corrected, Self::Clarified];

    /// The name used in records and outputs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Corrected => "corrected",
            Self::Clarified => "clarified",
        }
    }
}
