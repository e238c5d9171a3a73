//! What is known of a key without its values: who owns it, and when each version that is kept was written.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Key, MAX_VERSIONS, Owner};
use crate::time::Wall;
use crate::time::text::Human;

/// A key without its values. It has at least one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Who writes it.
    pub owner: Owner,
    /// The versions that are kept, oldest first; their numbers follow on each other.
    versions: Vec<Stamp>,
}

/// A version without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Its number, from 1.
    pub version: u64,
    /// When it was written.
    pub at: Wall,
    /// How old it may be when it is read, in whole milliseconds on record; nothing if it never gets stale.
    #[serde(default, rename = "max_age_ms", skip_serializing_if = "Option::is_none", with = "maybe_millis")]
    pub max_age: Option<Duration>,
    /// Bytes of the value.
    pub bytes: u64,
}

/// A new version to be written.
#[derive(Debug, Clone, Copy)]
pub struct Put<'a> {
    /// Who writes.
    pub by: &'a Owner,
    /// The version the writer has seen: 0 if there must be none. Nothing to write over whatever is there.
    pub expected: Option<u64>,
    /// How old it may be when it is read.
    pub max_age: Option<Duration>,
    /// Bytes of the value.
    pub bytes: u64,
}

/// What a put comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The key afterwards.
    pub entry: Entry,
    /// The version that goes, if there are too many.
    pub forgets: Option<u64>,
}

/// Why nothing is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutRefused {
    /// Somebody else owns it.
    #[error("is owned by {owner}, and {by} is not its owner")]
    NotOwner {
        /// Who owns it.
        owner: Owner,
        /// Who asked.
        by: Owner,
    },
    /// The writer has not seen what is there.
    #[error("is at version {found}, and version {expected} was expected")]
    Conflict {
        /// What the writer had seen.
        expected: u64,
        /// What is there; 0 if nothing is.
        found: u64,
    },
}

/// Which version a reader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AsOf {
    /// The newest.
    #[default]
    Now,
    /// This very one, however old.
    Version(u64),
    /// What was the newest then.
    Time(Wall),
}

/// A version that a reader may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The version.
    pub stamp: Stamp,
    /// How old it is, or was at the time asked for.
    pub age: Duration,
    /// Whether that is more than its owner allows. Only a version asked for by its number can be.
    pub stale: bool,
}

/// A version that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// It was never written.
    #[error("has no version {asked}; the newest is {newest}")]
    Never {
        /// The version asked for.
        asked: u64,
        /// The newest there is.
        newest: u64,
    },
    /// Too many were written since.
    #[error("no longer keeps what was asked for; the oldest version kept is {oldest}")]
    Forgotten {
        /// The oldest version that is kept.
        oldest: u64,
    },
    /// The key did not exist then.
    #[error("did not exist then")]
    NotYet,
}

/// A value that is older than it may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{key}` is stale: version {version} is {} old, and {} allows {}",
    Human(*age),
    if *by_owner { "its owner" } else { "the reader" },
    Human(*limit)
)]
pub struct Stale {
    /// The key.
    pub key: Key,
    /// The version that is too old.
    pub version: u64,
    /// How old it is.
    pub age: Duration,
    /// How old it may be.
    pub limit: Duration,
    /// Whether its owner says so, and not the reader.
    pub by_owner: bool,
}

/// Why a reader gets nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadRefused {
    /// The version is not kept.
    #[error(transparent)]
    NotKept(#[from] NotKept),
    /// The value is older than it may be.
    #[error(transparent)]
    Stale(#[from] Stale),
}

// === impl Entry ===

impl Entry {
    /// What `put` makes of a key, or of none.
    ///
    /// # Errors
    /// [`PutRefused`]; nothing changes then.
    pub fn put(entry: Option<&Self>, put: Put<'_>, now: Wall) -> Result<Written, PutRefused> {
        if let Some(entry) = entry {
            entry.writable(put.by)?;
        }
        let newest = entry.map(Self::newest);
        expect(put.expected, newest.map_or(0, |newest| newest.version))?;
        let stamp = Stamp {
            version: newest.map_or(0, |newest| newest.version).saturating_add(1),
            // The order of versions is the order of their times, also when the clock went back in between.
            at: newest.map_or(now, |newest| newest.at.max(now)),
            max_age: put.max_age,
            bytes: put.bytes,
        };
        let mut versions = entry.map(|entry| entry.versions.clone()).unwrap_or_default();
        let forgets = (versions.len() >= MAX_VERSIONS).then(|| versions.remove(0).version);
        versions.push(stamp);
        let owner = entry.map_or(put.by, |entry| &entry.owner).clone();
        Ok(Written { entry: Self { owner, versions }, forgets })
    }

    /// Whether `by`, who has seen `expected`, may remove the key.
    ///
    /// # Errors
    /// [`PutRefused`]; nothing changes then.
    pub fn remove(&self, by: &Owner, expected: Option<u64>) -> Result<(), PutRefused> {
        self.writable(by)?;
        expect(expected, self.newest().version)
    }

    /// The version that a reader asks for, if it is kept and fresh enough. A reader may allow less than the owner, never
    /// more.
    ///
    /// # Errors
    /// [`ReadRefused`].
    pub fn read(
        &self,
        key: &Key,
        as_of: AsOf,
        max_age: Option<Duration>,
        now: Wall,
    ) -> Result<Found, ReadRefused> {
        let (stamp, then) = match as_of {
            AsOf::Now => (self.newest(), now),
            AsOf::Time(then) => (self.at(then.min(now))?, then.min(now)),
            AsOf::Version(version) => {
                let stamp = self.version(version)?;
                let age = now.saturating_since(stamp.at);
                return Ok(Found { stamp, age, stale: stamp.max_age.is_some_and(|limit| age > limit) });
            }
        };
        let age = then.saturating_since(stamp.at);
        let owner = stamp.max_age.map(|limit| (limit, true));
        let reader = max_age.map(|limit| (limit, false));
        let strictest = owner.into_iter().chain(reader).min_by_key(|(limit, _)| *limit);
        match strictest.filter(|(limit, _)| age > *limit) {
            Some((limit, by_owner)) => {
                Err(Stale { key: key.clone(), version: stamp.version, age, limit, by_owner }.into())
            }
            None => Ok(Found { stamp, age, stale: false }),
        }
    }

    /// The newest version.
    #[must_use]
    pub fn newest(&self) -> Stamp {
        // An entry has a version from its first put on; one that a damaged record had none of reads as a key just begun.
        self.versions.last().copied().unwrap_or(Stamp {
            version: 0,
            at: Wall::from_millis(0),
            max_age: None,
            bytes: 0,
        })
    }

    /// The versions that are kept, oldest first.
    #[must_use]
    pub fn versions(&self) -> &[Stamp] {
        &self.versions
    }

    fn writable(&self, by: &Owner) -> Result<(), PutRefused> {
        if self.owner == *by {
            return Ok(());
        }
        Err(PutRefused::NotOwner { owner: self.owner.clone(), by: by.clone() })
    }

    fn version(&self, asked: u64) -> Result<Stamp, NotKept> {
        if let Some(stamp) = self.versions.iter().find(|stamp| stamp.version == asked) {
            return Ok(*stamp);
        }
        let (oldest, newest) = (self.oldest().version, self.newest().version);
        if (1..oldest).contains(&asked) {
            Err(NotKept::Forgotten { oldest })
        } else {
            Err(NotKept::Never { asked, newest })
        }
    }

    fn at(&self, then: Wall) -> Result<Stamp, NotKept> {
        if let Some(stamp) = self.versions.iter().rfind(|stamp| stamp.at <= then) {
            return Ok(*stamp);
        }
        match self.oldest().version {
            1 => Err(NotKept::NotYet),
            oldest => Err(NotKept::Forgotten { oldest }),
        }
    }

    fn oldest(&self) -> Stamp {
        self.versions.first().copied().unwrap_or_else(|| self.newest())
    }
}

fn expect(expected: Option<u64>, found: u64) -> Result<(), PutRefused> {
    match expected.filter(|expected| *expected != found) {
        Some(expected) => Err(PutRefused::Conflict { expected, found }),
        None => Ok(()),
    }
}

mod maybe_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::ref_option, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        span.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}
