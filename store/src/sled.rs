//! The embedded store on sled 0.34, the default: the only file that speaks to it.
//!
//! sled is fast and has traps. How each is answered here:
//! - Its `flush` asks the kernel to start writing, no more: a power cut takes everything since the last background sync.
//!   So the log file is opened a second time and `fdatasync`ed after each flush.
//! - A tree page above 128 KiB goes to a file of its own, which sled never syncs, and rewriting pages of large values
//!   amplifies writes. A page holds up to 17 records, so `records` keeps values up to [`MAX_INLINE`] and larger ones are
//!   cut into parts in a tree of their own. No page reaches the limit.
//! - Opening a damaged file may panic: it is caught. After a damaged page an iterator repeats its error for ever: the
//!   range behind the page is searched for, and the scan goes on there.
//! - Without its snapshot file most of a store is gone: a copy is kept (see `snapshot`).
//! - An I/O error sticks to the open handle: the committer opens a new one (see `committer`).
//! - Opening reads what its snapshot does not cover, one segment after another: others read ahead (see `ahead`).
//! - A dropped handle keeps its file lock for a moment, and so does a process that is being killed: opening waits
//!   [`LOCK_PATIENCE`] for it.
//! - Memory: the cache is 1 GiB by default; see [`SledOptions::cache_bytes`]. Its garbage collection runs only in the
//!   periodic flush, which therefore stays on.
//! - Subscriptions, asynchronous flushes and generated ids are never used: the first blocks writers, the second hangs
//!   under concurrency, the third skips unpredictably.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use sled::transaction::{ConflictableTransactionError, TransactionError, Transactional, TransactionalTree};
use sled::{Db, IVec, Iter, Tree};

use crate::batch::Batch;
use crate::commit::{Commit, Version};
use crate::committer::{Committer, guarded};
use crate::engine::{Engine, Reason, Rows, Slot, Writes};
use crate::envelope::{self, Body, Envelope};
use crate::feed::{Change, Watch};
use crate::host;
use crate::limits::MAX_VALUE;
use crate::quarantine::{Damage, Damaged};
use crate::status::{Status, StatusChanges};
use crate::store::{Entry, Page, ReadError, Stats, Store};

mod ahead;
mod gap;
mod options;
mod parts;
mod probe;
mod snapshot;

pub use options::{DiskFault, OpenError, SledOptions};

/// Bytes of a value that stays in its record: 17 of them, with the longest keys, stay below sled's 128 KiB page limit.
pub const MAX_INLINE: usize = 4 * 1024;

/// Milliseconds between sled's own flushes, in which alone it collects garbage. Commits do not wait for it.
const BACKGROUND_FLUSH_MS: u64 = 500;

/// How long opening waits for somebody else's lock before it gives up: a killed process is gone much sooner.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Pause between two tries for the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Format of the whole store, in `meta`. A program refuses to open a newer one.
const FORMAT: u64 = 1;

/// A store in one directory, open in one process at a time.
#[derive(Debug)]
pub struct SledStore {
    committer: Committer<SledEngine>,
    config: Arc<SledConfig>,
}

#[derive(Debug)]
struct SledConfig {
    dir: PathBuf,
    options: SledOptions,
    /// Counted across reopenings.
    syncs: AtomicU64,
}

#[derive(Debug)]
struct SledEngine {
    db: Db,
    config: Arc<SledConfig>,
    /// sled's log, opened a second time to be synced.
    log: File,
    /// Key → envelope.
    records: Tree,
    /// Version ‖ number ‖ part → bytes of values above [`MAX_INLINE`].
    parts: Tree,
    /// `format`, and `next`: the version below which all may be used.
    meta: Tree,
    next_version: Version,
}

// === impl SledStore ===

impl SledStore {
    /// Opens the store in `dir`, or creates it there. Blocks; [`LOCK_PATIENCE`] at most for a lock.
    ///
    /// # Errors
    /// [`OpenError`]; each says what to do next.
    pub fn open(dir: impl Into<PathBuf>, options: SledOptions) -> Result<Self, OpenError> {
        let config = Arc::new(SledConfig { dir: dir.into(), options, syncs: AtomicU64::new(0) });
        let engine = SledEngine::open(&config)?;
        let committer =
            Committer::start(engine, Arc::new(Arc::clone(&config))).map_err(|source| config.io(source))?;
        Ok(Self { committer, config })
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        self.committer.shared().view.get(key)
    }

    fn remains(&self, key: &[u8]) -> Option<Bytes> {
        self.committer.shared().view.remains(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, ReadError> {
        self.committer.shared().view.scan(prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> Commit {
        self.committer.shared().commit(batch)
    }

    fn watch(&self, prefix: &[u8]) -> Watch {
        self.committer.shared().feed.watch(prefix)
    }

    fn status(&self) -> Status {
        self.committer.shared().status.get()
    }

    fn status_changes(&self) -> StatusChanges {
        self.committer.shared().status.changes()
    }

    fn quarantined(&self) -> Vec<Damaged> {
        self.committer.shared().view.quarantine.list()
    }

    fn stats(&self) -> Stats {
        self.committer.shared().stats(self.config.syncs.load(Relaxed))
    }
}

// === impl SledConfig ===

impl SledConfig {
    fn io(&self, source: io::Error) -> OpenError {
        OpenError::Io { path: self.dir.clone(), source }
    }

    fn damaged(&self, detail: impl ToString) -> OpenError {
        OpenError::Damaged { path: self.dir.clone(), detail: detail.to_string() }
    }

    fn refused(&self, error: sled::Error) -> OpenError {
        match error {
            sled::Error::Io(source) if !is_cut_short(&source) => self.io(source),
            sled::Error::Io(_)
            | sled::Error::Corruption { .. }
            | sled::Error::CollectionNotFound(_)
            | sled::Error::Unsupported(_)
            | sled::Error::ReportableBug(_) => self.damaged(error),
        }
    }

    /// Opens sled, waiting a little for a lock.
    fn open_db(&self) -> Result<Db, OpenError> {
        let settings = sled::Config::new()
            .path(&self.dir)
            .cache_capacity(self.options.cache_bytes)
            .flush_every_ms(Some(BACKGROUND_FLUSH_MS));
        let mut waited = Duration::ZERO;
        loop {
            let opened = ahead::reading(&self.dir, || guarded(|| Ok(settings.open())));
            let opened = opened.map_err(|panic| self.damaged(panic))?;
            match opened {
                Ok(db) => return Ok(db),
                Err(error) if !is_lock(&error) => return Err(self.refused(error)),
                Err(_) if waited >= LOCK_PATIENCE => {
                    return Err(OpenError::Locked { path: self.dir.clone() });
                }
                Err(_) => {
                    host::pause(LOCK_PAUSE);
                    waited += LOCK_PAUSE;
                }
            }
        }
    }
}

// === impl SledEngine ===

impl SledEngine {
    fn open(config: &Arc<SledConfig>) -> Result<Self, OpenError> {
        fs::create_dir_all(&config.dir).map_err(|source| config.io(source))?;
        if snapshot::is_missing(&config.dir).map_err(|e| config.io(e))? {
            snapshot::mend(&config.dir).map_err(|e| config.io(e))?;
        }
        let db = match config.open_db() {
            Err(OpenError::Damaged { .. }) if snapshot::mend(&config.dir).map_err(|e| config.io(e))? => {
                tracing::warn!(path = %config.dir.display(), "replaced a damaged snapshot by its copy, or removed one half written");
                config.open_db()?
            }
            opened => opened?,
        };
        let tree = |name| {
            guarded(|| Ok(db.open_tree(name)))
                .map_err(|panic| config.damaged(panic))?
                .map_err(|e| config.refused(e))
        };
        let (records, parts, meta) = (tree("records")?, tree("parts")?, tree("meta")?);
        let number = |key: &str| number(&meta, key).map_err(|damage| config.damaged(damage));
        let found = number("format")?.unwrap_or(FORMAT);
        if found > FORMAT {
            return Err(OpenError::Newer { path: config.dir.clone(), found, known: FORMAT });
        }
        let next_version = number("next")?.unwrap_or(1);
        let log = open_log(&config.dir).map_err(|source| config.io(source))?;
        snapshot::keep(&config.dir).map_err(|source| config.io(source))?;
        Ok(Self { db, config: Arc::clone(config), log, records, parts, meta, next_version })
    }

    fn slot(&self, key: &[u8], record: &[u8]) -> Slot {
        match self.payload(key, record) {
            Ok(entry) => Slot::Found(entry),
            // A part of the value is out of reach; the records behind this one are not.
            Err(Slot::Damaged(Damage::Unreadable { detail, .. })) => {
                let until = Some(gap::successor(key).into());
                Slot::Damaged(Damage::Unreadable { until, detail })
            }
            Err(slot) => slot,
        }
    }

    /// The verified payload of a record, or why there is none.
    fn payload(&self, key: &[u8], record: &[u8]) -> Result<Entry, Slot> {
        let envelope = envelope::open(record)?;
        let value = match envelope.body {
            Body::Inline(payload) => Bytes::copy_from_slice(payload),
            Body::Parts { id, len } => self.join_parts(envelope.version, id, len)?,
        };
        envelope.verify(key, &value)?;
        Ok(Entry { value, version: envelope.version })
    }

    /// Whether a write neither leaves parts behind nor makes any.
    fn is_inline(&self, change: &Change) -> Result<bool, Reason> {
        if change.value.as_ref().is_some_and(|value| value.len() > MAX_INLINE) {
            return Ok(false);
        }
        let old = self.records.get(&change.key).map_err(|error| error.to_string())?;
        let in_parts =
            |old: IVec| matches!(envelope::open(&old), Ok(Envelope { body: Body::Parts { .. }, .. }));
        Ok(!old.is_some_and(in_parts))
    }

    /// Writes to one tree, which need no transaction over all of them: several times as cheap, and every run is felt to
    /// start and end here. A single record is atomic by itself and does without the log entry that holds a batch together.
    fn apply_inline(&self, writes: &Writes<'_>) -> sled::Result<()> {
        let seal = |change: &Change, value| envelope::seal(&change.key, change.version, value);
        let mut batch = sled::Batch::default();
        for change in writes.values() {
            match &change.value {
                Some(value) if writes.len() == 1 => {
                    return self.records.insert(&change.key, seal(change, value)).map(drop);
                }
                Some(value) => batch.insert(change.key.as_ref(), seal(change, value)),
                None => batch.remove(change.key.as_ref()),
            }
        }
        self.records.apply_batch(batch)
    }

    /// The parts that can be reached, one behind the other. A length that nobody verified is held to what a value may have.
    fn parts_left(&self, version: Version, id: u32, len: u32) -> Bytes {
        let len = len.min(u32::try_from(MAX_VALUE).unwrap_or(u32::MAX));
        let parts =
            parts::keys(version, id, len).filter_map(|part| read(|| self.parts.get(part)).ok().flatten());
        parts
            .fold(Vec::new(), |mut all, part| {
                all.extend_from_slice(&part);
                all
            })
            .into()
    }

    fn join_parts(&self, version: Version, id: u32, len: u32) -> Result<Bytes, Slot> {
        let mut payload = Vec::new();
        for part in parts::keys(version, id, len) {
            payload.extend_from_slice(&read(|| self.parts.get(part))?.ok_or(Damage::Truncated)?);
        }
        Ok(payload.into())
    }
}

impl Engine for SledEngine {
    type Config = Arc<SledConfig>;

    fn reopen(config: &Self::Config) -> Result<Self, Reason> {
        Self::open(config).map_err(|error| error.to_string())
    }

    fn probe(config: &Self::Config) -> Result<(), Reason> {
        if let Some(fault) = &config.options.disk_fault {
            fault.before_reopen().map_err(|error| error.to_string())?;
        }
        probe::try_write(&config.dir).map_err(|error| error.to_string())
    }

    fn next_version(&self) -> Version {
        self.next_version
    }

    fn read(&self, key: &[u8]) -> Slot {
        match read(|| self.records.get(key)) {
            Ok(Some(record)) => self.slot(key, &record),
            Ok(None) => Slot::Absent,
            Err(unread) => unread.into(),
        }
    }

    fn remains(&self, key: &[u8]) -> Option<Bytes> {
        let record = read(|| self.records.get(key)).ok().flatten()?;
        Some(match envelope::open(&record).map(|envelope| (envelope.version, envelope.body)) {
            Ok((_, Body::Inline(payload))) => Bytes::copy_from_slice(payload),
            Ok((version, Body::Parts { id, len })) => self.parts_left(version, id, len),
            Err(_) => Bytes::copy_from_slice(&record),
        })
    }

    fn rows<'a>(&'a self, prefix: &'a [u8], after: Option<&[u8]>) -> Rows<'a> {
        let rows = gap::Rows::new(&self.records, prefix, after);
        Box::new(rows.map(|row| match row {
            Ok((key, record)) => {
                let slot = self.slot(&key, &record);
                (Bytes::copy_from_slice(&key), slot)
            }
            Err(row) => row,
        }))
    }

    fn apply(&self, writes: &Writes<'_>, reserve: Option<Version>) -> Result<(), Reason> {
        let mut inline = reserve.is_none();
        for change in writes.values() {
            inline = inline && self.is_inline(change)?;
        }
        if inline {
            return self.apply_inline(writes).map_err(|error| error.to_string());
        }
        let trees = (&self.records, &self.parts, &self.meta);
        let applied = trees.transaction(|(records, parts, meta)| {
            for (id, change) in (0..).zip(writes.values()) {
                let old = parts::write(records, parts, change, id)?;
                parts::remove(parts, old.as_deref())?;
            }
            if let Some(reserve) = reserve {
                meta.insert("format", &FORMAT.to_be_bytes())?;
                meta.insert("next", &reserve.to_be_bytes())?;
            }
            Ok::<_, ConflictableTransactionError<()>>(())
        });
        applied.map_err(|error| match error {
            TransactionError::Storage(error) => error.to_string(),
            TransactionError::Abort(()) => "aborted".to_owned(),
        })
    }

    fn sync(&self) -> Result<(), Reason> {
        self.db.flush().map_err(|error| error.to_string())?;
        if let Some(fault) = &self.config.options.disk_fault {
            fault.before_sync().map_err(|error| error.to_string())?;
        }
        self.log.sync_data().map_err(|error| error.to_string())?;
        self.config.syncs.fetch_add(1, Relaxed);
        Ok(())
    }
}

/// Why sled gave no answer.
enum Unread {
    /// Its structure is damaged, there or on the way there.
    Damaged(Reason),
    /// The disk failed. So do reads near a failed write, until the handle is given up.
    Failed(Reason),
}

impl From<Unread> for Slot {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Damaged(detail) => Self::Damaged(Damage::Unreadable { until: None, detail }),
            Unread::Failed(reason) => Self::Failed(reason),
        }
    }
}

/// Reads from sled; that it panics is damage too.
fn read<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, Unread> {
    match guarded(|| Ok(work())) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(sled::Error::Io(error))) if !is_cut_short(&error) => Err(Unread::Failed(error.to_string())),
        Ok(Err(error)) => Err(Unread::Damaged(error.to_string())),
        Err(panic) => Err(Unread::Damaged(panic)),
    }
}

fn number(meta: &Tree, key: &str) -> Result<Option<u64>, String> {
    let bytes = guarded(|| meta.get(key).map_err(|error| error.to_string()))?;
    let number = |bytes: IVec| bytes.as_ref().try_into().map(u64::from_be_bytes);
    bytes.map(number).transpose().map_err(|_| format!("the number `{key}` is cut short"))
}

/// Opens sled's log a second time, and makes its existence durable once.
fn open_log(dir: &Path) -> io::Result<File> {
    let log = File::options().write(true).open(dir.join("db"))?;
    File::open(dir.join("conf"))?.sync_all()?;
    File::open(dir)?.sync_all()?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(parent)?.sync_all()?;
    }
    Ok(log)
}

fn is_lock(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

fn is_cut_short(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

#[cfg(test)]
mod tests;
