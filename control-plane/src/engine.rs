//! Runs: started, driven, watched, cancelled, and taken up again after a crash.
//!
//! Every decision is [`mainstay_kernel::run`]'s. Here is what carries it out: one task a run ([`task`]), the journal on
//! disk ([`journal`]), and recovery ([`recovery`]), which is also how a run goes on after the store was read-only.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::run::{Run, Transition};
use mainstay_kernel::share::WHOLE;
use mainstay_kernel::time::Wall;
use mainstay_store::{Blobs, Store, Watch};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::host::Clock;
use crate::metrics::Metrics;
use crate::records::transition;
use crate::{budgets, dispatch, events, modes, registry, routing, workflows};

mod call;
mod inquire;
mod journal;
mod parking;
mod recovery;
mod resume;
mod start;
mod task;
mod word;

pub use journal::{AppendError, JournalPage, LoadError};
pub use parking::UnparkError;
pub use recovery::Recovered;
pub use resume::{ResumeError, ResumeRequest};
pub use start::{StartError, StartRequest, Started};
pub use word::{Escalation, TellError};

use journal::Journal;
use parking::Parking;
use task::{Command, Left, Questions, Seat};

/// Commands waiting for one run: people cancel once or twice, programs that do it more can wait.
const COMMANDS: usize = 8;

/// Wait before runs are taken up again that were left, or that could not be read.
const RECOVERY_RETRY: Duration = Duration::from_secs(1);

/// Bounds of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Runs that may be open at once; each costs a few kilobytes and its payloads.
    pub max_open_runs: usize,
    /// When the store was restored from a backup. Of a run from before, any call may have been sent in the time that is
    /// not on record.
    pub restored_at: Option<Wall>,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_open_runs: 10_000, restored_at: None }
    }
}

/// What the engine drives.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Where workflows come from.
    pub catalog: workflows::Handle,
    /// Who offers what.
    pub registry: registry::Handle,
    /// What makes calls.
    pub dispatch: dispatch::Handle,
    /// What counts.
    pub metrics: Metrics,
    /// How much is done.
    pub modes: modes::Handle,
    /// What sends requests their way.
    pub routing: routing::Handle,
    /// What may be used up over time, and was.
    pub budgets: budgets::Handle,
    /// Who is told of runs that are parked.
    pub events: events::Handle,
}

/// The engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

/// What keeps runs going when the store fails and heals.
#[derive(Debug)]
pub struct Service(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Config,
    clock: Clock,
    journal: Journal,
    catalog: workflows::Handle,
    registry: registry::Handle,
    dispatch: dispatch::Handle,
    metrics: Metrics,
    modes: modes::Handle,
    routing: routing::Handle,
    budgets: budgets::Handle,
    events: events::Handle,
    parking: Parking,
    open: Mutex<HashMap<RunId, OpenRun>>,
    /// Runs on their way to the disk, which will be open when they are there.
    starting: AtomicUsize,
    /// Tasks of every epoch, for the end of the server.
    tasks: TaskTracker,
    epoch: Mutex<Epoch>,
    /// Stops the tasks of this epoch and of all that may follow.
    stopped: CancellationToken,
    /// False until the first recovery is complete, and while the store refuses writes.
    ready: watch::Sender<bool>,
    /// The server stops: never ready again.
    closed: AtomicBool,
    /// Told when a task had to leave a run that has not ended.
    fell: Notify,
    #[cfg(test)]
    planted: Mutex<Option<tests::Planted>>,
}

/// The tasks between one taking-up of runs and the next. A run that is accepted while an epoch ends belongs to the next
/// one, and the end does not wait for it.
#[derive(Debug)]
struct Epoch {
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct OpenRun {
    tenant: Name,
    workflow: Name,
    commands: mpsc::Sender<Command>,
    questions: Questions,
    /// Closes when the task has left the run, for whatever reason.
    left: watch::Receiver<()>,
}

// === impl Handle ===

impl Handle {
    /// An engine over what it drives; nothing runs until [`Service::run`].
    #[must_use]
    pub fn new(
        config: Config,
        clock: Clock,
        (store, blobs): (Arc<dyn Store>, Blobs),
        parts: Parts,
    ) -> (Self, Service) {
        let Parts { catalog, registry, dispatch, metrics, modes, routing, budgets, events } = parts;
        let stopped = CancellationToken::new();
        let shared = Arc::new(Shared {
            config,
            clock,
            journal: Journal::new(store, blobs),
            catalog,
            registry,
            dispatch,
            metrics,
            modes,
            routing,
            budgets,
            events,
            parking: Parking::default(),
            open: Mutex::default(),
            starting: AtomicUsize::new(0),
            tasks: TaskTracker::new(),
            epoch: Mutex::new(Epoch::under(&stopped)),
            stopped,
            ready: watch::Sender::new(false),
            closed: AtomicBool::new(false),
            fell: Notify::new(),
            #[cfg(test)]
            planted: Mutex::default(),
        });
        (Self(Arc::clone(&shared)), Service(shared))
    }

    /// Whether open runs are being driven; false during recovery and while the store refuses writes.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.0.ready.borrow()
    }

    /// Follows [`Handle::is_ready`].
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<bool> {
        self.0.ready.subscribe()
    }

    /// Why the store refuses writes, if it does.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        match self.0.journal.store().status() {
            mainstay_store::Status::Writable => None,
            mainstay_store::Status::ReadOnly { reason, .. } => Some(reason),
        }
    }

    /// Runs that have not ended, parked ones among them.
    #[must_use]
    pub fn open_runs(&self) -> usize {
        self.0.open_runs(&self.0.open.lock())
    }

    /// Whether a run has a task that drives it.
    #[must_use]
    pub fn drives(&self, id: RunId) -> bool {
        self.0.has(id)
    }

    /// Of the runs that may be open, how many are or are about to be, in basis points.
    #[must_use]
    pub fn fill_bp(&self) -> u64 {
        let open = self.open_runs() + self.0.starting.load(Ordering::Relaxed);
        let (open, most) = (open as u64, self.0.config.max_open_runs.max(1) as u64);
        open.saturating_mul(u64::from(WHOLE)) / most
    }

    /// How many may be open at once.
    #[must_use]
    pub fn max_open_runs(&self) -> usize {
        self.0.config.max_open_runs
    }

    /// Runs of a workflow that have not ended, and those of any that are on their way to the disk: which workflow those
    /// are of is not looked at, because they are there for milliseconds.
    #[must_use]
    pub fn open_runs_of(&self, tenant: &Name, workflow: &Name) -> usize {
        let open = self.0.open.lock();
        let of = open.values().filter(|run| run.tenant == *tenant && run.workflow == *workflow);
        of.count() + self.0.starting.load(Ordering::Relaxed)
    }

    /// What the call of a step waits for right now, if it waits.
    #[must_use]
    pub fn waiting(&self, run: RunId, step: &str) -> Option<String> {
        self.0.dispatch.waiting(run, step)
    }

    /// Starts a run, durable when this returns. A repeated idempotency key returns the run it started first.
    pub async fn start(&self, request: StartRequest) -> Result<Started, StartError> {
        // On a task: a client that goes away while the run is being written must not leave it written and not driven.
        let shared = Arc::clone(&self.0);
        let started = tokio::spawn(async move { start::start(&shared, request).await }).await;
        started.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Waits until a run is no longer driven here: it has ended, or it was left to recovery.
    pub async fn wait(&self, id: RunId) {
        let left = self.0.open.lock().get(&id).map(|run| run.left.clone());
        if let Some(mut left) = left {
            // An error means the task is gone, which is what is waited for.
            while left.changed().await.is_ok() {}
        }
    }

    /// Transitions of a run that are on disk, those behind `after` (the first event of one) or all, in order.
    pub async fn transitions(
        &self,
        tenant: &Name,
        id: RunId,
        after: Option<u64>,
    ) -> Result<Vec<Transition>, LoadError> {
        let tenant = tenant.clone();
        blocking(&self.0, move |shared| shared.journal.transitions(tenant.as_str(), id, after)).await
    }

    /// A page of the journal of a run as it is on disk: what follows `after`, or what it begins with.
    pub async fn journal_page(
        &self,
        tenant: &Name,
        id: RunId,
        after: Option<u64>,
    ) -> Result<JournalPage, LoadError> {
        let tenant = tenant.clone();
        blocking(&self.0, move |shared| shared.journal.page(tenant.as_str(), id, after)).await
    }

    /// Told of each transition of a run as it reaches the disk.
    #[must_use]
    pub fn watch(&self, tenant: &Name, id: RunId) -> Watch {
        self.0.journal.store().watch(&transition::prefix(tenant.as_str(), id))
    }

    /// Reads a run as it is on disk.
    pub async fn get(&self, tenant: &Name, id: RunId) -> Result<Run, LoadError> {
        let tenant = tenant.clone();
        blocking(&self.0, move |shared| shared.journal.load(&tenant, id, &shared.catalog)).await
    }

    /// Takes no new runs from now on; open ones go on.
    pub fn refuse(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
        self.0.ready.send_replace(false);
    }

    /// Stops driving runs and waits until all tasks have left. Calls under way are left to recovery.
    pub async fn stop(&self) {
        self.refuse();
        self.0.stopped.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

// === impl Service ===

impl Service {
    /// Takes up open runs, and does so again each time the store has healed. Runs until it is dropped.
    pub async fn run(self) {
        let mut changes = self.0.journal.store().status_changes();
        loop {
            tokio::select! {
                biased;
                status = changes.next() => {
                    let Some(status) = status else { return };
                    self.0.park_all().await;
                    if !status.is_writable() {
                        continue;
                    }
                }
                () = self.0.fell.notified() => tokio::time::sleep(RECOVERY_RETRY).await,
            }
            self.take_up_all().await;
        }
    }

    /// Takes up what is open, unless the store refuses writes: then no run could get on, and its calls would be made in
    /// vain. The store's recovery comes back here.
    async fn take_up_all(&self) {
        while self.0.journal.store().status().is_writable() {
            match recovery::recover(&self.0).await {
                Ok(Recovered { resumed, parked, unreadable }) => {
                    tracing::info!(resumed, parked, unreadable, "open runs were taken up");
                    self.0.take_work();
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "open runs cannot be read yet");
                    tokio::time::sleep(RECOVERY_RETRY).await;
                }
            }
        }
    }
}

// === impl Shared ===

impl Shared {
    fn has(&self, id: RunId) -> bool {
        self.open.lock().contains_key(&id)
    }

    /// Runs that have not ended: those that are driven, and those that wait for a person to let them go on.
    fn open_runs(&self, driven: &HashMap<RunId, OpenRun>) -> usize {
        driven.len() + self.parking.count()
    }

    /// Gives a run its task, with something to take in before it does anything. A run has at most one task: a second
    /// request is ignored.
    fn spawn(self: &Arc<Self>, run: Run, resuming: bool, first: Option<Command>) {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (leaving, left) = watch::channel(());
        let id = run.id;
        let mut open = self.open.lock();
        if open.contains_key(&id) {
            return;
        }
        #[cfg(test)]
        self.plant(&run, None);
        self.budgets.take_up(&run);
        let questions = Questions::default();
        let (tenant, workflow) = (run.tenant.clone(), run.workflow.name().clone());
        let of = tenant.clone();
        open.insert(id, OpenRun { tenant, workflow, commands, questions: Arc::clone(&questions), left });
        drop(open);
        let reached = Arc::new(AtomicU64::new(run.last_event));
        let seat = Seat { first, commands: inbox, questions, reached: Arc::clone(&reached) };
        let shared = Arc::clone(self);
        let (stop, counted) = {
            let epoch = self.epoch.lock();
            (epoch.stop.clone(), epoch.tasks.token())
        };
        self.tasks.spawn(async move {
            let _counted = counted;
            let _closes_when_left = leaving;
            let _listed = Listed { shared: Arc::clone(&shared), id };
            let driven = task::drive(Arc::clone(&shared), run, resuming, seat, stop);
            let fell = match AssertUnwindSafe(driven).catch_unwind().await {
                Ok(Left::Ended) => return parking::ended(&shared, &of, id).await,
                Ok(Left::Stopped) => return tracing::debug!(run = %id, "left to recovery"),
                Ok(Left::Unwritten(error)) if !error.is_of_the_run() => {
                    tracing::warn!(run = %id, %error, "a transition was not written; the run is taken up again soon");
                    return shared.fell.notify_one();
                }
                Ok(Left::Unwritten(error)) => error.to_string(),
                Err(panic) => parking::message(&*panic),
            };
            parking::fell(&shared, &of, id, reached.load(Ordering::Relaxed), &fell).await;
        });
    }

    /// Stops the tasks of this epoch and waits until they have left their runs.
    async fn park_all(&self) {
        self.ready.send_replace(false);
        let ended = std::mem::replace(&mut *self.epoch.lock(), Epoch::under(&self.stopped));
        ended.stop.cancel();
        ended.tasks.close();
        ended.tasks.wait().await;
    }

    /// Breaks what drives a run, where a test wants it broken.
    #[cfg(test)]
    fn plant(&self, run: &Run, input: Option<&mainstay_kernel::run::Input>) {
        let planted = self.planted.lock().clone();
        if let Some(planted) = planted {
            planted.0(run, input);
        }
    }

    /// Open runs are driven: work is taken, unless the server stops.
    fn take_work(&self) {
        // Under the channel's own lock, so that a server that begins to stop right now stays not ready.
        self.ready.send_modify(|ready| *ready = !self.closed.load(Ordering::Relaxed));
    }
}

/// A run's place in the list of open runs, given up when dropped.
#[derive(Debug)]
struct Listed {
    shared: Arc<Shared>,
    id: RunId,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared.open.lock().remove(&self.id);
    }
}

impl Epoch {
    fn under(stopped: &CancellationToken) -> Self {
        Self { stop: stopped.child_token(), tasks: TaskTracker::new() }
    }
}

/// Runs what blocks on the disk on a thread that may block.
async fn blocking<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> T + Send + 'static,
) -> T {
    let working = Arc::clone(shared);
    shared.clock.blocking(move || work(&working)).await
}

#[cfg(test)]
mod tests;
