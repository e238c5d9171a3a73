//! A version of a document, as its author wrote it: a workflow, a routing document. Never changed once written, because
//! others pin it. The document may be larger than a record should be, so it lies in a blob under its content's name.
//!
//! Each kind of document has an ordinal of its own; all of them are laid out alike.

use mainstay_kernel::name::Name;
use mainstay_kernel::time::Wall;
use serde::{Deserialize, Serialize};

use super::{RecordError, key};

const SCHEMA: u16 = 1;

/// A stored version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: u32,
    /// Hash of its canonical form, in hexadecimal.
    pub hash: String,
    /// What it is for.
    pub description: String,
    /// How many parts it has: steps of a workflow, rules of a routing document. The first kind there was named the field.
    #[serde(rename = "steps")]
    pub parts: u32,
    /// When it was put.
    pub created_at: Wall,
    /// Name of the blob that holds the document, in hexadecimal.
    pub document: String,
}

/// Where the documents of one kind lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// The ordinal of the kind.
    pub ordinal: u8,
    /// What errors call a record of it.
    pub noun: &'static str,
}

impl Keys {
    /// Prefix of a tenant's documents, by name, then newest version first.
    #[must_use]
    pub fn prefix(self, tenant: &str) -> Vec<u8> {
        key::global(tenant, self.ordinal)
    }

    /// Prefix of the versions of one document, newest first.
    #[must_use]
    pub fn versions(self, tenant: &str, name: &str) -> Vec<u8> {
        let mut key = self.prefix(tenant);
        key.extend_from_slice(name.as_bytes());
        key.push(0);
        key
    }

    /// Key of one version.
    #[must_use]
    pub fn key(self, tenant: &str, name: &str, version: u32) -> Vec<u8> {
        let mut key = self.versions(tenant, name);
        key.extend_from_slice(&(!version).to_be_bytes());
        key
    }

    /// A key behind all versions of one document: where a listing goes on.
    #[must_use]
    pub fn behind(self, tenant: &str, name: &str) -> Vec<u8> {
        let mut key = self.prefix(tenant);
        key.extend_from_slice(name.as_bytes());
        // Above the zero byte that ends the name, below every byte a longer name could go on with.
        key.push(1);
        key
    }

    /// Encodes a record.
    pub fn encode(self, stored: &Stored) -> Result<Vec<u8>, RecordError> {
        super::encode(self.noun, SCHEMA, stored)
    }

    /// Decodes a record.
    pub fn decode(self, bytes: &[u8]) -> Result<Stored, RecordError> {
        super::decode(self.noun, SCHEMA, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Keys = Keys { ordinal: key::WORKFLOW, noun: "workflow" };

    #[test]
    fn the_newest_version_comes_first_and_names_do_not_mix() {
        assert!(KEYS.key("t", "a", 2) < KEYS.key("t", "a", 1));
        assert!(!KEYS.key("t", "ab", 1).starts_with(&KEYS.versions("t", "a")));
    }
}
