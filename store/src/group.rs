//! Decides which batches of a group commit, and collects what they write.
//!
//! Batches of one group see the writes of the batches before them, exactly as if each had gone to disk alone. The
//! answers wait for the whole group, refusals too: a conflict with a write that a power cut then takes back would be a
//! lie.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::batch::Batch;
use crate::commit::{CommitError, Promise, Version};
use crate::engine::{Reason, Slot, Writes};
use crate::feed::Change;
use crate::quarantine::Damage;
use crate::store::Entry;

/// Batches that become durable together.
#[derive(Debug)]
pub(crate) struct Group {
    next_version: Version,
    answers: Vec<(Promise, Result<Version, CommitError>)>,
    changes: Vec<Change>,
    /// Index into `changes` of the last change of each key.
    last: BTreeMap<Bytes, usize>,
    /// What lay under each key that the group looked at, before the group.
    before: BTreeMap<Bytes, Slot>,
}

impl Group {
    /// An empty group whose first batch gets `next_version`.
    pub(crate) fn new(next_version: Version) -> Self {
        Self {
            next_version,
            answers: Vec::new(),
            changes: Vec::new(),
            last: BTreeMap::new(),
            before: BTreeMap::new(),
        }
    }

    /// Adds a batch if its preconditions hold; `read` tells what is in the store.
    pub(crate) fn admit(&mut self, batch: Batch, promise: Promise, read: impl Fn(&[u8]) -> Slot) {
        let verdict = self.decide(&batch, read).map(|()| self.take(batch));
        self.answers.push((promise, verdict));
    }

    pub(crate) fn next_version(&self) -> Version {
        self.next_version
    }

    /// All changes in commit order.
    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The last change of each key.
    pub(crate) fn writes(&self) -> Writes<'_> {
        self.last.iter().map(|(key, at)| (key, &self.changes[*at])).collect()
    }

    /// What readers should see until the group is durable.
    pub(crate) fn take_before(&mut self) -> BTreeMap<Bytes, Slot> {
        std::mem::take(&mut self.before)
    }

    pub(crate) fn commits(&self) -> u64 {
        self.answers.iter().filter(|(_, verdict)| verdict.is_ok()).count() as u64
    }

    pub(crate) fn conflicts(&self) -> u64 {
        let conflict = |verdict: &Result<_, _>| matches!(verdict, Err(CommitError::Conflict { .. }));
        self.answers.iter().filter(|(_, verdict)| conflict(verdict)).count() as u64
    }

    /// The group is durable: everyone learns their verdict.
    pub(crate) fn settle(self) {
        for (promise, verdict) in self.answers {
            promise.settle(verdict);
        }
    }

    /// The disk failed: nobody can know.
    pub(crate) fn fail(self, reason: &Reason) {
        for (promise, _) in self.answers {
            promise.settle(Err(CommitError::Unknown { reason: reason.clone() }));
        }
    }

    fn decide(&mut self, batch: &Batch, read: impl Fn(&[u8]) -> Slot) -> Result<(), CommitError> {
        for condition in &batch.conditions {
            let found = self.version_of(&condition.key, &read)?;
            if found != condition.version.into() {
                return Err(CommitError::Conflict { key: condition.key.clone() });
            }
        }
        for write in &batch.writes {
            self.version_of(&write.key, &read)?;
        }
        Ok(())
    }

    fn version_of(&mut self, key: &Bytes, read: impl Fn(&[u8]) -> Slot) -> Result<Present, CommitError> {
        if let Some(at) = self.last.get(key) {
            let change = &self.changes[*at];
            return Ok(change.value.as_ref().map(|_| change.version).into());
        }
        if !self.before.contains_key(key) {
            self.before.insert(key.clone(), read(key));
        }
        match &self.before[key] {
            Slot::Absent => Ok(Present::No),
            Slot::Found(Entry { version, .. }) => Ok(Present::At(*version)),
            Slot::Damaged(Damage::Unreadable { detail, .. }) | Slot::Failed(detail) => {
                Err(CommitError::Damaged { key: key.clone(), detail: detail.clone() })
            }
            Slot::Damaged(_) => Ok(Present::Damaged),
        }
    }

    fn take(&mut self, batch: Batch) -> Version {
        let version = self.next_version;
        self.next_version += 1;
        for write in batch.writes {
            self.last.insert(write.key.clone(), self.changes.len());
            self.changes.push(Change { key: write.key, value: write.value, version });
        }
        version
    }
}

/// What a precondition is compared with. A damaged record is neither absent nor at any version: only an unconditional
/// write replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Present {
    No,
    At(Version),
    Damaged,
}

impl From<Option<Version>> for Present {
    fn from(version: Option<Version>) -> Self {
        version.map_or(Self::No, Self::At)
    }
}
