//! The operating mode that a person set: one entry, deleted when the mode is handed back to the rules.

use mainstay_kernel::mode::Hand;

use super::{RecordError, key};

const KIND: &str = "mode";
const SCHEMA: u16 = 1;

/// Its key. The mode is the whole server's.
#[must_use]
pub fn key() -> Vec<u8> {
    key::global("default", key::MODE)
}

/// Encodes it.
pub fn encode(hand: &Hand) -> Result<Vec<u8>, RecordError> {
    super::encode(KIND, SCHEMA, hand)
}

/// Decodes it.
pub fn decode(bytes: &[u8]) -> Result<Hand, RecordError> {
    super::decode(KIND, SCHEMA, bytes)
}
