//! A run as a line in the listing: small, written when it starts and when it ends. Keys run from newest to oldest.

use std::collections::BTreeMap;

use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::{Failure, Usage};
use mainstay_kernel::run::EndState;
use mainstay_kernel::time::Wall;
use serde::{Deserialize, Serialize};

use super::{RecordError, key};

const KIND: &str = "run summary";
const SCHEMA: u16 = 1;

/// What the listing shows of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run.
    pub run: RunId,
    /// Name of its workflow.
    pub workflow: Name,
    /// Version of its workflow.
    pub version: u32,
    /// How it ended; `None` from its start until then.
    #[serde(default)]
    pub end: Option<EndState>,
    /// What the person asked for.
    #[serde(default)]
    pub intent: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When it was accepted.
    pub started_at: Wall,
    /// When it is cut.
    pub deadline: Wall,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<Wall>,
    /// Why it did not complete.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// Sum over its attempts, once it has ended.
    #[serde(default)]
    pub usage: Usage,
    /// How many calls reached an agent, once it has ended.
    #[serde(default)]
    pub calls: u64,
}

/// Prefix of a tenant's runs, newest first.
#[must_use]
pub fn prefix(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::RUN_SUMMARY)
}

/// Key of a run. Ids order by creation; their complement orders the newest first.
#[must_use]
pub fn key(tenant: &str, run: RunId) -> Vec<u8> {
    let mut key = prefix(tenant);
    key.extend(run.as_bytes().iter().map(|byte| !byte));
    key
}

impl RunSummary {
    /// Encodes it.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        super::encode(KIND, SCHEMA, self)
    }

    /// Decodes it.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        super::decode(KIND, SCHEMA, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_run_has_a_smaller_key() {
        let (old, new) = (RunId::from_bytes([1; 16]), RunId::from_bytes([2; 16]));
        assert!(key("default", new) < key("default", old));
    }
}
