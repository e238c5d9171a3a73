//! Large documents beside the keys: files named by the BLAKE3 hash of what they hold.
//!
//! A value of a megabyte has no place in an ordered tree: every page rewrite would carry it along. It goes into a file
//! and its hash into the record. The order makes it safe: [`Blobs::put`] returns when file and name are durable, and
//! only then is the record committed that refers to it. A crash in between leaves a file that nobody refers to, which
//! costs space and nothing else; [`Blobs::ids`] lets the owner of the records find such files.
//!
//! A name is the proof of the contents: equal documents share a file, and every read is verified.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use thiserror::Error;

use crate::limits::MAX_BLOB;

mod folder;

use folder::Folder;

/// Content-addressed documents. Clones share their contents. All calls block.
#[derive(Clone, Debug)]
pub struct Blobs(Arc<Place>);

#[derive(Debug)]
enum Place {
    Folder(Folder),
    Memory(Mutex<BTreeMap<BlobId, Bytes>>),
}

/// BLAKE3 hash of a blob, its name. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId([u8; 32]);

/// Why a blob could not be stored, read or removed.
#[derive(Debug, Error)]
pub enum BlobError {
    /// It is larger than [`MAX_BLOB`].
    #[error("{size} bytes exceed the limit of {MAX_BLOB} for a blob")]
    TooLarge {
        /// Its bytes.
        size: usize,
    },
    /// The file does not hold what its name says; put the document again to replace it.
    #[error("blob {id} is damaged")]
    Damaged {
        /// Its name.
        id: BlobId,
    },
    /// The disk refused.
    #[error("blob {}: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a blob id has 64 hexadecimal digits")]
pub struct NotABlobId;

// === impl Blobs ===

impl Blobs {
    /// Blobs in a directory of their own, created if need be. Leftovers of interrupted writes are removed.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, BlobError> {
        Ok(Self(Arc::new(Place::Folder(Folder::open(root.into())?))))
    }

    /// Blobs in memory, for tests.
    #[must_use]
    pub fn in_memory() -> Self {
        Self(Arc::new(Place::Memory(Mutex::default())))
    }

    /// Stores a document and returns once it is durable.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] or [`BlobError::Io`]; then nothing is stored under the name.
    pub fn put(&self, document: &[u8]) -> Result<BlobId, BlobError> {
        if document.len() > MAX_BLOB {
            return Err(BlobError::TooLarge { size: document.len() });
        }
        let id = BlobId::of(document);
        match &*self.0 {
            Place::Folder(folder) => folder.put(id, document)?,
            Place::Memory(blobs) => {
                blobs.lock().entry(id).or_insert_with(|| Bytes::copy_from_slice(document));
            }
        }
        Ok(id)
    }

    /// The document of this name, verified; `None` if there is none.
    ///
    /// # Errors
    /// [`BlobError::Damaged`] or [`BlobError::Io`].
    pub fn get(&self, id: BlobId) -> Result<Option<Bytes>, BlobError> {
        match &*self.0 {
            Place::Folder(folder) => folder.get(id),
            Place::Memory(blobs) => Ok(blobs.lock().get(&id).cloned()),
        }
    }

    /// Removes a document; says whether it was there. Only for names that no record refers to any more.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn remove(&self, id: BlobId) -> Result<bool, BlobError> {
        match &*self.0 {
            Place::Folder(folder) => folder.remove(id),
            Place::Memory(blobs) => Ok(blobs.lock().remove(&id).is_some()),
        }
    }

    /// The names whose first byte is `first`, in order. 256 calls list everything in bounded steps.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn ids(&self, first: u8) -> Result<Vec<BlobId>, BlobError> {
        match &*self.0 {
            Place::Folder(folder) => folder.ids(first),
            Place::Memory(blobs) => Ok(blobs.lock().keys().filter(|id| id.0[0] == first).copied().collect()),
        }
    }
}

// === impl BlobId ===

impl BlobId {
    /// The name of a document.
    #[must_use]
    pub fn of(document: &[u8]) -> Self {
        Self(*blake3::hash(document).as_bytes())
    }

    /// The hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for BlobId {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlobId {
    type Err = NotABlobId;

    fn from_str(text: &str) -> Result<Self, NotABlobId> {
        let lower = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let hash = blake3::Hash::from_hex(text).map_err(|_| NotABlobId)?;
        if lower { Ok(Self(*hash.as_bytes())) } else { Err(NotABlobId) }
    }
}

#[cfg(test)]
mod tests;
