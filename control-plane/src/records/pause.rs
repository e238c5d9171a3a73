//! A pause: one entry for each target, written when it is paused and deleted when it is resumed.

use mainstay_kernel::pause::{Pause, Target};

use super::{RecordError, key};

const KIND: &str = "pause";
const SCHEMA: u16 = 1;

/// Prefix of a tenant's pauses.
#[must_use]
pub fn prefix(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::PAUSE)
}

/// Key of one.
#[must_use]
pub fn key(tenant: &str, target: &Target) -> Vec<u8> {
    let mut key = prefix(tenant);
    key.extend_from_slice(target.to_string().as_bytes());
    key
}

/// Encodes one.
pub fn encode(pause: &Pause) -> Result<Vec<u8>, RecordError> {
    super::encode(KIND, SCHEMA, pause)
}

/// Decodes one.
pub fn decode(bytes: &[u8]) -> Result<Pause, RecordError> {
    super::decode(KIND, SCHEMA, bytes)
}
