//! How a store is opened, and why it may not be.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

/// How to open a [`SledStore`](super::SledStore).
#[derive(Clone, Debug)]
pub struct SledOptions {
    /// Bytes of pages that sled keeps in memory. 16 MiB serve a control plane; a ledger beside an agent does with 2.
    pub cache_bytes: u64,
    /// Stands before every sync; for drills and tests of slow and failing disks.
    pub disk_fault: Option<Arc<dyn DiskFault>>,
}

/// Something that may delay or fail a sync, for drills.
pub trait DiskFault: Send + Sync + std::fmt::Debug + 'static {
    /// Called before each sync on the committer's thread: block to be a slow disk, fail to be a broken one.
    ///
    /// # Errors
    /// The error that the disk is to report.
    fn before_sync(&self) -> io::Result<()>;

    /// Called before the store is reopened: fail to stay broken.
    ///
    /// # Errors
    /// The error that the disk is to report.
    fn before_reopen(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a store could not be opened. Nothing on disk is changed by a failed opening.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has the store open.
    #[error("another process holds the store at {}; stop it, or choose another data directory", path.display())]
    Locked {
        /// Directory of the store.
        path: PathBuf,
    },
    /// sled cannot make sense of its files.
    #[error(
        "the store at {} is damaged: {detail}. Delete nothing in it (without its snap.* file the rest is unreadable): keep \
         the directory, and restore the latest backup into an empty one",
        path.display()
    )]
    Damaged {
        /// Directory of the store.
        path: PathBuf,
        /// What sled said.
        detail: String,
    },
    /// A newer program wrote the store.
    #[error("the store at {} has format {found}, newer than {known}, which this program knows; use a newer program", path.display())]
    Newer {
        /// Directory of the store.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that this program knows.
        known: u64,
    },
    /// The operating system refused.
    #[error("cannot open the store at {}: {source}", path.display())]
    Io {
        /// Directory of the store.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { cache_bytes: 16 * 1024 * 1024, disk_fault: None }
    }
}
