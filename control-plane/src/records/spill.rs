//! Records that may be large: up to a size in the record itself, beyond it in a content-addressed blob that the record
//! names. Large values beside small hot keys would be rewritten with every page they share.

//!
//! A document carries the key of its record, so that no two records share one, and it can be removed with its record.

use std::borrow::Cow;

use mainstay_kernel::artifact::{self, ArtifactId};
use mainstay_store::blobs::BlobError;
use mainstay_store::{BlobId, Blobs, record};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{RecordError, bring_up, malformed, upcasts};

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

/// Where the JSON of a record is. Each schema of what spills has two numbers on disk: an odd one for a value in the record,
/// the even one behind it for a value in a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place<'a> {
    Here(&'a [u8]),
    In(BlobId),
}

/// A value with the key of its record.
#[derive(Serialize)]
struct Owned<'a, T> {
    of: String,
    #[serde(flatten)]
    value: &'a T,
}

/// Encodes the value of the record under `key`. A large one is on disk as a blob when this returns, before any record names
/// it.
pub async fn encode<T: Serialize>(
    kind: &'static str,
    key: &[u8],
    value: &T,
    blobs: &Blobs,
) -> Result<Vec<u8>, SpillError> {
    let json = serde_json::to_string(value).map_err(|error| malformed(kind, error))?;
    encode_json(kind, key, value, &json, blobs).await
}

/// The same, and the artifacts that the value names.
pub async fn encode_naming<T: Serialize>(
    kind: &'static str,
    key: &[u8],
    value: &T,
    blobs: &Blobs,
) -> Result<(Vec<u8>, Vec<ArtifactId>), SpillError> {
    let json = serde_json::to_string(value).map_err(|error| malformed(kind, error))?;
    let encoded = encode_json(kind, key, value, &json, blobs).await?;
    Ok((encoded, artifact::references(&json)))
}

async fn encode_json<T: Serialize>(
    kind: &'static str,
    key: &[u8],
    value: &T,
    json: &str,
    blobs: &Blobs,
) -> Result<Vec<u8>, SpillError> {
    let here = record::newest(upcasts::of(kind)) * 2 - 1;
    if json.len() <= MAX_INLINE {
        return Ok(record::seal(here, json.as_bytes()));
    }
    let owned = Owned { of: key.escape_ascii().to_string(), value };
    let json = serde_json::to_vec(&owned).map_err(|error| malformed(kind, error))?;
    let blobs = blobs.clone();
    let put = tokio::task::spawn_blocking(move || blobs.put(&json)).await;
    let id = put.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    Ok(record::seal(here + 1, id.as_bytes()))
}

/// Decodes a value. Blocks on the disk if it was spilled.
pub fn decode<T: DeserializeOwned>(kind: &'static str, bytes: &[u8], blobs: &Blobs) -> Result<T, SpillError> {
    let (schema, place) = place(kind, bytes)?;
    let spilled;
    let json = match place {
        Place::Here(json) => json,
        Place::In(id) => {
            spilled = blobs.get(id)?.ok_or(SpillError::BlobMissing(id))?;
            &spilled
        }
    };
    let json: Cow<'_, [u8]> = bring_up(kind, schema, json, upcasts::of(kind))?;
    Ok(serde_json::from_slice(&json).map_err(|error| malformed(kind, error))?)
}

/// The blob that a record's value lies in, if it lies in one.
pub fn blob(kind: &'static str, bytes: &[u8]) -> Result<Option<BlobId>, RecordError> {
    Ok(match place(kind, bytes)?.1 {
        Place::Here(_) => None,
        Place::In(id) => Some(id),
    })
}

fn place<'a>(kind: &'static str, bytes: &'a [u8]) -> Result<(u16, Place<'a>), RecordError> {
    let (number, body) = record::open(bytes).map_err(|error| malformed(kind, error))?;
    let known = record::newest(upcasts::of(kind));
    let schema = number.div_ceil(2);
    if schema > known {
        return Err(RecordError::Schema { kind, found: schema, known });
    }
    if number % 2 == 1 {
        return Ok((schema, Place::Here(body)));
    }
    let id: [u8; 32] = body.try_into().map_err(|_| malformed(kind, "the name of its blob is malformed"))?;
    Ok((schema, Place::In(BlobId::from(id))))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Large {
        text: String,
    }

    #[tokio::test]
    async fn equal_values_of_two_records_are_two_documents_that_read_the_same() {
        let (blobs, large) = (Blobs::in_memory(), Large { text: "x".repeat(MAX_INLINE) });
        let one = encode("transition", b"one", &large, &blobs).await.unwrap();
        let two = encode("transition", b"two\xff", &large, &blobs).await.unwrap();
        let named = [&one, &two].map(|record| blob("transition", record).unwrap().unwrap());
        assert_ne!(named[0], named[1]);
        assert_eq!(decode::<Large>("transition", &one, &blobs).unwrap(), large);
        blobs.remove(named[0]).unwrap();
        assert_eq!(decode::<Large>("transition", &two, &blobs).unwrap(), large);
        assert!(matches!(decode::<Large>("transition", &one, &blobs), Err(SpillError::BlobMissing(_))));
    }

    #[tokio::test]
    async fn a_small_value_lies_in_its_record_and_a_newer_one_is_refused() {
        let (blobs, small) = (Blobs::in_memory(), Large { text: "x".to_owned() });
        let mut record = encode("transition", b"k", &small, &blobs).await.unwrap();
        assert_eq!(blob("transition", &record).unwrap(), None);
        assert_eq!(decode::<Large>("transition", &record, &blobs).unwrap(), small);
        record[1] = 3;
        let refused = decode::<Large>("transition", &record, &blobs).unwrap_err();
        assert!(refused.to_string().contains("schema 2, this program reads up to 1"), "{refused}");
    }
}
