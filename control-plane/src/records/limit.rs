//! A rate that an operator set: one entry for each target, written when it is set and deleted when it is cleared.

use mainstay_kernel::rate::Target;
use serde::{Deserialize, Serialize};

use super::{RecordError, key};
use crate::rates::SetByHand;

const KIND: &str = "limit";
const SCHEMA: u16 = 1;

/// An entry with what it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLimit {
    /// Of what.
    pub target: Target,
    /// The entry.
    #[serde(flatten)]
    pub limit: SetByHand,
}

/// Prefix of a tenant's entries.
#[must_use]
pub fn prefix(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::LIMIT)
}

/// Key of one.
#[must_use]
pub fn key(tenant: &str, target: &Target) -> Vec<u8> {
    let mut key = prefix(tenant);
    key.extend_from_slice(target.to_string().as_bytes());
    key
}

/// Encodes one.
pub fn encode(limit: &StoredLimit) -> Result<Vec<u8>, RecordError> {
    super::encode(KIND, SCHEMA, limit)
}

/// Decodes one.
pub fn decode(bytes: &[u8]) -> Result<StoredLimit, RecordError> {
    super::decode(KIND, SCHEMA, bytes)
}
