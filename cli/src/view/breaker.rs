//! Breakers with whose they are.

use mainstay_proto::pb;
use serde::Serialize;

use super::agent::{AgentView, BreakerView};

/// A breaker and whose it is.
#[derive(Debug, Clone, Serialize)]
pub struct BreakerOf {
    /// The agent.
    pub agent: String,
    /// The instance.
    pub instance: String,
    /// The breaker.
    #[serde(flatten)]
    pub breaker: BreakerView,
}

/// All breakers of an agent.
pub fn breakers_of(agent: &AgentView) -> impl Iterator<Item = BreakerOf> + '_ {
    agent.instances.iter().flat_map(|instance| {
        instance.breakers.iter().map(|breaker| BreakerOf {
            agent: agent.name.clone(),
            instance: instance.name.clone(),
            breaker: breaker.clone(),
        })
    })
}

impl BreakerOf {
    /// What tells it from all others.
    #[must_use]
    pub fn key(&self) -> (String, String, String) {
        (self.agent.clone(), self.instance.clone(), self.breaker.capability.clone())
    }
}

impl BreakerView {
    /// Whether it has ever changed.
    #[must_use]
    pub fn has_something_to_tell(&self) -> bool {
        self.state != "closed" || self.opened > 0
    }

    /// Whether it has changed since `self` was looked at.
    #[must_use]
    pub fn differs(&self, now: &Self) -> bool {
        (&self.state, self.opened, &self.reason) != (&now.state, now.opened, &now.reason)
    }
}

impl From<pb::TurnedBreaker> for BreakerOf {
    fn from(turned: pb::TurnedBreaker) -> Self {
        Self {
            agent: turned.agent,
            instance: turned.instance,
            breaker: turned.breaker.unwrap_or_default().into(),
        }
    }
}
