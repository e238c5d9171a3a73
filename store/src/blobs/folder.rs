//! Blobs as files: `ab/cdef…`, written beside, synced, renamed, and the directory synced.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;

use super::{BlobError, BlobId};
use crate::limits::MAX_BLOB;

/// Files being written. Cleared when the folder is opened: nobody writes then.
const UNFINISHED: &str = "unfinished";

#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// Numbers unfinished files, so that two writers of one document do not meet.
    writes: AtomicU64,
}

impl Folder {
    pub(super) fn open(root: PathBuf) -> Result<Self, BlobError> {
        let unfinished = root.join(UNFINISHED);
        let prepare = || {
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished)?;
            }
            fs::create_dir_all(&unfinished)?;
            sync_dir(&root)?;
            root.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)
        };
        prepare().map_err(at(&root))?;
        Ok(Self { root, writes: AtomicU64::new(0) })
    }

    pub(super) fn put(&self, id: BlobId, document: &[u8]) -> Result<(), BlobError> {
        // A sound file needs no second copy; a damaged one is replaced.
        if let Ok(Some(_)) = self.get(id) {
            return Ok(());
        }
        let unfinished = self.root.join(UNFINISHED).join(self.writes.fetch_add(1, Relaxed).to_string());
        let (dir, path) = self.place(id);
        let write = || {
            let mut file = File::create(&unfinished)?;
            file.write_all(document)?;
            file.sync_all()?;
            if !dir.exists() {
                fs::create_dir_all(&dir)?;
                sync_dir(&self.root)?;
            }
            fs::rename(&unfinished, &path)?;
            sync_dir(&dir)
        };
        write().map_err(|source| {
            // A full disk should get its space back; if even that fails, the next opening clears it.
            fs::remove_file(&unfinished).unwrap_or_default();
            at(&path)(source)
        })
    }

    pub(super) fn get(&self, id: BlobId) -> Result<Option<Bytes>, BlobError> {
        let (_, path) = self.place(id);
        let length = match fs::metadata(&path) {
            Ok(file) => file.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&path)(error)),
        };
        if length > MAX_BLOB as u64 {
            return Err(BlobError::Damaged { id });
        }
        let document = fs::read(&path).map_err(at(&path))?;
        if BlobId::of(&document) != id {
            return Err(BlobError::Damaged { id });
        }
        Ok(Some(document.into()))
    }

    pub(super) fn remove(&self, id: BlobId) -> Result<bool, BlobError> {
        let (_, path) = self.place(id);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(at(&path)(error)),
        }
    }

    pub(super) fn ids(&self, first: u8) -> Result<Vec<BlobId>, BlobError> {
        let prefix = format!("{first:02x}");
        let dir = self.root.join(&prefix);
        let files = match fs::read_dir(&dir) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at(&dir)(error)),
        };
        let mut ids = Vec::new();
        for file in files {
            let name = file.map_err(at(&dir))?.file_name();
            // A file of another name is not ours.
            ids.extend(name.to_str().and_then(|rest| format!("{prefix}{rest}").parse::<BlobId>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn place(&self, id: BlobId) -> (PathBuf, PathBuf) {
        let name = id.to_string();
        let dir = self.root.join(&name[..2]);
        let path = dir.join(&name[2..]);
        (dir, path)
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BlobError + '_ {
    move |source| BlobError::Io { path: path.to_owned(), source }
}
