//! The schema version that every record carries in front of its payload.
//!
//! What a version means belongs to the crate that owns the record; this is only the one way in which it is written, two
//! bytes, so that a reader can tell "older, migrate" from "newer, refuse" before it parses. The store checks the bytes
//! themselves (and that they lie under the right key), so no checksum is repeated here.

use thiserror::Error;

/// A payload too short to carry a schema version.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the record has no schema version")]
pub struct NoVersion;

/// Puts `schema` in front of `payload`.
#[must_use]
pub fn seal(schema: u16, payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(2 + payload.len());
    record.extend_from_slice(&schema.to_be_bytes());
    record.extend_from_slice(payload);
    record
}

/// Takes the schema version off a record.
///
/// # Errors
/// [`NoVersion`] if the record is shorter than that.
pub fn open(record: &[u8]) -> Result<(u16, &[u8]), NoVersion> {
    let (schema, payload) = record.split_first_chunk().ok_or(NoVersion)?;
    Ok((u16::from_be_bytes(*schema), payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_to_the_same_version_and_payload() {
        assert_eq!(open(&seal(7, b"run")), Ok((7, &b"run"[..])));
        assert_eq!(open(&seal(u16::MAX, b"")), Ok((u16::MAX, &b""[..])));
    }

    #[test]
    fn a_record_without_room_for_a_version_is_refused() {
        assert_eq!(open(b""), Err(NoVersion));
        assert_eq!(open(b"x"), Err(NoVersion));
    }
}
