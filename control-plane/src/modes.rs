//! The one owner of the operating mode: decided by [`mainstay_kernel::mode`], kept on disk where a person set it, told to
//! everyone who does less in it.
//!
//! Once a second the signals are read and put to the rules. What a person set is on disk before it is acknowledged, and
//! holds from the first moment of the next start: an operator who degrades a system that crashes means the one after the
//! crash, too.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use mainstay_kernel::event::{Event, Kind};
use mainstay_kernel::mode::{self, Cause, Change, Governor, Hand, Mode};
use mainstay_kernel::time::Wall;
use mainstay_store::{Batch, CommitError, ReadError, Store};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::events;
use crate::host::Clock;
use crate::metrics::Metrics;
use crate::records::{RecordError, mode as record};

mod vitals;

use vitals::Reader;
pub use vitals::{Memory, Vitals};

/// How often the signals are read. A reading costs microseconds; what changes faster than a second is for queues to level.
const EVERY: Duration = Duration::from_secs(1);

/// What the mode is decided by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// The rules.
    pub rules: mode::Config,
    /// The memory to live with.
    pub memory: Memory,
}

/// The mode. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

/// What reads the signals.
pub struct Service {
    handle: Handle,
    reader: Reader,
    waiting: Box<dyn Fn() -> u64 + Send>,
    forged: Box<dyn Fn() -> Option<u64> + Send>,
}

/// The mode, and why it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which.
    pub mode: Mode,
    /// Since when.
    pub since: Wall,
    /// Why.
    pub reason: String,
    /// Who set it, if a person did and said so.
    pub by: String,
    /// Whether a person holds it, so that rules cannot change it.
    pub by_hand: bool,
    /// What the rules ask for.
    pub by_rules: Mode,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    store: Arc<dyn Store>,
    events: events::Handle,
    metrics: Metrics,
    memory: Memory,
    governor: Mutex<Governor>,
    status: watch::Sender<Status>,
    /// The mode once more: every request asks for it, and none should take a lock for that.
    now: AtomicU8,
    /// The newest reading of memory, for the same reason.
    memory_bp: AtomicU64,
    /// Held from the decision to its last effect, so that memory and disk agree.
    turn: tokio::sync::Mutex<()>,
    exhausted: CancellationToken,
}

/// Why a mode was not set or handed back.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// It could not be encoded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store refused it.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Reads what a person set. A record that cannot be read is reported, and the rules decide.
///
/// # Errors
/// If the store cannot be read.
pub fn open(
    config: Config,
    clock: Clock,
    store: Arc<dyn Store>,
    events: events::Handle,
    metrics: Metrics,
) -> Result<Handle, ReadError> {
    let hand = match store.get(&record::key()) {
        Ok(None) => None,
        Ok(Some(entry)) => record::decode(&entry.value)
            .inspect_err(
                |error| tracing::error!(%error, "the mode on record cannot be read, and the rules decide"),
            )
            .ok(),
        Err(error @ ReadError::Damaged { .. }) => {
            tracing::error!(%error, "the mode on record is damaged, and the rules decide");
            None
        }
        Err(error) => return Err(error),
    };
    let governor = Governor::new(config.rules, hand);
    let since = governor.hand().map_or_else(|| clock.wall(), |hand| hand.since);
    let status = Status::of(&governor, since);
    metrics.mode(status.mode);
    Ok(Handle(Arc::new(Shared {
        clock,
        store,
        events,
        metrics,
        memory: config.memory,
        now: AtomicU8::new(rank(status.mode)),
        memory_bp: AtomicU64::new(0),
        governor: Mutex::new(governor),
        status: watch::Sender::new(status),
        turn: tokio::sync::Mutex::default(),
        exhausted: CancellationToken::new(),
    })))
}

// === impl Handle ===

impl Handle {
    /// The mode that holds.
    #[must_use]
    pub fn mode(&self) -> Mode {
        let rank = usize::from(self.0.now.load(Ordering::Relaxed));
        Mode::ALL.get(rank).copied().unwrap_or_default()
    }

    /// Memory in use, in basis points of its soft limit; 0 if nobody can tell.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.0.memory_bp.load(Ordering::Relaxed)
    }

    /// The mode, and why it holds.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status.borrow().clone()
    }

    /// Follows [`Handle::status`].
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.0.status.subscribe()
    }

    /// What reads the signals: `waiting` tells the calls that wait, as a share of those that may be under way, in basis
    /// points; `forged` what memory is to look like, if a drill says so.
    pub fn service(
        &self,
        waiting: impl Fn() -> u64 + Send + 'static,
        forged: impl Fn() -> Option<u64> + Send + 'static,
    ) -> Service {
        let reader = Reader::new(self.0.metrics.vitals().clone(), self.0.memory);
        Service { handle: self.clone(), reader, waiting: Box::new(waiting), forged: Box::new(forged) }
    }

    /// Cancelled when more memory is in use than a restart should wait for.
    #[must_use]
    pub fn exhausted(&self) -> CancellationToken {
        self.0.exhausted.clone()
    }

    /// A person sets the mode; on disk when this returns. It is carried through even if the caller leaves.
    pub async fn set(&self, mode: Mode, reason: String, by: String) -> Result<Status, SetError> {
        let handle = self.clone();
        let set = tokio::spawn(async move {
            let _turn = handle.0.turn.lock().await;
            let hand = Hand { mode, reason, by, since: handle.0.clock.wall() };
            handle.0.store.commit(Batch::new().put(record::key(), record::encode(&hand)?)).await?;
            let change = handle.0.governor.lock().set(hand);
            handle.tell(&change);
            Ok(handle.status())
        });
        set.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// A person hands the mode back to the rules; on disk when this returns. Nothing changes if the rules have it.
    pub async fn release(&self, by: String) -> Result<Status, SetError> {
        let handle = self.clone();
        let released = tokio::spawn(async move {
            let _turn = handle.0.turn.lock().await;
            if handle.0.governor.lock().hand().is_none() {
                return Ok(handle.status());
            }
            handle.0.store.commit(Batch::new().delete(record::key())).await?;
            let change = handle.0.governor.lock().release(&by);
            change.iter().for_each(|change| handle.tell(change));
            Ok(handle.status())
        });
        released.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn tell(&self, change: &Change) {
        let status = {
            let governor = self.0.governor.lock();
            // What is shown now is what will be shown after a restart.
            let since = governor.hand().map_or_else(|| self.0.clock.wall(), |hand| hand.since);
            Status::of(&governor, since)
        };
        let since = status.since;
        self.0.now.store(rank(status.mode), Ordering::Relaxed);
        self.0.metrics.mode(status.mode);
        let by = match &change.cause {
            Cause::Hand { by, .. } | Cause::Released { by } => by.as_str(),
            Cause::Start | Cause::Entered { .. } | Cause::Relieved => "",
        };
        let reason = format_args!("{} after {}: {}", change.to, change.from, change.cause);
        self.0.events.tell_event(Event::new(Kind::of_mode(change), since, "mode", reason).by(by));
        self.0.status.send_replace(status);
    }
}

// === impl Service ===

impl Service {
    /// Reads the signals, and lets the rules decide. Runs until it is dropped.
    pub async fn run(mut self) {
        let shared = Arc::clone(&self.handle.0);
        loop {
            let mut readings = self.reader.read();
            readings.queue = Some((self.waiting)());
            readings.memory = (self.forged)().or(readings.memory);
            shared.memory_bp.store(readings.memory.unwrap_or(0), Ordering::Relaxed);
            let change = shared.governor.lock().observe(readings, shared.clock.mono());
            change.iter().for_each(|change| self.handle.tell(change));
            self.handle.refresh();
            if self.reader.is_exhausted(&readings) && !shared.exhausted.is_cancelled() {
                tracing::error!(
                    of_soft_limit = readings.memory.map(|bp| bp / 100),
                    "memory is used up; the server hands over to its next start"
                );
                shared.exhausted.cancel();
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

impl Handle {
    /// Shows what the rules ask for while a person holds the mode.
    fn refresh(&self) {
        let ruled = self.0.governor.lock().ruled();
        self.0.status.send_if_modified(|status| std::mem::replace(&mut status.by_rules, ruled) != ruled);
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Status {
    fn of(governor: &Governor, since: Wall) -> Self {
        let cause = governor.cause();
        Self {
            mode: governor.mode(),
            since,
            reason: cause.to_string(),
            by: governor.hand().map(|hand| hand.by.clone()).unwrap_or_default(),
            by_hand: governor.hand().is_some(),
            by_rules: governor.ruled(),
        }
    }
}

/// The place of a mode in [`Mode::ALL`].
const fn rank(mode: Mode) -> u8 {
    match mode {
        Mode::Full => 0,
        Mode::Degraded => 1,
        Mode::Emergency => 2,
    }
}

#[cfg(test)]
mod tests;
