//! How often an open run broke what drove it. Written when it falls; gone when the run has ended, or when a person lets it
//! go on.

use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::poison::Falls;
use serde::{Deserialize, Serialize};

use super::{RecordError, key, malformed};

const KIND: &str = "falls";
const SCHEMA: u16 = 1;

/// The falls of a run, with the tenant whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallen {
    /// The tenant.
    pub tenant: Name,
    /// What happened.
    #[serde(flatten)]
    pub falls: Falls,
}

/// Key of the falls of one run.
#[must_use]
pub fn key(tenant: &str, run: RunId) -> Vec<u8> {
    key::of_run(tenant, run, key::FALLS)
}

/// The value.
pub fn encode(fallen: &Fallen) -> Result<Vec<u8>, RecordError> {
    super::encode(KIND, SCHEMA, fallen)
}

/// A run, and what it did.
pub fn decode(key: &[u8], value: &[u8]) -> Result<(RunId, Fallen), RecordError> {
    let (_, id) = key.split_last_chunk().ok_or_else(|| malformed(KIND, "its key is cut short"))?;
    Ok((RunId::from_bytes(*id), super::decode(KIND, SCHEMA, value)?))
}
