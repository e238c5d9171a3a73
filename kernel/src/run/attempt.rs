//! What the end of a try means for its step: an answer, another try, or the end of trying.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use crate::dice::Dice;
use crate::effect::EffectClass;
use crate::id::AttemptId;
use crate::outcome::{Answer, Began, Class, Failure, OUTCOME_UNKNOWN};
use crate::retry::budget::Leave;
use crate::retry::{self, GiveUp, Retries, Retry, Verdict};
use crate::run::budget;
use crate::run::event::{Attempt, AttemptRecord, Event};
use crate::run::hand_off;
use crate::run::remedy::{self, Assessed, Failed};
use crate::run::state::{State, StepState};
use crate::run::verify;
use crate::time::Wall;

/// How a try ended; see [`crate::run::Input::AttemptEnded`].
pub(super) struct Ended {
    pub(super) attempt: Attempt,
    pub(super) effect: EffectClass,
    pub(super) result: Result<Answer, Failure>,
    pub(super) attempts: Vec<AttemptRecord>,
}

/// What the end of a try means for its step; nothing if no such try is under way.
pub(super) fn ended(
    run: &State,
    end: Ended,
    now: Wall,
    leave: impl FnOnce(&str, Duration) -> Leave,
) -> Option<Event> {
    let Ended { attempt, effect, result, mut attempts } = end;
    let at = run.steps.iter().position(|step| step.state == StepState::Running { attempt })?;
    let spec = run.spec(at);
    let step = spec.id.clone();
    // A replay has only the refusal of an answer that was not taken; that the agent answered stands in the record of its call.
    let answered = result.is_ok() || attempts.last().is_some_and(|last| last.class == Class::Success);
    for record in &mut attempts {
        let reached = !record.agent.is_empty();
        let began = record.failure.as_ref().is_none_or(|failure| failure.began != Began::No);
        record.side_effecting |= effect == EffectClass::SideEffecting && reached && began;
    }
    let came = result.as_ref().ok().map(|answer| answer.output.clone());
    run.remarks(at, &attempts).into_iter().for_each(|remark| note(&mut attempts, remark));
    let checked = result.and_then(|answer| hand_off::check_output(spec, answer));
    let (mut failure, doubtful) = match checked.map(|answer| remedy::assess(spec, answer)) {
        Ok(Assessed::Good(answer)) if verify::is_due(run, at) => {
            let (answer, repairs) = (Arc::new(answer), verify::repairs(run, at, effect));
            let attempts = shared(attempts);
            return Some(Event::VerificationBegun { step, answer, repairs, attempts });
        }
        Ok(Assessed::Good(answer)) => {
            return Some(Event::StepCompleted { step, answer: Arc::new(answer), attempts: shared(attempts) });
        }
        Ok(Assessed::Doubtful { failure, answer }) => (failure, Some(answer)),
        Err(failure) => (failure, None),
    };
    if let (Some(came), Some(last)) = (came, attempts.last_mut()) {
        last.refused = blake3::Hash::from_bytes(came.digest()).to_hex().to_string();
    }
    let unchanged = has_refused_before(&run.steps[at].attempts, attempts.last());
    // Rolled from the number of the try to come, not from its key: tries under one key must not wait alike.
    let mut dice =
        Dice::for_attempt(AttemptId::derive(run.id, step.as_str(), attempt.number.saturating_add(1)));
    let cut_at = run.cut_at();
    let remaining = cut_at.saturating_since(now);
    let verdict = if answered && effect == EffectClass::Idempotent {
        // The key that the work would be repeated under has this very answer on record.
        Verdict::GiveUp { why: GiveUp::AnswerStands }
    } else if failure.class == Class::LowConfidence && spec.recourse.has_a_way_for_doubt() {
        // The workflow has another way for it.
        Verdict::GiveUp { why: GiveUp::NotRetryable(failure.class) }
    } else {
        let tries =
            attempt.number.saturating_add(hedges(&run.steps[at].attempts)).saturating_add(hedges(&attempts));
        retry::decide(&spec.retry, effect, &failure, tries, remaining, &mut dice)
    };
    let why = match verdict {
        Verdict::Retry { .. } if unchanged => {
            no_progress(&mut failure);
            GiveUp::NoProgress
        }
        Verdict::Retry { after, same_key } if now + after < cut_at => {
            if let Err(over) = run.fit_again(at, &attempts, now) {
                note(&mut attempts, format!("not tried again: {}", over.message));
                let reason = over.message.clone();
                if let Some(last) = attempts.last_mut() {
                    // An answer that was not taken: the step's failure says otherwise, so why stands beside the call.
                    last.failure.get_or_insert_with(|| failure.clone());
                }
                let failure = budget::instead_of_retry(over, &failure);
                let attempts = shared(attempts);
                return Some(Event::StepFailed { step, failure, reason, attempts, effect_stands: false });
            }
            match may_retry(run, &attempts, |agent| leave(agent, remaining)) {
                Ok(Granted { later, .. }) if now + later >= cut_at => GiveUp::DeadlineTooNear,
                Ok(Granted { budget, later }) => {
                    let after = after.max(later);
                    let retry = Retry { after, same_key, remaining, budget };
                    let (class, effect) = (failure.class.as_str(), effect.as_str());
                    let next = attempt.next(run.id, step.as_str(), same_key);
                    let (number, most) = (next.number, spec.retry.max_attempts);
                    let (of_run, cap) = (run.retried.saturating_add(1), run.workflow.max_retries());
                    note(&mut attempts, format!("{retry}; retry {of_run} of {cap} in the run"));
                    return Some(Event::AttemptFailed {
                        step,
                        failure,
                        next,
                        retry_at: now + after,
                        reason: format!("{class} of a {effect} call: attempt {number} of {most} follows"),
                        attempts: shared(attempts),
                    });
                }
                Err(why) => why,
            }
        }
        // The wait is rounded up to whole milliseconds, and that may just reach the deadline.
        Verdict::Retry { .. } => GiveUp::DeadlineTooNear,
        Verdict::AskLedger => {
            // Whoever made the call has asked (see `Input`), so there is nobody left who could know.
            OUTCOME_UNKNOWN.clone_into(&mut failure.code);
            GiveUp::OutcomeUnknown
        }
        Verdict::GiveUp { why } => why,
    };
    note(&mut attempts, format!("not tried again: {why}"));
    // Whoever answered did the work, whatever the answer is worth.
    let refused = matches!(failure.class, Class::ContractBreach | Class::LowConfidence);
    let effect_stands = effect == EffectClass::SideEffecting && refused && failure.began == Began::Yes;
    let failed =
        Failed { effect_stands, failure, reason: why.to_string(), attempts: shared(attempts), doubtful };
    Some(remedy::follows(run, at, failed, now))
}

/// Whether the step did not take this very answer of this agent before. It was given the same then.
fn has_refused_before(before: &[Arc<AttemptRecord>], last: Option<&AttemptRecord>) -> bool {
    let refused = last.filter(|last| !last.refused.is_empty());
    refused.is_some_and(|last| {
        before.iter().any(|before| before.refused == last.refused && before.agent == last.agent)
    })
}

/// Names what stopped: the step is not tried again although it might be.
fn no_progress(failure: &mut Failure) {
    if failure.code != verify::NO_PROGRESS {
        failure.message = format!("the agent gave the very answer again: {}", failure.message);
        verify::NO_PROGRESS.clone_into(&mut failure.code);
    }
}

/// Leave to make a try again.
struct Granted {
    /// What the agent's budget has left, if an agent was reached.
    budget: Option<u32>,
    /// Not before this long.
    later: Duration,
}

/// Leave to make a try again: what the agent's budget has left, if an agent was reached. The run's own rules come first,
/// so that nothing is taken out of the budget in vain; they do not keep what was done from being undone.
fn may_retry(
    run: &State,
    attempts: &[AttemptRecord],
    leave: impl FnOnce(&str) -> Leave,
) -> Result<Granted, GiveUp> {
    if run.retries == Retries::Forbidden && run.undoing.is_none() {
        return Err(GiveUp::Forbidden);
    }
    if run.retried >= run.workflow.max_retries() && run.undoing.is_none() {
        return Err(GiveUp::RunCapReached);
    }
    match attempts.last().filter(|last| !last.agent.is_empty()).map(|last| leave(&last.agent)) {
        None => Ok(Granted { budget: None, later: Duration::ZERO }),
        Some(Leave::Granted { left }) => Ok(Granted { budget: Some(left), later: Duration::ZERO }),
        Some(Leave::Later { after }) => Ok(Granted { budget: Some(0), later: after }),
        Some(Leave::Refused) => Err(GiveUp::BudgetSpent),
    }
}

/// How many of these calls were hedges. Each uses up a try, as a retry does.
fn hedges<R: Borrow<AttemptRecord>>(attempts: &[R]) -> u32 {
    let hedges = attempts.iter().filter(|attempt| (*attempt).borrow().hedge_after.is_some()).count();
    u32::try_from(hedges).unwrap_or(u32::MAX)
}

/// Writes beside the last call of a try what followed from it.
fn note(attempts: &mut [AttemptRecord], text: String) {
    if let Some(last) = attempts.last_mut() {
        last.notes.push(text);
    }
}

fn shared(attempts: Vec<AttemptRecord>) -> Vec<Arc<AttemptRecord>> {
    attempts.into_iter().map(Arc::new).collect()
}
