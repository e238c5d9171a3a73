//! Logical backup: every record as it is at one moment, in a form that no engine defines.
//!
//! sled cannot shrink its file, cannot repair it and cannot be read by another version of itself; writing the records out
//! and reading them into an empty store does all three. The store stays open for writers meanwhile. Pages read one after
//! another are not one moment, so the changes committed since the first page follow the last one: replayed in order they
//! end in exactly the state of the barrier that closed the dump.
//!
//! Each frame carries a checksum over everything before it: a dump that was cut or altered is not restored past that
//! point. Both ways work in bounded memory. Versions are not kept: a restored store counts its own.

use std::io::{self, Read, Write};

use bytes::Bytes;
use thiserror::Error;

use crate::batch::Batch;
use crate::commit::{Commit, CommitError};
use crate::feed::WatchEvent;
use crate::limits::{MAX_KEY, MAX_OPERATIONS, MAX_PAGE, MAX_VALUE};
use crate::store::{ReadError, Store};

/// First bytes of a dump: a name and the format's version.
const MAGIC: &[u8; 16] = b"mainstay-dump-1\n";

/// Length that stands for a deleted value, and (as a key's) for the end: above every real length.
const NONE: u32 = u32::MAX;

/// Bytes of checksum behind each frame.
const CHECKSUM: usize = 16;

/// Bytes that one restoring batch may grow to before it is sent: half of the limit, so one more value always fits.
const RESTORE_BATCH: usize = 512 * 1024;

/// Restoring batches on their way at once: enough to share syncs, few enough to bound memory at 32 MiB.
const RESTORE_AHEAD: usize = 32;

/// What was written or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records and later changes of them.
    pub records: u64,
    /// Records left out because they are damaged.
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
    /// The file could not be read or written.
    #[error("dump: {0}")]
    Io(#[from] io::Error),
    /// More changed during the dump than a watch holds; dump again in a quieter hour.
    #[error("the store changed too fast to be dumped; try again when fewer runs are active")]
    TooFast,
    /// The file is not a dump, was cut short or altered.
    #[error("the dump is damaged after {records} records; what was restored so far is incomplete")]
    Damaged {
        /// Sound records before the damage.
        records: u64,
    },
    /// A restore wants an empty store, so that the result is the dump and nothing else.
    #[error("the store is not empty; restore into a new data directory")]
    NotEmpty,
}

/// Writes all records of a store. It may be written to meanwhile.
///
/// # Errors
/// [`DumpError`]; the output is then not a complete dump and will not restore as one.
pub fn dump(store: &dyn Store, out: &mut dyn Write) -> Result<Report, DumpError> {
    let mut frames = FrameWriter { out, hasher: blake3::Hasher::new(), records: 0 };
    frames.write(MAGIC)?;
    let mut changes = store.watch(b"");
    let mut damaged = 0;
    let mut after: Option<Bytes> = None;
    loop {
        let page = store.scan(b"", after.as_deref(), MAX_PAGE)?;
        damaged += page.damaged.len() as u64;
        for (key, entry) in &page.entries {
            frames.record(key, Some(&entry.value))?;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
        follow(&mut changes, &mut frames, None)?;
    }
    let barrier = store.commit(Batch::new()).wait()?;
    follow(&mut changes, &mut frames, Some(barrier))?;
    frames.write(&NONE.to_be_bytes())?;
    frames.seal()?;
    frames.out.flush()?;
    Ok(Report { records: frames.records, damaged })
}

/// Reads a dump into an empty store.
///
/// # Errors
/// [`DumpError`]; the store then holds a part of the dump and should be thrown away.
pub fn restore(store: &dyn Store, input: &mut dyn Read) -> Result<Report, DumpError> {
    let page = store.scan(b"", None, 1)?;
    if !page.entries.is_empty() || !page.damaged.is_empty() {
        return Err(DumpError::NotEmpty);
    }
    let mut frames = FrameReader { input, hasher: blake3::Hasher::new(), records: 0 };
    if frames.take(MAGIC.len())? != MAGIC {
        return Err(DumpError::Damaged { records: 0 });
    }
    let mut ahead: std::collections::VecDeque<Commit> = std::collections::VecDeque::new();
    let mut batch = Batch::new();
    let mut keys = std::collections::BTreeSet::new();
    while let Some((key, value)) = frames.record()? {
        let full = batch.operations() == MAX_OPERATIONS || batch.bytes() >= RESTORE_BATCH;
        if full || !keys.insert(key.clone()) {
            ahead.push_back(store.commit(std::mem::take(&mut batch)));
            keys = std::collections::BTreeSet::from([key.clone()]);
        }
        if ahead.len() >= RESTORE_AHEAD
            && let Some(oldest) = ahead.pop_front()
        {
            oldest.wait()?;
        }
        batch = match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        };
    }
    ahead.push_back(store.commit(batch));
    for commit in ahead {
        commit.wait()?;
    }
    Ok(Report { records: frames.records, damaged: 0 })
}

/// Appends what changed since the dump began; `until` is the version of a barrier that all of it precedes.
fn follow(
    changes: &mut crate::feed::Watch,
    frames: &mut FrameWriter<'_>,
    until: Option<u64>,
) -> Result<(), DumpError> {
    while let Some(event) = changes.try_next() {
        let WatchEvent::Changed(change) = event else { return Err(DumpError::TooFast) };
        if until.is_some_and(|until| change.version > until) {
            break;
        }
        frames.record(&change.key, change.value.as_ref())?;
    }
    Ok(())
}

struct FrameWriter<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
    records: u64,
}

impl FrameWriter<'_> {
    fn record(&mut self, key: &Bytes, value: Option<&Bytes>) -> io::Result<()> {
        self.write(&length(key.len()).to_be_bytes())?;
        self.write(&value.map_or(NONE, |value| length(value.len())).to_be_bytes())?;
        self.write(key)?;
        self.write(value.map_or(&[], |value| value))?;
        self.records += 1;
        self.seal()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }

    fn seal(&mut self) -> io::Result<()> {
        self.out.write_all(&self.hasher.finalize().as_bytes()[..CHECKSUM])
    }
}

struct FrameReader<'a> {
    input: &'a mut dyn Read,
    hasher: blake3::Hasher,
    records: u64,
}

impl FrameReader<'_> {
    /// The next record; `None` at the sealed end.
    fn record(&mut self) -> Result<Option<(Bytes, Option<Bytes>)>, DumpError> {
        let key = self.length()?;
        if key == NONE {
            self.verify()?;
            return Ok(None);
        }
        let value = self.length()?;
        if key as usize > MAX_KEY || (value != NONE && value as usize > MAX_VALUE) {
            return Err(self.damaged());
        }
        let key = self.take(key as usize)?;
        let value = if value == NONE { None } else { Some(self.take(value as usize)?.into()) };
        self.verify()?;
        self.records += 1;
        Ok(Some((key.into(), value)))
    }

    fn length(&mut self) -> Result<u32, DumpError> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |length, byte| length << 8 | u32::from(*byte)))
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, DumpError> {
        let bytes = self.raw(count)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    fn verify(&mut self) -> Result<(), DumpError> {
        let expected = self.hasher.finalize();
        if self.raw(CHECKSUM)? == expected.as_bytes()[..CHECKSUM] { Ok(()) } else { Err(self.damaged()) }
    }

    fn raw(&mut self, count: usize) -> Result<Vec<u8>, DumpError> {
        let mut bytes = vec![0; count];
        match self.input.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.damaged()),
            Err(error) => Err(error.into()),
        }
    }

    fn damaged(&self) -> DumpError {
        DumpError::Damaged { records: self.records }
    }
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(NONE)
}
