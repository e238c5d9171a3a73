//! Open steps, which call nobody themselves: when they go on, and with what.
//!
//! A pattern has no state of its own. What it does next follows from what the steps inside it have come to, which signals
//! came and what a person answered; so it comes out the same on a live run and on one taken up after a crash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::json::{Json, Limits};
use crate::outcome::{Answer, Class, Failure, Usage};
use crate::run::graft::Graft;
use crate::run::state::{State, StepState};
use crate::run::verify::{self, Verified};
use crate::run::{hand_off, people, remedy};
use crate::time::Wall;
use crate::workflow::StepKind;

mod choose;
mod consensus;
mod map;
mod plan;
mod route;
mod sub;
mod supervise;
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
    /// Let this plan, a workflow document, grow.
    Grow(Arc<str>),
    /// Let go of these: nobody waits for them any more.
    LetGo(Vec<usize>),
    /// A verdict on the answer it has come to.
    Verdict(Verified),
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
        StepKind::Map(map) => map::open(run, at, map),
        StepKind::Wait(_) => Ok(Json::default()),
        StepKind::Approve(approve) => {
            people::question(run, at, &approve.ask)?;
            hand_off::input(run, at)
        }
        StepKind::Sub(sub) => sub::open(run, at, sub),
        StepKind::Call(_)
        | StepKind::Choose(_)
        | StepKind::Consensus(_)
        | StepKind::Supervise(_)
        | StepKind::Plan(_)
        | StepKind::Route(_) => hand_off::input(run, at),
    }
}

/// How long the step at `at` gathers at most.
pub(super) fn within(run: &State, at: usize) -> Option<Duration> {
    let kind = &run.spec(at).kind;
    let StepKind::Sub(sub) = kind else { return kind.within() };
    run.workflow.find(sub).map(|workflow| workflow.deadline())
}

/// What the gathering step at `at` does next.
pub(super) fn next(run: &State, at: usize, now: Wall) -> Progress {
    let over = matches!(run.steps[at].state, StepState::Gathering { until: Some(until) } if until <= now);
    if let Some(verifying) = &run.steps[at].verifying {
        return verify::progress(run, at, verifying);
    }
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
        StepKind::Sub(_) => sub::next(run, at, over),
        StepKind::Consensus(consensus) => consensus::next(run, at, consensus, over),
        StepKind::Supervise(supervise) => supervise::next(run, at, supervise, over),
        StepKind::Plan(plan) => plan::next(run, at, plan, over),
        StepKind::Route(route) => route::next(run, at, route),
    }
}

/// Whether the gathering step at `at` has something to do now.
pub(super) fn is_due(run: &State, at: usize, now: Wall) -> bool {
    !matches!(next(run, at, now), Progress::Wait)
}

/// Whether the time that the gathering step at `at` has still means anything to it.
pub(super) fn has_a_limit(run: &State, at: usize) -> bool {
    !matches!(run.spec(at).kind, StepKind::Consensus(_)) || consensus::gathers(run, at)
}

/// How many calls are under way inside each open step.
pub(super) struct Room(BTreeMap<usize, usize>);

impl Room {
    pub(super) fn of(run: &State) -> Self {
        let mut busy = BTreeMap::new();
        let first = run.workflow.steps().len();
        for at in (first..run.steps.len()).filter(|at| run.steps[*at].state.has_a_place()) {
            for host in around(run, at) {
                *busy.entry(host).or_default() += 1;
            }
        }
        Self(busy)
    }

    /// Whether every step that the one at `at` lies in lets another begin.
    pub(super) fn has(&self, run: &State, at: usize) -> bool {
        around(run, at).all(|host| {
            let of_frame = || run.frame(host).map(|frame| frame.workflow.max_parallel());
            let most = run.spec(host).kind.parallel().or_else(of_frame);
            let busy = self.0.get(&host).copied().unwrap_or_default();
            most.is_none_or(|most| busy < most)
        })
    }
}

/// The steps that the one at `at` lies in, from near to far.
pub(super) fn around(run: &State, at: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(run.inside(at), |host| run.inside(*host))
}

/// Why the step that the failed one at `child` lies in fails with it.
fn because(run: &State, child: usize, code: &str) -> Failure {
    Failure { code: code.to_owned(), ..hand_off::brought_down(run, child) }
}

fn brought_down(run: &State, child: usize, code: &str, reason: &str) -> Progress {
    fail(because(run, child, code), reason)
}

/// A value that Mainstay makes itself, as JSON.
pub(super) fn written(value: &impl Serialize) -> Result<Json, Failure> {
    let text = serde_json::to_vec(value).unwrap_or_default();
    Json::parse(&text, &Limits::default()).map_err(|error| {
        hand_off::own(Class::CallerFault, MAPPING_FAILED, format!("what was made of it {error}"))
    })
}

pub(super) fn complete(output: Json, warnings: Vec<String>) -> Progress {
    Progress::Complete(Answer { output, usage: Usage::default(), confidence_bp: None, warnings })
}

pub(super) fn fail(failure: Failure, reason: &str) -> Progress {
    Progress::Fail { failure, reason: reason.to_owned() }
}
