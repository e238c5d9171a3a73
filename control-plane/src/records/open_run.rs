//! Marks a run that has not ended: what recovery looks for. The value is the tenant's name.

use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;

use super::{RecordError, key, malformed};

const KIND: &str = "open run";
const SCHEMA: u16 = 1;

/// Key of the mark.
#[must_use]
pub fn key(tenant: &str, run: RunId) -> Vec<u8> {
    key::of_run(tenant, run, key::OPEN_RUN)
}

/// The value of the mark.
pub fn encode(tenant: &Name) -> Result<Vec<u8>, RecordError> {
    super::encode(KIND, SCHEMA, tenant)
}

/// Tenant and id of a marked run.
pub fn decode(key: &[u8], value: &[u8]) -> Result<(Name, RunId), RecordError> {
    let (_, id) = key.split_last_chunk().ok_or_else(|| malformed(KIND, "its key is cut short"))?;
    Ok((super::decode(KIND, SCHEMA, value)?, RunId::from_bytes(*id)))
}
