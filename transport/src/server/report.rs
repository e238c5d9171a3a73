//! What a server counted in its life.

use std::sync::atomic::{AtomicU64, Ordering};

/// What happened to connections and calls, told when the server has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Connections taken.
    pub accepted: u64,
    /// Connections closed at once because there were too many, in all or from their peer.
    pub refused: u64,
    /// Connections closed because they did not begin to speak HTTP/2 in time, or spoke something else.
    pub silent: u64,
    /// Connections dropped with calls under way because the grace had ended.
    pub dropped: u64,
    /// Calls whose handler panicked.
    pub panicked: u64,
}

/// The same while the server runs.
#[derive(Debug, Default)]
pub(super) struct Counters {
    accepted: AtomicU64,
    refused: AtomicU64,
    silent: AtomicU64,
    dropped: AtomicU64,
    panicked: AtomicU64,
}

impl Counters {
    pub(super) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn silent(&self) {
        self.silent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self, connections: usize) {
        self.dropped.fetch_add(connections as u64, Ordering::Relaxed);
    }

    pub(super) fn panicked(&self) {
        self.panicked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn report(&self) -> Report {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Report {
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            silent: read(&self.silent),
            dropped: read(&self.dropped),
            panicked: read(&self.panicked),
        }
    }
}
