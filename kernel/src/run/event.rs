//! What a run's journal is made of: events, written in groups that happen or do not happen together.
//!
//! The text of an event is a promise to every record on every disk, so the names below are never changed; what is added is
//! optional. `tests/journal.v1.jsonl` holds one of each as it was first written. Steps go by name, not by place in the list:
//! records are read by people. Variants are tagged from outside (`{"step-started": {…}}`) because only that way a payload
//! is taken from the text as it stands instead of being rebuilt.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::budget::Exhausted;
use crate::chain::Chain;
use crate::context::Pins;
use crate::id::{AttemptId, RunId};
use crate::json::Json;
use crate::mode::Mode;
use crate::name::Name;
use crate::outcome::{Answer, Failure};
use crate::priority::Priority;
use crate::retry::Retries;
use crate::run::budget::Estimates;
use crate::run::graft::Graft;
use crate::run::inquiry::Finding;
use crate::run::people::Ruling;
use crate::run::resume::Resumed;
use crate::run::undo::{Left, Undo};
use crate::run::verify::Verified;
use crate::time::Wall;
use crate::workflow::{StepId, Workflow, WorkflowHash};

mod record;

pub use self::record::AttemptRecord;

/// One try of a step: how many were made before, and under which key.
///
/// The number tells tries apart. The id tells *effects* apart: a try that may only repeat what an earlier one did keeps
/// its id, and whoever did it answers from its ledger. See [`crate::retry`] for which keeps what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// The idempotency key; derived from run, step and the number of the first try made under it.
    pub id: AttemptId,
}

/// The workflow a run is pinned to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRef {
    /// The workflow's name.
    pub name: Name,
    /// Its version.
    pub version: u32,
    /// Hash of its document's content.
    pub hash: WorkflowHash,
}

/// One thing that happened to a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The run was accepted. Always the first event, and all it takes to build the run again beside the workflow.
    RunStarted {
        /// Whose run it is.
        tenant: Name,
        /// What it runs.
        workflow: WorkflowRef,
        /// The workflows its steps run, near or far, in the order they are met.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        subs: Vec<WorkflowRef>,
        /// What it was given.
        input: Json,
        /// What its client wants, in words; handed to every agent.
        #[serde(default)]
        intent: Arc<str>,
        /// Labels of its client's.
        #[serde(default)]
        labels: Arc<BTreeMap<String, String>>,
        /// The key under which the client may ask for this very run again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idempotency_key: Option<Arc<str>>,
        /// When it is cut.
        deadline: Wall,
        /// Whether its steps may be tried again.
        #[serde(default, skip_serializing_if = "Retries::are_allowed")]
        retries: Retries,
        /// The calls on whose behalf it was started.
        #[serde(default, skip_serializing_if = "Chain::is_empty")]
        chain: Chain,
        /// How urgent it is, and everything done for it.
        #[serde(default, skip_serializing_if = "Priority::is_default")]
        priority: Priority,
        /// What a call costs by what its capability declares, in 10⁻⁹ US dollars; only where the workflow limits something.
        #[serde(default, skip_serializing_if = "nothing")]
        estimates: Estimates,
        /// What it read of the shared context, for good.
        #[serde(default, skip_serializing_if = "Pins::is_empty")]
        context: Pins,
        /// What it goes on from, if that is a run that failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resumed: Option<Arc<Resumed>>,
    },
    /// A try of a step was decided; from here on its call is owed.
    StepStarted {
        /// The step.
        step: StepId,
        /// Which try.
        attempt: Attempt,
        /// What the agent is given. Only with the first try: the others give the same.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
        input: Option<Json>,
    },
    /// A step that calls nobody itself has begun; those that grow in it follow.
    StepOpened {
        /// The step.
        step: StepId,
        /// What it works on: the list, what a person is shown.
        input: Json,
        /// When it goes on with what there is by then, if its time is bounded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Wall>,
        /// How often it goes round at most, if it goes in rounds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rounds: Option<usize>,
    },
    /// Steps grew inside one that is open.
    StepsGrafted {
        /// The step they lie in.
        step: StepId,
        /// The new ones.
        grafts: Vec<Arc<Graft>>,
    },
    /// A try failed and another is due later.
    AttemptFailed {
        /// The step.
        step: StepId,
        /// Why it failed.
        failure: Failure,
        /// The try to come.
        next: Attempt,
        /// When it is due.
        retry_at: Wall,
        /// Why it is tried again, for people.
        reason: String,
        /// The calls of the try that failed.
        #[serde(default)]
        attempts: Vec<Arc<AttemptRecord>>,
    },
    /// A step has its answer.
    StepCompleted {
        /// The step.
        step: StepId,
        /// The answer.
        answer: Arc<Answer>,
        /// The calls of the try that succeeded.
        #[serde(default)]
        attempts: Vec<Arc<AttemptRecord>>,
    },
    /// A step failed for good.
    StepFailed {
        /// The step.
        step: StepId,
        /// Why.
        failure: Failure,
        /// Why it is not tried again, for people.
        reason: String,
        /// The calls of its last try.
        #[serde(default)]
        attempts: Vec<Arc<AttemptRecord>>,
        /// Whether its side effect happened all the same: only the answer was not taken.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        effect_stands: bool,
    },
    /// A step will never begin.
    StepSkipped {
        /// The step.
        step: StepId,
        /// Why.
        reason: SkipReason,
    },
    /// A step was cut off in the middle.
    StepCancelled {
        /// The step.
        step: StepId,
    },
    /// Word from outside came. It stays with the run: whoever waits for it later finds it.
    SignalReceived {
        /// The signal.
        name: Name,
        /// What it carries.
        value: Json,
    },
    /// A person answered what a step asks.
    StepAnswered {
        /// The step.
        step: StepId,
        /// The answer.
        answer: Arc<Ruling>,
    },
    /// It was found out what a step asked of the world.
    StepInformed {
        /// The step.
        step: StepId,
        /// What was found.
        finding: Arc<Finding>,
    },
    /// A plan was found good, and its steps grow in the step that asked for it.
    PlanAccepted {
        /// The step.
        step: StepId,
        /// The plan, as a workflow document.
        plan: Arc<str>,
    },
    /// A step failed by itself, and what its workflow says for that begins.
    RemedyBegun {
        /// The step.
        step: StepId,
        /// The remedy's place in the step's list, from 0.
        remedy: usize,
        /// What it is a remedy for.
        failure: Failure,
        /// Why the step is not tried again, for people.
        reason: String,
        /// The answer that was not good enough, if one came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer: Option<Arc<Answer>>,
        /// When its time is over, if it is bounded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Wall>,
        /// The calls of the step's last try.
        #[serde(default)]
        attempts: Vec<Arc<AttemptRecord>>,
    },
    /// Everything else has ended, and what was done is undone before the run ends.
    UndoBegun {
        /// In which state the run ends.
        state: EndState,
        /// Why it does not complete.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
        /// The step that brought it down, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
        /// When it ends, whatever is not undone by then.
        until: Wall,
        /// What undoes, in its order.
        undos: Vec<Arc<Undo>>,
        /// What cannot be undone.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<Left>,
    },
    /// A step has an answer, which is verified before it counts.
    VerificationBegun {
        /// The step.
        step: StepId,
        /// The answer.
        answer: Arc<Answer>,
        /// How often it may go back; 0 if what was done must not be done twice.
        repairs: u32,
        /// The calls of the try that it came from.
        #[serde(default)]
        attempts: Vec<Arc<AttemptRecord>>,
    },
    /// A verdict on the answer of a step, or on its repair.
    VerdictReached {
        /// The step.
        step: StepId,
        /// The verdict and its grounds.
        verified: Arc<Verified>,
    },
    /// A step that grew does what others that grew have done: the same call with the same input.
    RepetitionNoticed {
        /// The step, which begins next.
        step: StepId,
        /// What it calls.
        capability: Name,
        /// How often that was begun before.
        times: u32,
    },
    /// Somebody wants the run to stop.
    CancelRequested {
        /// Why, in their words.
        reason: Arc<str>,
    },
    /// The run is over. Nothing follows.
    RunEnded {
        /// How it ended.
        state: EndState,
        /// What it made of its steps' answers; only if it completed.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
        output: Option<Json>,
        /// Why it did not complete.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
        /// The step that brought it down, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
    },
}

/// Events that happen together: one decision, one record on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "a transition has happened only once it is folded and on its way to disk"]
pub struct Transition {
    /// The number of its first event; the first of a run is 1.
    pub first_event: u64,
    /// When it was decided.
    pub at: Wall,
    /// At least one.
    pub events: Vec<Event>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndState {
    /// Its output is there.
    Completed,
    /// A critical step failed, or its output could not be made.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// Its deadline passed.
    TimedOut,
}

/// Why a step never begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// The run ended before its turn came.
    RunEnded,
    /// The step it lies in ended before its turn came.
    NotNeeded,
    /// Its turn came in this operating mode, and its workflow leaves it out then. The run goes on without it.
    Mode(Mode),
    /// A budget has no room for it. The run goes on without it.
    Budget(Exhausted),
}

impl WorkflowRef {
    /// What names `workflow` and nothing else.
    #[must_use]
    pub fn of(workflow: &Workflow) -> Self {
        Self { name: workflow.name().clone(), version: workflow.version(), hash: workflow.hash() }
    }
}

impl Attempt {
    /// The first try of `step` in `run`.
    #[must_use]
    pub fn first(run: RunId, step: &str) -> Self {
        Self { number: 1, id: AttemptId::derive(run, step, 1) }
    }

    /// The try after this one: under the same key, or under one of its own.
    #[must_use]
    pub fn next(self, run: RunId, step: &str, same_key: bool) -> Self {
        let number = self.number.saturating_add(1);
        Self { number, id: if same_key { self.id } else { AttemptId::derive(run, step, number) } }
    }
}

impl Event {
    /// The step it is about.
    #[must_use]
    pub const fn step(&self) -> Option<&StepId> {
        match self {
            Self::StepStarted { step, .. }
            | Self::StepOpened { step, .. }
            | Self::StepsGrafted { step, .. }
            | Self::AttemptFailed { step, .. }
            | Self::StepAnswered { step, .. }
            | Self::StepInformed { step, .. }
            | Self::PlanAccepted { step, .. }
            | Self::RemedyBegun { step, .. }
            | Self::VerificationBegun { step, .. }
            | Self::VerdictReached { step, .. }
            | Self::RepetitionNoticed { step, .. }
            | Self::StepCompleted { step, .. }
            | Self::StepFailed { step, .. }
            | Self::StepSkipped { step, .. }
            | Self::StepCancelled { step } => Some(step),
            Self::RunStarted { .. }
            | Self::SignalReceived { .. }
            | Self::CancelRequested { .. }
            | Self::UndoBegun { .. }
            | Self::RunEnded { .. } => None,
        }
    }
}

impl Transition {
    /// The number of its last event.
    #[must_use]
    pub const fn last_event(&self) -> u64 {
        self.first_event.saturating_add(self.events.len() as u64).saturating_sub(1)
    }

    /// Whether the run ends with it.
    #[must_use]
    pub fn ends_run(&self) -> bool {
        matches!(self.events.last(), Some(Event::RunEnded { .. }))
    }
}

impl EndState {
    /// The name used in records, tables and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed-out",
        }
    }
}

/// One sentence for a person.
impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunEnded => f.write_str("the run ended before its turn came"),
            Self::NotNeeded => f.write_str("what it is a part of ended before its turn came"),
            Self::Budget(over) => over.fmt(f),
            Self::Mode(mode) => write!(f, "the mode was {mode}, and the workflow leaves the step out then"),
        }
    }
}

/// A payload that is there may be `null`, and that is not the same as one that is not there.
pub(super) fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// Whether no cost is declared.
fn nothing(estimates: &Estimates) -> bool {
    estimates.is_empty()
}
