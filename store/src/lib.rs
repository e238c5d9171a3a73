//! Ordered keys on disk: one durable commit at a time for many writers.
//!
//! The truth of a control plane and the ledger of a sidecar both live behind one small trait, [`Store`]: read a key,
//! scan a prefix, commit a [`Batch`] of preconditions and writes, watch a prefix. Callers bring byte keys and payloads
//! and own their meaning; the store owns order, durability, checksums and what happens when the disk misbehaves.
//!
//! - **Vocabulary**: [`store`] (the trait), [`batch`], [`commit`] (the promise of durability), [`feed`] (watches),
//!   [`status`], [`quarantine`], [`limits`].
//! - **Backends**: [`memory`] for tests, [`sled`] embedded on disk. Both pass `tests/conformance.rs`.
//! - **How a group commits**: `queue` → `group` (decides) → `committer` (applies, syncs, answers) over a `view` that
//!   shows readers durable state only.
//! - **Beside the keys**: [`blobs`] for large documents, [`record`] for schema versions, [`dump`] for backup.

pub mod batch;
pub mod blobs;
pub mod commit;
mod committer;
pub mod dump;
mod engine;
mod envelope;
pub mod feed;
mod group;
mod host;
pub mod limits;
pub mod memory;
pub mod quarantine;
mod queue;
pub mod record;
pub mod sled;
pub mod status;
pub mod store;
mod view;

pub use self::sled::{OpenError, SledOptions, SledStore};
pub use batch::Batch;
pub use blobs::{BlobId, Blobs};
pub use commit::{Commit, CommitError, Version};
pub use feed::{Change, Watch, WatchEvent};
pub use memory::MemoryStore;
pub use quarantine::{Damage, Damaged};
pub use status::{Status, StatusChanges};
pub use store::{Entry, Page, ReadError, Stats, Store};
