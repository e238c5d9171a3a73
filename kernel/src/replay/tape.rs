//! What a run was told, read off its journal.

use std::sync::Arc;
use std::time::Duration;

use super::ReplayError;
use super::compare::first_differing;
use crate::effect::EffectClass;
use crate::id::RunId;
use crate::json::Json;
use crate::mode::Mode;
use crate::name::Name;
use crate::outcome::{Answer, Failure};
use crate::retry::budget::Leave;
use crate::run::{
    self, Attempt, AttemptRecord, Call, Event, Finding, Ignored, Input, Ruling, Run, SkipReason, StepState,
    Transition, outstanding,
};
use crate::time::Wall;
use crate::workflow::{Linked, StepId};

/// One transition on record, and what led to it.
pub(super) struct Cue<'j> {
    pub(super) transition: &'j Transition,
    /// The operating mode then, as far as it mattered.
    pub(super) mode: Mode,
    pub(super) word: Word,
    pub(super) effect: EffectClass,
    pub(super) leave: Leave,
    /// The calls that were begun by it.
    pub(super) calls: Vec<Call>,
    /// When the run was to be woken before it.
    wake_at: Option<Wall>,
}

/// What the run was told.
pub(super) enum Word {
    Start,
    Ended { attempt: Attempt, result: Result<Answer, Failure>, attempts: Vec<AttemptRecord> },
    Signal { name: Name, value: Json },
    Answer { step: StepId, ruling: Ruling },
    Found { step: StepId, finding: Finding },
    Cancel { reason: String },
    Woken,
}

/// What a run makes of a cue.
pub(super) enum Told {
    Decided(Transition),
    /// It would have acted before.
    Earlier(Transition),
    Ignored(Ignored),
}

/// Reads a journal: every transition with what the run was told before it.
pub(super) fn read<'j>(
    id: RunId,
    journal: &'j [Transition],
    pinned: &Linked,
) -> Result<Vec<Cue<'j>>, ReplayError> {
    let (first, rest) = journal.split_first().ok_or(ReplayError::Empty)?;
    let mut run = Run::begin(first, pinned.clone(), id)?;
    let mut start = Cue::new(first, Word::Start, None);
    start.calls = begun(first, &run);
    let mut cues = vec![start];
    for transition in rest {
        let mut cue = Cue::new(transition, word(&run, transition), outstanding(&run).wake_at);
        cue.find_what_is_not_on_record(&run);
        run.fold(transition)?;
        cue.calls = begun(transition, &run);
        cues.push(cue);
    }
    Ok(cues)
}

/// What led to `transition`: its first event is the input, written down; one that only settles was woken.
fn word(run: &Run, transition: &Transition) -> Word {
    let Some(first) = transition.events.first() else { return Word::Woken };
    let running = |step: &StepId| match run.step(step.as_str())?.1.state {
        StepState::Running { attempt } => Some(attempt),
        StepState::Pending
        | StepState::BackingOff { .. }
        | StepState::Gathering { .. }
        | StepState::Completed
        | StepState::Failed
        | StepState::Skipped
        | StepState::Cancelled => None,
    };
    let owned = |attempts: &[Arc<AttemptRecord>]| attempts.iter().map(|record| (**record).clone()).collect();
    match first {
        Event::StepCompleted { step, answer, attempts }
        | Event::VerificationBegun { step, answer, attempts, .. } => running(step).map(|attempt| {
            Word::Ended { attempt, result: Ok((**answer).clone()), attempts: owned(attempts) }
        }),
        // Nobody ended it: a budget gave it up.
        Event::StepFailed { attempts, .. } if attempts.is_empty() => None,
        Event::AttemptFailed { step, failure, attempts, .. }
        | Event::StepFailed { step, failure, attempts, .. } => running(step).map(|attempt| {
            // A budget that has no room for another try speaks in place of the one that failed.
            let spoken_for = attempts.last().filter(|_| failure.code == BUDGET_EXHAUSTED);
            let own = spoken_for.and_then(|record| record.failure.as_ref()).unwrap_or(failure);
            Word::Ended { attempt, result: Err(own.clone()), attempts: owned(attempts) }
        }),
        Event::RemedyBegun { step, failure, answer, attempts, .. } => running(step).map(|attempt| {
            // An answer that was not sure enough is on record as it came.
            let result =
                answer.as_ref().map_or_else(|| Err(failure.clone()), |answer| Ok((**answer).clone()));
            Word::Ended { attempt, result, attempts: owned(attempts) }
        }),
        Event::SignalReceived { name, value } => {
            Some(Word::Signal { name: name.clone(), value: value.clone() })
        }
        Event::StepAnswered { step, answer } => {
            Some(Word::Answer { step: step.clone(), ruling: (**answer).clone() })
        }
        Event::StepInformed { step, finding } => {
            Some(Word::Found { step: step.clone(), finding: (**finding).clone() })
        }
        Event::CancelRequested { reason } => Some(Word::Cancel { reason: reason.to_string() }),
        Event::RunStarted { .. }
        | Event::StepStarted { .. }
        | Event::StepOpened { .. }
        | Event::StepsGrafted { .. }
        | Event::PlanAccepted { .. }
        | Event::VerdictReached { .. }
        | Event::RepetitionNoticed { .. }
        | Event::StepSkipped { .. }
        | Event::StepCancelled { .. }
        | Event::UndoBegun { .. }
        | Event::RunEnded { .. } => None,
    }
    .unwrap_or(Word::Woken)
}

/// The calls that `transition` began and that `run` still owes after it.
fn begun(transition: &Transition, run: &Run) -> Vec<Call> {
    let started = |call: &Call| {
        let mut events = transition.events.iter();
        events.any(|event| matches!(event, Event::StepStarted { attempt, .. } if *attempt == call.attempt))
    };
    outstanding(run).calls.into_iter().filter(started).collect()
}

impl<'j> Cue<'j> {
    fn new(transition: &'j Transition, word: Word, wake_at: Option<Wall>) -> Self {
        let mode = transition.events.iter().find_map(|event| {
            let Event::StepSkipped { reason: SkipReason::Mode(mode), .. } = event else { return None };
            Some(*mode)
        });
        Self {
            transition,
            mode: mode.unwrap_or_default(),
            word,
            effect: EffectClass::ReadOnly,
            leave: Leave::Granted { left: 0 },
            calls: Vec::new(),
            wake_at,
        }
    }

    /// When it happened.
    pub(super) const fn at(&self) -> Wall {
        self.transition.at
    }

    /// The input it was; nothing for the start.
    pub(super) fn input(&self) -> Option<Input> {
        match &self.word {
            Word::Start => None,
            Word::Ended { attempt, result, attempts } => Some(Input::AttemptEnded {
                attempt: *attempt,
                effect: self.effect,
                result: result.clone(),
                attempts: attempts.clone(),
            }),
            Word::Signal { name, value } => Some(Input::Signal { name: name.clone(), value: value.clone() }),
            Word::Answer { step, ruling } => {
                Some(Input::Answer { step: step.clone(), ruling: ruling.clone() })
            }
            Word::Found { step, finding } => {
                Some(Input::Found { step: step.clone(), finding: finding.clone() })
            }
            Word::Cancel { reason } => Some(Input::Cancel { reason: reason.clone() }),
            Word::Woken => Some(Input::Woken),
        }
    }

    /// Tells `run` the same. Where it would have acted before, it does that instead.
    pub(super) fn tell(&self, run: &Run) -> Told {
        let wake_at = outstanding(run).wake_at;
        if let Some(wake) = wake_at.filter(|wake| *wake < self.at() && wake_at != self.wake_at) {
            return match run::step(run, Input::Woken, wake, self.mode, |_, _| self.leave) {
                Ok(transition) => Told::Earlier(transition),
                Err(ignored) => Told::Ignored(ignored),
            };
        }
        match self.decide(run) {
            Ok(transition) => Told::Decided(transition),
            Err(ignored) => Told::Ignored(ignored),
        }
    }

    fn decide(&self, run: &Run) -> Result<Transition, Ignored> {
        let input = self.input().unwrap_or(Input::Woken);
        run::step(run, input, self.at(), self.mode, |_, _| self.leave)
    }

    /// Finds the effect class, and what the retry budget said, that lead from `run` to what is on record. Where none does,
    /// the first of each stays: the decision differs, and the comparison will say so.
    fn find_what_is_not_on_record(&mut self, run: &Run) {
        if !matches!(self.word, Word::Ended { .. }) {
            return;
        }
        let first = (self.effect, self.leave);
        for effect in [EffectClass::ReadOnly, EffectClass::Idempotent, EffectClass::SideEffecting] {
            for leave in [Leave::Granted { left: 0 }, Leave::Later { after: self.delay() }, Leave::Refused] {
                (self.effect, self.leave) = (effect, leave);
                // The first event is the one that they decide.
                let as_on_record =
                    |now: Transition| first_differing(&self.transition.events, &now.events, false) != Some(0);
                if self.decide(run).is_ok_and(as_on_record) {
                    return;
                }
            }
        }
        (self.effect, self.leave) = first;
    }

    /// How long the next try waits, on record; for ever if there is none.
    fn delay(&self) -> Duration {
        match self.transition.events.first() {
            Some(Event::AttemptFailed { retry_at, .. }) => retry_at.saturating_since(self.at()),
            Some(_) | None => FOR_EVER,
        }
    }
}

/// The code of a step that a budget has no room for.
const BUDGET_EXHAUSTED: &str = "BUDGET_EXHAUSTED";

/// Beyond every deadline.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
