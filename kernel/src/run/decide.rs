//! What happens next: the decisions about a run.
//!
//! An input is first written down as what it is; then the run is *settled*: while its state says that something must be
//! done now, that is done. Settling looks at nothing but the state and the time, so it does not matter how a state came
//! about: a start, a result, a timer and a restart after a crash all go on the same way.
//!
//! Every decision is taken on a copy that goes through the same `fold` as the record will, so one that may not happen
//! cannot be written.
//!
//! # In which order
//! A cancel comes before the deadline, the deadline before a failure, a failure before new work: a run never completes
//! after its deadline, not even by an answer that arrives with it, and ends in one state however close two causes are.
//! Among steps that are ready, those that come first in the workflow begin first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::dice::Dice;
use crate::effect::EffectClass;
use crate::id::{AttemptId, RunId};
use crate::json::Json;
use crate::name::Name;
use crate::outcome::{Answer, Failure, OUTCOME_UNKNOWN};
use crate::priority::Priority;
use crate::retry::budget::Leave;
use crate::retry::{self, GiveUp, Retries, Retry, Verdict};
use crate::run::event::{Attempt, AttemptRecord, EndState, Event, SkipReason, Transition, WorkflowRef};
use crate::run::fold::FoldError;
use crate::run::hand_off;
use crate::run::pattern::{self, Progress};
use crate::run::state::{Run, State, StepState};
use crate::schema::Violation;
use crate::time::Wall;
use crate::workflow::{StepId, StepKind, Workflow};

/// A run to be started.
#[derive(Debug, Clone)]
pub struct Start {
    /// Its id.
    pub id: RunId,
    /// Whose it is.
    pub tenant: Name,
    /// What it runs, for good.
    pub workflow: Arc<Workflow>,
    /// What it is given.
    pub input: Json,
    /// What its client wants, in words.
    pub intent: Arc<str>,
    /// Labels of its client's.
    pub labels: Arc<BTreeMap<String, String>>,
    /// The key under which the client may ask for this run again.
    pub idempotency_key: Option<Arc<str>>,
    /// When the client stops waiting; the workflow's own deadline holds if it is sooner.
    pub deadline: Option<Wall>,
    /// Whether its steps may be tried again: not if the run was started for a call whose caller retries.
    pub retries: Retries,
    /// How urgent it is.
    pub priority: Priority,
}

/// Why a run does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The input breaks the workflow's input schema.
    #[error("the input breaks the workflow's input schema: {}", hand_off::list(.0))]
    Input(Vec<Violation>),
    /// There is no time to do anything.
    #[error("the deadline has passed")]
    DeadlinePassed,
    /// A decision broke the journal's own rules: a fault of Mainstay's.
    #[error("the decision may not happen: {0}")]
    Illegal(#[from] FoldError),
}

/// What a run can be told.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A try ended.
    AttemptEnded {
        /// Which.
        attempt: Attempt,
        /// What the call may have done to the world, as the capability declares.
        effect: EffectClass,
        /// How it ended. Whether a side effect happened has been asked of the ledger by now.
        result: Result<Answer, Failure>,
        /// The calls it took.
        attempts: Vec<AttemptRecord>,
    },
    /// The time of [`crate::run::Owed::wake_at`] has come.
    Woken,
    /// Somebody wants it to stop.
    Cancel {
        /// Why, in their words.
        reason: String,
    },
}

/// Why an input changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// The run has ended.
    #[error("the run has ended")]
    RunEnded,
    /// No such try is under way: its result came late, or twice.
    #[error("try {} ({}) is not under way", .0.number, .0.id)]
    Stale(Attempt),
    /// Nothing is due yet.
    #[error("nothing is due yet")]
    NothingDue,
    /// A decision broke the journal's own rules: a fault of Mainstay's.
    #[error("the decision may not happen: {0}")]
    Illegal(#[from] FoldError),
}

/// Starts a run: its first transition.
///
/// # Errors
/// [`StartError`]; nothing has happened then.
pub fn start(start: Start, now: Wall) -> Result<Transition, StartError> {
    let Start { id, tenant, workflow, input, intent, labels, idempotency_key, deadline, retries, priority } =
        start;
    let latest = now + workflow.deadline();
    let deadline = deadline.map_or(latest, |wanted| wanted.min(latest));
    if deadline <= now {
        return Err(StartError::DeadlinePassed);
    }
    workflow.input().check(&input).map_err(StartError::Input)?;
    let reference = WorkflowRef::of(&workflow);
    let started = Event::RunStarted {
        tenant,
        workflow: reference,
        input,
        intent,
        labels,
        idempotency_key,
        deadline,
        retries,
        priority,
    };
    let first = Transition { first_event: 1, at: now, events: vec![started] };
    let run = Run::begin(&first, workflow, id)?;
    let mut draft = Draft { state: run.state, at: now, events: first.events };
    draft.settle()?;
    Ok(Transition { first_event: 1, at: now, events: draft.events })
}

/// What `input` does to `run`: the next transition, to be folded and written. A try that would be made again asks `leave` of
/// the budget of its agent, named as its record names it, and says how long it could wait; a try that reached no agent
/// costs nothing.
///
/// # Errors
/// [`Ignored`] says why nothing happens.
pub fn step(
    run: &Run,
    input: Input,
    now: Wall,
    leave: impl FnOnce(&str, Duration) -> Leave,
) -> Result<Transition, Ignored> {
    if run.end.is_some() {
        return Err(Ignored::RunEnded);
    }
    let first_event = run.last_event.saturating_add(1);
    let event = match input {
        Input::AttemptEnded { attempt, effect, result, attempts } => {
            let end = Ended { attempt, effect, result, attempts };
            Some(ended(run, end, now, leave).ok_or(Ignored::Stale(attempt))?)
        }
        Input::Woken => None,
        // Already asked for, only never carried out: settling does that.
        Input::Cancel { .. } if run.cancel.is_some() => None,
        Input::Cancel { reason } => Some(Event::CancelRequested { reason: reason.into() }),
    };
    if event.is_none() && next_move(run, now).is_none() {
        return Err(Ignored::NothingDue);
    }
    let mut draft = Draft { state: run.state.clone(), at: now, events: Vec::new() };
    if let Some(event) = event {
        draft.record(event)?;
    }
    draft.settle()?;
    Ok(Transition { first_event, at: now, events: draft.events })
}

/// How a try ended; see [`Input::AttemptEnded`].
struct Ended {
    attempt: Attempt,
    effect: EffectClass,
    result: Result<Answer, Failure>,
    attempts: Vec<AttemptRecord>,
}

/// What the end of a try means for its step; nothing if no such try is under way.
fn ended(run: &State, end: Ended, now: Wall, leave: impl FnOnce(&str, Duration) -> Leave) -> Option<Event> {
    let Ended { attempt, effect, result, mut attempts } = end;
    let at = run.steps.iter().position(|step| step.state == StepState::Running { attempt })?;
    let spec = run.spec(at);
    let step = spec.id.clone();
    let answered = result.is_ok();
    let mut failure = match result.and_then(|answer| hand_off::check_output(spec, answer)) {
        Ok(answer) => {
            return Some(Event::StepCompleted { step, answer: Arc::new(answer), attempts: shared(attempts) });
        }
        Err(failure) => failure,
    };
    // Rolled from the number of the try to come, not from its key: tries under one key must not wait alike.
    let mut dice =
        Dice::for_attempt(AttemptId::derive(run.id, step.as_str(), attempt.number.saturating_add(1)));
    let remaining = run.deadline.saturating_since(now);
    let verdict = if answered && effect == EffectClass::Idempotent {
        // The key that the work would be repeated under has this very answer on record.
        Verdict::GiveUp { why: GiveUp::AnswerStands }
    } else {
        retry::decide(&spec.retry, effect, &failure, attempt.number, remaining, &mut dice)
    };
    let why = match verdict {
        Verdict::Retry { after, same_key } if now + after < run.deadline => {
            match may_retry(run, &attempts, |agent| leave(agent, remaining)) {
                Ok(Granted { later, .. }) if now + later >= run.deadline => GiveUp::DeadlineTooNear,
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
    Some(Event::StepFailed { step, failure, reason: why.to_string(), attempts: shared(attempts) })
}

/// Leave to make a try again.
struct Granted {
    /// What the agent's budget has left, if an agent was reached.
    budget: Option<u32>,
    /// Not before this long.
    later: Duration,
}

/// Leave to make a try again: what the agent's budget has left, if an agent was reached. The run's own rules come first,
/// so that nothing is taken out of the budget in vain.
fn may_retry(
    run: &State,
    attempts: &[AttemptRecord],
    leave: impl FnOnce(&str) -> Leave,
) -> Result<Granted, GiveUp> {
    if run.retries == Retries::Forbidden {
        return Err(GiveUp::Forbidden);
    }
    if run.retried >= run.workflow.max_retries() {
        return Err(GiveUp::RunCapReached);
    }
    match attempts.last().filter(|last| !last.agent.is_empty()).map(|last| leave(&last.agent)) {
        None => Ok(Granted { budget: None, later: Duration::ZERO }),
        Some(Leave::Granted { left }) => Ok(Granted { budget: Some(left), later: Duration::ZERO }),
        Some(Leave::Later { after }) => Ok(Granted { budget: Some(0), later: after }),
        Some(Leave::Refused) => Err(GiveUp::BudgetSpent),
    }
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

/// What must be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// Begin the step at this place: everything it waits for has ended and there is room.
    Begin(usize),
    /// Try the step at this place again: its back-off is over.
    Again(usize, Attempt),
    /// Go on with the step at this place, which is made of others.
    GoOn(usize),
    /// End the run.
    End(Cause),
}

/// Why a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Cancelled,
    Deadline,
    /// The critical step at this place failed.
    Failed(usize),
    /// Every step has ended.
    Done,
}

/// What the state of `run` says must be done now. One thing at a time: each changes the state.
pub(super) fn next_move(run: &State, now: Wall) -> Option<Move> {
    if run.end.is_some() {
        return None;
    }
    if run.cancel.is_some() {
        return Some(Move::End(Cause::Cancelled));
    }
    if now >= run.deadline {
        return Some(Move::End(Cause::Deadline));
    }
    let (mut active, mut ready, mut again, mut onwards) = (0, None, None, None);
    let (own, mut gathering) = (run.workflow.steps().len(), 0);
    let room = pattern::Room::of(run);
    for (at, (spec, step)) in run.each().enumerate() {
        match step.state {
            // One that lies in another is that one's to judge.
            StepState::Failed if !spec.optional && at < own => return Some(Move::End(Cause::Failed(at))),
            StepState::Gathering { .. } => {
                gathering += 1;
                if onwards.is_none() && pattern::is_due(run, at, now) {
                    onwards = Some(Move::GoOn(at));
                }
            }
            StepState::Pending if spec.kind.is_made_of_others() && run.is_ready(at) => {
                // It takes nobody's place.
                onwards = onwards.or(Some(Move::Begin(at)));
            }
            StepState::Pending if ready.is_none() && run.is_ready(at) && room.has(run, at) => {
                ready = Some(Move::Begin(at));
            }
            StepState::BackingOff { next, until } => {
                active += 1;
                again = again.or((until <= now).then_some(Move::Again(at, next)));
            }
            StepState::Running { .. } => active += 1,
            StepState::Pending
            | StepState::Completed
            | StepState::Failed
            | StepState::Skipped
            | StepState::Cancelled => {}
        }
    }
    match ready {
        _ if onwards.is_some() => onwards,
        _ if again.is_some() => again,
        Some(_) => ready.filter(|_| active < run.workflow.max_parallel()),
        None => (active + gathering == 0).then_some(Move::End(Cause::Done)),
    }
}

/// A decision in the making.
struct Draft {
    state: State,
    at: Wall,
    events: Vec<Event>,
}

impl Draft {
    fn record(&mut self, event: Event) -> Result<(), FoldError> {
        self.state.apply(&event, self.at)?;
        self.events.push(event);
        Ok(())
    }

    /// Ends because each move takes a step or the run onwards and none ever goes back.
    fn settle(&mut self) -> Result<(), FoldError> {
        while let Some(next) = next_move(&self.state, self.at) {
            match next {
                Move::Begin(at) => self.begin(at)?,
                Move::GoOn(at) => self.go_on(at)?,
                Move::Again(at, attempt) => {
                    let step = self.name(at);
                    self.record(Event::StepStarted { step, attempt, input: None })?;
                }
                Move::End(cause) => self.end(cause)?,
            }
        }
        Ok(())
    }

    fn name(&self, at: usize) -> StepId {
        self.state.spec(at).id.clone()
    }

    fn begin(&mut self, at: usize) -> Result<(), FoldError> {
        let step = self.name(at);
        let begun = match &self.state.spec(at).kind {
            StepKind::Call(_) => hand_off::input(&self.state, at).map(|input| {
                let attempt = Attempt::first(self.state.id, step.as_str());
                let known = self.state.steps[at].input.is_some();
                Event::StepStarted { step: step.clone(), attempt, input: (!known).then_some(input) }
            }),
            StepKind::Map(map) => pattern::open(&self.state, map).map(|input| {
                let until = map.within.map(|within| self.at + within);
                Event::StepOpened { step: step.clone(), input, until }
            }),
        };
        let event = match begun {
            Ok(event) => event,
            Err(failure) => {
                let reason = "its input could not be made, and trying again would not change that".to_owned();
                Event::StepFailed { step, failure, reason, attempts: Vec::new() }
            }
        };
        self.record(event)
    }

    /// Goes on with a step that is made of others.
    fn go_on(&mut self, at: usize) -> Result<(), FoldError> {
        let step = self.name(at);
        match pattern::next(&self.state, at, self.at) {
            Progress::Wait => Ok(()),
            Progress::Graft(grafts) => {
                let grafts = grafts.into_iter().map(Arc::new).collect();
                self.record(Event::StepsGrafted { step, grafts })
            }
            Progress::Complete(answer) => {
                self.close(self.state.within(at).collect(), SkipReason::NotNeeded)?;
                let event = match hand_off::check_output(self.state.spec(at), answer) {
                    Ok(answer) => {
                        Event::StepCompleted { step, answer: Arc::new(answer), attempts: Vec::new() }
                    }
                    Err(failure) => {
                        let reason = "what its parts add up to is not what it must be".to_owned();
                        Event::StepFailed { step, failure, reason, attempts: Vec::new() }
                    }
                };
                self.record(event)
            }
            Progress::Fail { failure, reason } => {
                self.close(self.state.within(at).collect(), SkipReason::NotNeeded)?;
                self.record(Event::StepFailed { step, failure, reason, attempts: Vec::new() })
            }
        }
    }

    /// Cuts off what is under way of these steps, and skips what has not begun.
    fn close(&mut self, steps: Vec<usize>, reason: SkipReason) -> Result<(), FoldError> {
        for at in steps {
            let (step, state) = (self.name(at), self.state.steps[at].state);
            if state.is_active() {
                self.close(self.state.within(at).collect(), reason)?;
                self.record(Event::StepCancelled { step })?;
            } else if !state.has_ended() {
                self.record(Event::StepSkipped { step, reason })?;
            }
        }
        Ok(())
    }

    fn end(&mut self, cause: Cause) -> Result<(), FoldError> {
        self.close((0..self.state.workflow.steps().len()).collect(), SkipReason::RunEnded)?;
        let (state, output, failure, step) = match cause {
            Cause::Cancelled => (EndState::Cancelled, None, Some(hand_off::cancelled(&self.state)), None),
            Cause::Deadline => (EndState::TimedOut, None, Some(hand_off::timed_out(&self.state)), None),
            Cause::Failed(at) => {
                (EndState::Failed, None, Some(hand_off::brought_down(&self.state, at)), Some(self.name(at)))
            }
            Cause::Done => match hand_off::output(&self.state) {
                Ok(output) => (EndState::Completed, Some(output), None, None),
                Err(failure) => (EndState::Failed, None, Some(failure), None),
            },
        };
        self.record(Event::RunEnded { state, output, failure, step })
    }
}
