//! The promise that a batch is durable, kept by a thread and awaited by anyone.
//!
//! A [`Commit`] is a plain future without a runtime, so that an async engine, a blocking tool and a test wait for the
//! same thing. Dropping it only stops the waiting: a write that was handed over happens.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use thiserror::Error;

/// Position of a batch in the order of all commits of a store; also the version of every key it wrote.
pub type Version = u64;

/// The outcome of one batch, once it is durable or refused.
#[derive(Debug)]
#[must_use = "nothing is known to be on disk until the commit is awaited"]
pub struct Commit(Arc<Slot>);

/// Why a batch did not commit. Except for [`CommitError::Unknown`], none of it is in the store.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CommitError {
    /// A precondition does not hold.
    #[error("precondition failed: {} is not at the expected version", key.escape_ascii())]
    Conflict {
        /// The key whose condition failed.
        key: Bytes,
    },
    /// The page where the record is, or would be written, cannot be read.
    #[error("{} lies in an unreadable part of the store: {detail}", key.escape_ascii())]
    Damaged {
        /// The key that cannot be read or written.
        key: Bytes,
        /// What the backend said.
        detail: String,
    },
    /// A limit of [`crate::limits`] is exceeded.
    #[error("{size} {what} exceed the limit of {limit}")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// How much it was.
        size: usize,
        /// How much is allowed.
        limit: usize,
    },
    /// One batch writes the same key twice, which has no order within a batch.
    #[error("the batch writes {} twice", key.escape_ascii())]
    WrittenTwice {
        /// The key.
        key: Bytes,
    },
    /// Too much waits for the disk already; try again later.
    #[error("too many commits wait for the disk")]
    Busy,
    /// The store accepts no writes since a disk error; it reopens by itself.
    #[error("the store is read-only: {reason}")]
    ReadOnly {
        /// The disk error.
        reason: String,
    },
    /// The disk failed while this batch was on its way: it may or may not be there when the store has reopened.
    #[error("the disk failed while committing, the outcome is unknown: {reason}")]
    Unknown {
        /// The disk error.
        reason: String,
    },
    /// The store was closed before the batch was taken.
    #[error("the store is closed")]
    Closed,
}

/// The other end of a [`Commit`]; answers `Closed` if it is dropped unanswered.
#[derive(Debug)]
pub(crate) struct Promise(Option<Arc<Slot>>);

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    /// For [`Commit::wait`]; a future is woken through its waker.
    answered: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<Version, CommitError>>,
    waker: Option<Waker>,
}

// === impl Commit ===

impl Commit {
    pub(crate) fn pending() -> (Promise, Self) {
        let slot = Arc::new(Slot::default());
        (Promise(Some(Arc::clone(&slot))), Self(slot))
    }

    pub(crate) fn settled(outcome: Result<Version, CommitError>) -> Self {
        let (promise, commit) = Self::pending();
        promise.settle(outcome);
        commit
    }

    /// Blocks the thread until the batch is durable or refused. Not for async code: await the commit there.
    ///
    /// # Errors
    /// Any [`CommitError`].
    pub fn wait(self) -> Result<Version, CommitError> {
        let mut state = self.0.state.lock();
        loop {
            if let Some(outcome) = &state.outcome {
                return outcome.clone();
            }
            self.0.answered.wait(&mut state);
        }
    }
}

impl Future for Commit {
    type Output = Result<Version, CommitError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state.lock();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            empty => *empty = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

// === impl Promise ===

impl Promise {
    pub(crate) fn settle(mut self, outcome: Result<Version, CommitError>) {
        self.answer(outcome);
    }

    fn answer(&mut self, outcome: Result<Version, CommitError>) {
        let Some(slot) = self.0.take() else { return };
        let mut state = slot.state.lock();
        state.outcome = Some(outcome);
        let waker = state.waker.take();
        drop(state);
        slot.answered.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.answer(Err(CommitError::Closed));
    }
}
