//! What lies in the store: one file per kind of record, each with its key, its value and its schema version.
//!
//! The store seals every value with a checksum over key and value; a damaged record never reaches this module. What it
//! adds is meaning. A record of a newer schema than this program knows is refused by name, never guessed at; one of an older
//! schema is brought up step by step (see `upcasts`).

pub mod artifact;
pub mod breaker;
pub mod budget;
pub mod context;
pub mod decision;
pub mod describe;
pub mod document;
pub mod drill;
pub mod event;
pub mod falls;
pub mod idempotency;
pub mod instance;
pub mod key;
pub mod limit;
pub mod loose;
pub mod mode;
pub mod open_run;
pub mod pause;
pub mod restored;
pub mod rollout;
pub mod run_spend;
pub mod run_summary;
pub mod schedule;
pub mod spend;
pub mod spill;
pub mod tenants;
pub mod transition;
mod upcasts;

use std::borrow::Cow;

use mainstay_store::record::{self, Upcast, UpcastError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A record that is whole but cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a newer program, or not a record of ours at all.
    #[error(
        "{kind} record has schema {found}, this program reads up to {known}; start a newer version of it"
    )]
    Schema {
        /// The kind of record.
        kind: &'static str,
        /// The schema version found.
        found: u16,
        /// The newest one known.
        known: u16,
    },
    /// The schema is known, the content does not follow it.
    #[error("{kind} record is malformed: {detail}")]
    Malformed {
        /// The kind of record.
        kind: &'static str,
        /// What is wrong.
        detail: String,
    },
}

/// Encodes a value as JSON behind its schema version.
fn encode<T: Serialize>(kind: &'static str, schema: u16, value: &T) -> Result<Vec<u8>, RecordError> {
    debug_assert_eq!(schema, record::newest(upcasts::of(kind)), "{kind}: each schema has a step to the next");
    let json = serde_json::to_vec(value).map_err(|error| malformed(kind, error))?;
    Ok(record::seal(schema, &json))
}

/// Decodes what [`encode`] wrote, with this schema version or an earlier one.
fn decode<T: DeserializeOwned>(kind: &'static str, known: u16, bytes: &[u8]) -> Result<T, RecordError> {
    let (found, json) = record::open(bytes).map_err(|error| malformed(kind, error))?;
    if found > known {
        return Err(RecordError::Schema { kind, found, known });
    }
    let json = bring_up(kind, found, json, upcasts::of(kind))?;
    serde_json::from_slice(&json).map_err(|error| malformed(kind, error))
}

/// Brings the JSON of a record up to the newest schema of its kind.
fn bring_up<'a>(
    kind: &'static str,
    found: u16,
    json: &'a [u8],
    steps: &[Upcast],
) -> Result<Cow<'a, [u8]>, RecordError> {
    record::bring_up(found, json, steps).map_err(|error| match error {
        UpcastError::Newer { found, known } => RecordError::Schema { kind, found, known },
        UpcastError::Zero | UpcastError::Refused { .. } => malformed(kind, error),
    })
}

fn malformed(kind: &'static str, error: impl std::fmt::Display) -> RecordError {
    RecordError::Malformed { kind, detail: error.to_string() }
}
