//! A breaker that has changed at least once, as it was after its last change. Written on change, never for a call; it goes
//! with its instance.

use mainstay_kernel::breaker::Snapshot;
use mainstay_kernel::id::InstanceId;
use mainstay_kernel::name::Name;

use super::{RecordError, key, malformed};

const KIND: &str = "breaker";
const SCHEMA: u16 = 1;

/// Prefix of a tenant's breakers.
#[must_use]
pub fn prefix(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::BREAKER)
}

/// Key of the breaker of one capability of one instance.
#[must_use]
pub fn key(tenant: &str, instance: InstanceId, capability: &Name) -> Vec<u8> {
    let mut key = prefix(tenant);
    key.extend_from_slice(instance.as_bytes());
    key.extend_from_slice(capability.as_str().as_bytes());
    key
}

/// Encodes its state.
pub fn encode(snapshot: &Snapshot) -> Result<Vec<u8>, RecordError> {
    super::encode(KIND, SCHEMA, snapshot)
}

/// Whose breaker lies under `key`, behind the tenant's prefix, and its state.
pub fn decode(key: &[u8], value: &[u8]) -> Result<(InstanceId, Name, Snapshot), RecordError> {
    let (id, capability) = key.split_first_chunk().ok_or_else(|| malformed(KIND, "its key is cut short"))?;
    let capability = std::str::from_utf8(capability).map_err(|error| malformed(KIND, error))?;
    let capability = Name::new(capability).map_err(|error| malformed(KIND, error))?;
    Ok((InstanceId::from_bytes(*id), capability, super::decode(KIND, SCHEMA, value)?))
}
