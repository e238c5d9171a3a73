//! Logical backup: every record and document as it is at one moment, in a form that no engine defines.
//!
//! sled cannot shrink its file, cannot repair it and cannot be read by another version of itself; writing the records out
//! and reading them into an empty store does all three. The store stays open for writers meanwhile. Pages read one after
//! another are not one moment, so the changes committed since the first page follow the last one: replayed in order they
//! end in exactly the state of the barrier that closed the records. Documents follow the records: one that a record names
//! was durable before the record, and is still there as long as nobody removes any, which whoever dumps must see to.
//!
//! Each frame carries a checksum over everything before it (see `frame`): a dump that was cut or altered is not restored
//! past that point. Both ways work in bounded memory. Versions are not kept: a restored store counts its own.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read, Write};

use bytes::Bytes;
use thiserror::Error;

use crate::batch::Batch;
use crate::blobs::{BlobError, Blobs};
use crate::commit::{Commit, CommitError};
use crate::feed::{Watch, WatchEvent};
use crate::limits::{MAX_DUMP_LAG, MAX_DUMP_LAG_BYTES, MAX_OPERATIONS, MAX_PAGE};
use crate::store::{ReadError, Store};

mod frame;

use frame::{Frame, FrameReader, FrameWriter};

/// Bytes that one restoring batch may grow to before it is sent: half of the limit, so one more value always fits.
const RESTORE_BATCH: usize = 512 * 1024;

/// Restoring batches on their way at once: enough to share syncs, few enough to bound memory at 32 MiB.
const RESTORE_AHEAD: usize = 32;

/// What was written or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records and later changes of them.
    pub records: u64,
    /// Documents beside them.
    pub blobs: u64,
    /// Records and documents left out because they are damaged.
    pub damaged: u64,
}

/// Why a dump or a restore did not complete.
#[derive(Debug, Error)]
pub enum DumpError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A document could not be read or written.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The file could not be read or written.
    #[error("the dump: {0}")]
    Io(#[from] io::Error),
    /// More changed during the dump than a watch holds.
    #[error(
        "the store changed faster than the dump was taken away; write to a faster disk, or when fewer runs are active"
    )]
    TooFast,
    /// The file is something else, or a dump in a form of another version.
    #[error("this is not a dump that this program can read")]
    NotADump,
    /// The file was cut short, altered, or goes on behind its end.
    #[error("the dump is cut short or altered behind its first {sound} records and documents")]
    Damaged {
        /// Sound records and documents before the damage.
        sound: u64,
    },
    /// A restore wants an empty store, so that the result is the dump and nothing else.
    #[error("the store is not empty; restore into a new data directory")]
    NotEmpty,
}

/// Writes all records and documents of a store. It may be written to meanwhile, but no document may be removed.
///
/// # Errors
/// [`DumpError`]; the output is then not a complete dump and will not restore as one.
pub fn dump(store: &dyn Store, blobs: &Blobs, out: &mut dyn Write) -> Result<Report, DumpError> {
    let mut writer = Writer { frames: FrameWriter::new(out)?, report: Report::default() };
    let mut changes = store.watch(b"").with_lag(MAX_DUMP_LAG, MAX_DUMP_LAG_BYTES);
    let mut after: Option<Bytes> = None;
    loop {
        let page = store.scan(b"", after.as_deref(), MAX_PAGE)?;
        writer.report.damaged += page.damaged.len() as u64;
        for (key, entry) in &page.entries {
            writer.record(key, Some(&entry.value))?;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
        writer.follow(&mut changes, None)?;
    }
    let barrier = match store.commit(Batch::new()).wait() {
        Ok(barrier) => Some(barrier),
        // Nothing changes while a disk refuses writes, and that is when a backup is wanted.
        Err(CommitError::ReadOnly { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    writer.follow(&mut changes, barrier)?;
    drop(changes);
    for first in 0..=u8::MAX {
        for id in blobs.ids(first)? {
            match blobs.get(id) {
                Ok(Some(document)) => writer.blob(&document)?,
                // Listed and gone: nothing named it.
                Ok(None) => {}
                Err(BlobError::Damaged { .. }) => writer.report.damaged += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    writer.frames.end()?;
    Ok(writer.report)
}

/// Reads a dump to its end and tells whether it is whole, without restoring anything.
///
/// # Errors
/// [`DumpError`].
pub fn verify(input: &mut dyn Read) -> Result<Report, DumpError> {
    let mut frames = FrameReader::new(input)?;
    let mut report = Report::default();
    while let Some(frame) = frames.next()? {
        match frame {
            Frame::Record(..) => report.records += 1,
            Frame::Blob(_) => report.blobs += 1,
        }
    }
    Ok(report)
}

/// Reads a dump into an empty store.
///
/// # Errors
/// [`DumpError`]; the store then holds a part of the dump and should be thrown away.
pub fn restore(store: &dyn Store, blobs: &Blobs, input: &mut dyn Read) -> Result<Report, DumpError> {
    let page = store.scan(b"", None, 1)?;
    if !page.entries.is_empty() || !page.damaged.is_empty() {
        return Err(DumpError::NotEmpty);
    }
    let mut frames = FrameReader::new(input)?;
    let mut report = Report::default();
    let mut writes = Writes::default();
    while let Some(frame) = frames.next()? {
        match frame {
            Frame::Record(key, value) => {
                writes.take(store, key, value)?;
                report.records += 1;
            }
            Frame::Blob(document) => {
                blobs.put(&document)?;
                report.blobs += 1;
            }
        }
    }
    writes.end(store)?;
    Ok(report)
}

struct Writer<'a> {
    frames: FrameWriter<'a>,
    report: Report,
}

impl Writer<'_> {
    fn record(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        self.report.records += 1;
        self.frames.record(key, value)
    }

    fn blob(&mut self, document: &[u8]) -> io::Result<()> {
        self.report.blobs += 1;
        self.frames.blob(document)
    }

    /// Appends what changed since the dump began; `until` is the version of a barrier that all of it precedes.
    fn follow(&mut self, changes: &mut Watch, until: Option<u64>) -> Result<(), DumpError> {
        while let Some(event) = changes.try_next() {
            let WatchEvent::Changed(change) = event else { return Err(DumpError::TooFast) };
            if until.is_some_and(|until| change.version > until) {
                break;
            }
            self.record(&change.key, change.value.as_deref())?;
        }
        Ok(())
    }
}

/// Batches on their way into a store that is being restored.
#[derive(Default)]
struct Writes {
    batch: Batch,
    /// Keys of the batch: a key that comes again is written again, and in order.
    keys: BTreeSet<Bytes>,
    ahead: VecDeque<Commit>,
}

impl Writes {
    fn take(&mut self, store: &dyn Store, key: Bytes, value: Option<Bytes>) -> Result<(), DumpError> {
        let full = self.batch.operations() == MAX_OPERATIONS || self.batch.bytes() >= RESTORE_BATCH;
        if full || self.keys.contains(&key) {
            self.send(store);
        }
        if self.ahead.len() >= RESTORE_AHEAD
            && let Some(oldest) = self.ahead.pop_front()
        {
            oldest.wait()?;
        }
        self.keys.insert(key.clone());
        let batch = std::mem::take(&mut self.batch);
        self.batch = match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        };
        Ok(())
    }

    fn send(&mut self, store: &dyn Store) {
        self.keys.clear();
        self.ahead.push_back(store.commit(std::mem::take(&mut self.batch)));
    }

    fn end(mut self, store: &dyn Store) -> Result<(), DumpError> {
        self.send(store);
        for commit in self.ahead {
            commit.wait()?;
        }
        Ok(())
    }
}
