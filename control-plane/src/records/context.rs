//! Shared context: one entry for each key, which says who owns it and which versions are kept, and one record for the value
//! of each version. An entry is small and read by every reader; values are not rewritten with it.

use mainstay_kernel::context::{Entry, Key};
use mainstay_kernel::json::Json;

use super::{RecordError, key};

const ENTRY: &str = "context entry";
const VALUE: &str = "context value";
const SCHEMA: u16 = 1;

/// Prefix of a tenant's entries, by key.
#[must_use]
pub fn prefix(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::CONTEXT)
}

/// Key of an entry.
#[must_use]
pub fn key(tenant: &str, of: &Key) -> Vec<u8> {
    let mut key = prefix(tenant);
    key.extend_from_slice(of.as_str().as_bytes());
    key
}

/// Key of the value of a version.
#[must_use]
pub fn value_key(tenant: &str, of: &Key, version: u64) -> Vec<u8> {
    let mut key = key::global(tenant, key::CONTEXT_VALUE);
    key.extend_from_slice(of.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(&version.to_be_bytes());
    key
}

/// The key and the version behind the prefix of values.
#[must_use]
pub fn value_parts(rest: &[u8]) -> Option<(Key, u64)> {
    let (rest, version) = rest.split_last_chunk()?;
    let key = std::str::from_utf8(rest.strip_suffix(&[0])?).ok()?;
    Some((Key::new(key).ok()?, u64::from_be_bytes(*version)))
}

/// Encodes an entry.
pub fn encode(entry: &Entry) -> Result<Vec<u8>, RecordError> {
    super::encode(ENTRY, SCHEMA, entry)
}

/// Decodes an entry.
pub fn decode(bytes: &[u8]) -> Result<Entry, RecordError> {
    let entry: Entry = super::decode(ENTRY, SCHEMA, bytes)?;
    if entry.versions().is_empty() {
        return Err(super::malformed(ENTRY, "it has no version"));
    }
    Ok(entry)
}

/// Encodes a value.
pub fn encode_value(value: &Json) -> Result<Vec<u8>, RecordError> {
    super::encode(VALUE, SCHEMA, value)
}

/// Decodes a value.
pub fn decode_value(bytes: &[u8]) -> Result<Json, RecordError> {
    super::decode(VALUE, SCHEMA, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_by_key_and_version_and_tell_which() {
        let prices = Key::new("market/prices").unwrap();
        let (one, later) = (value_key("t", &prices, 1), value_key("t", &prices, 300));
        assert!(one < later);
        let rest = &later[key::global("t", key::CONTEXT_VALUE).len()..];
        assert_eq!(value_parts(rest), Some((prices, 300)));
        assert_eq!(value_parts(b"short"), None);
    }

    #[test]
    fn an_entry_without_a_version_is_no_entry() {
        let mut record = mainstay_store::record::seal(1, br#"{"owner":"user/a","versions":[]}"#);
        assert!(matches!(decode(&record), Err(RecordError::Malformed { .. })));
        record[1] = 2;
        assert!(matches!(decode(&record), Err(RecordError::Schema { found: 2, .. })));
    }
}
