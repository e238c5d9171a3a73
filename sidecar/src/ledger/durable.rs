//! The part of the ledger that outlives the process.
//!
//! It answers in the way that repeats least. A record that cannot be read counts as begun with an unknown outcome; a
//! `begun` that could not be written keeps the agent from being called; an outcome that could not be written is still
//! answered, because the `begun` before it already keeps the key from ever working twice.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::id::AttemptId;
use mainstay_kernel::outcome::{Began, Class, Failure};
use mainstay_kernel::time::Wall;
use mainstay_proto::reason::Reason;
use mainstay_store::{Batch, BlobId, Blobs, CommitError, SledOptions, SledStore, Store};

use super::record::{self, Record, State};
use super::{Digest, Ended};
use crate::{failure, host};

/// How much the ledger keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// How long a record is kept. A run that waits for a person may ask for its outcome days later.
    pub(crate) kept_for: Duration,
    /// Most outcomes.
    pub(crate) max_ended: usize,
}

/// Nobody asks after a month; 100,000 small outcomes take about 100 MB, and a count of them well below a second.
pub(crate) const RETENTION: Retention =
    Retention { kept_for: Duration::from_secs(30 * 24 * 3600), max_ended: 100_000 };

/// Pages that sled keeps in memory. The ledger is written far more than read, and a sidecar is to stay small.
const CACHE_BYTES: u64 = 2 * 1024 * 1024;
/// Larger records live beside the store as documents, with a reference in their place.
const MAX_INLINE: usize = 32 * 1024;
/// What a reference begins with; no sealed record does, as its version is not 0.
const REFERENCE: &[u8] = &[0, 0];
/// Records looked at and deleted in one step of the clean-up.
const PAGE: usize = 100;

/// See the module's page. Clones share their contents.
#[derive(Clone)]
pub(crate) struct Durable {
    store: Arc<dyn Store>,
    blobs: Blobs,
}

/// Why the ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Store(#[from] mainstay_store::sled::OpenError),
    /// The folder of large outcomes.
    #[error(transparent)]
    Blobs(#[from] mainstay_store::blobs::BlobError),
}

// === impl Durable ===

impl Durable {
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenError> {
        let options = SledOptions { cache_bytes: CACHE_BYTES, ..SledOptions::default() };
        let store = SledStore::open(folder.join("ledger"), options)?;
        Ok(Self { store: Arc::new(store), blobs: Blobs::open(folder.join("outcomes"))? })
    }

    #[cfg(test)]
    pub(crate) fn over(store: Arc<dyn Store>) -> Self {
        Self { store, blobs: Blobs::in_memory() }
    }

    pub(super) fn get(&self, id: AttemptId) -> Result<Option<Record>, Failure> {
        let entry = self
            .store
            .get(&record::key(id))
            .map_err(|error| failure::unknown(format_args!("{id}: {error}")))?;
        let Some(entry) = entry else { return Ok(None) };
        let unreadable =
            |error: &dyn fmt::Display| failure::unknown(format_args!("the record of {id}: {error}"));
        let value = match reference(&entry.value) {
            None => entry.value,
            Some(blob) => match self.blobs.get(blob).map_err(|error| unreadable(&error))? {
                Some(value) => value,
                None => return Err(unreadable(&format_args!("its document {blob} is gone"))),
            },
        };
        Record::open(&value).map(Some).map_err(|error| unreadable(&error))
    }

    pub(super) async fn begin(&self, id: AttemptId, digest: Digest) -> Result<(), Failure> {
        let refused = |error: &dyn fmt::Display| {
            let text = format!("the call was not made, because the ledger cannot record it: {error}");
            failure::failure(Class::Transport, Reason::StoreReadOnly, Began::No, text)
        };
        let record =
            Record::new(id, digest, host::wall(), State::Begun).seal().map_err(|error| refused(&error))?;
        let key = record::key(id);
        match self.store.commit(Batch::new().absent(key.clone()).put(key, record)).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict { .. }) => {
                Err(failure::unknown(format_args!("{id} was begun before, and its outcome is not known")))
            }
            Err(error) => Err(refused(&error)),
        }
    }

    pub(super) async fn end(&self, id: AttemptId, digest: Digest, outcome: &Ended) {
        let record = Record::new(id, digest, host::wall(), State::Ended(outcome.clone()));
        let written = match record.seal() {
            Err(error) => Err(error.to_string()),
            Ok(value) => self.put(id, value).await,
        };
        if let Err(error) = written {
            tracing::error!(
                attempt = %id, error,
                "the outcome of a side-effecting call could not be recorded; if it is asked for after a restart, it is unknown"
            );
        }
    }

    /// The work did not begin after all: the key may be used again.
    pub(super) async fn forget(&self, id: AttemptId) {
        if let Err(error) = self.store.commit(Batch::new().delete(record::key(id))).await {
            tracing::error!(attempt = %id, %error, "a call that was not made stays in the ledger as begun");
        }
    }

    async fn put(&self, id: AttemptId, mut value: Vec<u8>) -> Result<(), String> {
        if value.len() > MAX_INLINE {
            let blobs = self.blobs.clone();
            let blob = tokio::task::spawn_blocking(move || blobs.put(&value)).await;
            let blob = blob.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            value = [REFERENCE, blob.as_bytes()].concat();
        }
        let outcome = self.store.commit(Batch::new().put(record::key(id), value)).await;
        outcome.map(drop).map_err(|error| error.to_string())
    }

    /// Brings the ledger back within its bounds: forgets what is older, and the oldest outcomes beyond the number. What was
    /// begun and lost is kept for its full time. Blocks; returns how many were forgotten.
    pub(crate) fn clean(&self, now: Wall, retention: Retention) -> Result<usize, String> {
        let mut ended = Vec::new();
        let mut doomed = Vec::new();
        let mut after = None;
        loop {
            let page =
                self.store.scan(record::PREFIX, after.as_deref(), PAGE).map_err(|error| error.to_string())?;
            for (key, entry) in page.entries {
                let blob = reference(&entry.value);
                // A record beside the store is an outcome; its age is that of the record, which only reading it tells.
                let record = key.get(1..).and_then(|id| id.try_into().ok()).map(AttemptId::from_bytes);
                let Some(Ok(Some(record))) = record.map(|id| self.get(id)) else { continue };
                if now.saturating_since(record.at) >= retention.kept_for {
                    doomed.push((key, blob));
                } else if matches!(record.state, State::Ended(_)) {
                    ended.push((record.at, key, blob));
                }
            }
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        let excess = ended.len().saturating_sub(retention.max_ended);
        if excess > 0 {
            ended.sort_unstable_by_key(|(at, ..)| *at);
            doomed.extend(ended.drain(..excess).map(|(_, key, blob)| (key, blob)));
        }
        for page in doomed.chunks(PAGE) {
            let batch = page.iter().fold(Batch::new(), |batch, (key, _)| batch.delete(key.clone()));
            self.store.commit(batch).wait().map_err(|error| error.to_string())?;
            // After the record: a document without a record wastes room, a record without its document loses an outcome.
            for blob in page.iter().filter_map(|(_, blob)| *blob) {
                self.blobs.remove(blob).map_err(|error| error.to_string())?;
            }
        }
        Ok(doomed.len())
    }
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durable").field("status", &self.store.status()).finish_non_exhaustive()
    }
}

fn reference(value: &[u8]) -> Option<BlobId> {
    let hash: [u8; 32] = value.strip_prefix(REFERENCE)?.try_into().ok()?;
    Some(hash.into())
}
