//! Shared context: what agents and people know together, key by key, with an owner and an age.
//!
//! # Why not a cache, and why not a database
//! Agents that work on one thing need the same facts: today's prices, the state of a negotiation. A cache would hand them
//! over without saying how old they are, and an agent that acts on yesterday's price makes no mistake that anybody could
//! see. A database would let anybody write, and then nobody answers for what it says. So a key here has one **owner**, who
//! alone writes it; a **version**, so that two writers never overwrite each other unseen; and a **freshness limit**: a value
//! older than its owner or its reader allows is refused by name, never handed over as if it were new.
//!
//! # As of then
//! Each version stays for a while beside those after it, so a reader can ask for a version, or for what was known at a time.
//! A version that is asked for by its number is history and has no age limit. What was known at a time is judged as of that
//! time: whoever had asked then would have been told the same. Times never go back within a key, whatever the clock did.
//!
//! # Runs
//! A workflow says which keys its runs read. They are read once, when the run is accepted, and lie in its record from then
//! on ([`Pins`]): a retry, a replay and a restart see the very bytes that the first step saw.
//!
//! This module decides; it holds no values. What is known of a key without them is its [`Entry`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::{Name, NameError, checked_text};

mod entry;
mod pins;
#[cfg(test)]
mod tests;

pub use self::entry::{AsOf, Entry, Found, NotKept, Put, PutRefused, ReadRefused, Stale, Stamp, Written};
pub use self::pins::{Pin, Pins, Read};

/// Most names in a key: as deep as people file things.
pub const MAX_KEY_PARTS: usize = 8;
/// Longest key in bytes: with the tenant before it and a version behind it, it stays within a key of the store.
pub const MAX_KEY_BYTES: usize = 128;
/// Largest value in bytes. It lies in the record and in that of every run that reads it; what is larger is a document, and
/// travels by reference.
pub const MAX_VALUE_BYTES: usize = 32 * 1024;
/// Versions kept of a key: two months of a daily fact or an hour of one that changes each minute, and few enough that a key
/// is removed with all of them in one batch of any store.
pub const MAX_VERSIONS: usize = 64;
/// Keys of a tenant. Facts that a whole system shares are counted in hundreds; ten thousand are a data set.
pub const MAX_KEYS: usize = 10_000;
/// Longest freshness limit: what may be a year old has none.
pub const MAX_MAX_AGE: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Most keys that a workflow reads: with [`MAX_VALUE_BYTES`] half a megabyte in the record of each run.
pub const MAX_READS: usize = 16;
/// Most keys that a run reads, for its workflow and those that its steps run: two megabytes in its record.
pub const MAX_READS_OF_RUN: usize = 64;

/// The name of something known: names with slashes between, like `market/prices`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

checked_text!(Key, KeyError, "context key");

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing there, or too many names, or too long.
    #[error(
        "must be 1 to {MAX_KEY_PARTS} names with slashes between, at most {MAX_KEY_BYTES} bytes long, like `market/prices`"
    )]
    Shape,
    /// One of its names is none.
    #[error("has the part {part:?}, which {error}")]
    Part {
        /// The part.
        part: String,
        /// What is wrong with it.
        error: NameError,
    },
}

/// Who writes a key, and nobody else: an agent or a person.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// An agent, as it is registered.
    Agent(Name),
    /// A person or a program that is no agent.
    User(Name),
}

/// Why a text names no owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// Not of that form.
    #[error("must be `agent/NAME` or `user/NAME`")]
    Shape,
    /// The name is none.
    #[error("names {part:?}, which {error}")]
    Name {
        /// The name.
        part: String,
        /// What is wrong with it.
        error: NameError,
    },
}

// === impl Key ===

impl Key {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`KeyError`] says which rule it breaks.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() || text.len() > MAX_KEY_BYTES || text.split('/').count() > MAX_KEY_PARTS {
            return Err(KeyError::Shape);
        }
        for part in text.split('/') {
            Name::new(part).map_err(|error| KeyError::Part { part: part.to_owned(), error })?;
        }
        Ok(Self(text.into()))
    }
}

// === impl Owner ===

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) => write!(f, "agent/{name}"),
            Self::User(name) => write!(f, "user/{name}"),
        }
    }
}

impl FromStr for Owner {
    type Err = OwnerError;
    fn from_str(text: &str) -> Result<Self, OwnerError> {
        let name =
            |part: &str| Name::new(part).map_err(|error| OwnerError::Name { part: part.to_owned(), error });
        match text.split_once('/') {
            Some(("agent", part)) => Ok(Self::Agent(name(part)?)),
            Some(("user", part)) => Ok(Self::User(name(part)?)),
            Some(_) | None => Err(OwnerError::Shape),
        }
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("owner {text:?} {error}")))
    }
}
