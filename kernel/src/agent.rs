//! What an agent says of itself when it registers. Parsed and checked at the border; inside, every field is good.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::breaker;
use crate::chain::MayCall;
use crate::context_budget::ContextBudget;
use crate::effect::EffectClass;
use crate::hedge;
use crate::json::Json;
use crate::name::Name;
use crate::rate::Rate;

/// An agent: what it is called and what it can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentSpec {
    /// The agent's name, shared by all its instances.
    pub name: Name,
    /// The agent's own version, free text (for example `1.4.2`).
    pub version: String,
    /// Free labels, for selection and for people.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What it can do; at least one.
    pub capabilities: Vec<CapabilitySpec>,
    /// How many calls it takes, all instances and capabilities together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// One thing an agent can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapabilitySpec {
    /// The capability's name; several agents may offer the same one.
    pub name: Name,
    /// What it does, in words.
    #[serde(default)]
    pub description: String,
    /// JSON Schema (2020-12) of the input.
    pub input_schema: Json,
    /// JSON Schema (2020-12) of the output.
    pub output_schema: Json,
    /// Failures the agent declares it may answer with: code → description.
    #[serde(default)]
    pub failure_modes: BTreeMap<String, String>,
    /// What a call may do to the world.
    pub effect: EffectClass,
    /// The time within which it promises to answer.
    pub sla: Duration,
    /// What one call costs on average, in 10⁻⁹ US dollars; 0 if unknown.
    #[serde(default)]
    pub cost_hint_nano_usd: i64,
    /// How many calls one instance takes at once.
    pub max_concurrency: u32,
    /// Words that suggest this capability.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// Requests this capability should get.
    #[serde(default)]
    pub examples: Vec<String>,
    /// When calls are kept from an instance that fails; what is not declared is as the server has it.
    #[serde(default, skip_serializing_if = "breaker::Policy::is_empty")]
    pub breaker: breaker::Policy,
    /// When a call that takes long is sent to another instance too; only where the effect is read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<hedge::Policy>,
    /// How many calls of it the agent takes, all instances together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How many tokens its input may have, and what is done with one that has more. Its sidecar sees to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_budget: Option<ContextBudget>,
    /// What whoever carries it out may have carried out by others.
    #[serde(default, skip_serializing_if = "MayCall::is_nobody")]
    pub may_call: MayCall,
}

impl AgentSpec {
    /// The capability called `name`.
    #[must_use]
    pub fn capability(&self, name: &str) -> Option<&CapabilitySpec> {
        self.capabilities.iter().find(|capability| capability.name == *name)
    }
}
