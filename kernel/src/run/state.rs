//! The state of a run: what its events add up to.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;

use crate::chain::Chain;
use crate::context::Pins;
use crate::id::RunId;
use crate::json::Json;
use crate::name::Name;
use crate::outcome::{Failure, Usage};
use crate::priority::Priority;
use crate::retry::Retries;
use crate::run::budget::{Estimates, Ledger};
use crate::run::event::{Attempt, AttemptRecord, EndState, SkipReason};
use crate::run::frame::Frame;
use crate::run::graft::Grafted;
use crate::run::inquiry::Finding;
use crate::run::people::Ruling;
use crate::run::remedy::Remedied;
use crate::run::undo::Undoing;
use crate::run::verify::{Verified, Verifying};
use crate::time::Wall;
use crate::workflow::{Linked, StepId};

/// A run. Read it like a [`State`]; it changes only through [`Run::fold`].
#[derive(Clone)]
pub struct Run {
    pub(super) state: State,
}

/// Everything known of a run. Cheap to clone: payloads, names and records are shared.
#[derive(Clone)]
pub struct State {
    /// Which run.
    pub id: RunId,
    /// Whose run.
    pub tenant: Name,
    /// The very version it started with, and those of the workflows that its steps run.
    pub workflow: Linked,
    /// What it was given.
    pub input: Json,
    /// What its client wants, in words.
    pub intent: Arc<str>,
    /// Labels of its client's.
    pub labels: Arc<BTreeMap<String, String>>,
    /// The key under which the client may ask for this run again.
    pub idempotency_key: Option<Arc<str>>,
    /// When it was accepted.
    pub started_at: Wall,
    /// When it is cut.
    pub deadline: Wall,
    /// One for each step: first those of the workflow, in its order, then those that grew, in theirs.
    pub steps: Vec<StepRun>,
    /// What the steps are that grew.
    pub grafted: Vec<Arc<Grafted>>,
    /// The workflows that lie inside steps, by the place of the step.
    pub frames: Arc<BTreeMap<usize, Frame>>,
    /// The signals that came, each with what it carries.
    pub signals: Arc<BTreeMap<Name, Json>>,
    /// Why it is to stop, if somebody asked for that.
    pub cancel: Option<Arc<str>>,
    /// What it undoes before it ends, once it has come to that.
    pub undoing: Option<Undoing>,
    /// The run that it goes on from.
    pub resumed_from: Option<RunId>,
    /// How it ended, once it has.
    pub end: Option<End>,
    /// The number of the last event folded.
    pub last_event: u64,
    /// When that was decided.
    pub last_at: Wall,
    /// The sum over all recorded attempts.
    pub usage: Usage,
    /// Whether its steps may be tried again.
    pub retries: Retries,
    /// The calls on whose behalf it was started.
    pub chain: Chain,
    /// How urgent it is.
    pub priority: Priority,
    /// What it read of the shared context when it was accepted.
    pub context: Pins,
    /// How often one was.
    pub retried: u32,
    /// What a call costs by what its capability declared when the run started, in 10⁻⁹ US dollars.
    pub estimates: Estimates,
    /// What its calls used up, where that is limited.
    pub books: Ledger,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Waits for the steps it depends on, or for its turn.
    Pending,
    /// Its call is owed or under way.
    Running {
        /// Which try.
        attempt: Attempt,
    },
    /// Its last try failed, and the next one waits.
    BackingOff {
        /// The try to come.
        next: Attempt,
        /// When it is due.
        until: Wall,
    },
    /// It calls nobody itself: it waits for the steps that grow inside it, for a signal or for a person.
    Gathering {
        /// When it goes on with what they have by then, if it does not wait for all.
        until: Option<Wall>,
    },
    /// It has its answer.
    Completed,
    /// It failed for good.
    Failed,
    /// It will never begin.
    Skipped,
    /// It was cut off by the end of the run.
    Cancelled,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRun {
    /// How far it is.
    pub state: StepState,
    /// When the last of its dependencies had ended.
    pub ready_at: Option<Wall>,
    /// When its first try was decided.
    pub started_at: Option<Wall>,
    /// When it ended, however it did.
    pub ended_at: Option<Wall>,
    /// The number of the event it ended by.
    pub ended_by: Option<u64>,
    /// What its agent is given.
    pub input: Option<Json>,
    /// What its agent answered.
    pub output: Option<Json>,
    /// What whoever answered wants people to know: doubts, or gaps in the answer.
    pub warnings: Vec<String>,
    /// Why its last try failed. Cleared by success.
    pub failure: Option<Failure>,
    /// What was found out for it, if it asks anything of the world.
    pub finding: Option<Arc<Finding>>,
    /// What a person answered, if it asks one.
    pub ruling: Option<Arc<Ruling>>,
    /// The last remedy that began because it failed.
    pub remedied: Option<Remedied>,
    /// Its answer, while it is being verified.
    pub verifying: Option<Verifying>,
    /// Whether it was noticed that it repeats what others have done.
    pub repeats: bool,
    /// Every verdict on its answers, oldest first.
    pub verdicts: Vec<Arc<Verified>>,
    /// Whether its side effect happened although it failed: only the answer was not taken.
    pub effect_stands: bool,
    /// Why it never began, if it was skipped.
    pub skipped: Option<SkipReason>,
    /// Its turn among those that ended so in the run that this one goes on from; nothing if it did not.
    pub carried: Option<usize>,
    /// Every call made for it in this run, oldest first.
    pub attempts: Vec<Arc<AttemptRecord>>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// In which state.
    pub state: EndState,
    /// When.
    pub at: Wall,
    /// What it made of its steps' answers; only if it completed.
    pub output: Option<Json>,
    /// Why it did not complete.
    pub failure: Option<Failure>,
    /// The step that brought it down, if one did.
    pub step: Option<StepId>,
}

impl Deref for Run {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

/// All but the inside of the workflow.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("id", &self.id)
            .field("tenant", &self.tenant)
            .field("workflow", &format_args!("{} {:?}", *self.workflow, self.workflow.hash()))
            .field("input", &self.input)
            .field("intent", &self.intent)
            .field("labels", &self.labels)
            .field("idempotency_key", &self.idempotency_key)
            .field("started_at", &self.started_at)
            .field("deadline", &self.deadline)
            .field("steps", &self.steps)
            .field("signals", &self.signals)
            .field("cancel", &self.cancel)
            .field("undoing", &self.undoing)
            .field("resumed_from", &self.resumed_from)
            .field("end", &self.end)
            .field("last_event", &self.last_event)
            .field("last_at", &self.last_at)
            .field("usage", &self.usage)
            .field("retries", &self.retries)
            .field("chain", &self.chain)
            .field("priority", &self.priority)
            .field("context", &self.context)
            .field("retried", &self.retried)
            .field("estimates", &self.estimates)
            .field("books", &self.books)
            .finish()
    }
}

impl State {
    /// The step called `name`: its place, and how far it is.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<(usize, &StepRun)> {
        let grown = || {
            let mut grown = self.grafted.iter();
            Some(self.workflow.steps().len() + grown.position(|grafted| grafted.step.id == name)?)
        };
        let at = self.workflow.index_of(name).or_else(grown)?;
        Some((at, self.steps.get(at)?))
    }

    /// How many steps hold a place under the workflow's cap. A step keeps its place while it backs off, so that its next
    /// try never waits for a turn and the cap bounds what has begun and not ended.
    #[must_use]
    pub fn active(&self) -> usize {
        self.steps.iter().filter(|step| step.state.has_a_place()).count()
    }
}

impl StepState {
    /// Whether nothing more can happen to the step.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        match self {
            Self::Pending | Self::Running { .. } | Self::BackingOff { .. } | Self::Gathering { .. } => false,
            Self::Completed | Self::Failed | Self::Skipped | Self::Cancelled => true,
        }
    }

    /// Whether the step has begun and not ended.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Running { .. } | Self::BackingOff { .. } | Self::Gathering { .. })
    }

    /// Whether the step counts against the workflow's cap: one that is made of others leaves the places to them.
    #[must_use]
    pub const fn has_a_place(self) -> bool {
        matches!(self, Self::Running { .. } | Self::BackingOff { .. })
    }

    /// The name used in records, tables and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running { .. } => "running",
            Self::BackingOff { .. } => "backing-off",
            Self::Gathering { .. } => "gathering",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

impl StepRun {
    /// A step nothing has happened to yet.
    pub(super) const PENDING: Self = Self {
        state: StepState::Pending,
        ready_at: None,
        started_at: None,
        ended_at: None,
        ended_by: None,
        input: None,
        output: None,
        warnings: Vec::new(),
        failure: None,
        finding: None,
        ruling: None,
        remedied: None,
        verifying: None,
        repeats: false,
        verdicts: Vec::new(),
        effect_stands: false,
        skipped: None,
        carried: None,
        attempts: Vec::new(),
    };

    /// What tells the order in which steps ended.
    pub(super) const fn turn(&self) -> (Option<u64>, Option<usize>) {
        (self.ended_by, self.carried)
    }
}
