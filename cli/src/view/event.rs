//! Events of a run, as `run --follow --output json` streams them: one JSON object a line.

use mainstay_proto::pb;
use mainstay_proto::pb::run_event::Event;
use serde::Serialize;

use super::call::{AttemptView, FailureView};
use super::escalation::verdict;
use super::run::{NotUndoneView, RunView, VerifiedView, run_state};
use super::value::{Payload, When};

/// A line of the stream: the events, and at the end the run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LineView<'a> {
    /// An event.
    Event(&'a EventView),
    /// The run as it ended.
    Run(&'a RunView),
}

/// An event. Fields that its kind does not have are left out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EventView {
    /// From 1, without gaps.
    pub number: u64,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<When>,
    /// `run-started`, `step-started`, `step-opened`, `steps-grafted`, `step-answered`, `step-completed`,
    /// `attempt-failed`, `remedy-begun`, `step-failed`, `step-skipped`, `step-cancelled`, `step-informed`,
    /// `verification-begun`, `verdict-reached`, `repetition-noticed`, `plan-accepted`, `signal-received`,
    /// `cancel-requested`, `undo-begun` or `run-ended`.
    pub kind: &'static str,
    /// The step.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// The capability that a started step calls.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub capability: String,
    /// Logical attempt of a started step, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Which item of the failed step's `on_failure` begins, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<u32>,
    /// How often an answer that is verified may go back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repairs: Option<u32>,
    /// How often a step that opened goes round at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounds: Option<u32>,
    /// How often the call of a step was made before by others that grew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// The verdict on an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<VerifiedView>,
    /// State of an ended run, or what a person answered.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Why: of a retry, a skip, an answer or a cancel.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When the next attempt is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<When>,
    /// The steps that grew inside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grafted: Vec<GraftedView>,
    /// The steps that undo what was done, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undos: Vec<String>,
    /// What cannot be undone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_undone: Vec<NotUndoneView>,
    /// What whoever answered wants people to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The run that this one goes on from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resumed_from: String,
    /// The steps that had ended there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<String>,
    /// The signal that came.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signal: String,
    /// Who answered.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The output of a step or run, what a signal carries, what was found, or an accepted plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
    /// The attempts on instances behind it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptView>,
}

/// A step that grew inside another.
#[derive(Debug, Clone, Serialize)]
pub struct GraftedView {
    /// Its id, after that of the step it lies in.
    pub step: String,
    /// The capability it calls; empty if it runs a workflow.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub capability: String,
    /// The workflow it runs, if it runs one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workflow: String,
}

impl From<pb::RunEvent> for EventView {
    fn from(event: pb::RunEvent) -> Self {
        let view = Self {
            number: event.number,
            at: When::of(event.at.as_ref()),
            kind: "unknown",
            ..Self::default()
        };
        let views = |attempts: Vec<pb::Attempt>| attempts.into_iter().map(Into::into).collect();
        match event.event {
            None => view,
            Some(Event::RunStarted(it)) => {
                Self { kind: "run-started", resumed_from: it.resumed_from, carried: it.carried, ..view }
            }
            Some(Event::StepStarted(it)) => Self {
                kind: "step-started",
                step: it.step_id,
                capability: it.capability,
                attempt: Some(it.attempt),
                ..view
            },
            Some(Event::StepOpened(it)) => {
                let rounds = (it.rounds > 0).then_some(it.rounds);
                Self { kind: "step-opened", step: it.step_id, rounds, ..view }
            }
            Some(Event::StepsGrafted(it)) => {
                let view_of = |grafted: pb::run_event::GraftedStep| GraftedView {
                    step: grafted.step_id,
                    capability: grafted.capability,
                    workflow: grafted.workflow,
                };
                let grafted = it.steps.into_iter().map(view_of).collect();
                Self { kind: "steps-grafted", step: it.step_id, grafted, ..view }
            }
            Some(Event::StepInformed(it)) => {
                Self { kind: "step-informed", step: it.step_id, output: Payload::of(&it.finding), ..view }
            }
            Some(Event::PlanAccepted(it)) => Self {
                kind: "plan-accepted",
                step: it.step_id,
                output: Payload::of(it.plan.as_bytes()),
                ..view
            },
            Some(Event::StepCompleted(it)) => Self {
                kind: "step-completed",
                step: it.step_id,
                warnings: it.warnings,
                output: Payload::of(&it.output),
                attempts: views(it.attempts),
                ..view
            },
            Some(Event::VerificationBegun(it)) => Self {
                kind: "verification-begun",
                step: it.step_id,
                repairs: Some(it.repairs),
                output: Payload::of(&it.output),
                attempts: views(it.attempts),
                ..view
            },
            Some(Event::VerdictReached(it)) => Self {
                kind: "verdict-reached",
                step: it.step_id,
                verified: it.verified.map(Into::into),
                ..view
            },
            Some(Event::RepetitionNoticed(it)) => Self {
                kind: "repetition-noticed",
                step: it.step_id,
                capability: it.capability,
                times: Some(it.times),
                ..view
            },
            Some(Event::AttemptFailed(it)) => Self {
                kind: "attempt-failed",
                step: it.step_id,
                failure: it.failure.map(Into::into),
                retry_at: When::of(it.retry_at.as_ref()),
                reason: it.reason,
                attempts: views(it.attempts),
                ..view
            },
            Some(Event::RemedyBegun(it)) => Self {
                kind: "remedy-begun",
                step: it.step_id,
                remedy: Some(it.remedy),
                failure: it.failure.map(Into::into),
                reason: it.reason,
                attempts: views(it.attempts),
                ..view
            },
            Some(Event::StepFailed(it)) => Self {
                kind: "step-failed",
                step: it.step_id,
                failure: it.failure.map(Into::into),
                attempts: views(it.attempts),
                ..view
            },
            Some(Event::StepSkipped(it)) => {
                Self { kind: "step-skipped", step: it.step_id, reason: it.reason, ..view }
            }
            Some(Event::StepCancelled(it)) => Self { kind: "step-cancelled", step: it.step_id, ..view },
            Some(Event::SignalReceived(it)) => {
                Self { kind: "signal-received", signal: it.signal, output: Payload::of(&it.value), ..view }
            }
            Some(Event::StepAnswered(it)) => Self {
                kind: "step-answered",
                step: it.step_id,
                state: verdict(it.verdict),
                by: it.by,
                reason: it.comment,
                ..view
            },
            Some(Event::UndoBegun(it)) => Self {
                kind: "undo-begun",
                state: run_state(it.state),
                failure: it.failure.map(Into::into),
                undos: it.undos,
                not_undone: it.left.into_iter().map(Into::into).collect(),
                ..view
            },
            Some(Event::CancelRequested(it)) => Self { kind: "cancel-requested", reason: it.reason, ..view },
            Some(Event::RunEnded(it)) => Self {
                kind: "run-ended",
                state: run_state(it.state),
                output: Payload::of(&it.output),
                failure: it.failure.map(Into::into),
                ..view
            },
        }
    }
}
