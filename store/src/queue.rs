//! The bounded line in front of the committer.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::batch::Batch;
use crate::commit::{Commit, CommitError, Promise};
use crate::limits::{MAX_GROUP, MAX_GROUP_BYTES, MAX_QUEUED, MAX_QUEUED_BYTES, PATIENCE};

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
    /// How many of them hurry.
    hurrying: usize,
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
        line.hurrying += usize::from(!batch.is_patient());
        line.waiting.push_back((batch, promise));
        let wake = line.waiting.len() == 1 || line.is_due();
        drop(line);
        if wake {
            self.changed.notify_one();
        }
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
        // Time out or not: they have been patient enough.
        self.changed.wait_while_for(&mut line, |line| !line.closed && !line.is_due(), PATIENCE);
        let mut bytes = 0;
        let fits = line.waiting.iter().take(MAX_GROUP).take_while(|(batch, _)| {
            bytes += batch.bytes();
            bytes <= MAX_GROUP_BYTES
        });
        let count = fits.count().max(1);
        let group: Vec<_> = line.waiting.drain(..count).collect();
        line.bytes -= group.iter().map(|(batch, _)| batch.bytes()).sum::<usize>();
        line.hurrying -= group.iter().filter(|(batch, _)| !batch.is_patient()).count();
        Some(group)
    }

    /// Takes everything that waits.
    pub(crate) fn drain(&self) -> Vec<Submission> {
        let mut line = self.line.lock();
        (line.bytes, line.hurrying) = (0, 0);
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

impl Line {
    /// Whether a group is worth a sync now: someone hurries, or there is as much as one holds.
    fn is_due(&self) -> bool {
        self.hurrying > 0 || self.waiting.len() >= MAX_GROUP || self.bytes >= MAX_GROUP_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &Queue, batch: Batch) {
        // Dropped: nobody settles it in these tests.
        drop(queue.push(batch));
    }

    fn is_due(queue: &Queue) -> bool {
        queue.line.lock().is_due()
    }

    #[test]
    fn the_patient_wait_for_one_that_hurries_and_go_with_it() {
        let queue = Queue::default();
        push(&queue, Batch::new().patient());
        push(&queue, Batch::new().patient());
        assert!(!is_due(&queue));
        push(&queue, Batch::new());
        assert!(is_due(&queue));
        assert_eq!(queue.take_group().unwrap().len(), 3);
        push(&queue, Batch::new().patient());
        assert!(!is_due(&queue), "whoever hurried is gone");
    }

    #[test]
    fn the_patient_go_when_nobody_hurries_when_they_fill_a_group_and_when_the_store_closes() {
        let queue = Queue::default();
        push(&queue, Batch::new().patient());
        assert_eq!(queue.take_group().unwrap().len(), 1);
        (0..MAX_GROUP).for_each(|_| push(&queue, Batch::new().patient()));
        assert!(is_due(&queue));
        assert_eq!(queue.take_group().unwrap().len(), MAX_GROUP);
        push(&queue, Batch::new().patient());
        queue.close();
        assert_eq!(queue.take_group().unwrap().len(), 1);
        assert!(queue.take_group().is_none());
    }
}
