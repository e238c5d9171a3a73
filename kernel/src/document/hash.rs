//! What identifies the content of a document.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// BLAKE3 of the document in canonical form: fields in order of their keys, no white space. Layout, comments, the order
/// of fields, and whether it was YAML or JSON do not count; everything else does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentHash([u8; 32]);

/// Text that is not a document hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 lower-case hexadecimal digits")]
pub struct ParseDocumentHashError;

impl DocumentHash {
    /// `context` keeps apart what documents of two kinds say in the same words.
    pub(crate) fn of(context: &'static str, document: &Value) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        feed(&mut hasher, document);
        Self(hasher.finalize().into())
    }

    /// The 32 raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From 32 raw bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Feeds canonical JSON. Keys are sorted here, whatever order the library keeps.
fn feed(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            hasher.update(value.to_string().as_bytes());
        }
        Value::Array(items) => {
            hasher.update(b"[");
            for (at, item) in items.iter().enumerate() {
                hasher.update(if at > 0 { b"," } else { b"" });
                feed(hasher, item);
            }
            hasher.update(b"]");
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            hasher.update(b"{");
            for (at, (key, field)) in fields.into_iter().enumerate() {
                hasher.update(if at > 0 { b"," } else { b"" });
                hasher.update(Value::from(key.as_str()).to_string().as_bytes()).update(b":");
                feed(hasher, field);
            }
            hasher.update(b"}");
        }
    }
}

impl fmt::Display for DocumentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for DocumentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DocumentHash {
    type Err = ParseDocumentHashError;
    fn from_str(text: &str) -> Result<Self, ParseDocumentHashError> {
        let canonical = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let hash = blake3::Hash::from_hex(text).ok().filter(|_| canonical).ok_or(ParseDocumentHashError)?;
        Ok(Self(hash.into()))
    }
}

impl Serialize for DocumentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DocumentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
