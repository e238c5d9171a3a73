//! Replaying a run against what is on record of it, without calling anybody.
//!
//! A journal holds what a run was told (its start, how each try ended, what people said) and what it decided. Told the same
//! again, at the times on record, the same functions must decide the same; where they do not, the first [`Difference`] says
//! at which event, what was decided then, and what is decided now. That shows two things: with the workflow the run was
//! pinned to, that this version of Mainstay still decides as the one that drove the run did; with a changed workflow, where
//! the change makes itself felt.
//!
//! # Past the first difference
//! A changed workflow goes its own way from there, in virtual time ([`crate::play`]). A call of the same capability with the
//! same input takes the answer on record, after the time it took; a question with the same content takes what the person
//! said. What has no answer on record is not made up: it is named ([`Beyond::would`]), and time stands still while it is
//! open.
//!
//! # What a journal does not hold
//! Three things that decisions read are not events: the effect class of a capability, what the agent's retry budget said, and
//! the operating mode. They are few, so they are read off what was decided: whichever of them leads to the decision on
//! record was so ([`tape`]). An answer that broke the workflow's output schema is not kept either, only that it did; a
//! replay with a laxer schema meets the same refusal. Notes for people beside a call are not compared.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::id::RunId;
use crate::name::Name;
use crate::run::{self, Event, FoldError, Run, Start, Transition, outstanding};
use crate::time::Wall;
use crate::workflow::{Linked, StepId};

mod beyond;
mod compare;
mod tape;
#[cfg(test)]
mod tests;

pub use self::beyond::{Beyond, Would};

use self::compare::differing;
use self::tape::{Cue, Told};

/// What a replay came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replay {
    /// Events on record.
    pub events: u64,
    /// The first that comes out otherwise; nothing if all come out as they are.
    pub difference: Option<Difference>,
    /// What a changed workflow does from there.
    pub beyond: Option<Beyond>,
}

/// The first event that comes out otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Its number; from 1.
    pub event: u64,
    /// When it was decided, in milliseconds since the Unix epoch.
    pub at: Wall,
    /// The step it is about.
    pub step: Option<StepId>,
    /// The field that differs first, if both are of one kind.
    pub field: Option<Field>,
    /// What is on record.
    pub recorded: Side,
    /// What is decided now.
    pub now: Side,
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Field {
    /// Its path into the event, like `input.seats`.
    pub path: String,
    /// What is on record there, if anything.
    pub recorded: Option<Value>,
    /// What is there now, if anything.
    pub now: Option<Value>,
}

/// One side of a difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// An event.
    Event(Box<Event>),
    /// A call to be made.
    Call {
        /// The capability that is called.
        capability: Name,
        /// The agent, if the workflow names one.
        agent: Option<Name>,
    },
    /// No event, and why.
    Nothing(String),
}

/// Why a journal cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// There is nothing to replay.
    #[error("the journal is empty")]
    Empty,
    /// The journal is not one of this workflow, or its events do not follow from each other.
    #[error("the journal does not fold: {0}")]
    Fold(#[from] FoldError),
}

/// Replays `journal`, the transitions of the run `id` in order, with the workflow it was pinned to, or with `changed`.
///
/// # Errors
/// [`ReplayError`] if the journal is not one.
pub fn replay(
    id: RunId,
    journal: &[Transition],
    pinned: &Linked,
    changed: Option<&Linked>,
) -> Result<Replay, ReplayError> {
    let cues = tape::read(id, journal, pinned)?;
    let events = journal.last().map_or(0, Transition::last_event);
    let Some((first, rest)) = cues.split_first() else { return Err(ReplayError::Empty) };
    let workflow = changed.unwrap_or(pinned);
    let lenient = changed.is_some();
    let started = match begin(id, first, pinned, workflow) {
        Ok(started) => started,
        Err(why) => {
            let difference = first.differs(0, None, Side::Nothing(why));
            return Ok(Replay { events, difference: Some(difference), beyond: None });
        }
    };
    let mut run = Run::begin(&started, workflow.clone(), id)?;
    let difference = differing(first, &started, lenient).or_else(|| calls(first, &run));
    if let Some(difference) = difference {
        return Ok(finish(events, difference, changed.map(|_| run), &cues, 1));
    }
    for (at, cue) in rest.iter().enumerate() {
        let told = cue.tell(&run);
        let difference = match &told {
            Told::Decided(now) => differing(cue, now, lenient),
            Told::Earlier(now) => Some(earlier(cue, now)),
            Told::Ignored(why) => Some(cue.differs(0, None, Side::Nothing(why.to_string()))),
        };
        let used = if let Told::Decided(now) | Told::Earlier(now) = &told {
            run.fold(now)?;
            usize::from(matches!(told, Told::Decided(_)))
        } else {
            0
        };
        if let Some(difference) = difference.or_else(|| calls(cue, &run)) {
            return Ok(finish(events, difference, changed.map(|_| run), &cues, at + 1 + used));
        }
    }
    Ok(Replay { events, difference: None, beyond: None })
}

/// Starts the run again as it was started.
fn begin(id: RunId, first: &Cue<'_>, pinned: &Linked, workflow: &Linked) -> Result<Transition, String> {
    let Some(Event::RunStarted {
        tenant,
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
        ..
    }) = first.transition.events.first()
    else {
        return Err("the journal does not begin with the start of a run".to_owned());
    };
    let at = first.transition.at;
    // Only what is shorter than the workflow's own was asked for.
    let deadline = Some(*deadline).filter(|deadline| *deadline < at + pinned.deadline());
    let start = Start {
        id,
        tenant: tenant.clone(),
        workflow: workflow.clone(),
        input: input.clone(),
        intent: Arc::clone(intent),
        labels: Arc::clone(labels),
        idempotency_key: idempotency_key.clone(),
        deadline,
        retries: *retries,
        chain: chain.clone(),
        priority: *priority,
        mode: first.mode,
        context: context.clone(),
        estimates: estimates.clone(),
        resumed: resumed.clone(),
    };
    run::start(start, at).map_err(|error| error.to_string())
}

/// A decision that a changed workflow takes before the time of the one on record.
fn earlier(cue: &Cue<'_>, now: &Transition) -> Difference {
    let side = now
        .events
        .first()
        .map_or_else(|| Side::Nothing("nothing".to_owned()), |event| Side::Event(Box::new(event.clone())));
    Difference { at: now.at, ..cue.differs(0, None, side) }
}

/// The first call begun by this decision that goes elsewhere now. Events name the step and not what it calls.
fn calls(cue: &Cue<'_>, run: &Run) -> Option<Difference> {
    let now = outstanding(run).calls;
    cue.transition.events.iter().enumerate().find_map(|(at, event)| {
        let Event::StepStarted { step, attempt, .. } = event else { return None };
        let then = cue.calls.iter().find(|call| call.attempt == *attempt)?;
        let now = now.iter().find(|call| call.step == *step && call.attempt == *attempt)?;
        let side =
            |call: &run::Call| Side::Call { capability: call.capability.clone(), agent: call.agent.clone() };
        let same = then.capability == now.capability && then.agent == now.agent;
        (!same).then(|| Difference { recorded: side(then), ..cue.differs(at, None, side(now)) })
    })
}

/// The result, with what a changed workflow does from the difference on; `used` cues lie behind it.
fn finish(events: u64, difference: Difference, run: Option<Run>, cues: &[Cue<'_>], used: usize) -> Replay {
    let beyond = run.map(|run| beyond::go_on(run, cues, used));
    Replay { events, difference: Some(difference), beyond }
}

impl Cue<'_> {
    /// The difference at the event at `at` of this cue's transition, which is `now` another.
    fn differs(&self, at: usize, field: Option<Field>, now: Side) -> Difference {
        let event = self.transition.events.get(at);
        Difference {
            event: self.transition.first_event.saturating_add(at as u64),
            at: self.transition.at,
            step: event.and_then(Event::step).cloned(),
            field,
            recorded: event.map_or_else(
                || Side::Nothing("nothing".to_owned()),
                |event| Side::Event(Box::new(event.clone())),
            ),
            now,
        }
    }
}
