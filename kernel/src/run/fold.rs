//! What each event does to a run: the only place where a run changes.
//!
//! A live run and a run read back from disk go through this very code, so what a test shows of one is true of the other.
//! It trusts nobody: a record may come from a damaged disk or a later version, so whatever may not happen is an error that
//! leaves the run as it was.

use std::sync::Arc;

use crate::id::RunId;
use crate::outcome::Usage;
use crate::run::budget::Ledger;
use crate::run::event::{AttemptRecord, Event, SkipReason, Transition, WorkflowRef};
use crate::run::remedy::Remedied;
use crate::run::state::{End, Run, State, StepRun, StepState};
use crate::run::undo::Undoing;
use crate::time::Wall;
use crate::workflow::{Linked, StepId, StepKind};

mod check;
mod error;
mod law;

pub use self::error::FoldError;
pub(super) use self::law::{Happening, next_state};

impl Run {
    /// The run that `first`, the first record of its journal, began.
    ///
    /// # Errors
    /// [`FoldError`] if `first` is not the start of a run of `workflow`, or what follows in it cannot have happened.
    pub fn begin(first: &Transition, workflow: impl Into<Linked>, id: RunId) -> Result<Self, FoldError> {
        let [start, rest @ ..] = first.events.as_slice() else { return Err(FoldError::Empty) };
        if first.first_event != 1 {
            return Err(FoldError::Gap { expected: 1, found: first.first_event });
        }
        let mut state = State::begin(start, first.at, workflow.into(), id)?;
        for event in rest {
            state.apply(event, first.at)?;
        }
        Ok(Self { state })
    }

    /// Lets `transition` happen.
    ///
    /// # Errors
    /// [`FoldError`] if it cannot have happened; the run is unchanged.
    pub fn fold(&mut self, transition: &Transition) -> Result<(), FoldError> {
        let expected = self.state.last_event.saturating_add(1);
        if transition.first_event != expected {
            return Err(FoldError::Gap { expected, found: transition.first_event });
        }
        if transition.events.is_empty() {
            return Err(FoldError::Empty);
        }
        // All or nothing. The copy shares every payload; it costs less than writing the record did.
        let mut state = self.state.clone();
        for event in &transition.events {
            state.apply(event, transition.at)?;
        }
        self.state = state;
        Ok(())
    }
}

impl State {
    fn begin(start: &Event, at: Wall, workflow: Linked, id: RunId) -> Result<Self, FoldError> {
        let Event::RunStarted {
            tenant,
            workflow: pin,
            subs,
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
        } = start
        else {
            return Err(FoldError::NoStart);
        };
        let mut at_hand = workflow.subs().iter().map(|sub| WorkflowRef::of(sub));
        let other = if *pin == WorkflowRef::of(&workflow) {
            subs.iter().find(|pin| at_hand.next().as_ref() != Some(*pin))
        } else {
            Some(pin)
        };
        if let Some(pin) = other {
            let pinned = format!("{} version {} ({})", pin.name, pin.version, pin.hash);
            return Err(FoldError::OtherWorkflow { pinned });
        }
        let ready =
            |after: &[usize]| StepRun { ready_at: after.is_empty().then_some(at), ..StepRun::PENDING };
        let steps = workflow.steps().iter().map(|step| ready(&step.after)).collect();
        let mut state = Self {
            id,
            tenant: tenant.clone(),
            workflow,
            input: input.clone(),
            intent: intent.clone(),
            labels: labels.clone(),
            idempotency_key: idempotency_key.clone(),
            started_at: at,
            deadline: *deadline,
            steps,
            grafted: Vec::new(),
            frames: Arc::default(),
            signals: Arc::default(),
            cancel: None,
            undoing: None,
            resumed_from: None,
            end: None,
            last_event: 0,
            last_at: at,
            usage: Usage::default(),
            retries: *retries,
            chain: chain.clone(),
            priority: *priority,
            context: context.clone(),
            retried: 0,
            estimates: Arc::clone(estimates),
            books: Ledger::default(),
        };
        if let Some(resumed) = resumed {
            state.carry(resumed, at)?;
        }
        state.last_event = 1;
        Ok(state)
    }

    /// Lets `event` happen. On an error this state may be half changed: work on a copy.
    pub(super) fn apply(&mut self, event: &Event, at: Wall) -> Result<(), FoldError> {
        if self.end.is_some() {
            return Err(FoldError::AfterEnd);
        }
        self.pass(at);
        match event {
            Event::RunStarted { .. } => return Err(FoldError::StartedTwice),
            Event::StepStarted { step, attempt, input } => {
                self.check_start(step, *attempt, input.is_some(), at)?;
                let run = self.advance(step, Happening::Started(*attempt))?;
                run.started_at = run.started_at.or(Some(at));
                if input.is_some() {
                    run.input.clone_from(input);
                }
            }
            Event::StepOpened { step, input, until, .. } => {
                self.check_open(step)?;
                let run = self.advance(step, Happening::Opened(*until))?;
                run.started_at = Some(at);
                run.input = Some(input.clone());
                self.grow_inside(step, at)?;
            }
            Event::StepsGrafted { step, grafts } => {
                let inside = self.position(step)?;
                self.graft(inside, grafts, at)?;
            }
            Event::AttemptFailed { step, failure, next, retry_at, attempts, .. } => {
                self.check_next(step, *next)?;
                let run = self.advance(step, Happening::Delayed(*next, *retry_at))?;
                run.failure = Some(failure.clone());
                self.record(step, attempts)?;
                self.retried = self.retried.saturating_add(1);
            }
            Event::StepCompleted { step, answer, attempts } => {
                self.check_inside(step)?;
                self.check_verified(step)?;
                let run = self.advance(step, Happening::Completed)?;
                run.verifying = None;
                run.output = Some(answer.output.clone());
                run.warnings.clone_from(&answer.warnings);
                run.failure = None;
                let ended = self.record(step, attempts)?;
                self.finish(ended, at);
            }
            Event::RemedyBegun { step, remedy, failure, answer, until, attempts, .. } => {
                self.check_inside(step)?;
                self.check_remedy(step, self.position(step)?, *remedy)?;
                let run = self.advance(step, Happening::Remedied(*until))?;
                run.verifying = None;
                run.started_at = run.started_at.or(Some(at));
                run.failure = Some(failure.clone());
                // The first answer that came is still there to be shown.
                let before = run.remedied.take().and_then(|remedied| remedied.answer);
                let (failure, answer) = (failure.clone(), before.or_else(|| answer.clone()));
                run.remedied = Some(Remedied { remedy: *remedy, failure, answer });
                self.record(step, attempts)?;
            }
            Event::VerificationBegun { step, answer, repairs, attempts } => {
                self.begin_verifying(step, answer, *repairs, attempts)?;
            }
            Event::RepetitionNoticed { step, .. } => self.repeats(step)?,
            Event::VerdictReached { step, verified } => self.reach(step, verified)?,
            Event::StepFailed { step, failure, attempts, effect_stands, .. } => {
                self.check_inside(step)?;
                let run = self.advance(step, Happening::Failed)?;
                run.verifying = None;
                run.failure = Some(failure.clone());
                run.effect_stands = *effect_stands;
                let ended = self.record(step, attempts)?;
                self.finish(ended, at);
            }
            Event::StepSkipped { step, reason } => {
                self.check_skip(step, *reason, at)?;
                self.advance(step, Happening::Skipped)?.skipped = Some(*reason);
                let ended = self.position(step)?;
                self.finish(ended, at);
            }
            Event::StepCancelled { step } => {
                let ended_by = self.last_event.saturating_add(1);
                let run = self.advance(step, Happening::Cancelled)?;
                (run.ended_at, run.ended_by) = (Some(at), Some(ended_by));
            }
            Event::SignalReceived { name, value } => self.receive(name, value)?,
            Event::StepAnswered { step, answer } => {
                let at = self.position(step)?;
                self.answer(at, answer)?;
            }
            Event::StepInformed { step, finding } => {
                let at = self.position(step)?;
                self.inform(at, finding)?;
            }
            Event::PlanAccepted { step, plan } => {
                let host = self.position(step)?;
                self.accept(host, plan, at)?;
            }
            Event::UndoBegun { state, failure, step, until, undos, left } => {
                let (failure, step, left) = (failure.clone(), step.clone(), left.clone());
                let undoing =
                    Undoing { state: *state, failure, step, until: *until, undos: Vec::new(), left };
                self.begin_undoing(undoing, undos, at)?;
            }
            Event::CancelRequested { reason } => {
                if self.cancel.is_some() {
                    return Err(FoldError::CancelledTwice);
                }
                self.cancel = Some(reason.clone());
            }
            Event::RunEnded { state, output, failure, step } => {
                self.check_end(*state)?;
                let (output, failure, step) = (output.clone(), failure.clone(), step.clone());
                self.end = Some(End { state: *state, at, output, failure, step });
            }
        }
        if let Some(step) = event.step().filter(|_| self.workflow.has_budgets()) {
            let place = self.position(step)?;
            self.hold(place);
        }
        self.last_event = self.last_event.saturating_add(1);
        self.last_at = at;
        Ok(())
    }

    pub(super) fn advance(&mut self, step: &StepId, happening: Happening) -> Result<&mut StepRun, FoldError> {
        let at = self.position(step)?;
        let run = &mut self.steps[at];
        run.state = next_state(run.state, happening).ok_or_else(|| FoldError::Illegal {
            step: step.clone(),
            state: run.state.as_str(),
            event: happening.as_str(),
        })?;
        Ok(run)
    }

    /// What grows in a step as it opens: the steps of the workflow it runs.
    pub(super) fn grow_inside(&mut self, step: &StepId, now: Wall) -> Result<(), FoldError> {
        let at = self.position(step)?;
        let StepKind::Sub(sub) = &self.spec(at).kind else { return Ok(()) };
        let workflow = self.workflow.find(sub).cloned();
        let workflow = workflow.ok_or_else(|| FoldError::Graft { step: step.clone() })?;
        self.grow(at, &workflow, now)
    }

    pub(super) fn position(&self, step: &StepId) -> Result<usize, FoldError> {
        self.step(step.as_str())
            .map(|(at, _)| at)
            .ok_or_else(|| FoldError::UnknownStep { step: step.clone() })
    }

    /// Takes down what the calls of a step consumed.
    pub(super) fn record(
        &mut self,
        step: &StepId,
        attempts: &[Arc<AttemptRecord>],
    ) -> Result<usize, FoldError> {
        let at = self.position(step)?;
        self.steps[at].attempts.extend_from_slice(attempts);
        self.settle(at, attempts.iter().map(|attempt| &**attempt));
        self.usage = attempts.iter().fold(self.usage, |total, attempt| total.plus(attempt.usage));
        Ok(at)
    }

    /// A step ended by itself: whoever waited for it and now for nothing else is ready.
    pub(super) fn finish(&mut self, ended: usize, at: Wall) {
        self.steps[ended].ended_at = Some(at);
        self.steps[ended].ended_by = Some(self.last_event.saturating_add(1));
        let ready = self.spec(ended).dependents.iter().copied().filter(|&waiting| self.is_ready(waiting));
        for waiting in ready.collect::<Vec<_>>() {
            self.steps[waiting].ready_at = Some(at);
        }
    }

    /// Whether those who depend on the step at `at` may begin, as far as it is concerned.
    pub(super) fn is_settled(&self, at: usize) -> bool {
        match self.steps[at].state {
            StepState::Completed => true,
            StepState::Failed => self.goes_on_without(at),
            StepState::Skipped => {
                matches!(self.steps[at].skipped, Some(SkipReason::Mode(_) | SkipReason::Budget(_)))
            }
            StepState::Pending
            | StepState::Running { .. }
            | StepState::BackingOff { .. }
            | StepState::Gathering { .. }
            | StepState::Cancelled => false,
        }
    }

    /// Whether everything the step at `at` depends on is settled.
    pub(super) fn is_ready(&self, at: usize) -> bool {
        self.spec(at).after.iter().all(|&before| self.is_settled(before))
    }

    /// Whether another step may begin under the workflow's cap.
    pub(super) fn has_room(&self) -> bool {
        self.active() < self.workflow.max_parallel()
    }
}
