//! Artifacts.

use mainstay_proto::pb;
use serde::Serialize;

use super::value::When;

/// An artifact. Its first three fields are the reference, as payloads carry it.
#[derive(Debug, Clone, Serialize)]
pub struct ArtifactView {
    /// `blake3:` and 64 hexadecimal digits.
    #[serde(rename = "$artifact")]
    pub reference: String,
    /// Its bytes.
    pub bytes: u64,
    /// What they are.
    pub media_type: String,
    /// When it was put last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub put_at: Option<When>,
    /// False if it was there before it was put just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<bool>,
}

/// An artifact that was written to a file.
#[derive(Debug, Clone, Serialize)]
pub struct GotView {
    /// The artifact.
    #[serde(flatten)]
    pub artifact: ArtifactView,
    /// The file.
    pub file: String,
    /// Bytes written.
    pub written: u64,
}

/// The artifacts of a tenant.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ArtifactsView {
    /// By their hashes.
    pub artifacts: Vec<ArtifactView>,
    /// Bytes the tenant uses, with uploads under way.
    pub used_bytes: u64,
    /// Bytes it may use.
    pub quota_bytes: u64,
}

impl ArtifactView {
    /// One that was put just now.
    #[must_use]
    pub fn put(answer: pb::PutArtifactResponse) -> Self {
        Self { created: Some(answer.created), ..answer.artifact.unwrap_or_default().into() }
    }
}

impl From<pb::Artifact> for ArtifactView {
    fn from(artifact: pb::Artifact) -> Self {
        Self {
            reference: artifact.r#ref,
            bytes: artifact.bytes,
            media_type: artifact.media_type,
            put_at: When::of(artifact.put_at.as_ref()),
            created: None,
        }
    }
}
