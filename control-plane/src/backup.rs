//! A backup of a running server, and a data folder made of one.
//!
//! A backup is a dump of the store with the documents beside it: one moment, whatever is written meanwhile. It is streamed
//! to whoever asks, in bounded memory, one at a time; nothing is staged on the server's own disk, which may be the reason
//! for the backup. While one is taken, no document is removed ([`Hold`]).
//!
//! A restore trusts nothing. The whole file is verified before anything is written; then a mark is put into the empty folder,
//! the store is filled, every record is decoded, and the mark is removed. A server refuses a folder with the mark, and
//! another restore begins it anew.
//!
//! What was done between the backup and its restore is not on record, but the world has seen it. So the folder remembers
//! that it was restored ([`Restored`]): each side effect of a run from before is asked for at every ledger before it is
//! made, under the same key, and the first start waits until sidecars have registered again.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use mainstay_kernel::time::Wall;
use mainstay_store::dump::{self, DumpError, Report};
use mainstay_store::{Batch, Blobs, CommitError, OpenError, ReadError, SledOptions, SledStore, Store};
use tokio::sync::{OwnedRwLockReadGuard, RwLock, mpsc};

use crate::doctor::{self, Examined, Finding};
use crate::records::RecordError;
use crate::records::restored::{self, Restored};

/// Bytes in one piece of the stream: few messages, and small beside what a client takes at once.
const PIECE: usize = 256 * 1024;

/// Pieces on their way: with the pieces in the channel's own buffers, a client may stall for a moment and cost 4 MiB.
const AHEAD: usize = 16;

/// Mark in a data folder whose restore is not complete. A server refuses to start on it.
pub const UNFINISHED: &str = "restoring";

/// What a restore puts into a folder.
const PARTS: [&str; 2] = ["store", "blobs"];

/// Findings listed by a restore: who has more than these looks with `mainstay doctor`.
const LISTED: usize = 100;

/// Keeps documents where they are while a backup reads them. Cheap to clone; clones are one.
#[derive(Debug, Clone, Default)]
pub struct Hold(Arc<RwLock<()>>);

/// A piece of a backup on its way.
#[derive(Debug)]
pub enum Piece {
    /// The next bytes of the file.
    Bytes(Bytes),
    /// The file is complete.
    Complete(Report),
}

/// A backup is being taken already; one at a time is what memory and disk are spared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a backup is being taken already")]
pub struct UnderWay;

/// A folder that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// What was in the file.
    pub report: Report,
    /// What every record was found to be.
    pub examined: Examined,
    /// Records that could not be used in the server that was backed up either, the first [`LISTED`].
    pub findings: Vec<Finding>,
}

/// Why nothing was restored. The folder is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is something in the folder.
    #[error("{} is not empty; restore into a new folder", .0.display())]
    NotEmpty(PathBuf),
    /// The file is not whole, or the disk refused.
    #[error("{}: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        error: DumpError,
    },
    /// It was written by a newer program.
    #[error("{0}")]
    Newer(String),
    /// The disk refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The new store could not be opened or written.
    #[error("the new store: {0}")]
    Store(String),
}

// === impl Hold ===

impl Hold {
    /// Lets documents be removed, unless a backup is being taken: then they wait for the next time.
    #[must_use]
    pub fn removal(&self) -> Option<impl Drop + use<>> {
        Arc::clone(&self.0).try_write_owned().ok()
    }

    /// The turn of the one backup there may be.
    pub(crate) async fn turn(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.0).read_owned().await
    }
}

// === taking one ===

/// Takes backups, one at a time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    store: Arc<dyn Store>,
    blobs: Blobs,
    hold: Hold,
    turn: Arc<tokio::sync::Semaphore>,
}

impl Handle {
    /// Backups of a store and its documents.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, blobs: Blobs, hold: Hold) -> Self {
        Self { store, blobs, hold, turn: Arc::new(tokio::sync::Semaphore::new(1)) }
    }

    /// Begins a backup: everything acknowledged before is in it. It ends early if the receiver is dropped.
    ///
    /// # Errors
    /// [`UnderWay`].
    pub fn begin(&self) -> Result<mpsc::Receiver<Result<Piece, DumpError>>, UnderWay> {
        let turn = Arc::clone(&self.turn).try_acquire_owned().map_err(|_| UnderWay)?;
        let (pieces, taken) = mpsc::channel(AHEAD);
        let this = self.clone();
        tokio::spawn(async move {
            let held = this.hold.turn().await;
            let told = pieces.clone();
            let dumped = tokio::task::spawn_blocking(move || {
                let mut out = BufWriter::with_capacity(PIECE, Pieces(pieces));
                dump::dump(&*this.store, &this.blobs, &mut out)
            })
            .await;
            drop((held, turn));
            let end = dumped.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            // Whoever asked may have gone.
            told.send(end.map(Piece::Complete)).await.ok();
        });
        Ok(taken)
    }
}

/// Writes into a channel. Used on a thread that may block.
struct Pieces(mpsc::Sender<Result<Piece, DumpError>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        let sent = self.0.blocking_send(Ok(Piece::Bytes(Bytes::copy_from_slice(piece))));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === restoring one ===

/// Makes `data` a data folder of the backup in `file`. Blocks.
///
/// # Errors
/// [`RestoreError`]; then the folder is as it was.
pub fn restore(file: &Path, data: &Path, now: Wall) -> Result<Restore, RestoreError> {
    let io = |error| RestoreError::Io { path: data.to_owned(), error };
    let existed = data.exists();
    if existed && is_occupied(data).map_err(io)? {
        return Err(RestoreError::NotEmpty(data.to_owned()));
    }
    verify(file)?;
    let restored = begin(data).map_err(io).and_then(|()| {
        let restored = fill(file, data, now)?;
        fs::remove_file(data.join(UNFINISHED)).and_then(|()| sync(data)).map_err(io)?;
        Ok(restored)
    });
    // What cannot be taken back now is taken back by the next restore; until then the mark stays.
    if restored.is_err() && take_back(data).is_ok() && !existed {
        fs::remove_dir(data).ok();
    }
    restored
}

/// Reads a backup to its end and tells whether it is whole. Blocks.
///
/// # Errors
/// [`RestoreError::File`].
pub fn verify(file: &Path) -> Result<Report, RestoreError> {
    dump::verify(&mut open(file)?).map_err(|error| RestoreError::File { file: file.to_owned(), error })
}

fn fill(file: &Path, folder: &Path, now: Wall) -> Result<Restore, RestoreError> {
    let refused = |error: &dyn std::fmt::Display| RestoreError::Store(error.to_string());
    let store = SledStore::open(folder.join("store"), SledOptions::default());
    let store = store.map_err(|error: OpenError| refused(&error))?;
    let blobs = Blobs::open(folder.join("blobs")).map_err(|error| refused(&error))?;
    let report = dump::restore(&store, &blobs, &mut open(file)?)
        .map_err(|error| RestoreError::File { file: file.to_owned(), error })?;
    let mut findings = Vec::new();
    let examined = doctor::examine(&store, &blobs, |finding| {
        if findings.len() < LISTED {
            findings.push(finding);
        }
        ControlFlow::Continue(())
    });
    let examined = examined.map_err(|error: ReadError| refused(&error))?;
    if let Some(newer) = findings.iter().find(|finding| finding.newer) {
        return Err(RestoreError::Newer(newer.problem.clone()));
    }
    let mark = Restored { at: now, first_start: None };
    let mark = mark.encode().map_err(|error: RecordError| refused(&error))?;
    let marked = store.commit(Batch::new().put(restored::key(), mark)).wait();
    marked.map_err(|error: CommitError| refused(&error))?;
    Ok(Restore { report, examined, findings })
}

/// Whether anything but the remains of an earlier restore is in a folder.
fn is_occupied(data: &Path) -> io::Result<bool> {
    Ok(!data.join(UNFINISHED).exists() && fs::read_dir(data)?.next().is_some())
}

/// Makes the folder, empties it of an earlier restore, and leaves the mark in it.
fn begin(data: &Path) -> io::Result<()> {
    fs::create_dir_all(data)?;
    File::create(data.join(UNFINISHED))?.sync_all()?;
    sync(data)?;
    remove_parts(data)
}

fn take_back(data: &Path) -> io::Result<()> {
    remove_parts(data)?;
    fs::remove_file(data.join(UNFINISHED))
}

fn remove_parts(data: &Path) -> io::Result<()> {
    for part in PARTS.map(|part| data.join(part)) {
        if part.exists() {
            fs::remove_dir_all(part)?;
        }
    }
    Ok(())
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn open(file: &Path) -> Result<impl Read, RestoreError> {
    let opened = File::open(file).map_err(|error| RestoreError::Io { path: file.to_owned(), error })?;
    Ok(BufReader::with_capacity(PIECE, opened))
}

#[cfg(test)]
mod tests;
