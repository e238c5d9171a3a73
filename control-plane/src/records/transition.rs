//! One transition of a run's journal: one key, one value. The journal *is* the run; everything else can be rebuilt.

use mainstay_kernel::id::RunId;

use super::key;

/// What the record is called in errors.
pub const KIND: &str = "transition";

/// Key of the transition whose first event is number `first_event`.
#[must_use]
pub fn key(tenant: &str, run: RunId, first_event: u64) -> Vec<u8> {
    let mut key = prefix(tenant, run);
    key.extend_from_slice(&first_event.to_be_bytes());
    key
}

/// Prefix of all transitions of a run, in order.
#[must_use]
pub fn prefix(tenant: &str, run: RunId) -> Vec<u8> {
    key::of_run(tenant, run, key::TRANSITION)
}
