//! JSON that has been checked once and is passed on as text.
//!
//! Agents' payloads are carried, not understood: most of what Mainstay does with an input or an output is hand it to
//! the next one. So the type is a text with a promise (it is valid JSON) instead of a tree, and writing it into an
//! answer or a record copies bytes. [`Json::parse`] makes the promise at the border, in one pass that builds nothing.
//!
//! It is stricter than most parsers, because two parsers that disagree about a text are a hole: no duplicate keys, no
//! number beyond the range of a double, no half of a surrogate pair, no depth that could exhaust somebody's stack.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

mod strict;
#[cfg(test)]
mod tests;

/// Bounds on a text that is about to be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest text in bytes.
    pub max_bytes: usize,
    /// Deepest nesting of arrays and objects; a scalar has depth 0.
    pub max_depth: usize,
}

impl Limits {
    /// 4 MiB, the largest message gRPC takes by default: what does not fit there never arrives.
    pub const DEFAULT_MAX_BYTES: usize = 4 * 1024 * 1024;
    /// Far beyond what people write, and every recursive reader of such a text stays within a small stack.
    pub const DEFAULT_MAX_DEPTH: usize = 64;
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: Self::DEFAULT_MAX_BYTES, max_depth: Self::DEFAULT_MAX_DEPTH }
    }
}

/// Why a text is not JSON that Mainstay takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// More than [`Limits::max_bytes`].
    #[error("is {bytes} bytes long; at most {max_bytes} are allowed")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        max_bytes: usize,
    },
    /// Not UTF-8, which JSON must be.
    #[error("is not UTF-8 from byte {offset} on")]
    NotUtf8 {
        /// Where the first bad byte is.
        offset: usize,
    },
    /// Arrays and objects nested deeper than [`Limits::max_depth`].
    #[error("is nested more than {max_depth} deep at {pointer:?}")]
    TooDeep {
        /// JSON pointer to the value that is too deep, shortened.
        pointer: String,
        /// The limit.
        max_depth: usize,
    },
    /// An object that has a key twice.
    #[error("has the key {key:?} twice in the object at {pointer:?}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// JSON pointer to the object.
        pointer: String,
    },
    /// Anything else that is not JSON: syntax, numbers out of range, lone surrogates, text after the end.
    #[error("{message} at byte {offset}, in {pointer:?}")]
    Syntax {
        /// What is wrong.
        message: String,
        /// JSON pointer to the innermost value that was being read.
        pointer: String,
        /// Byte offset at which reading stopped.
        offset: usize,
    },
}

/// A JSON text known to be valid. Immutable and cheap to clone; passed on as it is, or parsed where it is used.
///
/// Equality is equality of texts: `{"a":1}` and `{ "a": 1 }` differ. Deserializing one from a record or a message only
/// checks that it is JSON; what comes from outside goes through [`Json::parse`].
#[derive(Clone)]
pub struct Json(Arc<RawValue>);

impl Json {
    /// Checks `bytes` against JSON and `limits`. White space around the value is dropped.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, JsonError> {
        let text = strict::check(bytes, limits)?;
        // The standard library offers no safe way from a checked text to a `RawValue` but to skim it once more; that
        // costs a tenth of the check and saves every later serialization one.
        match RawValue::from_string(text.to_owned()) {
            Ok(raw) => Ok(Self(raw.into())),
            Err(error) => {
                Err(JsonError::Syntax { message: error.to_string(), pointer: String::new(), offset: 0 })
            }
        }
    }

    /// `null`.
    #[must_use]
    pub fn null() -> Self {
        Self(Arc::from(RawValue::NULL.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The text parsed into a tree. Costs an allocation per node: only where the inside matters.
    #[must_use]
    pub fn value(&self) -> serde_json::Value {
        // A valid text nested deeper than serde_json reads cannot come through `parse`; `null` is what such a text is
        // worth to a reader.
        serde_json::from_str(self.as_str()).unwrap_or_default()
    }

    /// BLAKE3 of the text, byte for byte.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        blake3::hash(self.as_str().as_bytes()).into()
    }
}

impl From<&serde_json::Value> for Json {
    fn from(value: &serde_json::Value) -> Self {
        // Writing a `Value` cannot fail: its keys are strings and its numbers finite.
        to_raw_value(value).map_or_else(|_| Self::null(), |raw| Self(raw.into()))
    }
}

impl Default for Json {
    fn default() -> Self {
        Self::null()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.as_str() == other.as_str()
    }
}

impl Eq for Json {}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<RawValue>::deserialize(deserializer)?.into()))
    }
}
