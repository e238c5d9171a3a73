//! A workflow together with those that its steps run: what a run is pinned to.
//!
//! A `sub` step names another workflow. Which one that is, is settled once, when a run starts, and written down with it:
//! a newer version of any of them never changes a run on its way. The tree of names is walked then, so a circle, a tree
//! that is too deep and one that could never fit into a run are refused before anything is called.

use std::ops::Deref;
use std::sync::Arc;

use crate::context::Read;
use crate::run::MAX_GRAFTED;
use crate::workflow::{MAX_SUPERVISORS, Step, StepKind, Sub, Workflow};

/// How deep workflows may lie in each other, the outermost not counted: with the items of a list inside the innermost a
/// step's name has as many parts as a person follows.
pub const MAX_SUB_DEPTH: usize = 3;

/// Most workflows that one run may be pinned to, the outermost not counted: each is read when the run is taken up again.
pub const MAX_SUBS: usize = 32;

/// A workflow and every other one that its steps may run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Linked {
    own: Arc<Workflow>,
    /// Each once, in the order they are met.
    subs: Arc<[Arc<Workflow>]>,
}

/// Why workflows cannot be linked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError<E> {
    /// One of them is not to be had.
    #[error("step `{step}` of {workflow} runs workflow {}, and {error}", name_of(.sub))]
    Missing {
        /// The workflow whose step it is.
        workflow: String,
        /// The step.
        step: String,
        /// What it runs.
        sub: Sub,
        /// Why it is not to be had.
        error: E,
    },
    /// One of them runs itself, by itself or through others.
    #[error("workflows run each other in a circle: {}", .0.join(" → "))]
    Circle(Vec<String>),
    /// They lie too deep in each other.
    #[error("workflows lie more than {MAX_SUB_DEPTH} deep in each other: {}", .0.join(" → "))]
    TooDeep(Vec<String>),
    /// Supervisors lie too deep in each other.
    #[error("more than {MAX_SUPERVISORS} supervisors lie in each other: {}", .0.join(" → "))]
    TooManySupervisors(Vec<String>),
    /// There are too many of them.
    #[error("more than {MAX_SUBS} workflows are run by its steps")]
    TooMany,
    /// Their steps are too many.
    #[error("its workflows have {steps} steps in all, and at most {MAX_GRAFTED} may grow in a run")]
    TooLarge {
        /// How many.
        steps: usize,
    },
}

/// A walk over the tree of names.
struct Walk<'a, E> {
    find: &'a mut dyn FnMut(&Sub) -> Result<Arc<Workflow>, E>,
    subs: Vec<Arc<Workflow>>,
    /// The workflows from the outermost to the one that is looked at.
    path: Vec<String>,
    /// How many steps grow if each `sub` step begins.
    steps: usize,
    /// How many steps around the one that is looked at supervise.
    supervisors: usize,
}

impl Linked {
    /// Finds everything that the steps of `own` run, near or far.
    ///
    /// # Errors
    /// [`LinkError`] says which step leads to what cannot be run.
    pub fn new<E>(
        own: Arc<Workflow>,
        mut find: impl FnMut(&Sub) -> Result<Arc<Workflow>, E>,
    ) -> Result<Self, LinkError<E>> {
        if own.steps().iter().all(|step| step.kind.subs().is_empty()) {
            return Ok(Self::from(own));
        }
        let mut walk = Walk {
            find: &mut find,
            subs: Vec::new(),
            path: vec![own.name().to_string()],
            steps: 0,
            supervisors: 0,
        };
        walk.steps_of(&own)?;
        Ok(Self { own, subs: walk.subs.into() })
    }

    /// A workflow and those that a run of it was pinned to when it started.
    #[must_use]
    pub fn pinned(own: Arc<Workflow>, subs: Vec<Arc<Workflow>>) -> Self {
        Self { own, subs: subs.into() }
    }

    /// The outermost workflow.
    #[must_use]
    pub const fn own(&self) -> &Arc<Workflow> {
        &self.own
    }

    /// Those its steps run, near or far.
    #[must_use]
    pub fn subs(&self) -> &[Arc<Workflow>] {
        &self.subs
    }

    /// The one that `sub` means: without a version the newest that the run is pinned to, which was the newest of all.
    #[must_use]
    pub fn find(&self, sub: &Sub) -> Option<&Arc<Workflow>> {
        let called = self.subs.iter().filter(|known| *known.name() == sub.workflow);
        match sub.version {
            Some(version) => called.into_iter().find(|known| known.version() == version),
            None => called.max_by_key(|known| known.version()),
        }
    }

    /// Whether anything in any of them is limited, so that a run must keep books.
    #[must_use]
    pub fn has_budgets(&self) -> bool {
        self.own.has_budgets() || self.subs.iter().any(|sub| sub.has_budgets())
    }

    /// What they read of the shared context, each with the one that does: none for the outermost.
    pub fn reads(&self) -> impl Iterator<Item = (Option<&Workflow>, &Read)> {
        let own = self.own.context().iter().map(|read| (None, read));
        own.chain(self.subs.iter().flat_map(|sub| sub.context().iter().map(move |read| (Some(&**sub), read))))
    }

    /// The steps of all of them.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.own.steps().iter().chain(self.subs.iter().flat_map(|sub| sub.steps()))
    }
}

impl<E> Walk<'_, E> {
    fn steps_of(&mut self, workflow: &Workflow) -> Result<(), LinkError<E>> {
        for step in workflow.steps() {
            let supervises = usize::from(matches!(step.kind, StepKind::Supervise(_)));
            self.supervisors += supervises;
            if self.supervisors > MAX_SUPERVISORS {
                return Err(LinkError::TooManySupervisors(self.path.clone()));
            }
            for sub in step.kind.subs() {
                self.descend(workflow, step, sub)?;
            }
            self.supervisors -= supervises;
        }
        Ok(())
    }

    fn descend(&mut self, workflow: &Workflow, step: &Step, sub: &Sub) -> Result<(), LinkError<E>> {
        let name = sub.workflow.to_string();
        let known = self.path.contains(&name);
        self.path.push(name);
        if known {
            return Err(LinkError::Circle(self.path.clone()));
        }
        if self.path.len() > MAX_SUB_DEPTH + 1 {
            return Err(LinkError::TooDeep(self.path.clone()));
        }
        let found = (self.find)(sub).map_err(|error| LinkError::Missing {
            workflow: workflow.to_string(),
            step: step.id.to_string(),
            sub: sub.clone(),
            error,
        })?;
        if !self.subs.iter().any(|known| known.hash() == found.hash()) {
            if self.subs.len() >= MAX_SUBS {
                return Err(LinkError::TooMany);
            }
            self.subs.push(Arc::clone(&found));
        }
        // One that can never fit is walked no further: a tree of names is small, what it multiplies to need not be.
        self.steps = self.steps.saturating_add(found.steps().len());
        if self.steps > MAX_GRAFTED {
            return Err(LinkError::TooLarge { steps: self.steps });
        }
        self.steps_of(&found)?;
        self.path.pop();
        Ok(())
    }
}

impl From<Arc<Workflow>> for Linked {
    fn from(own: Arc<Workflow>) -> Self {
        Self { own, subs: Arc::default() }
    }
}

impl Deref for Linked {
    type Target = Workflow;
    fn deref(&self) -> &Workflow {
        &self.own
    }
}

fn name_of(sub: &Sub) -> String {
    match sub.version {
        Some(version) => format!("`{}` version {version}", sub.workflow),
        None => format!("`{}`", sub.workflow),
    }
}
