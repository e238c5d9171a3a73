//! Runs, their steps and their events, as clients see them.

use mainstay_kernel::outcome::Usage;
use mainstay_kernel::run::{
    Allowance, AttemptRecord, EndState, Event, Left, Run, StepRun, StepState, Transition, Verdict, Verified,
};
use mainstay_kernel::workflow::{Remedy, Step, StepKind};

use crate::{outcome, pb, time};

impl From<EndState> for pb::RunState {
    fn from(state: EndState) -> Self {
        match state {
            EndState::Completed => Self::Completed,
            EndState::Failed => Self::Failed,
            EndState::Cancelled => Self::Cancelled,
            EndState::TimedOut => Self::TimedOut,
        }
    }
}

impl From<StepState> for pb::StepState {
    fn from(state: StepState) -> Self {
        match state {
            StepState::Pending => Self::Pending,
            StepState::Running { .. } => Self::Running,
            StepState::Gathering { .. } => Self::Gathering,
            StepState::BackingOff { .. } => Self::BackingOff,
            StepState::Completed => Self::Completed,
            StepState::Failed => Self::Failed,
            StepState::Skipped => Self::Skipped,
            StepState::Cancelled => Self::Cancelled,
        }
    }
}

/// Where a run stands: how it ended, or that it has not.
#[must_use]
pub fn state(end: Option<EndState>) -> pb::RunState {
    end.map_or(pb::RunState::Running, Into::into)
}

impl From<&Run> for pb::Run {
    fn from(run: &Run) -> Self {
        let end = run.end.as_ref();
        Self {
            run_id: run.id.to_string(),
            tenant: run.tenant.to_string(),
            workflow: run.workflow.name().to_string(),
            version: run.workflow.version(),
            workflow_hash: run.workflow.hash().to_string(),
            state: state(end.map(|end| end.state)).into(),
            intent: run.intent.to_string(),
            labels: run.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            started_at: Some(time::timestamp(run.started_at)),
            ended_at: end.map(|end| time::timestamp(end.at)),
            deadline: Some(time::timestamp(run.deadline)),
            input: outcome::bytes(&run.input),
            output: end.and_then(|end| end.output.as_ref()).map(outcome::bytes).unwrap_or_default(),
            failure: end.and_then(|end| end.failure.as_ref()).map(Into::into),
            steps: steps(run),
            usage: Some(run.usage.into()),
            last_event: run.last_event,
            resumed_from: run.resumed_from.map(|from| from.to_string()).unwrap_or_default(),
            // Known to the store, not to the run.
            resumed_as: String::new(),
            idempotency_key: run.idempotency_key.as_deref().unwrap_or_default().to_owned(),
            // Who drives it is not on its record.
            parking: None,
            context: run.context.all().iter().map(Into::into).collect(),
            gaps: run.gaps(),
            allowances: run.allowances().into_iter().map(Into::into).collect(),
            undoing: run.undoing.as_ref().map(|undoing| pb::Undoing {
                state: pb::RunState::from(undoing.state).into(),
                until: Some(time::timestamp(undoing.until)),
                not_undone: run.not_undone().into_iter().map(Into::into).collect(),
            }),
        }
    }
}

impl From<Allowance> for pb::Allowance {
    fn from(allowance: Allowance) -> Self {
        Self {
            step_id: allowance.step.unwrap_or_default(),
            limit: allowance.limit.as_str().to_owned(),
            most: allowance.most,
            spent: allowance.spent,
            reserved: allowance.held,
        }
    }
}

impl From<Left> for pb::NotUndone {
    fn from(left: Left) -> Self {
        Self { step_id: left.step.to_string(), why: left.why }
    }
}

/// How far a step is. One that waits for nothing inside it waits for the world outside.
fn step_state(step: &Step, remedy: Option<&Remedy>, state: StepState) -> pb::StepState {
    match (&step.kind, state) {
        (_, StepState::Gathering { .. }) if matches!(remedy, Some(Remedy::Escalate(_))) => {
            pb::StepState::Waiting
        }
        (_, StepState::Gathering { .. }) if remedy.is_some() => pb::StepState::Gathering,
        (StepKind::Wait(_) | StepKind::Approve(_), StepState::Gathering { .. }) => pb::StepState::Waiting,
        _ => state.into(),
    }
}

impl From<Verdict> for pb::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Approved => Self::Approved,
            Verdict::Rejected => Self::Rejected,
            Verdict::Corrected => Self::Corrected,
            Verdict::Clarified => Self::Clarified,
        }
    }
}

/// What was said to a question; nothing if nothing was.
#[must_use]
pub const fn verdict(verdict: pb::Verdict) -> Option<Verdict> {
    match verdict {
        pb::Verdict::Unspecified => None,
        pb::Verdict::Approved => Some(Verdict::Approved),
        pb::Verdict::Rejected => Some(Verdict::Rejected),
        pb::Verdict::Corrected => Some(Verdict::Corrected),
        pb::Verdict::Clarified => Some(Verdict::Clarified),
    }
}

fn steps(run: &Run) -> Vec<pb::Step> {
    let steps = run.each().zip(run.usages());
    steps.map(|((step, state), usage)| view(run, step, state, usage)).collect()
}

fn view(run: &Run, step: &Step, state: &StepRun, usage: Usage) -> pb::Step {
    let call = step.kind.call();
    let remedy = state.remedied.as_ref().and_then(|remedied| step.recourse.remedies.get(remedied.remedy));
    pb::Step {
        id: step.id.to_string(),
        state: step_state(step, remedy, state.state).into(),
        kind: step.kind.as_str().to_owned(),
        capability: call.map(|call| call.capability.to_string()).unwrap_or_default(),
        after: step.after.iter().map(|at| run.spec(*at).id.to_string()).collect(),
        optional: step.optional,
        attempts: state.attempts.iter().map(|record| (&**record).into()).collect(),
        ready_at: state.ready_at.map(time::timestamp),
        started_at: state.started_at.map(time::timestamp),
        ended_at: state.ended_at.map(time::timestamp),
        input: state.input.as_ref().map(outcome::bytes).unwrap_or_default(),
        output: state.output.as_ref().map(outcome::bytes).unwrap_or_default(),
        warnings: state.warnings.clone(),
        failure: state.failure.as_ref().map(Into::into),
        skipped: state.skipped.map(|reason| reason.to_string()).unwrap_or_default(),
        verdicts: state.verdicts.iter().map(|verified| (&**verified).into()).collect(),
        remedy: remedy.map(|remedy| remedy.as_str().to_owned()).unwrap_or_default(),
        usage: (usage != Usage::default()).then(|| usage.into()),
        // Known to whoever makes the call, not to the run.
        waiting: String::new(),
        carried: state.carried.is_some(),
    }
}

impl From<&AttemptRecord> for pb::Attempt {
    fn from(record: &AttemptRecord) -> Self {
        Self {
            attempt_id: record.attempt.to_string(),
            number: record.number,
            agent: record.agent.clone(),
            instance: record.instance.clone(),
            version: record.version.clone(),
            started_at: Some(time::timestamp(record.started_at)),
            duration: Some(time::duration(record.duration)),
            class: pb::OutcomeClass::from(record.class).into(),
            failure: record.failure.as_ref().map(Into::into),
            usage: (record.usage != Usage::default()).then(|| record.usage.into()),
            waited: Some(time::duration(record.waited)),
            notes: record.notes.clone(),
            hedge_after: record.hedge_after.map(time::duration),
        }
    }
}

impl From<&Verified> for pb::Verified {
    fn from(verified: &Verified) -> Self {
        Self {
            verdict: verified.verdict.as_str().to_owned(),
            score: verified.score_bp.map(|score| f64::from(score) / 10_000.0),
            grounds: verified.grounds.clone(),
            by: verified.by.clone(),
        }
    }
}

/// The events of a transition, each with its number. `capability` names what a step calls.
pub fn events<'a>(
    transition: &'a Transition,
    capability: impl Fn(&str) -> String + 'a,
) -> impl Iterator<Item = pb::RunEvent> + 'a {
    let numbers = transition.first_event..;
    numbers.zip(&transition.events).map(move |(number, event)| pb::RunEvent {
        number,
        at: Some(time::timestamp(transition.at)),
        event: Some(self::event(event, &capability)),
    })
}

fn event(event: &Event, capability: &impl Fn(&str) -> String) -> pb::run_event::Event {
    use pb::run_event as wire;
    let attempts =
        |records: &[std::sync::Arc<AttemptRecord>]| records.iter().map(|r| (&**r).into()).collect();
    match event {
        Event::RunStarted { workflow, resumed, .. } => wire::Event::RunStarted(wire::RunStarted {
            workflow: workflow.name.to_string(),
            version: workflow.version,
            resumed_from: resumed.as_ref().map(|resumed| resumed.from.to_string()).unwrap_or_default(),
            carried: resumed.iter().flat_map(|resumed| resumed.ended()).map(ToString::to_string).collect(),
        }),
        Event::StepStarted { step, attempt, .. } => wire::Event::StepStarted(wire::StepStarted {
            step_id: step.to_string(),
            capability: capability(step.as_str()),
            attempt: attempt.number,
            attempt_id: attempt.id.to_string(),
        }),
        Event::StepOpened { step, until, rounds, .. } => wire::Event::StepOpened(wire::StepOpened {
            step_id: step.to_string(),
            until: until.map(time::timestamp),
            rounds: rounds.map_or(0, |rounds| u32::try_from(rounds).unwrap_or(u32::MAX)),
        }),
        Event::StepsGrafted { step, grafts } => {
            let grafted = grafts.iter().map(|graft| wire::GraftedStep {
                step_id: graft.id.to_string(),
                capability: graft.work.call().map(|call| call.capability.to_string()).unwrap_or_default(),
                workflow: graft.work.sub().map(|sub| sub.workflow.to_string()).unwrap_or_default(),
            });
            wire::Event::StepsGrafted(wire::StepsGrafted {
                step_id: step.to_string(),
                steps: grafted.collect(),
            })
        }
        Event::StepInformed { step, finding } => wire::Event::StepInformed(wire::StepInformed {
            step_id: step.to_string(),
            finding: outcome::bytes(&finding.to_json()),
        }),
        Event::PlanAccepted { step, plan } => wire::Event::PlanAccepted(wire::PlanAccepted {
            step_id: step.to_string(),
            plan: plan.to_string(),
        }),
        Event::SignalReceived { name, value } => wire::Event::SignalReceived(wire::SignalReceived {
            signal: name.to_string(),
            value: outcome::bytes(value),
        }),
        Event::StepAnswered { step, answer } => wire::Event::StepAnswered(wire::StepAnswered {
            step_id: step.to_string(),
            verdict: pb::Verdict::from(answer.verdict).into(),
            by: answer.by.clone(),
            comment: answer.comment.clone(),
        }),
        Event::RemedyBegun { step, remedy, failure, reason, until, attempts: records, .. } => {
            wire::Event::RemedyBegun(wire::RemedyBegun {
                step_id: step.to_string(),
                remedy: u32::try_from(*remedy).unwrap_or(u32::MAX).saturating_add(1),
                failure: Some(failure.into()),
                reason: reason.clone(),
                until: until.map(time::timestamp),
                attempts: attempts(records),
            })
        }
        Event::StepCompleted { step, answer, attempts: records } => {
            wire::Event::StepCompleted(wire::StepCompleted {
                step_id: step.to_string(),
                output: outcome::bytes(&answer.output),
                attempts: attempts(records),
                warnings: answer.warnings.clone(),
            })
        }
        Event::VerificationBegun { step, answer, repairs, attempts: records } => {
            wire::Event::VerificationBegun(wire::VerificationBegun {
                step_id: step.to_string(),
                output: outcome::bytes(&answer.output),
                repairs: *repairs,
                attempts: attempts(records),
            })
        }
        Event::VerdictReached { step, verified } => wire::Event::VerdictReached(wire::VerdictReached {
            step_id: step.to_string(),
            verified: Some((&**verified).into()),
        }),
        Event::RepetitionNoticed { step, capability, times } => {
            wire::Event::RepetitionNoticed(wire::RepetitionNoticed {
                step_id: step.to_string(),
                capability: capability.to_string(),
                times: *times,
            })
        }
        Event::AttemptFailed { step, failure, retry_at, reason, attempts: records, .. } => {
            wire::Event::AttemptFailed(wire::AttemptFailed {
                step_id: step.to_string(),
                failure: Some(failure.into()),
                retry_at: Some(time::timestamp(*retry_at)),
                reason: reason.clone(),
                attempts: attempts(records),
            })
        }
        Event::StepFailed { step, failure, attempts: records, .. } => {
            wire::Event::StepFailed(wire::StepFailed {
                step_id: step.to_string(),
                failure: Some(failure.into()),
                attempts: attempts(records),
            })
        }
        Event::StepSkipped { step, reason } => wire::Event::StepSkipped(wire::StepSkipped {
            step_id: step.to_string(),
            reason: reason.to_string(),
        }),
        Event::StepCancelled { step } => {
            wire::Event::StepCancelled(wire::StepCancelled { step_id: step.to_string() })
        }
        Event::UndoBegun { state, failure, until, undos, left, .. } => {
            wire::Event::UndoBegun(wire::UndoBegun {
                state: pb::RunState::from(*state).into(),
                failure: failure.as_ref().map(Into::into),
                until: Some(time::timestamp(*until)),
                undos: undos.iter().map(|undo| undo.id.to_string()).collect(),
                left: left.iter().cloned().map(Into::into).collect(),
            })
        }
        Event::CancelRequested { reason } => {
            wire::Event::CancelRequested(wire::CancelRequested { reason: reason.to_string() })
        }
        Event::RunEnded { state, output, failure, .. } => wire::Event::RunEnded(wire::RunEnded {
            state: pb::RunState::from(*state).into(),
            output: output.as_ref().map(outcome::bytes).unwrap_or_default(),
            failure: failure.as_ref().map(Into::into),
        }),
    }
}
