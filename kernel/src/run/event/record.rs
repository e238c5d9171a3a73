//! The record of one call: what the journal keeps of every attempt on an instance.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::AttemptId;
use crate::outcome::{Class, Failure, Usage};
use crate::time::Wall;

/// One call that was made, or could not be made, for a try. A try makes several where one instance hands over to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// The try's key.
    pub attempt: AttemptId,
    /// The try's number.
    pub number: u32,
    /// The agent called; empty if none could be.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent: String,
    /// The instance called; empty if none could be.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// The agent's version that was called; empty if none could be, or on records older than this field.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// When the call began.
    pub started_at: Wall,
    /// How long it took, in whole microseconds on record.
    #[serde(rename = "micros", with = "micros")]
    pub duration: Duration,
    /// How it ended.
    pub class: Class,
    /// Why, if not well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Of an answer that came and was not taken, the BLAKE3 hash, as hex: whether the next one is the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refused: String,
    /// Whether the world may have noticed it: then nothing does it twice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub side_effecting: bool,
    /// What it consumed.
    #[serde(default)]
    pub usage: Usage,
    /// How long it waited for its turn before that, in whole microseconds on record.
    #[serde(default, rename = "waited_micros", with = "micros")]
    pub waited: Duration,
    /// Of a hedge, how long the call before it had taken, in whole microseconds on record.
    #[serde(
        default,
        rename = "hedge_after_micros",
        skip_serializing_if = "Option::is_none",
        with = "maybe_micros"
    )]
    pub hedge_after: Option<Duration>,
    /// What routing had to say: candidates passed over and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

/// The same where there may be none.
mod maybe_micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde's derive passes it so")]
    pub(super) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => super::micros::serialize(span, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_micros))
    }
}
