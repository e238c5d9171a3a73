//! Workflows: documents that say which steps there are, what each needs, and what comes out.
//!
//! A document is read once, and everything that can be wrong with it is found then: a circle, a step that reads one it
//! does not wait for, an expression with a typing error, a schema that would cost too much. All of it is reported
//! together, each [`Problem`] with a stable code, a place in the text and a way out. What passes becomes a
//! [`Workflow`]: immutable, shared by all its runs, with every name resolved to an index, every expression and schema
//! compiled. A run is pinned to the workflow's [`WorkflowHash`], so that a newer version never changes a run on its way.
//!
//! Waiting is said, not inferred: `after` lists what a step waits for, and a mapping may read only steps upstream. One
//! look at the document shows the order, and a typing error in an expression never changes it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::budget::{Limits, OnExhausted};
use crate::context::Read;
use crate::document::Report;
pub use crate::document::{Code, DocumentHash as WorkflowHash, MAX_DESCRIPTION_CHARS, Problem};
use crate::expr::{ExprError, Mapping, Scope};
use crate::json::Json;
use crate::mode::Mode;
use crate::name::Name;
use crate::retry::RetryPolicy;
use crate::schema::Schema;
use crate::yaml;

mod compensation;
mod compile;
mod document;
pub mod fit;
mod graph;
mod kind;
mod link;
mod lint;
mod recourse;
mod step_id;
#[cfg(test)]
mod tests;
mod verification;

pub use self::compensation::{Compensate, Compensation, DEFAULT_UNDOING};
pub use self::kind::{
    Approve, Branch, Call, Choose, Consensus, DEFAULT_ITEMS, DEFAULT_ITEMS_AT_ONCE, DEFAULT_PLAN_DEPTH,
    DEFAULT_PLAN_STEPS, DEFAULT_REPAIRS, DEFAULT_ROUNDS, DEFAULT_TASKS, DEFAULT_TASKS_AT_ONCE, Judge,
    MAX_BRANCHES, MAX_ITEMS, MAX_PLAN_CAPABILITIES, MAX_PLAN_STEPS, MAX_REPAIRS, MAX_ROUNDS,
    MAX_RUBRIC_CHARS, MAX_SUPERVISORS, MAX_TASKS, MAX_WAIT, MAX_WORKERS, MEMBERS, Map, Otherwise, Plan,
    RouteTo, StepKind, Sub, Supervise, Then, Until, Wait, Work, label,
};
pub use self::link::{LinkError, Linked, MAX_SUB_DEPTH, MAX_SUBS};
pub use self::recourse::{Below, Confidence, Escalate, MAX_REMEDIES, Recourse, Remedy};
pub use self::step_id::{MAX_STEP_DEPTH, MAX_STEP_ID_LEN, StepId, StepIdError};
pub use self::verification::{
    DEFAULT_VERIFICATION_REPAIRS, IfUnavailable, MAX_BECAUSE_CHARS, MAX_POST_CONDITIONS,
    MAX_VERIFICATION_REPAIRS, PostCondition, Verification, Verifier,
};

/// Most steps. The largest pipelines people draw have a hundred; 500 leaves room for generated ones and keeps a run's
/// record small enough to be read whole.
pub const MAX_STEPS: usize = 500;
/// Most steps one step waits for: with [`MAX_STEPS`] at most 32,000 edges to walk.
pub const MAX_DEPENDENCIES: usize = 64;
/// How long a run may take where the document does not say.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);
/// Longest deadline: people answer after weekends and holidays, and what nobody looked at for a month nobody waits for.
pub const MAX_DEADLINE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Longest time for one attempt of a step: a call that takes more than a day is work for a run of its own.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long one attempt of a step may take where the document does not say: most answers of a language model come
/// within it.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How many steps run at once where the document does not say.
pub const DEFAULT_PARALLEL: usize = 8;
/// Most steps of one run at once: one run must not take all of an agent's places.
pub const MAX_PARALLEL: usize = 64;
/// How many retries a run makes in all where the document does not say: a run that needs more is fighting an outage.
pub const DEFAULT_RETRIES: u32 = 100;
/// Most retries of a run: every attempt that [`MAX_STEPS`] steps may make by their policies.
pub const MAX_RETRIES: u32 = 10_000;

/// A workflow, checked and compiled. Share it as `Arc<Workflow>`.
#[derive(Debug)]
pub struct Workflow {
    name: Name,
    version: u32,
    description: String,
    input: Schema,
    deadline: Duration,
    max_parallel: usize,
    max_retries: u32,
    budget: Budget,
    has_budgets: bool,
    drop_in: Option<Mode>,
    compensation: Compensation,
    context: Vec<Read>,
    steps: Vec<Step>,
    index: HashMap<StepId, usize>,
    order: Vec<usize>,
    output: Mapping,
    hash: WorkflowHash,
    source: Arc<str>,
    /// Found while reading; places are known only then.
    warnings: Vec<Problem>,
}

/// What all calls of a run may use up, and what follows when they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How much.
    pub limits: Limits,
    /// What follows.
    pub on_exhausted: OnExhausted,
}

impl Budget {
    /// No limit at all.
    pub const NONE: Self = Self { limits: Limits::NONE, on_exhausted: OnExhausted::Fail };
}

/// One step. `after` and `dependents` are indices into [`Workflow::steps`].
#[derive(Debug, Clone)]
pub struct Step {
    /// Its id, unique in the workflow.
    pub id: StepId,
    /// What it does.
    pub kind: StepKind,
    /// The steps it waits for, ascending, each once.
    pub after: Vec<usize>,
    /// The steps that wait for it, ascending, each once.
    pub dependents: Vec<usize>,
    /// What it is given.
    pub input: Mapping,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Whether and when it is tried again.
    pub retry: RetryPolicy,
    /// What its calls may use up.
    pub budget: Limits,
    /// Whether the run goes on without it. A step that is not optional is critical: if it fails, the run fails.
    pub optional: bool,
    /// The operating mode from which on it is left out, if the run goes on without it then. Only an optional step may be.
    pub drop_in: Option<Mode>,
    /// What its output must meet, beyond what the agent itself declares.
    pub output_schema: Schema,
    /// How sure its output must be, and what is done if it fails.
    pub recourse: Recourse,
    /// What its output must prove to be, if it must.
    pub verification: Option<Arc<Verification>>,
}

impl Workflow {
    /// Reads a document, YAML or JSON.
    ///
    /// # Errors
    /// Every problem there is, in the order of the text; see [`Code`].
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let tree = yaml::parse(text).map_err(|error| vec![Problem::from(error)])?;
        let mut report = Report::new(&tree);
        let draft = document::read(&tree, &mut report);
        let graph = graph::Graph::of(&draft, &mut report);
        compile::check_reads(&draft, &graph, &mut report);
        let problems = report.finish();
        if !problems.is_empty() {
            return Err(problems);
        }
        let warnings = lint::lint(&draft, &graph, Report::new(&tree));
        let hash = WorkflowHash::of("mainstay workflow hash v1", &tree.value());
        compile::build(draft, graph, hash, text, warnings)
    }

    /// What is allowed but probably not meant: outputs nobody reads, times that cannot be kept, values that may be
    /// missing.
    #[must_use]
    pub fn lint(&self) -> &[Problem] {
        &self.warnings
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Its version, from 1.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// What it is for, in words.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What a run's input must meet.
    #[must_use]
    pub const fn input(&self) -> &Schema {
        &self.input
    }

    /// How long a run may take.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// How many steps of a run may run at once.
    #[must_use]
    pub const fn max_parallel(&self) -> usize {
        self.max_parallel
    }

    /// How many retries its runs make at most, over all steps.
    #[must_use]
    pub const fn max_retries(&self) -> u32 {
        self.max_retries
    }

    /// What its runs may use up.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Whether anything of it is limited, so that a run must keep books.
    #[must_use]
    pub const fn has_budgets(&self) -> bool {
        self.has_budgets
    }

    /// The operating mode from which on no run of it starts.
    #[must_use]
    pub const fn drop_in(&self) -> Option<Mode> {
        self.drop_in
    }

    /// When its runs undo what they did.
    #[must_use]
    pub const fn compensation(&self) -> &Compensation {
        &self.compensation
    }

    /// What its runs read of the shared context when they are accepted.
    #[must_use]
    pub fn context(&self) -> &[Read] {
        &self.context
    }

    /// The steps, in the order of the document.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The index of the step called `id`.
    #[must_use]
    pub fn index_of(&self, id: &str) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// The step called `id`.
    #[must_use]
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.get(self.index_of(id)?)
    }

    /// The steps' indices, each after all it waits for; among equals the document's order.
    #[must_use]
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The run's output over `scope`.
    ///
    /// # Errors
    /// [`ExprError`] names the expression that has no value there.
    pub fn output(&self, scope: &Scope<'_>) -> Result<Json, ExprError> {
        self.output.eval(scope)
    }

    /// The mapping that makes the run's output.
    #[must_use]
    pub const fn output_mapping(&self) -> &Mapping {
        &self.output
    }

    /// What identifies this very content; layout and comments do not count.
    #[must_use]
    pub const fn hash(&self) -> WorkflowHash {
        self.hash
    }

    /// The document as it was given.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl Step {
    /// Whether it may come to ask a person: by its kind, or because it failed.
    #[must_use]
    pub fn asks(&self) -> bool {
        let escalates = |remedy: &Remedy| matches!(remedy, Remedy::Escalate(_));
        matches!(self.kind, StepKind::Approve(_)) || self.recourse.remedies.iter().any(escalates)
    }

    /// Every call it may make, as far as the document says.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        let verifier =
            self.verification.iter().filter_map(|verification| Some(&verification.by.as_ref()?.call));
        self.kind.calls().into_iter().chain(self.recourse.calls()).chain(verifier)
    }
}

impl fmt::Display for Workflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.name, self.version)
    }
}
