//! The run that an idempotency key started, or that goes on from another, and what it was started with. Lives as long as
//! the run.

use mainstay_kernel::id::RunId;
use serde::{Deserialize, Serialize};

use super::{RecordError, key};

const KIND: &str = "idempotency key";
const SCHEMA: u16 = 1;

/// What is remembered of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The run it started.
    pub run: RunId,
    /// BLAKE3 of what was asked for, in hexadecimal: the same key with another body is refused.
    pub body: String,
}

/// Key of the record. The client's key is hashed: it may be long and hold any byte.
#[must_use]
pub fn key(tenant: &str, client_key: &str) -> Vec<u8> {
    let mut key = key::global(tenant, key::IDEMPOTENCY);
    key.extend_from_slice(blake3::hash(client_key.as_bytes()).as_bytes());
    key
}

/// Key of the record of the run that goes on from `run`: a run is gone on from once. Apart from every client's key.
#[must_use]
pub fn resumed_key(tenant: &str, run: RunId) -> Vec<u8> {
    let mut key = key::global(tenant, key::IDEMPOTENCY);
    key.extend_from_slice(&blake3::derive_key(
        "mainstay 2026-11 the run that goes on from",
        run.to_string().as_bytes(),
    ));
    key
}

impl Started {
    /// Encodes it.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        super::encode(KIND, SCHEMA, self)
    }

    /// Decodes it.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        super::decode(KIND, SCHEMA, bytes)
    }
}
