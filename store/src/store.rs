//! The trait that everything above the disk is written against.
//!
//! It asks for little, so that an embedded engine and a distributed one can both give it: ordered byte keys, whole
//! values, compare by version, one bounded batch in one transaction, and a change feed that may say "list again".
//! Reads see durable state only: what a reader saw, a crash cannot take back.
//!
//! Reads are synchronous because the working set is in memory in every backend meant for this trait; a long scan belongs
//! on a thread that may block. Commits are futures of no runtime in particular, or [`Commit::wait`].

use std::fmt::Debug;

use bytes::Bytes;
use thiserror::Error;

use crate::batch::Batch;
use crate::commit::{Commit, Version};
use crate::feed::Watch;
use crate::quarantine::{Damage, Damaged};
use crate::status::{Status, StatusChanges};

/// Ordered keys with durable, conditional, batched writes. Used as `Arc<dyn Store>`.
pub trait Store: Send + Sync + Debug + 'static {
    /// The value under `key`, or `None` if there is none.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] if the record does not match its checksum (it is then in [`Store::quarantined`]);
    /// [`ReadError::Unavailable`] while the disk cannot be read at all.
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError>;

    /// What is left of a damaged record, not verified and so not to be acted on: for people who look into it. `None` if
    /// there is no record, or nothing of it can be reached.
    fn remains(&self, key: &[u8]) -> Option<Bytes>;

    /// Up to `limit` entries whose key starts with `prefix`, in key order, beginning behind `after` (exclusive) or at the
    /// first one. `limit` is held between 1 and [`crate::limits::MAX_PAGE`]. A damaged record does not fail the page: it is listed
    /// beside the entries, and quarantined.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] while the disk cannot be read at all.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, ReadError>;

    /// Hands a batch to the store. Batches commit in the order in which they were handed over, each of them wholly or not
    /// at all. The answer comes once the batch is on disk; dropping it does not cancel the commit.
    fn commit(&self, batch: Batch) -> Commit;

    /// Changes to keys under `prefix` that become durable from now on, in commit order. To follow a prefix without a gap,
    /// watch first, then scan, then skip changes whose version is not above that of the entry already held.
    fn watch(&self, prefix: &[u8]) -> Watch;

    /// Whether commits are accepted.
    fn status(&self) -> Status;

    /// The status now, and again after every change of it.
    fn status_changes(&self) -> StatusChanges;

    /// Damaged records met so far and not replaced since, at most [`crate::limits::MAX_QUARANTINED`] by name.
    fn quarantined(&self) -> Vec<Damaged>;

    /// Counters since the store was opened.
    fn stats(&self) -> Stats;
}

/// A value and the version at which it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The payload as it was put.
    pub value: Bytes,
    /// Version of the batch that wrote it: grows with every batch of the store, never used twice, also not after the
    /// key was deleted.
    pub version: Version,
}

/// One page of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Entries in key order.
    pub entries: Vec<(Bytes, Entry)>,
    /// Records in the range of this page that cannot be trusted, in key order.
    pub damaged: Vec<Damaged>,
    /// If more may follow, the key to hand over as `after` for the next page.
    pub next: Option<Bytes>,
}

/// Why a read gave no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReadError {
    /// The record exists but cannot be trusted.
    #[error("record {} is damaged: {damage}; restore it from a backup, overwrite it or delete it", key.escape_ascii())]
    Damaged {
        /// Key of the record.
        key: Bytes,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The disk cannot be read now; the store keeps trying to reopen it. While a disk refuses writes, this is also the
    /// answer for the few records that shared a page with a write that failed.
    #[error("the store cannot be read: {reason}")]
    Unavailable {
        /// What the disk said.
        reason: String,
    },
}

/// Counters since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches committed.
    pub commits: u64,
    /// Groups of batches made durable together; `commits / groups` says how well waiting is shared.
    pub groups: u64,
    /// Times the data reached the disk (`fdatasync`); never below `groups`.
    pub syncs: u64,
    /// Batches refused because a precondition did not hold.
    pub conflicts: u64,
    /// Batches refused, or ended with nobody knowing how, because the disk refuses writes.
    pub refused: u64,
    /// Batches that wait for the committer now.
    pub queued: usize,
    /// Times the store was reopened after a disk error.
    pub reopened: u64,
    /// Damaged records met, also those that are no longer listed by name.
    pub damaged: u64,
}
