//! Pauses: what an operator has taken out of service for a while, by whom and why.
//!
//! A pause stops what would *begin*: no call goes to a paused instance, agent, capability or tenant, no run of a paused
//! workflow or tenant is accepted. It never cuts what is under way; a **drain** is a pause together with the news that
//! nothing is under way any more. Health and breakers answer "can it?", and change their minds by themselves. A pause
//! answers "may it?", and only a person changes it, so it is durable and outlives restarts of everything it names.
//!
//! **Why is a pause not one more breaker state?** A breaker trips on evidence and heals on evidence; who resets it by
//! hand must not resume what a colleague paused for the night. Two owners, two records.
//!
//! Pauses overlap. Each target has an entry of its own, and something is in service only when none of the entries that
//! name it is left. A tenant's pauses say nothing about another tenant.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::{Name, NameError};
use crate::time::Wall;

/// What can be paused, within one tenant. Written `agent/writer`, `instance/writer/one`, `capability/text.draft`,
/// `workflow/answer`, `tenant/acme`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Everything of a tenant: new runs, and new calls of the runs it has.
    Tenant(Name),
    /// Every new call of a capability, whoever offers it.
    Capability(Name),
    /// Every new call to an agent, whatever it offers.
    Agent(Name),
    /// Every new call to one instance of an agent.
    Instance {
        /// The agent.
        agent: Name,
        /// The instance's name within it.
        instance: Name,
    },
    /// New runs of a workflow. Runs that were accepted go on.
    Workflow(Name),
}

/// A text that names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It does not begin with a kind, or has too few or too many parts.
    #[error("must be agent/NAME, instance/AGENT/NAME, capability/NAME, workflow/NAME or tenant/NAME")]
    Shape,
    /// One of its parts is no name.
    #[error("names {part:?}, which {error}")]
    Name {
        /// The part.
        part: String,
        /// What is wrong with it.
        error: NameError,
    },
}

/// One entry: what, why, by whom and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// What is paused.
    pub target: Target,
    /// Why, in the words of whoever did it.
    pub reason: String,
    /// Who did it, as they said; empty if they did not.
    #[serde(default)]
    pub by: String,
    /// Since when. Pausing again what is paused changes reason and author, not this.
    pub since: Wall,
}

/// Everything that is paused, of all tenants. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pauses(BTreeMap<Name, Arc<Paused>>);

/// What is paused of one tenant; never empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paused(BTreeMap<Target, Arc<Pause>>);

// === impl Target ===

impl Target {
    /// The kind, as it is written: for tables and metric labels.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tenant(_) => "tenant",
            Self::Capability(_) => "capability",
            Self::Agent(_) => "agent",
            Self::Instance { .. } => "instance",
            Self::Workflow(_) => "workflow",
        }
    }

    /// Every kind there is.
    pub const KINDS: [&'static str; 5] = ["tenant", "capability", "agent", "instance", "workflow"];
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(name) | Self::Capability(name) | Self::Agent(name) | Self::Workflow(name) => {
                write!(f, "{}/{name}", self.kind())
            }
            Self::Instance { agent, instance } => write!(f, "instance/{agent}/{instance}"),
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let name =
            |part: &str| Name::new(part).map_err(|error| TargetError::Name { part: part.to_owned(), error });
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        match parts[..] {
            ["tenant", tenant] => Ok(Self::Tenant(name(tenant)?)),
            ["capability", capability] => Ok(Self::Capability(name(capability)?)),
            ["agent", agent] => Ok(Self::Agent(name(agent)?)),
            ["instance", agent, instance] => {
                Ok(Self::Instance { agent: name(agent)?, instance: name(instance)? })
            }
            ["workflow", workflow] => Ok(Self::Workflow(name(workflow)?)),
            _ => Err(TargetError::Shape),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("target {text:?} {error}")))
    }
}

// === impl Pause ===

impl fmt::Display for Pause {
    /// `paused: REASON (agent/writer, by ops)`: what somebody reads who wonders why nothing happens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "paused: {} ({}", self.reason, self.target)?;
        if !self.by.is_empty() {
            write!(f, ", by {}", self.by)?;
        }
        f.write_str(")")
    }
}

// === impl Pauses ===

impl Pauses {
    /// What [`Pauses::put`] would put on record: `pause`, since when its target has been paused.
    #[must_use]
    pub fn amended(&self, tenant: &Name, pause: Pause) -> Pause {
        let before = self.of(tenant).and_then(|paused| paused.get(&pause.target));
        Pause { since: before.map_or(pause.since, |before| before.since.min(pause.since)), ..pause }
    }

    /// Puts an entry on record, in place of the one of the same target.
    pub fn put(&mut self, tenant: Name, pause: Pause) -> Arc<Pause> {
        let pause = Arc::new(self.amended(&tenant, pause));
        let paused = Arc::make_mut(self.0.entry(tenant).or_default());
        paused.0.insert(pause.target.clone(), Arc::clone(&pause));
        pause
    }

    /// Lifts one entry; others that overlap with it stand. `None` if there is none.
    pub fn lift(&mut self, tenant: &Name, target: &Target) -> Option<Arc<Pause>> {
        let paused = Arc::make_mut(self.0.get_mut(tenant)?);
        let lifted = paused.0.remove(target);
        if paused.0.is_empty() {
            self.0.remove(tenant);
        }
        lifted
    }

    /// What is paused of a tenant; `None` if nothing is.
    #[must_use]
    pub fn of(&self, tenant: &Name) -> Option<&Arc<Paused>> {
        self.0.get(tenant)
    }

    /// Every entry, by tenant and target.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Arc<Pause>)> {
        self.0.iter().flat_map(|(tenant, paused)| paused.iter().map(move |pause| (tenant, pause)))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(|paused| paused.0.len()).sum()
    }

    /// Whether nothing is paused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

// === impl Paused ===

impl Paused {
    /// The entry that keeps every call of `capability` from being made, if there is one.
    #[must_use]
    pub fn call(&self, tenant: &Name, capability: &Name) -> Option<&Arc<Pause>> {
        self.tenant(tenant).or_else(|| self.get(&Target::Capability(capability.clone())))
    }

    /// The entry that keeps calls from one instance, if there is one.
    #[must_use]
    pub fn candidate(&self, agent: &Name, instance: &Name) -> Option<&Arc<Pause>> {
        self.get(&Target::Agent(agent.clone()))
            .or_else(|| self.get(&Target::Instance { agent: agent.clone(), instance: instance.clone() }))
    }

    /// The entry that keeps runs of `workflow` from being accepted, if there is one.
    #[must_use]
    pub fn start(&self, tenant: &Name, workflow: &Name) -> Option<&Arc<Pause>> {
        self.tenant(tenant).or_else(|| self.get(&Target::Workflow(workflow.clone())))
    }

    /// The entry of the tenant as a whole, if there is one.
    #[must_use]
    pub fn tenant(&self, tenant: &Name) -> Option<&Arc<Pause>> {
        self.get(&Target::Tenant(tenant.clone()))
    }

    /// The entry of exactly this target.
    #[must_use]
    pub fn get(&self, target: &Target) -> Option<&Arc<Pause>> {
        self.0.get(target)
    }

    /// Every entry, by target.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Pause>> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests;
