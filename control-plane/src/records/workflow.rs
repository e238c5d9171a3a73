//! A version of a workflow, as its author wrote it. Never changed once written: runs pin it. The document may be larger
//! than a record should be, so it lies in a blob under its content's name.

use mainstay_kernel::name::Name;
use mainstay_kernel::time::Wall;
use serde::{Deserialize, Serialize};

use super::{RecordError, key};

const KIND: &str = "workflow";
const SCHEMA: u16 = 1;

/// A stored version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredWorkflow {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: u32,
    /// Hash of its canonical form, in hexadecimal.
    pub hash: String,
    /// What it is for.
    pub description: String,
    /// How many steps it has.
    pub steps: u32,
    /// When it was put.
    pub created_at: Wall,
    /// Name of the blob that holds the document, in hexadecimal.
    pub document: String,
}

/// Prefix of a tenant's workflows, by name, then newest version first.
#[must_use]
pub fn prefix(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::WORKFLOW)
}

/// Prefix of the versions of one workflow, newest first.
#[must_use]
pub fn versions(tenant: &str, name: &str) -> Vec<u8> {
    let mut key = prefix(tenant);
    key.extend_from_slice(name.as_bytes());
    key.push(0);
    key
}

/// Key of one version.
#[must_use]
pub fn key(tenant: &str, name: &str, version: u32) -> Vec<u8> {
    let mut key = versions(tenant, name);
    key.extend_from_slice(&(!version).to_be_bytes());
    key
}

/// A key behind all versions of one workflow: where a listing goes on.
#[must_use]
pub fn behind(tenant: &str, name: &str) -> Vec<u8> {
    let mut key = prefix(tenant);
    key.extend_from_slice(name.as_bytes());
    // Above the zero byte that ends the name, below every byte a longer name could go on with.
    key.push(1);
    key
}

impl StoredWorkflow {
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
    fn the_newest_version_comes_first_and_names_do_not_mix() {
        assert!(key("t", "a", 2) < key("t", "a", 1));
        assert!(!key("t", "ab", 1).starts_with(&versions("t", "a")));
    }
}
