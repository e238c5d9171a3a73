//! The schema version that every record carries in front of its payload, and the steps from each version to the next.
//!
//! What a version means belongs to the crate that owns the record; this is only the one way in which it is written, two
//! bytes, so that a reader can tell "older, bring it up" from "newer, refuse" before it parses. The store checks the bytes
//! themselves (and that they lie under the right key), so no checksum is repeated here.
//!
//! A record is never rewritten because its schema is old. It is brought up each time it is read, by one function per step,
//! so that a step is written once, when the schema changes, and never touched again.

use std::borrow::Cow;

use thiserror::Error;

/// Turns the payload of one schema into that of the next. The error says what about the payload made no sense.
pub type Upcast = fn(&[u8]) -> Result<Vec<u8>, String>;

/// A payload too short to carry a schema version.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the record has no schema version")]
pub struct NoVersion;

/// Why a record cannot be brought up to the newest schema.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UpcastError {
    /// It was written by a newer program.
    #[error("it has schema {found}, this program reads up to {known}")]
    Newer {
        /// Its schema.
        found: u16,
        /// The newest one known.
        known: u16,
    },
    /// Schemas are counted from 1.
    #[error("it has schema 0, which there is not")]
    Zero,
    /// A step refused it.
    #[error("it does not follow its schema {schema}: {detail}")]
    Refused {
        /// The schema that the step reads.
        schema: u16,
        /// What the step said.
        detail: String,
    },
}

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

/// The newest schema of a kind of record that has these steps behind it: the first step reads schema 1.
#[must_use]
pub fn newest(steps: &[Upcast]) -> u16 {
    u16::try_from(steps.len()).unwrap_or(u16::MAX).saturating_add(1)
}

/// Brings a payload of schema `found` up to the newest one, step by step.
///
/// # Errors
/// [`UpcastError`].
pub fn bring_up<'a>(found: u16, payload: &'a [u8], steps: &[Upcast]) -> Result<Cow<'a, [u8]>, UpcastError> {
    let before = usize::from(found).checked_sub(1).ok_or(UpcastError::Zero)?;
    let to_go = steps.get(before..).ok_or(UpcastError::Newer { found, known: newest(steps) })?;
    let mut payload = Cow::Borrowed(payload);
    for (schema, step) in (found..).zip(to_go) {
        payload = Cow::Owned(step(&payload).map_err(|detail| UpcastError::Refused { schema, detail })?);
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps, so four schemas: each adds its letter, and the second takes nothing that is empty.
    const STEPS: [Upcast; 3] = [
        |payload| Ok([payload, b"b"].concat()),
        |payload| {
            if payload.is_empty() { Err("it is empty".to_owned()) } else { Ok([payload, b"c"].concat()) }
        },
        |payload| Ok([payload, b"d"].concat()),
    ];

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

    #[test]
    fn a_record_of_any_earlier_schema_takes_every_step_that_came_after_it() {
        let brought = |found| bring_up(found, b"a", &STEPS).unwrap().into_owned();
        assert_eq!((1..=4).map(brought).collect::<Vec<_>>(), [&b"abcd"[..], b"acd", b"ad", b"a"]);
        assert_eq!(newest(&STEPS), 4);
        assert_eq!(newest(&[]), 1);
    }

    #[test]
    fn a_newer_schema_and_none_at_all_are_refused_by_number() {
        assert_eq!(bring_up(5, b"", &STEPS), Err(UpcastError::Newer { found: 5, known: 4 }));
        assert_eq!(bring_up(2, b"", &[]), Err(UpcastError::Newer { found: 2, known: 1 }));
        assert_eq!(bring_up(0, b"", &STEPS), Err(UpcastError::Zero));
    }

    #[test]
    fn a_step_that_refuses_names_the_schema_it_reads() {
        let refused = UpcastError::Refused { schema: 2, detail: "it is empty".to_owned() };
        assert_eq!(bring_up(2, b"", &STEPS), Err(refused));
    }
}
