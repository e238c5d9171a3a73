//! Steps that grow while a run goes on.
//!
//! A workflow's steps are known when it starts. What a pattern needs beyond them (a call for each item of a list, workers
//! that a supervisor asks for, the steps of a plan) is *grafted* onto the same graph, inside the step it belongs to. A
//! grafted step is a step like any other: it begins, is tried again, fails and answers by the same law, and its calls
//! have keys of their own. So the engine knows one graph, and recovery is what it always was.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::budget::Limits;
use crate::expr::Mapping;
use crate::json::Json;
use crate::run::fold::FoldError;
use crate::run::state::{State, StepRun, StepState};
use crate::time::Wall;
use crate::workflow::{Call, Step, StepId, Sub, Work};

/// Most steps that grow in one run: with those of its workflow a run is still read whole and shown whole.
pub const MAX_GRAFTED: usize = 1_000;

/// A step to be grafted, as it stands in the journal. How long it may take and how often it is tried is what the step it
/// lies in says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Graft {
    /// Its id, inside the step it belongs to.
    pub id: StepId,
    /// What it does.
    pub work: Work,
    /// The steps beside it that it waits for; all stand before it.
    pub after: Vec<StepId>,
    /// What its agent is given. A value: nothing in it is an expression, whatever it looks like.
    pub input: Json,
    /// Whether those after it begin although it failed.
    pub optional: bool,
}

/// Its text.
#[derive(Serialize, Deserialize)]
struct Written {
    id: StepId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call: Option<Call>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<Sub>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    after: Vec<StepId>,
    input: Json,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
}

/// A step that has grown.
#[derive(Debug)]
pub struct Grafted {
    /// The place of the step it lies in.
    pub inside: usize,
    /// What it is, its edges as places in the run.
    pub step: Step,
}

impl From<Graft> for Written {
    fn from(graft: Graft) -> Self {
        let Graft { id, work, after, input, optional } = graft;
        let (call, sub) = match work {
            Work::Call(call) => (Some(call), None),
            Work::Sub(sub) => (None, Some(sub)),
        };
        Self { id, call, sub, after, input, optional }
    }
}

impl TryFrom<Written> for Graft {
    type Error = &'static str;
    fn try_from(written: Written) -> Result<Self, &'static str> {
        let Written { id, call, sub, after, input, optional } = written;
        let work = match (call, sub) {
            (Some(call), None) => Work::Call(call),
            (None, Some(sub)) => Work::Sub(sub),
            _ => return Err("a step that grew either calls an agent or runs a workflow"),
        };
        Ok(Self { id, work, after, input, optional })
    }
}

impl State {
    /// What the step at `at` is.
    #[must_use]
    pub fn spec(&self, at: usize) -> &Step {
        let steps = self.workflow.steps();
        match at.checked_sub(steps.len()) {
            None => &steps[at],
            Some(grown) => &self.grafted[grown].step,
        }
    }

    /// Every step with what it is, in the order they came to be.
    pub fn each(&self) -> impl Iterator<Item = (&Step, &StepRun)> {
        let grown = self.grafted.iter().map(|grafted| &grafted.step);
        self.workflow.steps().iter().chain(grown).zip(&self.steps)
    }

    /// The place of the step that the one at `at` lies in; nothing for a step of the workflow.
    #[must_use]
    pub fn inside(&self, at: usize) -> Option<usize> {
        let grown = at.checked_sub(self.workflow.steps().len())?;
        Some(self.grafted.get(grown)?.inside)
    }

    /// The places of the steps that lie directly in the one at `at`, in the order they grew.
    pub fn within(&self, at: usize) -> impl Iterator<Item = usize> {
        let first = self.workflow.steps().len();
        let inside = self.grafted.iter().enumerate().filter(move |(_, grafted)| grafted.inside == at);
        inside.map(move |(grown, _)| first + grown)
    }

    /// Lets steps grow in the step at `inside`.
    pub(super) fn graft(&mut self, inside: usize, grafts: &[Arc<Graft>], at: Wall) -> Result<(), FoldError> {
        let host = self.spec(inside).id.clone();
        let wrong = |graft: &Graft| FoldError::Graft { step: graft.id.clone() };
        if !matches!(self.steps[inside].state, StepState::Gathering { .. }) {
            return Err(FoldError::Illegal {
                step: host,
                state: self.steps[inside].state.as_str(),
                event: "grown",
            });
        }
        for graft in grafts {
            let place = self.steps.len();
            let named_well =
                graft.id.outside() == Some(host.as_str()) && self.step(graft.id.as_str()).is_none();
            if !named_well || self.grafted.len() >= MAX_GRAFTED {
                return Err(wrong(graft));
            }
            let after = graft.after.iter().map(|id| {
                let (before, _) = self.step(id.as_str())?;
                (self.inside(before) == Some(inside)).then_some(before)
            });
            let mut after = after.collect::<Option<Vec<usize>>>().ok_or_else(|| wrong(graft))?;
            after.sort_unstable();
            after.dedup();
            for &before in &after {
                self.wait_for(before, place);
            }
            let spec = self.spec(inside);
            let step = Step {
                id: graft.id.clone(),
                kind: graft.work.clone().into(),
                after,
                dependents: Vec::new(),
                input: Mapping::nothing(),
                timeout: spec.timeout,
                retry: spec.retry.clone(),
                // What it uses up is its host's.
                budget: Limits::NONE,
                optional: graft.optional,
                drop_in: None,
                output_schema: self.schema_inside(inside, &graft.id),
                verification: None,
                recourse: self.recourse_inside(inside, &graft.id),
            };
            self.grafted.push(Arc::new(Grafted { inside, step }));
            self.steps.push(StepRun { input: Some(graft.input.clone()), ..StepRun::PENDING });
            if self.is_ready(place) {
                self.steps[place].ready_at = Some(at);
            }
        }
        Ok(())
    }

    /// Notes that the step at `waiting` waits for the grafted one at `before`.
    pub(super) fn wait_for(&mut self, before: usize, waiting: usize) {
        let Some(grown) = before.checked_sub(self.workflow.steps().len()) else { return };
        let known = &self.grafted[grown];
        let mut step = known.step.clone();
        step.dependents.push(waiting);
        self.grafted[grown] = Arc::new(Grafted { inside: known.inside, step });
    }
}
