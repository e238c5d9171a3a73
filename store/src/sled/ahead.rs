//! Reads sled's log from the disk ahead of sled.
//!
//! When it opens, sled reads every segment of its log that its snapshot does not cover: after a long life that ended in a
//! crash, most of the file. It reads them one after another, and a disk does several times as much for more than one
//! reader. So a few threads read the same segments beside it, and sled finds them in the page cache. Nothing depends on
//! them: whatever goes wrong here costs time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use super::snapshot;

/// Bytes of a segment, as sled makes them.
const SEGMENT: usize = 512 * 1024;

/// A segment begins with four bytes of checksum and eight of its place in the log, masked.
const HEADER: usize = 12;
const MASK: i64 = i64::MAX;
const FREE: i64 = 0;

/// Segments read at once: where this was measured, two readers got four times as much as one, and more no more.
const READERS: usize = 4;

/// Opens the store in `dir` while its log is being read.
pub(super) fn reading<T>(dir: &Path, open: impl FnOnce() -> T) -> T {
    let Ok(log) = File::open(dir.join("db")) else { return open() };
    let covered = snapshot::covers(dir);
    let (next, opened) = (AtomicU64::new(0), AtomicBool::new(false));
    let read = || {
        let mut segment = vec![0; SEGMENT];
        while !opened.load(Relaxed) {
            let at = next.fetch_add(SEGMENT as u64, Relaxed);
            match is_read(&log, at, covered) {
                Ok(false) => {}
                Ok(true) if log.read_at(&mut segment, at).is_ok() => {}
                Ok(true) | Err(_) => return,
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..READERS {
            // sled reads it all the same if there is no thread to be had.
            thread::Builder::new().name("read-ahead".to_owned()).spawn_scoped(scope, read).ok();
        }
        let store = open();
        opened.store(true, Relaxed);
        store
    })
}

/// Whether sled reads a segment: neither does its snapshot tell what is in it, nor is it free. An error behind the last.
fn is_read(log: &File, at: u64, covered: i64) -> io::Result<bool> {
    let mut header = [0; HEADER];
    log.read_exact_at(&mut header, at)?;
    let place = header.last_chunk().map_or(0, |place| i64::from_le_bytes(*place));
    Ok(place != FREE && place ^ MASK > covered.saturating_sub(SEGMENT as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, SledOptions, SledStore, Store};

    /// How many segments of the log of a store the next opening reads.
    fn read(dir: &Path) -> usize {
        let (log, covered) = (File::open(dir.join("db")).unwrap(), snapshot::covers(dir));
        let read = (0..).step_by(SEGMENT).map_while(|at| is_read(&log, at, covered).ok());
        read.filter(|read| *read).count()
    }

    #[test]
    fn the_segments_that_the_snapshot_does_not_tell_of_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let open = || SledStore::open(dir.path(), SledOptions::default()).unwrap();
        let store = open();
        for batch in 0..60_u8 {
            let puts = (0..50_u8).fold(Batch::new(), |puts, n| puts.put(vec![batch, n], vec![n; 4_000]));
            store.commit(puts).wait().unwrap();
        }
        drop(store);
        let written = read(dir.path());
        assert!(written >= 60 * 50 * 4_000 / SEGMENT, "{written} were written since the store was opened");

        drop(open());
        let left = read(dir.path());
        assert!(left < written / 2, "{left} of {written}: an opening leaves a snapshot of what was before");
    }
}
