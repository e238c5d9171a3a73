//! Runs and their steps.

use std::collections::BTreeMap;

use mainstay_proto::pb;
use serde::Serialize;

use super::call::{AttemptView, FailureView, UsageView};
use super::context::PinView;
use super::value::{Payload, Span, When, word};

/// A run. Lists leave out `input`, `output` and `steps`.
#[derive(Debug, Clone, Serialize)]
pub struct RunView {
    /// Its id.
    pub run_id: String,
    /// Whose it is.
    pub tenant: String,
    /// The workflow's name.
    pub workflow: String,
    /// The workflow's version.
    pub version: u32,
    /// Hash of the pinned document.
    pub workflow_hash: String,
    /// `running`, `completed`, `failed`, `cancelled` or `timed-out`.
    pub state: String,
    /// What was asked for, in words.
    pub intent: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<When>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<When>,
    /// When it is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<When>,
    /// From begin to end.
    #[serde(skip_serializing_if = "Option::is_none", rename = "took_ms")]
    pub took: Option<Span>,
    /// What it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Payload>,
    /// What came out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// Why it did not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
    /// Its steps, as the document orders them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepView>,
    /// Sum over all attempts.
    pub usage: UsageView,
    /// What it went on without because a budget did not reach for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<String>,
    /// How its budget stands, and that of its steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budget: Vec<AllowanceView>,
    /// Number of the last event on record.
    pub last_event: u64,
    /// The run that it goes on from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resumed_from: String,
    /// The run that goes on from it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resumed_as: String,
    /// What it undoes before it ends, or has undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undoing: Option<UndoingView>,
    /// The key it was started with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub idempotency_key: String,
    /// What it read of the shared context.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<PinView>,
    /// Why nobody drives it, although it has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<ParkingView>,
}

/// Why nobody drives an open run.
#[derive(Debug, Clone, Serialize)]
pub struct ParkingView {
    /// What happened.
    pub reason: String,
    /// How often it broke what drove it.
    pub falls: u32,
    /// When it did last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<When>,
}

/// What `unpark` answers.
#[derive(Debug, Clone, Serialize)]
pub struct UnparkedView {
    /// The run.
    pub run_id: String,
}

/// How one limit of a budget stands. Money is in 10⁻⁹ US dollars, time in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct AllowanceView {
    /// Whose it is; absent for the run's own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// `usd`, `tokens`, `calls` or `time`.
    pub limit: String,
    /// How much there is.
    pub most: u64,
    /// How much is spent.
    pub spent: u64,
    /// How much is set aside for calls under way.
    pub reserved: u64,
}

impl From<pb::Allowance> for AllowanceView {
    fn from(allowance: pb::Allowance) -> Self {
        let pb::Allowance { step_id, limit, most, spent, reserved } = allowance;
        Self { step: step_id, limit, most, spent, reserved }
    }
}

/// A step of a run.
#[derive(Debug, Clone, Serialize)]
pub struct StepView {
    /// Its id.
    pub id: String,
    /// What it does: `call`, `map`.
    pub kind: String,
    /// The capability it calls.
    pub capability: String,
    /// `pending`, `running`, `gathering`, `backing-off`, `completed`, `failed`, `skipped` or `cancelled`.
    pub state: String,
    /// The steps it waits for.
    pub after: Vec<String>,
    /// Whether the run goes on without it.
    pub optional: bool,
    /// When it could begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<When>,
    /// When its first attempt was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<When>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<When>,
    /// From ready to started, and for an instance before each attempt.
    #[serde(rename = "waited_ms")]
    pub waited: Span,
    /// What its call waits for right now.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub waiting: String,
    /// From started to ended.
    #[serde(skip_serializing_if = "Option::is_none", rename = "took_ms")]
    pub took: Option<Span>,
    /// Its attempts.
    pub attempts: Vec<AttemptView>,
    /// What it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Payload>,
    /// What it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// What whoever answered wants people to know, such as the gaps in a partial answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
    /// Why it never began.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub skipped: String,
    /// What its workflow did about its failure: `fallback`, `default`, `skip` or `escalate`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// Every verdict on its answers, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<VerifiedView>,
    /// Whether it had ended in the run that this one goes on from.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub carried: bool,
    /// What it consumed, with all that was done inside it.
    pub usage: UsageView,
}

/// A run that did not complete and undoes what it did, or has.
#[derive(Debug, Clone, Serialize)]
pub struct UndoingView {
    /// The state it ends in.
    pub state: String,
    /// When it ends, whatever is not undone by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<When>,
    /// What is not undone, and will not be.
    pub not_undone: Vec<NotUndoneView>,
}

/// A step whose effect was not taken back.
#[derive(Debug, Clone, Serialize)]
pub struct NotUndoneView {
    /// The step.
    pub step: String,
    /// Why.
    pub why: String,
}

/// A verdict on a step's answer.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedView {
    /// `passed`, `refused`, `unchanged`, `unavailable` or `unverified`.
    pub verdict: String,
    /// The verifier's score from 0 to 1, if it gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Why.
    pub grounds: Vec<String>,
    /// The agent that gave it; empty where the post-conditions did, or nobody could.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
}

impl From<pb::Verified> for VerifiedView {
    fn from(verified: pb::Verified) -> Self {
        let pb::Verified { verdict, score, grounds, by } = verified;
        Self { verdict, score, grounds, by }
    }
}

/// A list of runs.
#[derive(Debug, Clone, Serialize)]
pub struct RunsView {
    /// Newest first.
    pub runs: Vec<RunView>,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// What `run --detach` answers.
#[derive(Debug, Clone, Serialize)]
pub struct SubmittedView {
    /// The run.
    pub run_id: String,
    /// False if the idempotency key had started this run before.
    pub created: bool,
}

/// What `cancel` answers.
#[derive(Debug, Clone, Serialize)]
pub struct CancelledView {
    /// The run.
    pub run_id: String,
    /// Its state after the cancel.
    pub state: String,
}

impl From<pb::Parking> for ParkingView {
    fn from(parking: pb::Parking) -> Self {
        let pb::Parking { reason, falls, since } = parking;
        Self { reason, falls, since: When::of(since.as_ref()) }
    }
}

impl RunView {
    /// Whether it completed.
    #[must_use]
    pub fn completed(&self) -> bool {
        self.state == "completed"
    }

    /// Where a failure began: the critical step that failed first.
    #[must_use]
    pub fn first_failure(&self) -> Option<&StepView> {
        let failed = self.steps.iter().filter(|step| step.state == "failed" && !step.optional);
        failed.min_by_key(|step| step.ended_at)
    }
}

impl From<pb::NotUndone> for NotUndoneView {
    fn from(left: pb::NotUndone) -> Self {
        Self { step: left.step_id, why: left.why }
    }
}

impl From<pb::Undoing> for UndoingView {
    fn from(undoing: pb::Undoing) -> Self {
        Self {
            state: run_state(undoing.state),
            until: When::of(undoing.until.as_ref()),
            not_undone: undoing.not_undone.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<pb::Run> for RunView {
    fn from(run: pb::Run) -> Self {
        let (started_at, ended_at) = (When::of(run.started_at.as_ref()), When::of(run.ended_at.as_ref()));
        Self {
            run_id: run.run_id,
            tenant: run.tenant,
            workflow: run.workflow,
            version: run.version,
            workflow_hash: run.workflow_hash,
            state: run_state(run.state),
            intent: run.intent,
            labels: run.labels.into_iter().collect(),
            started_at,
            ended_at,
            deadline: When::of(run.deadline.as_ref()),
            took: between(started_at, ended_at),
            input: Payload::of(&run.input),
            output: Payload::of(&run.output),
            failure: run.failure.map(Into::into),
            steps: run.steps.into_iter().map(Into::into).collect(),
            usage: run.usage.unwrap_or_default().into(),
            gaps: run.gaps,
            budget: run.allowances.into_iter().map(Into::into).collect(),
            last_event: run.last_event,
            resumed_from: run.resumed_from,
            resumed_as: run.resumed_as,
            undoing: run.undoing.map(Into::into),
            idempotency_key: run.idempotency_key,
            context: run.context.into_iter().map(Into::into).collect(),
            parked: run.parking.map(Into::into),
        }
    }
}

impl From<pb::Step> for StepView {
    fn from(step: pb::Step) -> Self {
        let [ready_at, started_at, ended_at] =
            [&step.ready_at, &step.started_at, &step.ended_at].map(|at| When::of(at.as_ref()));
        // One that is carried became ready in another run.
        let ready_at = ready_at.filter(|_| !step.carried);
        let attempts: Vec<AttemptView> = step.attempts.into_iter().map(Into::into).collect();
        let for_turn = between(ready_at, started_at).map_or_else(Default::default, |span| span.0);
        let for_instances = attempts.iter().filter_map(|attempt| attempt.waited).map(|span| span.0);
        let waited = Span(for_instances.fold(for_turn, std::time::Duration::saturating_add));
        let state = pb::StepState::try_from(step.state).ok().map(|state| state.as_str_name());
        Self {
            id: step.id,
            kind: step.kind,
            warnings: step.warnings,
            capability: step.capability,
            state: word(state, "STEP_STATE_"),
            after: step.after,
            optional: step.optional,
            ready_at,
            started_at,
            ended_at,
            waited,
            waiting: step.waiting,
            took: between(started_at, ended_at),
            attempts,
            input: Payload::of(&step.input),
            output: Payload::of(&step.output),
            failure: step.failure.map(Into::into),
            skipped: step.skipped,
            remedy: step.remedy,
            verdicts: step.verdicts.into_iter().map(Into::into).collect(),
            carried: step.carried,
            usage: step.usage.unwrap_or_default().into(),
        }
    }
}

/// The word of a run's state.
#[must_use]
pub fn run_state(state: i32) -> String {
    word(pb::RunState::try_from(state).ok().map(|state| state.as_str_name()), "RUN_STATE_")
}

fn between(from: Option<When>, to: Option<When>) -> Option<Span> {
    Some(to?.since(from?))
}
