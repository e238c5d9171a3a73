//! Tries whether the disk takes writes again, beside the store's own files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a reopened store writes at once is below this: a segment of its log and a snapshot.
const ROOM: usize = 1024 * 1024;

/// Writes and syncs a file that ends where the log would grow to, so that both a full disk and a limit on file sizes
/// show. The file is sparse below that, and removed.
pub(super) fn try_write(dir: &Path) -> io::Result<()> {
    let path = dir.join("probe.tmp");
    let end = fs::metadata(dir.join("db"))?.len();
    let outcome = write_at(&path, end);
    let removed = fs::remove_file(&path);
    outcome.and(removed)
}

fn write_at(path: &Path, offset: u64) -> io::Result<()> {
    let file = File::create(path)?;
    file.write_all_at(&vec![0x5a; ROOM], offset)?;
    file.sync_all()
}
