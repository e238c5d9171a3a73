//! The shared context.

use mainstay_proto::pb;
use serde::Serialize;

use super::value::{Payload, Span, When};

/// One version of a key.
#[derive(Debug, Clone, Serialize)]
pub struct ContextView {
    /// The key.
    pub key: String,
    /// From 1.
    pub version: u64,
    /// `agent/NAME` or `user/NAME`.
    pub owner: String,
    /// When it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_at: Option<When>,
    /// How old it is, or was at the time asked for.
    #[serde(skip_serializing_if = "Option::is_none", rename = "age_ms")]
    pub age: Option<Span>,
    /// How old it may be when it is read.
    #[serde(skip_serializing_if = "Option::is_none", rename = "max_age_ms")]
    pub max_age: Option<Span>,
    /// It is older than that.
    pub stale: bool,
    /// Bytes of the value.
    pub size: u64,
    /// The value; lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Payload>,
}

/// What `context remove` answers.
#[derive(Debug, Clone, Serialize)]
pub struct RemovedView {
    /// The key that is gone.
    pub key: String,
}

/// A value that a run read.
#[derive(Debug, Clone, Serialize)]
pub struct PinView {
    /// The workflow that reads it, if it is one that a step of the run's own runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workflow: String,
    /// What the workflow calls it.
    pub name: String,
    /// The key.
    pub key: String,
    /// Its version.
    pub version: u64,
    /// When that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_at: Option<When>,
    /// The value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Payload>,
}

impl From<pb::ContextVersion> for ContextView {
    fn from(version: pb::ContextVersion) -> Self {
        Self {
            key: version.key,
            version: version.version,
            owner: version.owner,
            written_at: When::of(version.written_at.as_ref()),
            age: Span::of(version.age.as_ref()),
            max_age: Span::of(version.max_age.as_ref()),
            stale: version.stale,
            size: version.size,
            value: Payload::of(&version.value),
        }
    }
}

impl From<pb::ContextPin> for PinView {
    fn from(pin: pb::ContextPin) -> Self {
        Self {
            workflow: pin.workflow,
            name: pin.name,
            key: pin.key,
            version: pin.version,
            written_at: When::of(pin.written_at.as_ref()),
            value: Payload::of(&pin.value),
        }
    }
}
