//! Every bound of the store, each with its reason. They are the same for every backend, so that a program that works on
//! one works on all.

use std::time::Duration;

/// Bytes in a key. Every page of an ordered store repeats its keys, so they must stay short beside their values; 512
/// holds shard, kind, a 255-byte name and a sequence number with room to spare.
pub const MAX_KEY: usize = 512;

/// Bytes in a value. A distributed store takes about 1.5 MiB in one transaction and stays fast far below that; larger
/// documents go to [`crate::Blobs`] and travel by reference.
pub const MAX_VALUE: usize = 64 * 1024;

/// Preconditions and writes in one batch. etcd refuses more than 128 by default; 100 leaves room for a lease guard.
pub const MAX_OPERATIONS: usize = 100;

/// Bytes of keys and values in one batch: below the 1.5 MiB request limit of etcd, and small enough that one batch
/// cannot make the rest of its group wait long.
pub const MAX_BATCH: usize = 1024 * 1024;

/// Batches waiting for the committer. At a poor disk's 100 syncs a second and 1,024 batches a group this is below a
/// tenth of a second of work; more waiting would only hide an overload that the caller should see as `Busy`.
pub const MAX_QUEUED: usize = 8 * 1024;

/// Bytes waiting for the committer: the share of a small server's memory that a stalled disk may hold.
pub const MAX_QUEUED_BYTES: usize = 32 * 1024 * 1024;

/// Batches in one group. A larger group saves no more syncs worth having and makes its first batch wait for its last.
pub const MAX_GROUP: usize = 1024;

/// How long a patient batch waits for one that hurries. A process killed meanwhile forgets it: an answer that took an
/// agent seconds is at risk for a thousandth of that, and a run of quick steps saves most of its syncs.
pub const PATIENCE: Duration = Duration::from_millis(5);

/// Bytes in one group: a few megabytes reach a disk in tens of milliseconds. One batch always fits.
pub const MAX_GROUP_BYTES: usize = 4 * 1024 * 1024;

/// Entries in one page of a scan: enough to amortise the seek, few enough that a page never holds up the committer.
pub const MAX_PAGE: usize = 1000;

/// Bytes in one page of a scan; a page ends early rather than grow past it (by at most one value).
pub const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Changes a watcher may lag behind before it is told to list again: a reader this late is cheaper to restart.
pub const MAX_WATCH_LAG: usize = 4096;

/// Bytes a watcher may lag behind. Values are shared between watchers, so this bounds the oldest one, not each.
pub const MAX_WATCH_LAG_BYTES: usize = 8 * 1024 * 1024;

/// Changes that a dump may lag behind: it cannot list again, and whoever takes it may stall for seconds. A busy server
/// makes a few thousand a second.
pub const MAX_DUMP_LAG: usize = 64 * 1024;

/// Bytes that a dump may lag behind: what a small server can spare for one backup at a time.
pub const MAX_DUMP_LAG_BYTES: usize = 64 * 1024 * 1024;

/// Damaged records remembered by name. Past this the number keeps counting: a thousand names already say "restore".
pub const MAX_QUARANTINED: usize = 1000;

/// Bytes in one blob: four times the default payload limit of the API.
pub const MAX_BLOB: usize = 16 * 1024 * 1024;

/// Versions reserved ahead on disk at once, so that a version is never used twice and costs no key of its own per
/// commit. A crash skips what is left of a block: 2⁶⁴ versions last longer than the hardware.
pub(crate) const VERSION_BLOCK: u64 = 1 << 20;
