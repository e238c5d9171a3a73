//! Agents, their capabilities, instances and breakers.

use std::collections::BTreeMap;

use mainstay_proto::pb;
use serde::Serialize;

use super::pause::PauseView;
use super::value::{Payload, Span, When, word};

/// An agent.
#[derive(Debug, Clone, Serialize)]
pub struct AgentView {
    /// Its name.
    pub name: String,
    /// Its version, as the newest registration says it.
    pub version: String,
    /// Whose it is.
    pub tenant: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Calls it takes, such as `10/s`, as it declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// What it can do.
    pub capabilities: Vec<CapabilityView>,
    /// Where it runs, and where it did.
    pub instances: Vec<InstanceView>,
    /// What keeps new calls from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<PauseView>,
    /// Capabilities most of whose instances look unusable, so that all are used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub panicking: Vec<String>,
}

/// One thing an agent can do.
#[derive(Debug, Clone, Serialize)]
pub struct CapabilityView {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// `read-only`, `idempotent` or `side-effecting`.
    pub effect: String,
    /// The time within which it promises to answer.
    #[serde(skip_serializing_if = "Option::is_none", rename = "sla_ms")]
    pub sla: Option<Span>,
    /// Calls that one instance takes at once.
    pub max_concurrency: u32,
    /// Calls of it the agent takes, such as `10/s`, as it declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// When a call that takes long is sent to another instance too, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge: Option<HedgeView>,
    /// How many tokens its input may have, and what is done with one that has more, if that is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_budget: Option<ContextBudgetView>,
    /// What whoever carries it out may have carried out by others; `*` for anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub may_call: Vec<String>,
    /// What a call costs on average, in 10^-9 US dollars; 0 if unknown.
    pub cost_hint_nano_usd: i64,
    /// Failures it may answer with.
    pub failure_modes: BTreeMap<String, String>,
    /// Words that suggest it.
    pub keywords: Vec<String>,
    /// Requests it should get.
    pub examples: Vec<String>,
    /// JSON Schema of the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Payload>,
    /// JSON Schema of the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Payload>,
}

/// How much of a model's context window an input may take.
#[derive(Debug, Clone, Serialize)]
pub struct ContextBudgetView {
    /// Tokens an input may have.
    pub max_tokens: u32,
    /// The vocabulary they are counted by.
    pub encoding: String,
    /// What happens to one that has more.
    pub over: String,
    /// Who summarises, if somebody does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// What may be made shorter; everything if nothing is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// One running copy of an agent.
#[derive(Debug, Clone, Serialize)]
pub struct InstanceView {
    /// Its id.
    pub instance_id: String,
    /// Its name within the agent.
    pub name: String,
    /// Where its sidecar listens.
    pub address: String,
    /// The version it runs.
    pub version: String,
    /// `healthy`, `unhealthy` or `unknown`.
    pub health: String,
    /// Why.
    pub health_reason: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_since: Option<When>,
    /// False once the lease is over.
    pub leased: bool,
    /// When it registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<When>,
    /// Grows by one at each registration.
    pub epoch: u64,
    /// Calls under way now.
    pub in_flight: u32,
    /// Its breakers, one for each capability.
    pub breakers: Vec<BreakerView>,
    /// Capabilities it is left out of for a while.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ejections: Vec<EjectionView>,
    /// Capabilities where its share of the traffic still grows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slow_starts: Vec<SlowStartView>,
}

/// When a call that takes long is sent to another instance too.
#[derive(Debug, Clone, Serialize)]
pub struct HedgeView {
    /// After which time, such as `300ms`, or after which percentile, such as `p95`.
    pub after: String,
    /// Hedges of an attempt, at most.
    pub max: Option<u32>,
    /// Hedges for the calls that go well, in basis points.
    pub share_bp: Option<u32>,
}

/// An instance left out of a capability because it does worse than its siblings.
#[derive(Debug, Clone, Serialize)]
pub struct EjectionView {
    /// The capability.
    pub capability: String,
    /// How much worse.
    pub reason: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<When>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<When>,
}

/// A new or recovered instance whose share of the traffic grows.
#[derive(Debug, Clone, Serialize)]
pub struct SlowStartView {
    /// The capability.
    pub capability: String,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<When>,
}

/// A breaker of one instance and one capability.
#[derive(Debug, Clone, Serialize)]
pub struct BreakerView {
    /// The capability.
    pub capability: String,
    /// `closed` (traffic flows), `open` or `half-open`.
    pub state: String,
    /// Why it last changed.
    pub reason: String,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<When>,
    /// How many times it has opened.
    pub opened: u64,
}

impl InstanceView {
    /// Health in one word; `gone` without a lease.
    #[must_use]
    pub fn condition(&self) -> &str {
        if self.leased { &self.health } else { "gone" }
    }
}

impl From<pb::Agent> for AgentView {
    fn from(agent: pb::Agent) -> Self {
        let spec = agent.spec.unwrap_or_default();
        Self {
            name: spec.name,
            version: spec.version,
            tenant: agent.tenant,
            labels: spec.labels.into_iter().collect(),
            rate: spec.rate.map(|rate| rate.calls),
            capabilities: spec.capabilities.into_iter().map(Into::into).collect(),
            instances: agent.instances.into_iter().map(Into::into).collect(),
            pauses: agent.pauses.into_iter().map(Into::into).collect(),
            panicking: agent.panicking,
        }
    }
}

impl From<pb::Capability> for CapabilityView {
    fn from(capability: pb::Capability) -> Self {
        let effect = pb::EffectClass::try_from(capability.effect).ok().map(|effect| effect.as_str_name());
        Self {
            name: capability.name,
            description: capability.description,
            effect: word(effect, "EFFECT_CLASS_"),
            sla: Span::of(capability.sla.as_ref()),
            max_concurrency: capability.max_concurrency,
            rate: capability.rate.map(|rate| rate.calls),
            hedge: capability.hedge.map(Into::into),
            context_budget: capability.context_budget.map(Into::into),
            may_call: capability.may_call,
            cost_hint_nano_usd: capability.cost_hint_nano_usd,
            failure_modes: capability.failure_modes.into_iter().collect(),
            keywords: capability.keywords,
            examples: capability.examples,
            input_schema: Payload::of(&capability.input_schema),
            output_schema: Payload::of(&capability.output_schema),
        }
    }
}

impl From<pb::ContextBudget> for ContextBudgetView {
    fn from(budget: pb::ContextBudget) -> Self {
        let pb::ContextBudget { max_tokens, encoding, over, by, fields } = budget;
        Self { max_tokens, encoding, over, by, fields }
    }
}

impl From<pb::HedgePolicy> for HedgeView {
    fn from(policy: pb::HedgePolicy) -> Self {
        let pb::HedgePolicy { after, max, share_bp } = policy;
        Self { after, max, share_bp }
    }
}

impl From<pb::Instance> for InstanceView {
    fn from(instance: pb::Instance) -> Self {
        let health = pb::HealthState::try_from(instance.health).ok().map(|health| health.as_str_name());
        Self {
            instance_id: instance.instance_id,
            name: instance.name,
            address: instance.address,
            version: instance.version,
            health: word(health, "HEALTH_STATE_"),
            health_reason: instance.health_reason,
            health_since: When::of(instance.health_since.as_ref()),
            leased: instance.leased,
            registered_at: When::of(instance.registered_at.as_ref()),
            epoch: instance.epoch,
            in_flight: instance.in_flight,
            breakers: instance.breakers.into_iter().map(Into::into).collect(),
            ejections: instance.ejections.into_iter().map(Into::into).collect(),
            slow_starts: instance.slow_starts.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<pb::Ejection> for EjectionView {
    fn from(ejection: pb::Ejection) -> Self {
        Self {
            capability: ejection.capability,
            reason: ejection.reason,
            since: When::of(ejection.since.as_ref()),
            until: When::of(ejection.until.as_ref()),
        }
    }
}

impl From<pb::SlowStart> for SlowStartView {
    fn from(start: pb::SlowStart) -> Self {
        Self { capability: start.capability, until: When::of(start.until.as_ref()) }
    }
}

impl From<pb::Breaker> for BreakerView {
    fn from(breaker: pb::Breaker) -> Self {
        let state = pb::BreakerState::try_from(breaker.state).ok().map(|state| state.as_str_name());
        Self {
            capability: breaker.capability,
            state: word(state, "BREAKER_STATE_"),
            reason: breaker.reason,
            changed_at: When::of(breaker.changed_at.as_ref()),
            opened: breaker.opened,
        }
    }
}
