//! That this store was restored from a backup, and when. What happened between the backup and then is not on record, so no
//! call of a run of before may be taken for one that was never made.

use mainstay_kernel::time::Wall;
use serde::{Deserialize, Serialize};

use super::{RecordError, key};

const KIND: &str = "restore";
const SCHEMA: u16 = 1;

/// What is remembered of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// When.
    pub at: Wall,
    /// When a server first ran on the restored store and waited for sidecars to register again; `None` until then.
    #[serde(default)]
    pub first_start: Option<Wall>,
}

/// Key of the record. The newest restore counts: there is one.
#[must_use]
pub fn key() -> Vec<u8> {
    key::global("default", key::RESTORED)
}

impl Restored {
    /// Encodes it.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        super::encode(KIND, SCHEMA, self)
    }

    /// Decodes it.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        super::decode(KIND, SCHEMA, bytes)
    }
}
