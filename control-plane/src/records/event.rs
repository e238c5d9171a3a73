//! An event: one record for each decision, by number. The oldest are deleted as new ones are written.

use mainstay_kernel::event::Event;

use super::{RecordError, key};

const KIND: &str = "event";
const SCHEMA: u16 = 1;

/// Prefix of all events. They are the server's own, whoever they are about: one order for all.
#[must_use]
pub fn prefix() -> Vec<u8> {
    key::global("default", key::EVENT)
}

/// Key of the event of this number.
#[must_use]
pub fn key(number: u64) -> Vec<u8> {
    let mut key = prefix();
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The number in what follows the prefix.
#[must_use]
pub fn number(rest: &[u8]) -> Option<u64> {
    rest.try_into().ok().map(u64::from_be_bytes)
}

/// Encodes one.
pub fn encode(event: &Event) -> Result<Vec<u8>, RecordError> {
    super::encode(KIND, SCHEMA, event)
}

/// Decodes one.
pub fn decode(bytes: &[u8]) -> Result<Event, RecordError> {
    super::decode(KIND, SCHEMA, bytes)
}
