//! Open steps, which call nobody themselves: when they go on, and with what.
//!
//! A pattern has no state of its own. What it does next follows from what the steps inside it have come to, which signals
//! came and what a person answered; so it comes out the same on a live run and on one taken up after a crash.

use std::collections::BTreeMap;

use crate::json::Json;
use crate::outcome::{Answer, Failure, Usage};
use crate::run::graft::Graft;
use crate::run::state::{State, StepState};
use crate::run::{hand_off, people, remedy};
use crate::time::Wall;
use crate::workflow::StepKind;

mod choose;
mod map;
mod wait;

pub(super) use self::wait::{rejection, silence};

const MAPPING_FAILED: &str = "MAPPING_FAILED";

/// What an open step does next.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nothing, until one of them ends or its time is over.
    Wait,
    /// Let others grow.
    Graft(Vec<Graft>),
    /// It has its answer. Whatever has not ended inside it is not needed.
    Complete(Answer),
    /// It fails, and with it whatever has not ended inside it.
    Fail {
        /// Why.
        failure: Failure,
        /// Why nothing else is tried, for people.
        reason: String,
    },
}

/// What the step at `at` works on.
pub(super) fn open(run: &State, at: usize) -> Result<Json, Failure> {
    match &run.spec(at).kind {
        StepKind::Map(map) => map::open(run, map),
        StepKind::Wait(_) => Ok(Json::default()),
        StepKind::Approve(approve) => {
            people::question(run, &approve.ask)?;
            hand_off::input(run, at)
        }
        StepKind::Call(_) | StepKind::Choose(_) => hand_off::input(run, at),
    }
}

/// What the gathering step at `at` does next.
pub(super) fn next(run: &State, at: usize, now: Wall) -> Progress {
    let over = matches!(run.steps[at].state, StepState::Gathering { until: Some(until) } if until <= now);
    if let Some(remedied) = &run.steps[at].remedied {
        return remedy::progress(run, at, remedied, over);
    }
    match &run.spec(at).kind {
        // None that gathers.
        StepKind::Call(_) => Progress::Wait,
        StepKind::Map(map) => map::next(run, at, map, over),
        StepKind::Choose(choose) => choose::next(run, at, choose),
        StepKind::Wait(wait) => wait::next(run, wait, over),
        StepKind::Approve(approve) => wait::answered(run, at, approve, over),
    }
}

/// Whether the gathering step at `at` has something to do now.
pub(super) fn is_due(run: &State, at: usize, now: Wall) -> bool {
    !matches!(next(run, at, now), Progress::Wait)
}

/// How many calls are under way inside each open step.
pub(super) struct Room(BTreeMap<usize, usize>);

impl Room {
    pub(super) fn of(run: &State) -> Self {
        let mut busy = BTreeMap::new();
        let first = run.workflow.steps().len();
        for (grafted, step) in run.grafted.iter().zip(run.steps.iter().skip(first)) {
            if step.state.has_a_place() {
                *busy.entry(grafted.inside).or_default() += 1;
            }
        }
        Self(busy)
    }

    /// Whether the step that the one at `at` lies in lets another begin.
    pub(super) fn has(&self, run: &State, at: usize) -> bool {
        let Some(inside) = run.inside(at) else { return true };
        match &run.spec(inside).kind {
            StepKind::Call(_) | StepKind::Choose(_) | StepKind::Wait(_) | StepKind::Approve(_) => true,
            StepKind::Map(map) => self.0.get(&inside).is_none_or(|busy| *busy < map.parallel),
        }
    }
}

pub(super) fn complete(output: Json, warnings: Vec<String>) -> Progress {
    Progress::Complete(Answer { output, usage: Usage::default(), confidence_bp: None, warnings })
}

pub(super) fn fail(failure: Failure, reason: &str) -> Progress {
    Progress::Fail { failure, reason: reason.to_owned() }
}
