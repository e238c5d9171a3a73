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
//!
//! # Modes
//! A step that the workflow leaves out in this operating mode is skipped when it would begin, and that is written down. The
//! mode is an argument like the time and nowhere in a run's state: it never changes whether something is due, only what, and
//! a journal that is read in another mode comes to the same run.

use std::sync::Arc;
use std::time::Duration;

use crate::budget::Exhausted;
use crate::effect::EffectClass;
use crate::mode::Mode;
use crate::outcome::Began;
use crate::retry::budget::Leave;
use crate::run::attempt::{Ended, ended};
use crate::run::budget::{self, Fit};
use crate::run::event::{Attempt, EndState, Event, SkipReason, Transition, WorkflowRef};
use crate::run::fold::FoldError;
use crate::run::hand_off;
use crate::run::input::{Ignored, Input, Start, StartError};
use crate::run::inquiry;
use crate::run::pattern::{self, Progress};
use crate::run::people;
use crate::run::remedy::{self, Failed};
use crate::run::repetition;
use crate::run::state::{Run, State, StepState};
use crate::run::undo::{self, Ending};
use crate::run::verify;
use crate::time::Wall;
use crate::workflow::StepId;

/// Starts a run: its first transition.
///
/// # Errors
/// [`StartError`]; nothing has happened then.
pub fn start(start: Start, now: Wall) -> Result<Transition, StartError> {
    let Start { id, tenant, workflow, input, intent, labels, idempotency_key, deadline, .. } = start;
    let Start { retries, chain, priority, mode, estimates, context, resumed, .. } = start;
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
        subs: workflow.subs().iter().map(|sub| WorkflowRef::of(sub)).collect(),
        input,
        intent,
        labels,
        idempotency_key,
        deadline,
        retries,
        chain,
        priority,
        estimates,
        context,
        resumed,
    };
    let first = Transition { first_event: 1, at: now, events: vec![started] };
    let run = Run::begin(&first, workflow, id)?;
    let mut draft = Draft { state: run.state, at: now, mode, events: first.events };
    draft.settle()?;
    Ok(Transition { first_event: 1, at: now, events: draft.events })
}

/// What `input` does to `run` in operating mode `mode`: the next transition, to be folded and written. A try that would be
/// made again asks `leave` of the budget of its agent, named as its record names it, and says how long it could wait; a try
/// that reached no agent costs nothing.
///
/// # Errors
/// [`Ignored`] says why nothing happens.
pub fn step(
    run: &Run,
    input: Input,
    now: Wall,
    mode: Mode,
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
        Input::Cancel { .. } if run.cancel.is_some() || run.undoing.is_some() => None,
        Input::Cancel { reason } => Some(Event::CancelRequested { reason: reason.into() }),
        Input::Signal { name, value } => Some(people::signal(run, name, value)?),
        Input::Answer { step, ruling } => Some(people::answer(run, step, ruling)?),
        Input::Found { step, finding } => Some(inquiry::found(run, step, finding)?),
    };
    if event.is_none() && next_move(run, now).is_none() {
        return Err(Ignored::NothingDue);
    }
    let mut draft = Draft { state: run.state.clone(), at: now, mode, events: Vec::new() };
    if let Some(event) = event {
        draft.record(event)?;
    }
    draft.settle()?;
    Ok(Transition { first_event, at: now, events: draft.events })
}

/// What must be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// Begin the step at this place: everything it waits for has ended and there is room.
    Begin(usize),
    /// Try the step at this place again: its back-off is over.
    Again(usize, Attempt),
    /// Go on with the step at this place, which is open.
    GoOn(usize),
    /// Give up the step at this place: a budget has no room for it, or not any more.
    GiveUp(usize, Exhausted),
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
    /// What was done is undone, or the time for that is over.
    Undone,
}

/// What the state of `run` says must be done now. One thing at a time: each changes the state.
pub(super) fn next_move(run: &State, now: Wall) -> Option<Move> {
    if run.end.is_some() {
        return None;
    }
    if let Some(undoing) = &run.undoing {
        return undo::next_move(run, undoing, now);
    }
    if run.cancel.is_some() {
        return Some(Move::End(Cause::Cancelled));
    }
    if now >= run.deadline {
        return Some(Move::End(Cause::Deadline));
    }
    let (mut active, mut ready, mut again, mut onwards) = (0, None, None, None);
    let (own, mut gathering, mut held_back) = (run.workflow.steps().len(), 0, 0);
    let room = pattern::Room::of(run);
    for (at, (spec, step)) in run.each().enumerate() {
        match step.state {
            // One that lies in another is that one's to judge.
            StepState::Failed if at < own && !run.goes_on_without(at) => {
                return Some(Move::End(Cause::Failed(at)));
            }
            StepState::Gathering { .. } => {
                gathering += 1;
                if onwards.is_none() && pattern::is_due(run, at, now) {
                    onwards = Some(Move::GoOn(at));
                }
            }
            StepState::Pending if onwards.is_none() && run.is_ready(at) => match run.fit(at, now) {
                Fit::Never(over) => onwards = Some(Move::GiveUp(at, over)),
                // It takes nobody's place, and what is set aside is for those that grow in it.
                Fit::Now | Fit::Later if spec.kind.is_open() => onwards = Some(Move::Begin(at)),
                Fit::Now if ready.is_none() && room.has(run, at) => ready = Some(Move::Begin(at)),
                Fit::Now | Fit::Later => held_back += 1,
            },
            StepState::BackingOff { next, until } => {
                active += 1;
                again = again.or((until <= now).then(|| match run.fit_held(at) {
                    Some(over) => Move::GiveUp(at, over),
                    None => Move::Again(at, next),
                }));
            }
            StepState::Running { .. } => active += 1,
            StepState::Pending
            | StepState::Completed
            | StepState::Failed
            | StepState::Skipped
            | StepState::Cancelled => {}
        }
    }
    if let Some((at, over)) = run.overdue(now) {
        return Some(Move::GiveUp(at, over));
    }
    match ready {
        _ if onwards.is_some() => onwards,
        _ if again.is_some() => again,
        Some(_) => ready.filter(|_| active < run.workflow.max_parallel()),
        None => (active + gathering + held_back == 0).then_some(Move::End(Cause::Done)),
    }
}

/// A decision in the making.
struct Draft {
    state: State,
    at: Wall,
    mode: Mode,
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
                Move::GiveUp(at, over) => self.give_up(at, over)?,
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
        if self.state.spec(at).drop_in.is_some_and(|from| self.mode >= from) {
            return self.record(Event::StepSkipped { step, reason: SkipReason::Mode(self.mode) });
        }
        if let Some(noticed) = repetition::notice(&self.state, at) {
            return self.record(noticed);
        }
        let begun = if self.state.spec(at).kind.is_open() {
            pattern::open(&self.state, at).map(|input| {
                let until = pattern::within(&self.state, at).map(|within| self.at + within);
                let rounds = self.state.spec(at).kind.rounds();
                Event::StepOpened { step: step.clone(), input, until, rounds }
            })
        } else {
            hand_off::input(&self.state, at).map(|input| {
                let attempt = Attempt::first(self.state.id, step.as_str());
                let known = self.state.steps[at].input.is_some();
                Event::StepStarted { step: step.clone(), attempt, input: (!known).then_some(input) }
            })
        };
        let event = match begun {
            Ok(event) => event,
            Err(failure) => {
                let reason = "its input could not be made, and trying again would not change that".to_owned();
                remedy::follows(&self.state, at, Failed::uncalled(failure, reason), self.at)
            }
        };
        self.record(event)
    }

    /// Leaves a step out that a budget has no room for, or lets it fail where something must know.
    fn give_up(&mut self, at: usize, over: Exhausted) -> Result<(), FoldError> {
        let step = self.name(at);
        let state = self.state.steps[at].state;
        if state == StepState::Pending && self.state.may_lack(at) {
            return self.record(Event::StepSkipped { step, reason: SkipReason::Budget(over) });
        }
        let under_way = matches!(state, StepState::Running { .. });
        let failure = budget::failure(over, if under_way { Began::Unknown } else { Began::No });
        let reason = "trying again would not change that".to_owned();
        self.record(Event::StepFailed { step, failure, reason, attempts: Vec::new(), effect_stands: false })
    }

    /// Goes on with a step that is open.
    fn go_on(&mut self, at: usize) -> Result<(), FoldError> {
        let step = self.name(at);
        match pattern::next(&self.state, at, self.at) {
            Progress::Wait => Ok(()),
            Progress::Graft(grafts) => {
                let grafts = grafts.into_iter().map(Arc::new).collect();
                self.record(Event::StepsGrafted { step, grafts })
            }
            Progress::Grow(plan) => self.record(Event::PlanAccepted { step, plan }),
            Progress::LetGo(steps) => self.close(steps, SkipReason::NotNeeded),
            Progress::Verdict(verified) => {
                let verified = Arc::new(verified);
                self.record(Event::VerdictReached { step, verified })
            }
            Progress::Complete(answer) => {
                self.close(self.state.within(at).collect(), SkipReason::NotNeeded)?;
                let event = match hand_off::check_output(self.state.spec(at), answer) {
                    Ok(answer) if verify::is_due(&self.state, at) => {
                        let repairs = verify::repairs(&self.state, at, EffectClass::ReadOnly);
                        let (answer, attempts) = (Arc::new(answer), Vec::new());
                        Event::VerificationBegun { step, answer, repairs, attempts }
                    }
                    Ok(answer) => {
                        Event::StepCompleted { step, answer: Arc::new(answer), attempts: Vec::new() }
                    }
                    Err(failure) => {
                        let reason = "what its parts add up to is not what it must be".to_owned();
                        remedy::follows(&self.state, at, Failed::uncalled(failure, reason), self.at)
                    }
                };
                self.record(event)
            }
            Progress::Fail { failure, reason } => {
                self.close(self.state.within(at).collect(), SkipReason::NotNeeded)?;
                let failed = verify::failed(&self.state, at, failure, reason);
                self.record(remedy::follows(&self.state, at, failed, self.at))
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
            Cause::Undone => return self.end_undone(),
        };
        let ending = Ending { state, output, failure, step };
        match undo::begins(&self.state, &ending, self.at) {
            Some(begins) => self.record(begins),
            None => self.record(ending.into()),
        }
    }

    /// Ends as it would have ended, had there been nothing to undo.
    fn end_undone(&mut self) -> Result<(), FoldError> {
        let Some(undoing) = self.state.undoing.clone() else { return Err(FoldError::Undoing) };
        self.close(undoing.undos.clone(), SkipReason::RunEnded)?;
        self.record(undo::ending(&self.state, &undoing).into())
    }
}
