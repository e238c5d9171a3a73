//! Artifacts, uploads under way, and which artifacts a run names.
//!
//! The bytes of an artifact lie in pieces, each a blob of its own that begins with the id of the upload it came with. So no
//! two artifacts share a blob, and none shares one with a document of another kind: an artifact's blobs go with its record.
//!
//! An upload's record names each of its blobs before that is written. Whatever is killed, no blob lies there that no record
//! names.

use mainstay_kernel::artifact::ArtifactId;
use mainstay_kernel::id::RunId;
use mainstay_kernel::time::Wall;
use mainstay_store::BlobId;
use serde::{Deserialize, Serialize};

use super::{RecordError, key};

const ARTIFACT: &str = "artifact";
const UPLOAD: &str = "upload";
const NAMED: &str = "named artifacts";
const SCHEMA: u16 = 1;

/// Bytes before the data in each blob: the id of the upload.
pub const OWNER_BYTES: usize = 16;

/// An artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its bytes.
    pub bytes: u64,
    /// What they are.
    pub media_type: String,
    /// When it was put last.
    pub put_at: Wall,
    /// Bytes of each piece but the last.
    pub piece_bytes: u64,
    /// The blobs of its pieces, in order.
    #[serde(with = "names")]
    pub pieces: Vec<BlobId>,
}

/// An upload that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// When it began.
    pub began_at: Wall,
    /// The blobs that are written or about to be.
    #[serde(with = "names")]
    pub pieces: Vec<BlobId>,
}

/// Prefix of a tenant's artifacts, by hash.
#[must_use]
pub fn prefix(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::ARTIFACT)
}

/// Key of an artifact.
#[must_use]
pub fn key(tenant: &str, id: ArtifactId) -> Vec<u8> {
    let mut key = prefix(tenant);
    key.extend_from_slice(id.as_bytes());
    key
}

/// The artifact behind the prefix.
#[must_use]
pub fn id(rest: &[u8]) -> Option<ArtifactId> {
    rest.try_into().ok().map(ArtifactId::from_bytes)
}

/// Prefix of a tenant's uploads.
#[must_use]
pub fn uploads(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::UPLOAD)
}

/// Key of an upload.
#[must_use]
pub fn upload_key(tenant: &str, upload: [u8; OWNER_BYTES]) -> Vec<u8> {
    let mut key = uploads(tenant);
    key.extend_from_slice(&upload);
    key
}

/// Prefix of what a run names.
#[must_use]
pub fn named_by(tenant: &str, run: RunId) -> Vec<u8> {
    key::of_run(tenant, run, key::NAMED)
}

/// Key of what the transition of a run names that begins with `first_event`.
#[must_use]
pub fn named_key(tenant: &str, run: RunId, first_event: u64) -> Vec<u8> {
    let mut key = named_by(tenant, run);
    key.extend_from_slice(&first_event.to_be_bytes());
    key
}

/// The tenant of a key of [`named_key`].
#[must_use]
pub fn named_tenant(key: &[u8]) -> Option<&str> {
    let rest = key.strip_prefix(&key::of_runs(key::NAMED))?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

impl Stored {
    /// Encodes it.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        super::encode(ARTIFACT, SCHEMA, self)
    }

    /// Decodes it.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        super::decode(ARTIFACT, SCHEMA, bytes)
    }
}

impl Upload {
    /// Encodes it.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        super::encode(UPLOAD, SCHEMA, self)
    }

    /// Decodes it.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        super::decode(UPLOAD, SCHEMA, bytes)
    }
}

/// Encodes what a transition names.
pub fn encode_named(named: &[ArtifactId]) -> Result<Vec<u8>, RecordError> {
    // Thirty-two bytes each: as many as may be named still fit into a record.
    let hashes: Vec<u8> = named.iter().flat_map(|id| *id.as_bytes()).collect();
    debug_assert_eq!(SCHEMA, mainstay_store::record::newest(super::upcasts::of(NAMED)));
    Ok(mainstay_store::record::seal(SCHEMA, &hashes))
}

/// Decodes what a transition names.
pub fn decode_named(bytes: &[u8]) -> Result<Vec<ArtifactId>, RecordError> {
    let (found, hashes) =
        mainstay_store::record::open(bytes).map_err(|error| super::malformed(NAMED, error))?;
    let hashes = super::bring_up(NAMED, found, hashes, super::upcasts::of(NAMED))?;
    let (hashes, rest) = hashes.as_chunks();
    if !rest.is_empty() {
        return Err(super::malformed(NAMED, "it is not a list of names of 32 bytes"));
    }
    Ok(hashes.iter().copied().map(ArtifactId::from_bytes).collect())
}

/// Names of blobs as texts.
mod names {
    use mainstay_store::BlobId;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(names: &[BlobId], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(names.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<BlobId>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names.iter().map(|name| name.parse().map_err(serde::de::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_go_there_and_back() {
        let pieces = vec![BlobId::of(b"one"), BlobId::of(b"two")];
        let at = Wall::from_millis(5);
        let media_type = "text/csv".to_owned();
        let stored = Stored { bytes: 3, media_type, put_at: at, piece_bytes: 2, pieces: pieces.clone() };
        assert_eq!(Stored::decode(&stored.encode().unwrap()), Ok(stored));
        let upload = Upload { began_at: at, pieces };
        assert_eq!(Upload::decode(&upload.encode().unwrap()), Ok(upload));
        let named = [ArtifactId::from_bytes([1; 32]), ArtifactId::from_bytes([2; 32])];
        assert_eq!(decode_named(&encode_named(&named).unwrap()), Ok(named.to_vec()));
        assert!(decode_named(b"\0\x01short").is_err());
    }

    #[test]
    fn the_largest_records_fit_into_the_store() {
        use mainstay_kernel::artifact::{MAX_REFERENCES, Policy};
        let pieces = usize::try_from(Policy::LARGEST.div_ceil(crate::artifacts::PIECE as u64)).unwrap();
        let media_type = "x/".to_owned() + &"y".repeat(126);
        let pieces = vec![BlobId::of(b"x"); pieces];
        let stored =
            Stored { bytes: u64::MAX, media_type, put_at: Wall::from_millis(1), piece_bytes: 1, pieces };
        assert!(stored.encode().unwrap().len() <= mainstay_store::limits::MAX_VALUE);
        let named = vec![ArtifactId::from_bytes([1; 32]); MAX_REFERENCES];
        assert!(encode_named(&named).unwrap().len() <= mainstay_store::limits::MAX_VALUE);
    }

    #[test]
    fn what_a_run_names_lies_with_the_run() {
        let run = RunId::from_bytes([7; 16]);
        let at = named_key("acme", run, 3);
        assert!(at.starts_with(&named_by("acme", run)));
        assert_eq!(named_tenant(&at), Some("acme"));
    }
}
