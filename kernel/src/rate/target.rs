//! What has a rate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::{Name, NameError};

/// What has a rate, within one tenant. Written `tenant/acme`, `capability/text.draft`, `agent/writer`,
/// `agent/writer/text.draft`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Every call of a tenant.
    Tenant(Name),
    /// Every call of a capability, whoever offers it.
    Capability(Name),
    /// Every call to an agent, all its instances together.
    Agent(Name),
    /// Every call of one capability to one agent, all its instances together.
    Offer {
        /// The agent.
        agent: Name,
        /// What it offers.
        capability: Name,
    },
}

/// A text that names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It does not begin with a kind, or has too few or too many parts.
    #[error("must be agent/NAME, agent/NAME/CAPABILITY, capability/NAME or tenant/NAME")]
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

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(name) => write!(f, "tenant/{name}"),
            Self::Capability(name) => write!(f, "capability/{name}"),
            Self::Agent(name) => write!(f, "agent/{name}"),
            Self::Offer { agent, capability } => write!(f, "agent/{agent}/{capability}"),
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
            ["agent", agent, capability] => {
                Ok(Self::Offer { agent: name(agent)?, capability: name(capability)? })
            }
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
