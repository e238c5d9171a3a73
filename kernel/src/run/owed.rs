//! What the world still owes a run, read off its state.
//!
//! The shell is a reconciler: after each transition it compares this with what it has under way, starts what is missing
//! and drops what is no longer wanted. After a crash nothing is under way, and the same comparison starts everything
//! again under the same keys. That is all there is to recovery.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::chain::Chain;
use crate::effect::EffectClass;
use crate::id::RunId;
use crate::json::Json;
use crate::name::Name;
use crate::priority::Priority;
use crate::retry::Retries;
use crate::run::decide::next_move;
use crate::run::event::Attempt;
use crate::run::inquiry::{self, Inquiry};
use crate::run::pattern;
use crate::run::state::{State, StepState};
use crate::time::Wall;
use crate::workflow::{StepId, StepKind};

/// What is to be under way for a run, and nothing else.
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use = "what is owed must be made to happen"]
pub struct Owed {
    /// The calls, one for each running step, in the workflow's order.
    pub calls: Vec<Call>,
    /// What is to be found out, one for each step that asks.
    pub inquiries: Vec<Inquiry>,
    /// When to tell the run [`crate::run::Input::Woken`]; nothing once it has ended. May lie in the past.
    pub wake_at: Option<Wall>,
}

/// A call of an agent. Everything about it is fixed here; whoever makes it only chooses the instance.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a call that is owed must be made"]
pub struct Call {
    /// The run.
    pub run: RunId,
    /// Whose run.
    pub tenant: Name,
    /// The step.
    pub step: StepId,
    /// Which try, and the key to make it under.
    pub attempt: Attempt,
    /// What is to be done.
    pub capability: Name,
    /// Only by this agent, if the workflow says so.
    pub agent: Option<Name>,
    /// By none of these agents: it is their work that is looked at.
    pub not_by: Vec<Name>,
    /// What the agent is given.
    pub input: Json,
    /// The time this try has, counted by whoever makes the call from when it does.
    pub timeout: Duration,
    /// When the run is cut, and the call with it.
    pub deadline: Wall,
    /// What the run's client wants, in words.
    pub intent: Arc<str>,
    /// The run's labels.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Whether it may be repeated on its way.
    pub retries: Retries,
    /// The calls on whose behalf the run was started.
    pub chain: Chain,
    /// How urgent it is.
    pub priority: Priority,
}

/// What must be on disk before an effect happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Everything decided so far: the world will notice, so it must never be decided otherwise.
    Committed,
    /// Nothing: should the decision be lost, it is taken again with the same key, and nobody can tell.
    Buffered,
}

/// What a call with this effect waits for.
#[must_use]
pub const fn durability(effect: EffectClass) -> Durability {
    match effect {
        EffectClass::ReadOnly | EffectClass::Idempotent => Durability::Buffered,
        EffectClass::SideEffecting => Durability::Committed,
    }
}

/// How soon the decision that led to `run` must be on disk: at once if the run has ended, which its client is told, or if
/// one of the calls it owes is noticed by the world. `effect` tells that of a capability.
pub fn urgency(run: &State, owed: &Owed, effect: impl Fn(&Call) -> EffectClass) -> Durability {
    let noticed = |call| durability(effect(call)) == Durability::Committed;
    if run.end.is_some() || owed.calls.iter().any(noticed) {
        Durability::Committed
    } else {
        Durability::Buffered
    }
}

/// What is owed to `run`, nothing once it has ended.
pub fn outstanding(run: &State) -> Owed {
    if run.end.is_some() {
        return Owed::default();
    }
    let mut owed =
        Owed { calls: Vec::with_capacity(run.active()), wake_at: Some(run.cut_at()), inquiries: Vec::new() };
    for (at, (spec, step)) in run.each().enumerate() {
        owed.inquiries.extend(inquiry::asked(run, at));
        match (step.state, &spec.kind) {
            (StepState::Running { attempt }, StepKind::Call(call)) => owed.calls.push(Call {
                run: run.id,
                tenant: run.tenant.clone(),
                step: spec.id.clone(),
                attempt,
                capability: call.capability.clone(),
                agent: call.agent.clone(),
                not_by: call.not_by.clone(),
                input: step.input.clone().unwrap_or_default(),
                timeout: spec.timeout,
                deadline: run.cut_at(),
                intent: run.intent.clone(),
                labels: Arc::clone(&run.labels),
                retries: run.retries,
                chain: run.chain.clone(),
                priority: run.priority,
            }),
            (StepState::Gathering { .. }, _) if !pattern::has_a_limit(run, at) => {}
            (StepState::BackingOff { until, .. } | StepState::Gathering { until: Some(until) }, _) => {
                owed.wake_at = owed.wake_at.min(Some(until));
            }
            (
                StepState::Pending
                | StepState::Running { .. }
                | StepState::Gathering { until: None }
                | StepState::Completed
                | StepState::Failed
                | StepState::Skipped
                | StepState::Cancelled,
                _,
            ) => {}
        }
    }
    if let Some(at) = run.time_ends() {
        owed.wake_at = owed.wake_at.min(Some(at));
    }
    // A journal that ends in the middle of a decision (none that we write does) is taken up at once.
    if next_move(run, run.last_at).is_some() {
        owed.wake_at = owed.wake_at.min(Some(run.last_at));
    }
    owed
}
