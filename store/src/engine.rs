//! What the committer needs of an embedded engine: read, apply a group, make it durable, open again.
//!
//! The line is drawn here so that everything hard about committing (order, preconditions, groups, failure, healing) is
//! written once and tested once, and a backend file says only how its engine does these few things.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;

use crate::commit::Version;
use crate::feed::Change;
use crate::quarantine::Damage;
use crate::store::Entry;

/// What lies under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Absent,
    Found(Entry),
    Damaged(Damage),
    /// The disk did not answer: nothing is known of the record.
    Failed(Reason),
}

impl From<Damage> for Slot {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

/// The last change of each key of a group.
pub(crate) type Writes<'a> = BTreeMap<&'a Bytes, &'a Change>;

/// Records in key order, present or damaged.
pub(crate) type Rows<'a> = Box<dyn Iterator<Item = (Bytes, Slot)> + 'a>;

/// What went wrong, in the words of the disk or the engine.
pub(crate) type Reason = String;

/// An ordered engine under one committer. Reads may run while the committer writes; nothing else writes.
pub(crate) trait Engine: Sized + Send + Sync + Debug + 'static {
    /// How to open it, and open it again.
    type Config: Send + Sync + Debug + 'static;

    /// Opens the engine again after a failure, if the disk looks usable. Called without another handle alive.
    fn reopen(config: &Self::Config) -> Result<Self, Reason>;

    /// Whether a write as large as the next one would probably succeed, tried beside the engine's own files: the old
    /// handle still serves reads and is given up only when this says yes.
    fn probe(config: &Self::Config) -> Result<(), Reason>;

    /// The lowest version never used: everything below may have been.
    fn next_version(&self) -> Version;

    /// What lies under a key.
    fn read(&self, key: &[u8]) -> Slot;

    /// The payload under a key as far as it can be reached, not verified.
    fn remains(&self, key: &[u8]) -> Option<Bytes>;

    /// Everything under a prefix, behind `after`.
    fn rows<'a>(&'a self, prefix: &'a [u8], after: Option<&[u8]>) -> Rows<'a>;

    /// Takes a group over, all or nothing across a crash; with `reserve`, [`Engine::next_version`] will not be below it.
    fn apply(&self, writes: &Writes<'_>, reserve: Option<Version>) -> Result<(), Reason>;

    /// Returns once everything applied survives a power cut.
    fn sync(&self) -> Result<(), Reason>;
}
