//! The kinds of steps: what each is made of, once its document has been read.
//!
//! A `call` is the one kind that asks an agent. Every other kind is *open* while it goes on: it makes no call of its own
//! and takes nobody's place, and what it comes to follows from what is known of the run: the steps that grew inside it,
//! the signals that came, what a person answered. See [`crate::run`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::expr::Mapping;
use crate::json::Json;
use crate::name::Name;
use crate::schema::Schema;

mod consensus;
mod plan;
mod route;
mod supervise;

pub use self::consensus::{Consensus, Judge, MAX_RUBRIC_CHARS, MEMBERS, label};
pub use self::plan::{
    DEFAULT_PLAN_DEPTH, DEFAULT_PLAN_STEPS, DEFAULT_REPAIRS, MAX_PLAN_CAPABILITIES, MAX_PLAN_STEPS,
    MAX_REPAIRS, Plan,
};
pub use self::route::RouteTo;
pub use self::supervise::{
    DEFAULT_ROUNDS, DEFAULT_TASKS, DEFAULT_TASKS_AT_ONCE, MAX_ROUNDS, MAX_SUPERVISORS, MAX_TASKS,
    MAX_WORKERS, Supervise,
};

/// How many items a list may have where the document does not say.
pub const DEFAULT_ITEMS: usize = 100;
/// Most items of a list that is gone over: half of what may grow in a run.
pub const MAX_ITEMS: usize = 500;
/// How many items are worked on at once where the document does not say.
pub const DEFAULT_ITEMS_AT_ONCE: usize = 4;
/// Most branches to choose from: a longer list is a routing document's.
pub const MAX_BRANCHES: usize = 32;
/// Longest wait for time, a signal or a person: as long as a run may take.
pub const MAX_WAIT: Duration = super::MAX_DEADLINE;

/// What a step does.
#[derive(Debug, Clone)]
pub enum StepKind {
    /// Calls an agent.
    Call(Call),
    /// Calls an agent for each item of a list.
    Map(Map),
    /// Goes one of several ways.
    Choose(Choose),
    /// Waits for time to pass, or for word from outside.
    Wait(Wait),
    /// Asks a person.
    Approve(Approve),
    /// Runs another workflow.
    Sub(Sub),
    /// Asks several agents the same, none hearing of the others.
    Consensus(Consensus),
    /// Lets an agent hand out work to others.
    Supervise(Supervise),
    /// Carries out what an agent plans.
    Plan(Plan),
    /// Calls whoever a routing document finds.
    Route(RouteTo),
}

/// What a step that grows does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Calls an agent.
    Call(Call),
    /// Runs another workflow.
    Sub(Sub),
}

/// A call of whichever agent offers a capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The capability that is called.
    pub capability: Name,
    /// The agent that must do it; any that offers the capability if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Name>,
    /// Agents that must not do it, whatever they offer: it is their work that is looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_by: Vec<Name>,
}

/// A call for each item of a list; its answer is the list of their outputs, in the order of the items.
#[derive(Debug, Clone)]
pub struct Map {
    /// What makes the list.
    pub over: Mapping,
    /// The call. What its agent is given is the step's input, evaluated for each item.
    pub call: Call,
    /// Most items; a longer list fails the step before anything is called.
    pub max_items: usize,
    /// Most calls at once.
    pub parallel: usize,
    /// Whether the answer may have gaps: `null` where an item failed, named in its warnings.
    pub partial: bool,
    /// How long all of it may take: then what has not ended counts as failed.
    pub within: Option<Duration>,
}

/// The first branch whose condition holds is taken; its answer is the step's. If none is, the answer is `null`.
#[derive(Debug, Clone)]
pub struct Choose {
    /// In the order they are looked at; at least one.
    pub branches: Vec<Branch>,
}

/// One way to go.
#[derive(Debug, Clone)]
pub struct Branch {
    /// What must be true; always, if nothing is said.
    pub when: Option<Mapping>,
    /// What is done then.
    pub then: Then,
}

/// What a branch does.
#[derive(Debug, Clone)]
pub enum Then {
    /// Calls an agent with the step's input.
    Call(Call),
    /// Answers by itself.
    Value(Mapping),
}

/// A durable timer, or a durable wait for a signal.
#[derive(Debug, Clone)]
pub struct Wait {
    /// What it waits for.
    pub until: Until,
}

/// What ends a wait.
#[derive(Debug, Clone)]
pub enum Until {
    /// So much time.
    Time(Duration),
    /// A signal of this name. Its value is the step's answer.
    Signal {
        /// The signal's name.
        name: Name,
        /// What its value must meet.
        schema: Schema,
        /// How long it is waited for; as long as the run has, if nothing is said.
        within: Option<Duration>,
        /// The answer if it does not come in time; the step fails without one.
        default: Option<Json>,
    },
}

/// Another workflow, run inside the step: its steps grow there, see the step's input as theirs, and what it comes to is the
/// step's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sub {
    /// The workflow.
    pub workflow: Name,
    /// Its version; the newest when the run starts, if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

/// A question to a person: an escalation with a form, a time and a default.
#[derive(Debug, Clone)]
pub struct Approve {
    /// The question, a text.
    pub ask: Mapping,
    /// What a person may write instead of what was shown.
    pub form: Schema,
    /// Whose question it is, in words; nobody's in particular if nothing is said.
    pub assignee: Option<String>,
    /// How long an answer is waited for.
    pub within: Duration,
    /// What holds if none comes in time.
    pub otherwise: Otherwise,
}

/// What holds where no person answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Otherwise {
    /// The step fails. Silence is not consent unless the document says so.
    #[default]
    Reject,
    /// What was shown goes on.
    Approve,
}

impl Call {
    /// A call of any agent that offers `capability`.
    #[must_use]
    pub const fn of(capability: Name) -> Self {
        Self { capability, agent: None, not_by: Vec::new() }
    }
}

impl StepKind {
    /// Whether it makes no call of its own: it waits for the steps that grow inside it, for a signal or for a person.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        match self {
            Self::Call(_) => false,
            Self::Map(_)
            | Self::Choose(_)
            | Self::Wait(_)
            | Self::Approve(_)
            | Self::Sub(_)
            | Self::Consensus(_)
            | Self::Supervise(_)
            | Self::Plan(_)
            | Self::Route(_) => true,
        }
    }

    /// Its name, as a document has it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Call(_) => "call",
            Self::Map(_) => "map",
            Self::Choose(_) => "choose",
            Self::Wait(_) => "wait",
            Self::Approve(_) => "approve",
            Self::Sub(_) => "sub",
            Self::Consensus(_) => "consensus",
            Self::Supervise(_) => "supervise",
            Self::Plan(_) => "plan",
            Self::Route(_) => "route",
        }
    }

    /// The calls it may make, as far as the document says.
    #[must_use]
    pub fn calls(&self) -> Vec<&Call> {
        match self {
            Self::Call(call) | Self::Map(Map { call, .. }) => vec![call],
            Self::Choose(choose) => choose.branches.iter().filter_map(Branch::call).collect(),
            Self::Consensus(Consensus { of, judge, .. }) => {
                of.iter().chain(judge.iter().map(|judge| &judge.call)).collect()
            }
            Self::Plan(plan) => vec![&plan.by],
            Self::Route(route) => route.fallback.iter().collect(),
            Self::Supervise(Supervise { by, workers, .. }) => {
                std::iter::once(by).chain(workers.iter().filter_map(Work::call)).collect()
            }
            Self::Wait(_) | Self::Approve(_) | Self::Sub(_) => Vec::new(),
        }
    }

    /// The workflows it may run.
    #[must_use]
    pub fn subs(&self) -> Vec<&Sub> {
        match self {
            Self::Sub(sub) => vec![sub],
            Self::Supervise(supervise) => supervise.workers.iter().filter_map(Work::sub).collect(),
            Self::Call(_)
            | Self::Map(_)
            | Self::Choose(_)
            | Self::Wait(_)
            | Self::Approve(_)
            | Self::Consensus(_)
            | Self::Plan(_)
            | Self::Route(_) => Vec::new(),
        }
    }

    /// The call that all it does comes down to, if there is one.
    #[must_use]
    pub const fn call(&self) -> Option<&Call> {
        match self {
            Self::Call(call) | Self::Map(Map { call, .. }) => Some(call),
            Self::Choose(_)
            | Self::Wait(_)
            | Self::Approve(_)
            | Self::Sub(_)
            | Self::Consensus(_)
            | Self::Supervise(_)
            | Self::Plan(_)
            | Self::Route(_) => None,
        }
    }

    /// Most calls at once inside it, if it says so.
    #[must_use]
    pub const fn parallel(&self) -> Option<usize> {
        match self {
            Self::Map(map) => Some(map.parallel),
            Self::Supervise(supervise) => Some(supervise.parallel),
            Self::Call(_)
            | Self::Choose(_)
            | Self::Wait(_)
            | Self::Approve(_)
            | Self::Sub(_)
            | Self::Consensus(_)
            | Self::Plan(_)
            | Self::Route(_) => None,
        }
    }

    /// How often it goes round at most, if it goes in rounds.
    #[must_use]
    pub const fn rounds(&self) -> Option<usize> {
        match self {
            Self::Supervise(supervise) => Some(supervise.rounds),
            // The first proposal, and its repairs.
            Self::Plan(plan) => Some(plan.repairs + 1),
            Self::Call(_)
            | Self::Map(_)
            | Self::Choose(_)
            | Self::Wait(_)
            | Self::Approve(_)
            | Self::Sub(_)
            | Self::Consensus(_)
            | Self::Route(_) => None,
        }
    }

    /// How long it waits at most, apart from the calls it makes; nothing if it is bounded by the run alone, or by the
    /// deadline of the workflow it runs.
    #[must_use]
    pub const fn within(&self) -> Option<Duration> {
        match self {
            Self::Call(_) | Self::Choose(_) | Self::Sub(_) | Self::Route(_) => None,
            Self::Map(map) => map.within,
            Self::Consensus(consensus) => consensus.within,
            Self::Supervise(supervise) => supervise.within,
            Self::Plan(plan) => plan.within,
            Self::Wait(Wait { until: Until::Time(time) }) => Some(*time),
            Self::Wait(Wait { until: Until::Signal { within, .. } }) => *within,
            Self::Approve(approve) => Some(approve.within),
        }
    }
}

impl StepKind {
    /// What the output of the step called `id` inside it must meet, whatever its agent declares.
    #[must_use]
    pub fn schema_inside(&self, id: &str) -> Schema {
        let name = id.rsplit_once('/').map_or(id, |(_, name)| name);
        match self {
            Self::Consensus(Consensus { judge: Some(judge), .. }) if name == "judge" => judge.verdict.clone(),
            Self::Consensus(consensus) => consensus.schema.clone(),
            // A round of the supervisor's is a number; a task of it has a number of its own.
            Self::Supervise(supervise) if name.contains('_') => supervise.schema.clone(),
            Self::Supervise(supervise) => supervise.orders.clone(),
            Self::Call(_)
            | Self::Map(_)
            | Self::Choose(_)
            | Self::Wait(_)
            | Self::Approve(_)
            | Self::Sub(_)
            | Self::Route(_) => Schema::anything(),
            Self::Plan(plan) => plan.proposal.clone(),
        }
    }
}

impl Work {
    /// The name it goes by: the capability, or the workflow.
    #[must_use]
    pub const fn name(&self) -> &Name {
        match self {
            Self::Call(call) => &call.capability,
            Self::Sub(sub) => &sub.workflow,
        }
    }

    /// The call, if it is one.
    #[must_use]
    pub const fn call(&self) -> Option<&Call> {
        match self {
            Self::Call(call) => Some(call),
            Self::Sub(_) => None,
        }
    }

    /// The workflow, if it is one.
    #[must_use]
    pub const fn sub(&self) -> Option<&Sub> {
        match self {
            Self::Sub(sub) => Some(sub),
            Self::Call(_) => None,
        }
    }
}

impl From<Work> for StepKind {
    fn from(work: Work) -> Self {
        match work {
            Work::Call(call) => Self::Call(call),
            Work::Sub(sub) => Self::Sub(sub),
        }
    }
}

impl Branch {
    /// The call it makes, if it makes one.
    #[must_use]
    pub const fn call(&self) -> Option<&Call> {
        match &self.then {
            Then::Call(call) => Some(call),
            Then::Value(_) => None,
        }
    }
}
