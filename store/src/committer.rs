//! One thread that makes everyone's writes durable.
//!
//! Why one thread and groups? A disk syncs a few thousand times a second whatever is in the sync, so the writers that
//! wait at the same time share one. No delay is added to collect them: while one group syncs, the next one gathers by
//! itself, and a lone writer never waits for company. Only what nobody waits for does ([`Batch::patient`]).
//!
//! A disk error ends neither the thread nor the process. The store turns read-only, everyone who waits is told, and the
//! thread tries to open the engine again until that succeeds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::batch::Batch;
use crate::commit::{Commit, CommitError, Version};
use crate::engine::{Engine, Reason};
use crate::feed::Feed;
use crate::group::Group;
use crate::limits::VERSION_BLOCK;
use crate::queue::{Queue, Submission};
use crate::status::StatusBoard;
use crate::store::Stats;
use crate::view::View;

/// First pause before the engine is opened again: a passing error should cost little.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause: a disk that was given space again is noticed within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A running committer and everything it shares with readers and submitters.
#[derive(Debug)]
pub(crate) struct Committer<E: Engine> {
    shared: Arc<Shared<E>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(crate) struct Shared<E> {
    pub(crate) view: View<E>,
    pub(crate) feed: Feed,
    pub(crate) status: Arc<StatusBoard>,
    queue: Queue,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    commits: AtomicU64,
    groups: AtomicU64,
    conflicts: AtomicU64,
    refused: AtomicU64,
    reopened: AtomicU64,
}

/// The state that only the thread has.
#[derive(Debug)]
struct Worker<E: Engine> {
    shared: Arc<Shared<E>>,
    config: Arc<E::Config>,
    next_version: Version,
    /// Versions below this are reserved on disk.
    reserved: Version,
}

// === impl Committer ===

impl<E: Engine> Committer<E> {
    /// Starts the thread.
    pub(crate) fn start(engine: E, config: Arc<E::Config>) -> std::io::Result<Self> {
        let next_version = engine.next_version();
        let shared = Arc::new(Shared {
            view: View::new(engine),
            feed: Feed::default(),
            status: Arc::new(StatusBoard::new()),
            queue: Queue::default(),
            counters: Counters::default(),
        });
        let worker = Worker { shared: Arc::clone(&shared), config, next_version, reserved: next_version };
        let thread = std::thread::Builder::new().name("store-commit".to_owned()).spawn(|| worker.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(crate) fn shared(&self) -> &Shared<E> {
        &self.shared
    }
}

/// What was handed over is still committed; then the engine is closed.
impl<E: Engine> Drop for Committer<E> {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the committer panicked");
        }
        self.shared.feed.close();
    }
}

// === impl Shared ===

impl<E: Engine> Shared<E> {
    pub(crate) fn commit(&self, batch: Batch) -> Commit {
        if let Err(error) = batch.check() {
            return Commit::settled(Err(error));
        }
        match self.status.refusal() {
            Some(reason) => {
                self.counters.refused.fetch_add(1, Relaxed);
                Commit::settled(Err(CommitError::ReadOnly { reason }))
            }
            None => self.queue.push(batch),
        }
    }

    pub(crate) fn stats(&self, syncs: u64) -> Stats {
        Stats {
            commits: self.counters.commits.load(Relaxed),
            groups: self.counters.groups.load(Relaxed),
            syncs,
            conflicts: self.counters.conflicts.load(Relaxed),
            refused: self.counters.refused.load(Relaxed),
            queued: self.queue.len(),
            reopened: self.counters.reopened.load(Relaxed),
            damaged: self.view.quarantine.met(),
        }
    }
}

// === impl Worker ===

impl<E: Engine> Worker<E> {
    fn run(mut self) {
        while let Some(submissions) = self.shared.queue.take_group() {
            if let Err(reason) = self.commit(submissions) {
                self.shared.status.fail(&reason);
                if !self.recover(reason) {
                    return;
                }
            }
        }
    }

    /// Decides a group, makes it durable, answers. An error means that the engine is not to be written to again.
    fn commit(&mut self, submissions: Vec<Submission>) -> Result<(), Reason> {
        let mut group = Group::new(self.next_version);
        let shared = Arc::clone(&self.shared);
        let persisted = guarded(|| {
            shared.view.with_engine(|engine| {
                for (batch, promise) in submissions {
                    group.admit(batch, promise, |key| engine.read(key));
                }
                Ok(())
            })?;
            self.persist(&mut group)
        });
        if let Err(reason) = persisted {
            shared.counters.refused.fetch_add(group.commits(), Relaxed);
            group.fail(&reason);
            return Err(reason);
        }
        self.next_version = group.next_version();
        let counters = &self.shared.counters;
        counters.commits.fetch_add(group.commits(), Relaxed);
        counters.conflicts.fetch_add(group.conflicts(), Relaxed);
        self.shared.feed.publish(group.changes());
        group.settle();
        Ok(())
    }

    fn persist(&mut self, group: &mut Group) -> Result<(), Reason> {
        if group.changes().is_empty() {
            return Ok(());
        }
        let view = &self.shared.view;
        let reserve = (group.next_version() > self.reserved).then(|| group.next_version() + VERSION_BLOCK);
        view.cover(group.take_before());
        view.with_engine(|engine| {
            engine.apply(&group.writes(), reserve)?;
            engine.sync()
        })?;
        view.uncover();
        self.reserved = reserve.unwrap_or(self.reserved);
        self.shared.counters.groups.fetch_add(1, Relaxed);
        for change in group.changes() {
            view.quarantine.release(&change.key);
        }
        Ok(())
    }

    /// Refuses everyone until the engine is open again; `false` if the store was closed meanwhile.
    fn recover(&mut self, mut reason: Reason) -> bool {
        let mut pause = FIRST_PAUSE;
        loop {
            for (_, promise) in self.shared.queue.drain() {
                self.shared.counters.refused.fetch_add(1, Relaxed);
                promise.settle(Err(CommitError::ReadOnly { reason: reason.clone() }));
            }
            if self.shared.queue.closed_within(pause) {
                return false;
            }
            match guarded(|| self.reopen()) {
                Ok(()) => return true,
                Err(still) => {
                    tracing::debug!(reason = still, "the store cannot be reopened yet");
                    reason = still;
                }
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn reopen(&mut self) -> Result<(), Reason> {
        E::probe(&self.config)?;
        self.shared.view.replace(|| E::reopen(&self.config))?;
        let stored = self.shared.view.with_engine(|engine| Ok(engine.next_version()))?;
        // If anything of the failed group is on disk, so is the reservation of its versions.
        self.next_version = self.next_version.max(stored);
        self.reserved = self.next_version;
        self.shared.counters.reopened.fetch_add(1, Relaxed);
        // Commits of unknown outcome may have landed: nobody who watched can go on without looking.
        self.shared.feed.compact();
        self.shared.status.heal();
        Ok(())
    }
}

/// An engine that panics has failed like any other.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Reason>) -> Result<T, Reason> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(format!("the storage engine panicked: {message}"))
    })
}
