//! Workflows that lie inside a step, and what each step sees from where it lies.
//!
//! When a step that runs another workflow opens, that workflow's steps grow in it, all at once, as the run's own did when
//! it started: the same law, the same graph, names below the step's. Such a step is their *frame*: to them the frame's
//! input is `input`, and `steps.x` is the step beside them. What lies outside they cannot see, so a workflow means the
//! same wherever it is run.

use std::sync::Arc;

use crate::expr::{Outputs, Scope};
use crate::json::Json;
use crate::run::fold::FoldError;
use crate::run::graft::{Grafted, MAX_GRAFTED};
use crate::run::state::{State, StepRun, StepState};
use crate::time::Wall;
use crate::workflow::{Step, StepKind, Workflow};

/// A workflow that lies inside a step.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The workflow.
    pub workflow: Arc<Workflow>,
    /// The place of its first step; the others follow, in its order.
    pub first: usize,
}

impl Frame {
    /// The places of its steps.
    #[must_use]
    pub fn places(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.workflow.steps().len()
    }
}

/// What mappings see from one frame.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    run: &'a State,
    /// The place of the step that is the frame; nothing for the run itself.
    frame: Option<(usize, &'a Frame)>,
}

impl State {
    /// The frame that the step at `at` is, if a workflow lies inside it.
    #[must_use]
    pub fn frame(&self, at: usize) -> Option<&Frame> {
        self.frames.get(&at)
    }

    /// Whether the steps of `workflow` may still grow.
    pub(super) fn has_room_for(&self, workflow: &Workflow) -> bool {
        self.grafted.len() + workflow.steps().len() <= MAX_GRAFTED
    }

    /// Lets the steps of `workflow` grow in the step at `host`, which is their frame from now on.
    pub(super) fn grow(&mut self, host: usize, workflow: &Arc<Workflow>, now: Wall) -> Result<(), FoldError> {
        let first = self.steps.len();
        let name = self.spec(host).id.clone();
        let refused = || FoldError::Graft { step: name.clone() };
        if self.frames.contains_key(&host) || !self.has_room_for(workflow) {
            return Err(refused());
        }
        let shift = |places: &[usize]| places.iter().map(|place| first + place).collect::<Vec<_>>();
        for step in workflow.steps() {
            let id = name.inside(&step.id).ok_or_else(refused)?;
            if self.step(id.as_str()).is_some() {
                return Err(refused());
            }
            let (after, dependents) = (shift(&step.after), shift(&step.dependents));
            let ready_at = after.is_empty().then_some(now);
            let step = Step { id, after, dependents, ..step.clone() };
            self.grafted.push(Arc::new(Grafted { inside: host, step }));
            self.steps.push(StepRun { ready_at, ..StepRun::PENDING });
        }
        let frame = Frame { workflow: Arc::clone(workflow), first };
        Arc::make_mut(&mut self.frames).insert(host, frame);
        Ok(())
    }
}

impl State {
    /// Lets the steps of an accepted plan grow in the step at `host`. How long each may take and how often it is tried is
    /// what that step says.
    pub(super) fn accept(&mut self, host: usize, plan: &str, now: Wall) -> Result<(), FoldError> {
        let spec = self.spec(host);
        let (step, timeout, retry) = (spec.id.clone(), spec.timeout, spec.retry.clone());
        let plans = matches!(spec.kind, StepKind::Plan(_));
        if !plans || !matches!(self.steps[host].state, StepState::Gathering { .. }) {
            return Err(FoldError::Graft { step });
        }
        let workflow = Workflow::parse(plan).map_err(|_| FoldError::Graft { step })?;
        let first = self.grafted.len();
        self.grow(host, &Arc::new(workflow), now)?;
        for grafted in self.grafted.iter_mut().skip(first) {
            let step = Step { timeout, retry: retry.clone(), ..grafted.step.clone() };
            *grafted = Arc::new(Grafted { inside: host, step });
        }
        Ok(())
    }
}

impl<'a> View<'a> {
    /// What the step at `at` sees.
    pub(super) fn of(run: &'a State, at: usize) -> Self {
        let mut inside = run.inside(at);
        while let Some(host) = inside {
            if let Some(frame) = run.frame(host) {
                return Self { run, frame: Some((host, frame)) };
            }
            inside = run.inside(host);
        }
        Self::outermost(run)
    }

    /// What the run's own output sees.
    pub(super) const fn outermost(run: &'a State) -> Self {
        Self { run, frame: None }
    }

    /// What the output of the workflow inside the step at `host` sees.
    pub(super) fn inside(run: &'a State, host: usize) -> Self {
        Self { run, frame: run.frame(host).map(|frame| (host, frame)) }
    }

    pub(super) fn scope(&'a self) -> Scope<'a> {
        let own = self.frame.map(|(_, frame)| &*frame.workflow);
        let context = self.run.context.values(own);
        Scope { input: self.input(), run: self.run.id, intent: &self.run.intent, context, outputs: self }
    }

    fn input(&self) -> &'a Json {
        let given = self.frame.and_then(|(host, _)| self.run.steps[host].input.as_ref());
        given.unwrap_or(&self.run.input)
    }
}

impl Outputs for View<'_> {
    fn output(&self, step: &str) -> Option<&Json> {
        let place = match self.frame {
            None => self.run.workflow.index_of(step)?,
            Some((_, frame)) => frame.first + frame.workflow.index_of(step)?,
        };
        let step = self.run.steps.get(place)?;
        if step.state == StepState::Completed { step.output.as_ref() } else { None }
    }
}
