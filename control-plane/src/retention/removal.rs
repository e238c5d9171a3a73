//! Removes runs, each from its head on, and after them the documents that only they had.
//!
//! Records go in batches, one at a time; many small runs share one. Documents follow in a [`sweep`], which goes by what the
//! batches noted: a crash after any commit leaves notes, and the next sweep goes on from them.
//!
//! What lies on a page of the disk that cannot be read cannot be written either. A run with such a record stays, and costs
//! those behind it nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::run::{Event, Transition};
use mainstay_store::{Batch, BlobId, Blobs, CommitError, Damage, Entry, ReadError, Store};

use crate::backup::Hold;
use crate::records::{
    artifact, describe, falls, idempotency, loose, open_run, run_summary, spill, transition,
};

/// Transitions removed at once: most runs whole, and with the other records of a run within one batch of any store.
const HEAD: usize = 48;

/// Keys that one batch removes: well below what a batch may have, so that what is under way hardly waits for it.
const BATCH: usize = 64;

/// Notes whose documents are removed at once: their batch is one of any store, and a backup that begins waits no longer.
const NOTES: usize = 64;

/// Why runs or documents were not removed. The next pass goes on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoveError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Removes runs. What was begun is on disk after [`Remover::finish`].
#[derive(Debug)]
pub(super) struct Remover<'a> {
    store: &'a dyn Store,
    blobs: &'a Blobs,
    /// Counts runs whose heads are gone from the disk.
    removed: &'a AtomicU64,
    next: Pieces,
}

/// What goes with the next commit.
#[derive(Debug, Default)]
struct Pieces {
    keys: Vec<Bytes>,
    documents: Vec<BlobId>,
    /// Runs whose heads are in it.
    runs: u64,
}

/// What of a run goes next: the beginning of what is left of it.
#[derive(Debug, Default)]
struct Piece {
    keys: Vec<Bytes>,
    documents: Vec<BlobId>,
    /// The head of the run is in it.
    head: bool,
    /// It is the last one.
    last: bool,
    /// Something in it cannot be reached, so it cannot be removed.
    out_of_reach: bool,
}

impl<'a> Remover<'a> {
    pub(super) fn new(store: &'a dyn Store, blobs: &'a Blobs, removed: &'a AtomicU64) -> Self {
        Self { store, blobs, removed, next: Pieces::default() }
    }

    /// Runs that were begun and are not counted as removed yet.
    pub(super) fn begun(&self) -> u64 {
        self.next.runs
    }

    /// Removes a run, piece by piece; says whether all of it goes.
    pub(super) fn remove(&mut self, tenant: &Name, run: RunId) -> Result<bool, RemoveError> {
        if !self.remove_names(tenant, run)? {
            return Ok(false);
        }
        loop {
            let piece = self.piece(tenant, run)?;
            if piece.out_of_reach {
                return Ok(false);
            }
            if self.next.keys.len() + piece.keys.len() > BATCH {
                self.commit()?;
            }
            let last = piece.last;
            self.next.take(piece);
            if last {
                return Ok(true);
            }
            // The next piece is what is then the beginning.
            self.commit()?;
        }
    }

    /// Removes what a run names, before the run: a crash in between leaves a run that the next pass removes, and not a name
    /// that keeps an artifact for ever. Says whether all of it goes.
    fn remove_names(&mut self, tenant: &Name, run: RunId) -> Result<bool, RemoveError> {
        loop {
            let page = self.store.scan(&artifact::named_by(tenant.as_str(), run), None, BATCH)?;
            if page.damaged.iter().any(|damaged| is_torn(&damaged.damage)) {
                return Ok(false);
            }
            let damaged = page.damaged.into_iter().map(|damaged| damaged.key);
            let keys: Vec<Bytes> = page.entries.into_iter().map(|(key, _)| key).chain(damaged).collect();
            if self.next.keys.len() + keys.len() > BATCH {
                self.commit()?;
            }
            self.next.keys.extend(keys);
            if page.next.is_none() {
                return Ok(true);
            }
            self.commit()?;
        }
    }

    /// Commits what has been begun.
    pub(super) fn finish(mut self) -> Result<(), RemoveError> {
        self.commit()
    }

    fn commit(&mut self) -> Result<(), RemoveError> {
        let Pieces { keys, documents, runs } = std::mem::take(&mut self.next);
        if !keys.is_empty() {
            let batch = loose::note(Batch::new(), &documents);
            self.store.commit(keys.into_iter().fold(batch, Batch::delete)).wait()?;
            self.removed.fetch_add(runs, Relaxed);
        }
        Ok(())
    }

    fn piece(&self, tenant: &Name, run: RunId) -> Result<Piece, ReadError> {
        let page = self.store.scan(&transition::prefix(tenant.as_str(), run), None, HEAD)?;
        let mut piece = Piece { last: page.next.is_none(), ..Piece::default() };
        let listed = run_summary::key(tenant.as_str(), run);
        let line = self.store.get(&listed);
        if !matches!(line, Ok(None)) {
            piece.head = true;
            piece.out_of_reach = matches!(&line, Err(ReadError::Damaged { damage, .. }) if is_torn(damage));
            piece.keys.push(listed.into());
            let first = page.entries.first();
            piece.keys.extend(first.and_then(|(_, first)| self.started_by(tenant, run, first)));
        }
        for (key, entry) in page.entries {
            piece.documents.extend(describe::own_blobs(&key, &entry.value));
            piece.keys.push(key);
        }
        piece.out_of_reach |= page.damaged.iter().any(|damaged| is_torn(&damaged.damage));
        // The document of a damaged record stays behind: nobody can tell its name.
        piece.keys.extend(page.damaged.into_iter().map(|damaged| damaged.key));
        Ok(piece)
    }

    /// The record of what a run was started by, an idempotency key or the run it goes on from, if it still names this run.
    fn started_by(&self, tenant: &Name, run: RunId, first: &Entry) -> Option<Bytes> {
        let first: Transition = spill::decode(transition::KIND, &first.value, self.blobs).ok()?;
        let Event::RunStarted { idempotency_key, resumed, .. } = first.events.first()? else { return None };
        let key = match (idempotency_key, resumed) {
            (Some(client_key), _) => idempotency::key(tenant.as_str(), client_key),
            (None, Some(resumed)) => idempotency::resumed_key(tenant.as_str(), resumed.from),
            (None, None) => return None,
        };
        let entry = self.store.get(&key).ok()??;
        let started = idempotency::Started::decode(&entry.value).ok()?;
        (started.run == run).then(|| key.into())
    }
}

fn is_torn(damage: &Damage) -> bool {
    matches!(damage, Damage::Unreadable { .. })
}

impl Pieces {
    fn take(&mut self, piece: Piece) {
        self.keys.extend(piece.keys);
        self.documents.extend(piece.documents);
        self.runs += u64::from(piece.head);
    }
}

/// Removes one run whole, open or not; says whether all of it went.
pub(crate) fn remove_run(
    store: &dyn Store,
    blobs: &Blobs,
    tenant: &Name,
    run: RunId,
) -> Result<bool, RemoveError> {
    // The mark first: a run that is half gone must not be taken up.
    let mark = open_run::key(tenant.as_str(), run);
    let whole = Batch::new().delete(mark).delete(falls::key(tenant.as_str(), run));
    store.commit(whole).wait()?;
    let counted = AtomicU64::new(0);
    let mut remover = Remover::new(store, blobs, &counted);
    let goes = remover.remove(tenant, run)?;
    remover.finish()?;
    Ok(goes)
}

/// Removes the documents that are noted as loose, unless a backup reads documents: then they wait for the next sweep.
pub(super) fn sweep(store: &dyn Store, blobs: &Blobs, hold: &Hold) -> Result<(), RemoveError> {
    let mut from: Option<Bytes> = None;
    loop {
        let Some(_leave) = hold.removal() else { return Ok(()) };
        let page = store.scan(&loose::prefix(), from.as_deref(), NOTES)?;
        let mut done = Batch::new();
        for (key, entry) in page.entries {
            // One that cannot be read stays for the doctor.
            let Ok(documents) = loose::decode(&entry.value) else { continue };
            if documents.into_iter().all(|document| remove(blobs, document)) {
                done = done.delete(key);
            }
        }
        if done.operations() > 0 {
            store.commit(done).wait()?;
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(()),
        }
    }
}

fn remove(blobs: &Blobs, document: BlobId) -> bool {
    let removed = blobs.remove(document);
    if let Err(error) = &removed {
        tracing::warn!(%error, "a document that nobody names stays for now");
    }
    removed.is_ok()
}
