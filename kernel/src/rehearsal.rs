//! Rehearsals: a workflow run off-line, against canned agents, with expectations.
//!
//! A workflow is a program, and whoever changes one wants to know what it does before it meets agents that cost money. A
//! rehearsal document names the workflow and gives a list of cases: what agents answer, what people and signals say and
//! when, and what must come of it. Each case is a run in virtual time ([`crate::play`]): the decisions are production's own,
//! so back-off, deadlines, caps and modes behave as they will, a case of eight hours takes a millisecond, and the same
//! document always comes to the same verdict.
//!
//! What an agent answers is said by capability: a list of replies. A call takes the first reply that is left and fits: one
//! without `when` is used once, in order; one with `when` as often as its condition holds of the call's input; `times` says
//! otherwise. A call that no reply is left for fails the case at once, because what follows would be made up.
//!
//! What is not here: agents' schemas, routing, breakers and budgets of retries. Those belong to a live system; a rehearsal
//! shows what the document decides.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::context::{Pin, Pins, Read};
use crate::id::RunId;
use crate::play::{Play, Turn};
use crate::run::{EndState, Start, StartError};
use crate::time::Wall;
use crate::workflow::{Linked, Workflow};
use crate::yaml::DocumentError;

mod cast;
mod document;
mod expect;
#[cfg(test)]
mod tests;

use self::cast::Cast;
use self::document::Case;

/// Most cases in one document: more belong into several files, which a build runs side by side.
pub const MAX_CASES: usize = 1_000;
/// The one run of every case: `${run.id}` is the same each time.
const RUN: RunId = RunId::from_bytes([0; 16]);
/// When every case begins.
const BEGINNING: Wall = Wall::from_millis(0);

/// A document of cases.
#[derive(Debug)]
pub struct Rehearsal {
    /// The file of the workflow, as the document names it.
    pub workflow: String,
    /// The files of workflows that its steps run.
    pub subs: Vec<String>,
    cases: Vec<Case>,
}

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The case.
    pub name: String,
    /// How its run ended; nothing if it did not start or did not get to its end.
    pub status: Option<EndState>,
    /// How long it took in its own time, in milliseconds.
    pub elapsed_ms: u64,
    /// The calls that were begun, as `STEP CAPABILITY`, in order.
    pub calls: Vec<String>,
    /// What was not as expected; empty if the case passed.
    pub misses: Vec<Miss>,
}

/// Something that was not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// What, as a path into the case: `expect.steps.draft.attempts`.
    pub what: String,
    /// What was expected.
    pub expected: String,
    /// What there was.
    pub got: String,
}

impl Rehearsal {
    /// Reads a document, YAML or JSON.
    ///
    /// # Errors
    /// [`DocumentError`]: the first thing that is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        document::read(text)
    }

    /// How many cases there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there is no case. Never true of one that was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Plays every case against `workflow`.
    #[must_use]
    pub fn play(&self, workflow: &Linked) -> Vec<Verdict> {
        self.cases.iter().map(|case| play(case, workflow)).collect()
    }
}

impl Verdict {
    /// Whether everything was as expected.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.misses.is_empty()
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.what, self.expected, self.got)
    }
}

impl Miss {
    fn new(what: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { what: what.into(), expected: expected.into(), got: got.into() }
    }
}

/// One case, from its start to its verdict.
fn play(case: &Case, workflow: &Linked) -> Verdict {
    let mut play = match Play::start(start(case, workflow), BEGINNING, Cast::new(case)) {
        Ok(play) => play,
        Err(error) => return refused(case, &error),
    };
    let mut said = None;
    while play.world.missing.is_none() && said.is_none() {
        match play.turn() {
            Turn::Went => {}
            Turn::Refused(input, ignored) => said = Some(cast::refused(&input, &ignored)),
            Turn::Still => break,
        }
    }
    let run = play.run();
    let mut misses: Vec<Miss> = play.world.missing.iter().cloned().chain(said).collect();
    if misses.is_empty() {
        misses = expect::check(&case.expect, run, &play.world.calls);
    }
    Verdict {
        name: case.name.clone(),
        status: run.end.as_ref().map(|end| end.state),
        elapsed_ms: millis(run.last_at.saturating_since(BEGINNING)),
        calls: play.world.calls.iter().map(|(step, call)| format!("{step} {call}")).collect(),
        misses,
    }
}

fn start(case: &Case, workflow: &Linked) -> Start {
    Start {
        intent: case.intent.as_str().into(),
        labels: Arc::new(case.labels.clone()),
        mode: case.mode,
        estimates: case.estimates.clone(),
        context: context(case, workflow),
        ..Start::of(RUN, case.tenant.clone(), workflow.clone(), case.input.clone())
    }
}

/// What the workflows read of the case's shared context. What it does not have is missing to their expressions.
fn context(case: &Case, workflow: &Linked) -> Pins {
    let pin = |(of, read): (Option<&Workflow>, &Read)| {
        Some(Pin {
            of: of.map(ToString::to_string).unwrap_or_default().into(),
            name: Arc::clone(&read.name),
            key: read.key.clone(),
            version: 1,
            at: BEGINNING,
            value: case.context.get(&read.key)?.clone(),
        })
    };
    Pins::new(workflow.reads().filter_map(pin).collect())
}

/// A case whose run does not start.
fn refused(case: &Case, error: &StartError) -> Verdict {
    Verdict {
        name: case.name.clone(),
        status: None,
        elapsed_ms: 0,
        calls: Vec::new(),
        misses: vec![Miss::new("input", "a run that starts", error.to_string())],
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
