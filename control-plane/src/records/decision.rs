//! A decision on one routed request: one record each, by tenant and id, so that they lie in the order they were taken.

use mainstay_kernel::id::DecisionId;
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::Class;
use mainstay_kernel::route::Decision;
use mainstay_kernel::time::Wall;
use serde::{Deserialize, Serialize};

use super::{RecordError, key};

const KIND: &str = "decision";
const SCHEMA: u16 = 1;

/// What was decided about one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Its id; ids order by time.
    pub id: DecisionId,
    /// Whose request.
    pub tenant: Name,
    /// By which routing document.
    pub route: Name,
    /// And which version of it.
    pub version: u32,
    /// When the request came.
    pub at: Wall,
    /// How its input began.
    pub input: String,
    /// What was decided, and on which grounds.
    pub decision: Decision,
    /// How the call ended that followed; nothing for a rehearsal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Class>,
}

/// Prefix of a tenant's decisions, the oldest first.
#[must_use]
pub fn prefix(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::DECISION)
}

/// Key of one.
#[must_use]
pub fn key(tenant: &str, id: DecisionId) -> Vec<u8> {
    let mut key = prefix(tenant);
    key.extend_from_slice(id.as_bytes());
    key
}

/// Encodes one.
pub fn encode(decided: &Decided) -> Result<Vec<u8>, RecordError> {
    super::encode(KIND, SCHEMA, decided)
}

/// Decodes one.
pub fn decode(bytes: &[u8]) -> Result<Decided, RecordError> {
    super::decode(KIND, SCHEMA, bytes)
}
