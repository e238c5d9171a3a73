//! A drill: written when its fault begins, and again with all that happened when it is over.
//!
//! A record without an end is one of a server that ended in the middle; the next start says so in it. Drills are the
//! server's own, so they lie under the default tenant, whomever they aim at.

use mainstay_kernel::drill::{Event, Plan};
use mainstay_kernel::id::DrillId;
use mainstay_kernel::time::Wall;
use serde::{Deserialize, Serialize};

use super::{RecordError, key};

const KIND: &str = "drill";
const SCHEMA: u16 = 1;

/// A drill on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDrill {
    /// What it was to do.
    pub plan: Plan,
    /// When its fault began.
    pub began_at: Wall,
    /// What happened, in order.
    pub events: Vec<(Wall, Event)>,
    /// When it was found that the server had ended in the middle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted_at: Option<Wall>,
}

/// Prefix of all drills; their ids order them by time.
#[must_use]
pub fn prefix() -> Vec<u8> {
    key::global("default", key::DRILL)
}

/// Key of one.
#[must_use]
pub fn key(id: DrillId) -> Vec<u8> {
    let mut key = prefix();
    key.extend_from_slice(id.as_bytes());
    key
}

/// Encodes one.
pub fn encode(drill: &StoredDrill) -> Result<Vec<u8>, RecordError> {
    super::encode(KIND, SCHEMA, drill)
}

/// Decodes one.
pub fn decode(bytes: &[u8]) -> Result<StoredDrill, RecordError> {
    super::decode(KIND, SCHEMA, bytes)
}
