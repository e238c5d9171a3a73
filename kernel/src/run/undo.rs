//! Undoing what a run did before it failed.
//!
//! A workflow cannot be rolled back: what an agent did is done. What can be had is what Garcia-Molina and Salem call a
//! *saga* (SIGMOD 1987): each step says what takes its effect back, and a run that does not complete does those, the last
//! effect first. Here they are steps of their own, grown inside the step they undo (`book/undo`), each waiting for the one
//! before it. So an undo has keys, tries and a ledger like any other call, and a crash in the middle of undoing goes on
//! where it was.
//!
//! It begins when everything else has ended, and only then does the run end: in the state it had come to, once. Undoing has
//! a time of its own, counted from there, and nothing stops it before: not the run's deadline and not a second cancel. What
//! cannot be undone is left and named, and the undos before it go on: a room that cannot be given back is no reason to
//! keep the flight.
//!
//! Steps lie in steps, and an effect is taken back once. A step that is undone speaks for all that lies in it; one that
//! did not complete leaves that to those in it that know how, and is only in question if one of them does not.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::budget::Limits;
use crate::expr::Mapping;
use crate::json::Json;
use crate::outcome::{Began, Class, Failure, OUTCOME_UNKNOWN};
use crate::run::decide::{Cause, Move};
use crate::run::event::{EndState, Event};
use crate::run::fold::FoldError;
use crate::run::frame::View;
use crate::run::graft::Grafted;
use crate::run::pattern;
use crate::run::state::{State, StepRun, StepState};
use crate::schema::Schema;
use crate::time::Wall;
use crate::workflow::{Compensate, Recourse, Remedy, Step, StepId, StepKind};

/// A run that is undoing what it did, or has.
#[derive(Debug, Clone, PartialEq)]
pub struct Undoing {
    /// In which state it ends.
    pub state: EndState,
    /// Why it does not complete.
    pub failure: Option<Failure>,
    /// The step that brought it down, if one did.
    pub step: Option<StepId>,
    /// When it ends, whatever is not undone by then.
    pub until: Wall,
    /// The places of the steps that undo, in their order.
    pub undos: Vec<usize>,
    /// What was left from the beginning.
    pub left: Vec<Left>,
}

/// A step to be undone, as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    /// The step that undoes, inside the one that is undone.
    pub id: StepId,
    /// What its agent is given.
    pub input: Json,
}

/// A step whose effect was not taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The step.
    pub step: StepId,
    /// Why, for people.
    pub why: String,
}

/// How a run is about to end.
pub(super) struct Ending {
    pub(super) state: EndState,
    pub(super) output: Option<Json>,
    pub(super) failure: Option<Failure>,
    pub(super) step: Option<StepId>,
}

/// What a step did to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing that could be undone.
    None,
    Happened,
    /// Nobody can say.
    Unknown,
}

/// The undoing that must come before `ending`, if anything is to be undone.
pub(super) fn begins(run: &State, ending: &Ending, now: Wall) -> Option<Event> {
    let compensation = run.workflow.compensation();
    if run.undoing.is_some() || !(compensation.applies(ending.state) || is_forced(run, ending)) {
        return None;
    }
    let mut done: Vec<(usize, &Compensate, Effect)> = (run.each().enumerate())
        .filter_map(|(at, (spec, _))| Some((at, spec.recourse.compensate.as_deref()?, effect(run, at))))
        .filter(|(at, _, effect)| *effect != Effect::None && !is_covered(run, *at))
        .collect();
    if done.is_empty() {
        return None;
    }
    done.sort_by_key(|(at, ..)| std::cmp::Reverse(run.steps[*at].turn()));
    let (mut undos, mut left) = (Vec::new(), Vec::new());
    for (at, compensate, effect) in done {
        let step = run.spec(at).id.clone();
        match undo(run, at, compensate, effect) {
            Ok(undo) => undos.push(Arc::new(undo)),
            Err(why) => left.push(Left { step, why }),
        }
    }
    let Ending { state, failure, step, .. } = ending;
    let (failure, step) = (failure.clone(), step.clone());
    Some(Event::UndoBegun { state: *state, failure, step, until: now + compensation.within(), undos, left })
}

/// How a run ends whose undoing is over.
pub(super) fn ending(run: &State, undoing: &Undoing) -> Ending {
    let Undoing { state, failure, step, .. } = undoing.clone();
    let left: Vec<String> = run.not_undone().iter().map(ToString::to_string).collect();
    let failure = failure.map(|failure| {
        let message = match &left[..] {
            [] => failure.message,
            left => format!("{}; not undone: {}", failure.message, left.join("; ")),
        };
        Failure { message, ..failure }
    });
    Ending { state, output: None, failure, step }
}

/// What must be done now, one undo after another.
pub(super) fn next_move(run: &State, undoing: &Undoing, now: Wall) -> Option<Move> {
    if now >= undoing.until {
        return Some(Move::End(Cause::Undone));
    }
    for &at in &undoing.undos {
        match run.steps[at].state {
            StepState::Pending => return Some(Move::Begin(at)),
            StepState::BackingOff { next, until } => return (until <= now).then_some(Move::Again(at, next)),
            StepState::Running { .. } | StepState::Gathering { .. } => return None,
            StepState::Completed | StepState::Failed | StepState::Skipped | StepState::Cancelled => {}
        }
    }
    Some(Move::End(Cause::Undone))
}

/// Whether the step that failed the run, or one inside it, wants it undone whatever the workflow says.
fn is_forced(run: &State, ending: &Ending) -> bool {
    let Some((at, _)) = ending.step.as_ref().and_then(|step| run.step(step.as_str())) else { return false };
    let forces = |at: usize| {
        let remedies = &run.spec(at).recourse.remedies;
        run.steps[at].state == StepState::Failed && matches!(remedies.last(), Some(Remedy::Compensate))
    };
    let lies_in_it = |inner: usize| pattern::around(run, inner).any(|host| host == at);
    forces(at) || (at + 1..run.steps.len()).any(|inner| forces(inner) && lies_in_it(inner))
}

/// Whether a step around the one at `at` is undone, and with it what that one did.
fn is_covered(run: &State, at: usize) -> bool {
    pattern::around(run, at).any(|host| run.spec(host).recourse.compensate.is_some() && is_undone(run, host))
}

/// Whether the step at `at`, which says how, is to be undone.
fn is_undone(run: &State, at: usize) -> bool {
    match effect(run, at) {
        Effect::None => false,
        Effect::Happened => true,
        Effect::Unknown => (run.spec(at).recourse.compensate.as_ref()).is_some_and(|how| how.when_unknown),
    }
}

fn undo(run: &State, at: usize, compensate: &Compensate, effect: Effect) -> Result<Undo, String> {
    if effect == Effect::Unknown && !compensate.when_unknown {
        let partly = run.within(at).next().is_some() && inside(run, at) != Effect::None;
        let why = if partly {
            "it did a part of what it does"
        } else {
            "nobody can tell whether its effect happened"
        };
        return Err(why.to_owned());
    }
    let id = run.name_inside(at, "undo").ok_or("it lies too deep for a step that undoes it")?;
    let input = compensate.input.eval(&View::of(run, at).scope());
    let input = input.map_err(|error| format!("the input of its undo cannot be made: {error}"))?;
    Ok(Undo { id, input })
}

/// What the step at `at`, which has ended, did to the world.
fn effect(run: &State, at: usize) -> Effect {
    let step = &run.steps[at];
    match step.state {
        StepState::Completed => completed(run, at),
        StepState::Failed if step.effect_stands => Effect::Unknown,
        StepState::Failed => step.failure.as_ref().map_or(Effect::None, failed).or(|| inside(run, at)),
        StepState::Cancelled if run.spec(at).kind.is_open() => inside(run, at),
        StepState::Cancelled => Effect::Unknown,
        StepState::Pending
        | StepState::Running { .. }
        | StepState::BackingOff { .. }
        | StepState::Gathering { .. }
        | StepState::Skipped => Effect::None,
    }
}

/// What a step did that has its answer. What stands in for an answer did nothing; then its failure tells.
fn completed(run: &State, at: usize) -> Effect {
    let Some(remedied) = &run.steps[at].remedied else { return Effect::Happened };
    match &run.spec(at).recourse.remedies[remedied.remedy] {
        Remedy::Fallback(_) => Effect::Happened,
        Remedy::Default(_) | Remedy::Skip | Remedy::Escalate(_) | Remedy::Abort | Remedy::Compensate => {
            match &remedied.answer {
                Some(_) => Effect::Happened,
                None => failed(&remedied.failure).or(|| inside(run, at)),
            }
        }
    }
}

/// What a call did that failed so. An agent that says that it failed is believed.
fn failed(failure: &Failure) -> Effect {
    let refused = matches!(failure.class, Class::ContractBreach | Class::LowConfidence);
    let unknown = failure.code == OUTCOME_UNKNOWN || failure.began == Began::Unknown;
    if unknown || (refused && failure.began == Began::Yes) { Effect::Unknown } else { Effect::None }
}

/// Whether a call that failed so may have had its effect.
pub(super) fn may_have_acted(failure: &Failure) -> bool {
    failed(failure) != Effect::None
}

/// What was done inside a step that has no answer, and nothing in there takes back.
fn inside(run: &State, at: usize) -> Effect {
    let stands = |child: usize| {
        let is_made_of_others = run.within(child).next().is_some();
        run.spec(child).recourse.compensate.is_none()
            && if is_made_of_others { inside(run, child) != Effect::None } else { did(&run.steps[child]) }
    };
    if run.within(at).any(stands) { Effect::Unknown } else { Effect::None }
}

/// Whether the world may have noticed a step that no other step lies in.
fn did(step: &StepRun) -> bool {
    match step.state {
        StepState::Completed => step.started_at.is_some(),
        StepState::Cancelled => true,
        StepState::Pending
        | StepState::Running { .. }
        | StepState::BackingOff { .. }
        | StepState::Gathering { .. }
        | StepState::Failed
        | StepState::Skipped => {
            step.effect_stands || step.failure.as_ref().is_some_and(|why| failed(why) != Effect::None)
        }
    }
}

impl From<Ending> for Event {
    fn from(Ending { state, output, failure, step }: Ending) -> Self {
        Self::RunEnded { state, output, failure, step }
    }
}

impl Effect {
    fn or(self, other: impl FnOnce() -> Self) -> Self {
        if self == Self::None { other() } else { self }
    }
}

impl State {
    /// When its calls are cut: at its deadline, or once it is undoing when the time for that is over.
    #[must_use]
    pub fn cut_at(&self) -> Wall {
        self.undoing.as_ref().map_or(self.deadline, |undoing| undoing.until)
    }

    /// What was not undone, and why; what still waits to be is not among it.
    #[must_use]
    pub fn not_undone(&self) -> Vec<Left> {
        let Some(undoing) = &self.undoing else { return Vec::new() };
        let undos = undoing.undos.iter().filter_map(|&at| {
            let step = &self.steps[at];
            if !step.state.has_ended() || step.state == StepState::Completed {
                return None;
            }
            let failed = step.failure.as_ref().filter(|_| step.state == StepState::Failed);
            let why = failed.map_or_else(
                || "the time for undoing was over".to_owned(),
                |failure| format!("{}: {}", failure.code, failure.message),
            );
            Some(Left { step: self.spec(self.inside(at)?).id.clone(), why })
        });
        undos.chain(undoing.left.iter().cloned()).collect()
    }

    /// Lets `undoing` begin, with these steps that undo.
    pub(super) fn begin_undoing(
        &mut self,
        mut undoing: Undoing,
        undos: &[Arc<Undo>],
        now: Wall,
    ) -> Result<(), FoldError> {
        let open = self.steps.iter().any(|step| !step.state.has_ended());
        if self.undoing.is_some() || open || undoing.state == EndState::Completed {
            return Err(FoldError::Undoing);
        }
        let mut later = None;
        for undo in undos {
            let refused = || FoldError::Undo { step: undo.id.clone() };
            let host = undo.id.outside().and_then(|host| self.step(host)).ok_or_else(refused)?.0;
            let compensate = self.spec(host).recourse.compensate.clone().ok_or_else(refused)?;
            let ended = self.steps[host].turn();
            // The last effect first, and each once.
            let owed = is_undone(self, host) && !is_covered(self, host);
            if !owed || later.is_some_and(|later| later <= ended) || self.step(undo.id.as_str()).is_some() {
                return Err(refused());
            }
            later = Some(ended);
            let place = self.steps.len();
            let after: Vec<usize> = undoing.undos.last().copied().into_iter().collect();
            for &before in &after {
                self.wait_for(before, place);
            }
            let ready_at = after.is_empty().then_some(now);
            let step = undo_step(undo, &compensate, after);
            self.grafted.push(Arc::new(Grafted { inside: host, step }));
            self.steps.push(StepRun { ready_at, input: Some(undo.input.clone()), ..StepRun::PENDING });
            undoing.undos.push(place);
        }
        self.undoing = Some(undoing);
        Ok(())
    }
}

fn undo_step(undo: &Undo, compensate: &Compensate, after: Vec<usize>) -> Step {
    Step {
        id: undo.id.clone(),
        kind: StepKind::Call(compensate.call.clone()),
        after,
        dependents: Vec::new(),
        input: Mapping::nothing(),
        timeout: compensate.timeout,
        retry: compensate.retry.clone(),
        // One that cannot be undone does not keep the others from it.
        optional: true,
        drop_in: None,
        budget: Limits::NONE,
        output_schema: Schema::anything(),
        verification: None,
        recourse: Recourse::default(),
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.step, self.why)
    }
}
