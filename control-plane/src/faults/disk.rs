//! The disk that refuses writes on purpose: it stands before the store's syncs, where a full or broken disk would speak.
//!
//! Nothing is damaged: a sync that is refused is one that did not happen, the store turns read-only by itself, and reopens by
//! itself when the disk takes writes again.

use std::io;

use mainstay_kernel::time::Mono;
use mainstay_store::sled::DiskFault;
use parking_lot::Mutex;

use crate::host::Clock;

/// Refuses syncs while a drill wants it to.
#[derive(Debug, Default)]
pub struct Disk(Mutex<Option<Refusal>>);

#[derive(Debug)]
struct Refusal {
    reason: String,
    clock: Clock,
    until: Mono,
}

impl Disk {
    pub(super) fn refuse(&self, reason: String, clock: Clock, until: Mono) {
        *self.0.lock() = Some(Refusal { reason, clock, until });
    }

    pub(super) fn accept(&self) {
        *self.0.lock() = None;
    }

    fn check(&self) -> io::Result<()> {
        match &*self.0.lock() {
            Some(Refusal { reason, clock, until }) if clock.mono() < *until => {
                Err(io::Error::new(io::ErrorKind::StorageFull, reason.clone()))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl DiskFault for Disk {
    fn before_sync(&self) -> io::Result<()> {
        self.check()
    }

    fn before_reopen(&self) -> io::Result<()> {
        self.check()
    }
}
