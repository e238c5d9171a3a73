//! The history of a rollout: one record for each change. The newest says which version of the document is in force and where
//! the rollout stands.

use mainstay_kernel::name::Name;
use mainstay_kernel::rollout::{Reason, Status};
use mainstay_kernel::time::Wall;
use serde::{Deserialize, Serialize};

use super::{RecordError, key};

const CHANGE: &str = "rollout change";
const SCHEMA: u16 = 1;

/// One change of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredChange {
    /// Its place among the changes of the rollout, from 1.
    pub number: u64,
    /// When.
    pub at: Wall,
    /// Which version of the document was in force.
    pub version: u32,
    /// Where the rollout stood after it.
    pub to: Status,
    /// Since when it is on its step.
    pub since: Wall,
    /// Why.
    pub reason: Reason,
    /// Who did it, as they said, if a person did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// Prefix of a tenant's changes, by name of the rollout, then in their order.
#[must_use]
pub fn changes(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::ROLLOUT_CHANGE)
}

/// Key of one change.
#[must_use]
pub fn change_key(tenant: &str, name: &str, number: u64) -> Vec<u8> {
    let mut key = changes(tenant);
    key.extend_from_slice(name.as_bytes());
    key.push(0);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The rollout's name in what follows a prefix.
#[must_use]
pub fn name(rest: &[u8]) -> Option<Name> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    Name::new(std::str::from_utf8(&rest[..end]).ok()?).ok()
}

impl StoredChange {
    /// Encodes it.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        super::encode(CHANGE, SCHEMA, self)
    }

    /// Decodes it.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        super::decode(CHANGE, SCHEMA, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_lie_in_their_order_and_tell_whose_they_are() {
        assert!(change_key("t", "a", 1) < change_key("t", "a", 300));
        let at = change_key("t", "writer", 1);
        assert_eq!(name(&at[changes("t").len()..]).unwrap().as_str(), "writer");
    }
}
