//! Records that may be large: up to a size in the record itself, beyond it in a content-addressed blob that the record
//! names. Large values beside small hot keys would be rewritten with every page they share.

use mainstay_store::blobs::BlobError;
use mainstay_store::{BlobId, Blobs, record};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{RecordError, malformed};

/// The value as JSON follows.
const INLINE: u16 = 1;
/// The name of a blob follows, which holds the value as JSON.
const SPILLED: u16 = 2;

/// Largest value kept in the record itself. Four of them fill a page of the disk engine.
const MAX_INLINE: usize = 16 * 1024;

/// A record that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SpillError {
    /// The record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The blob it names is damaged, or the disk refused.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The blob it names is not there.
    #[error("blob {0} of a record is missing")]
    BlobMissing(BlobId),
}

/// Encodes a value. A large one is on disk as a blob when this returns, before any record names it.
pub async fn encode<T: Serialize>(
    kind: &'static str,
    value: &T,
    blobs: &Blobs,
) -> Result<Vec<u8>, SpillError> {
    let json = serde_json::to_vec(value).map_err(|error| malformed(kind, error))?;
    if json.len() <= MAX_INLINE {
        return Ok(record::seal(INLINE, &json));
    }
    let blobs = blobs.clone();
    let put = tokio::task::spawn_blocking(move || blobs.put(&json)).await;
    let id = put.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    Ok(record::seal(SPILLED, id.as_bytes()))
}

/// Decodes a value. Blocks on the disk if it was spilled.
pub fn decode<T: DeserializeOwned>(kind: &'static str, bytes: &[u8], blobs: &Blobs) -> Result<T, SpillError> {
    let (schema, body) = record::open(bytes).map_err(|error| malformed(kind, error))?;
    let spilled;
    let json = match schema {
        INLINE => body,
        SPILLED => {
            let id: [u8; 32] =
                body.try_into().map_err(|_| malformed(kind, "the name of its blob is malformed"))?;
            let id = BlobId::from(id);
            spilled = blobs.get(id)?.ok_or(SpillError::BlobMissing(id))?;
            &spilled
        }
        found => return Err(RecordError::Schema { kind, found, known: SPILLED }.into()),
    };
    Ok(serde_json::from_slice(json).map_err(|error| malformed(kind, error))?)
}
