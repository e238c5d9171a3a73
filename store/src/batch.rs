//! What one commit asks for: conditions on what is there, and what to write if they all hold.

use bytes::Bytes;

use crate::commit::{CommitError, Version};
use crate::limits::{MAX_BATCH, MAX_KEY, MAX_OPERATIONS, MAX_VALUE};

/// Preconditions and writes that take effect together or not at all.
///
/// An empty batch is allowed: it commits once everything handed over before it has, which makes it a barrier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) writes: Vec<Write>,
    patient: bool,
    bytes: usize,
}

/// What must hold of one key when the batch commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) key: Bytes,
    /// The version it must have; `None`: it must not exist.
    pub(crate) version: Option<Version>,
}

/// A new value for a key, or its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
}

impl Batch {
    /// A batch without conditions or writes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Commits only if `key` does not exist.
    pub fn absent(mut self, key: impl Into<Bytes>) -> Self {
        self.require(key.into(), None);
        self
    }

    /// Commits only if `key` exists and was last written at `version`.
    pub fn version_is(mut self, key: impl Into<Bytes>, version: Version) -> Self {
        self.require(key.into(), Some(version));
        self
    }

    /// Writes `value` under `key`, whether or not it exists.
    pub fn put(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.write(key.into(), Some(value.into()));
        self
    }

    /// Removes `key`, whether or not it exists.
    pub fn delete(mut self, key: impl Into<Bytes>) -> Self {
        self.write(key.into(), None);
        self
    }

    /// Lets the batch wait for others for up to [`PATIENCE`](crate::limits::PATIENCE), to share their sync. For what
    /// nobody waits for: it keeps its place in the order of commits, and goes to disk with the first batch that hurries.
    pub fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    pub(crate) fn is_patient(&self) -> bool {
        self.patient
    }

    /// Bytes of keys and values, as the limit on a batch counts them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Preconditions and writes, as the limit on a batch counts them.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.conditions.len() + self.writes.len()
    }

    /// Checks the batch against the limits that every backend shares.
    ///
    /// # Errors
    /// [`CommitError::TooLarge`] or [`CommitError::WrittenTwice`].
    pub fn check(&self) -> Result<(), CommitError> {
        within("operations", self.operations(), MAX_OPERATIONS)?;
        within("batch bytes", self.bytes, MAX_BATCH)?;
        for condition in &self.conditions {
            within("key bytes", condition.key.len(), MAX_KEY)?;
        }
        for (at, write) in self.writes.iter().enumerate() {
            within("key bytes", write.key.len(), MAX_KEY)?;
            within("value bytes", write.value.as_ref().map_or(0, Bytes::len), MAX_VALUE)?;
            if self.writes[..at].iter().any(|earlier| earlier.key == write.key) {
                return Err(CommitError::WrittenTwice { key: write.key.clone() });
            }
        }
        Ok(())
    }

    fn require(&mut self, key: Bytes, version: Option<Version>) {
        self.bytes += key.len();
        self.conditions.push(Condition { key, version });
    }

    fn write(&mut self, key: Bytes, value: Option<Bytes>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        self.writes.push(Write { key, value });
    }
}

fn within(what: &'static str, size: usize, limit: usize) -> Result<(), CommitError> {
    if size > limit { Err(CommitError::TooLarge { what, size, limit }) } else { Ok(()) }
}
