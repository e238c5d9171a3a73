//! The bounded line in front of the committer.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::batch::Batch;
use crate::commit::{Commit, CommitError, Promise};
use crate::limits::{MAX_GROUP, MAX_GROUP_BYTES, MAX_QUEUED, MAX_QUEUED_BYTES};

/// A batch and whoever waits for it.
pub(crate) type Submission = (Batch, Promise);

/// Batches in the order in which they were handed over.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    line: Mutex<Line>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Submission>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(crate) fn push(&self, batch: Batch) -> Commit {
        let mut line = self.line.lock();
        if line.closed {
            return Commit::settled(Err(CommitError::Closed));
        }
        if line.waiting.len() >= MAX_QUEUED || line.bytes + batch.bytes() > MAX_QUEUED_BYTES {
            return Commit::settled(Err(CommitError::Busy));
        }
        let (promise, commit) = Commit::pending();
        line.bytes += batch.bytes();
        line.waiting.push_back((batch, promise));
        drop(line);
        self.changed.notify_one();
        commit
    }

    /// Waits for batches and takes as many as one group may hold; `None` once the queue is closed and empty.
    pub(crate) fn take_group(&self) -> Option<Vec<Submission>> {
        let mut line = self.line.lock();
        while line.waiting.is_empty() {
            if line.closed {
                return None;
            }
            self.changed.wait(&mut line);
        }
        let mut bytes = 0;
        let fits = line.waiting.iter().take(MAX_GROUP).take_while(|(batch, _)| {
            bytes += batch.bytes();
            bytes <= MAX_GROUP_BYTES
        });
        let count = fits.count().max(1);
        let group: Vec<_> = line.waiting.drain(..count).collect();
        line.bytes -= group.iter().map(|(batch, _)| batch.bytes()).sum::<usize>();
        Some(group)
    }

    /// Takes everything that waits.
    pub(crate) fn drain(&self) -> Vec<Submission> {
        let mut line = self.line.lock();
        line.bytes = 0;
        line.waiting.drain(..).collect()
    }

    /// Waits for `pause`, or until the queue is closed; says whether it was.
    pub(crate) fn closed_within(&self, pause: Duration) -> bool {
        let mut line = self.line.lock();
        self.changed.wait_while_for(&mut line, |line| !line.closed, pause);
        line.closed
    }

    /// Takes no more batches; what waits is still committed.
    pub(crate) fn close(&self) {
        self.line.lock().closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn len(&self) -> usize {
        self.line.lock().waiting.len()
    }
}
