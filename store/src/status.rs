//! Whether the store takes writes, and word of it when that changes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use futures::Stream;
use futures::stream::FusedStream;
use parking_lot::Mutex;

use crate::host;

/// Whether commits are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Reads and commits are served.
    Writable,
    /// A disk error stopped commits; what was durable is still read. The store reopens by itself. After it has, whoever
    /// keeps state derived from the store must read it again: commits that ended as `Unknown` may be there.
    ReadOnly {
        /// What the disk said.
        reason: String,
        /// Wall-clock time at which it began.
        since: SystemTime,
    },
}

/// A stream of the status: the one at the time of the first poll, then the newest after each change. Changes that were
/// not polled in between collapse into the newest, but never into silence: a store that failed and healed unseen is
/// reported as `Writable` once more.
#[derive(Debug)]
pub struct StatusChanges {
    board: Arc<StatusBoard>,
    seen: u64,
}

#[derive(Debug)]
pub(crate) struct StatusBoard(Mutex<Board>);

#[derive(Debug)]
struct Board {
    status: Status,
    /// Counts changes from 1, so that a reader that saw nothing (0) is told the present status.
    changes: u64,
    wakers: Vec<Waker>,
}

// === impl Status ===

impl Status {
    /// Whether commits are accepted.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        matches!(self, Self::Writable)
    }
}

// === impl StatusBoard ===

impl StatusBoard {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Board { status: Status::Writable, changes: 1, wakers: Vec::new() }))
    }

    pub(crate) fn get(&self) -> Status {
        self.0.lock().status.clone()
    }

    /// The reason for which commits are refused, if they are.
    pub(crate) fn refusal(&self) -> Option<String> {
        match &self.0.lock().status {
            Status::Writable => None,
            Status::ReadOnly { reason, .. } => Some(reason.clone()),
        }
    }

    pub(crate) fn fail(&self, reason: &str) {
        tracing::error!(reason, "the store is read-only");
        self.set(Status::ReadOnly { reason: reason.to_owned(), since: host::wall_clock() });
    }

    pub(crate) fn heal(&self) {
        tracing::info!("the store is writable again");
        self.set(Status::Writable);
    }

    pub(crate) fn changes(self: &Arc<Self>) -> StatusChanges {
        StatusChanges { board: Arc::clone(self), seen: 0 }
    }

    fn set(&self, status: Status) {
        let mut board = self.0.lock();
        board.status = status;
        board.changes += 1;
        let wakers = std::mem::take(&mut board.wakers);
        drop(board);
        wakers.into_iter().for_each(Waker::wake);
    }
}

// === impl StatusChanges ===

impl Stream for StatusChanges {
    type Item = Status;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Status>> {
        let board = Arc::clone(&self.board);
        let mut board = board.0.lock();
        if board.changes > self.seen {
            self.seen = board.changes;
            return Poll::Ready(Some(board.status.clone()));
        }
        // One waker per waiting task: a task that polls again replaces its own.
        board.wakers.retain(|waker| !waker.will_wake(context.waker()));
        board.wakers.push(context.waker().clone());
        Poll::Pending
    }
}

impl FusedStream for StatusChanges {
    fn is_terminated(&self) -> bool {
        false
    }
}
