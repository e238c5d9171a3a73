//! Schedules: put, kept, and carried out.
//!
//! What is due and what becomes of it, [`mainstay_kernel::schedule`] decides. Here is what carries it out: one reconciler
//! ([`Service::run`]) that sleeps until the next occurrence of any schedule and looks at those that are due ([`look`]). It
//! takes no input: a restart, a changed document and a clock that was set all end in the same look.
//!
//! # One occurrence, one run
//! What is to be started is on disk before it is started, and the run's idempotency key is made of schedule and occurrence.
//! A crash anywhere between leads to the same start again, which finds the run that is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::document::Problem;
use mainstay_kernel::event::Kind;
use mainstay_kernel::name::Name;
use mainstay_kernel::schedule::{Schedule, Standing};
use mainstay_kernel::schema::Violation;
use mainstay_kernel::time::Wall;
use mainstay_store::{Batch, CommitError, ReadError, Store};
use parking_lot::RwLock;
use tokio::sync::{Mutex, Notify};

use crate::documents::CatalogError;
use crate::host::Clock;
use crate::records::RecordError;
use crate::records::schedule::{self as record, Line, Paused, StoredSchedule};
use crate::{engine, events, workflows};

mod load;
mod look;
#[cfg(test)]
mod tests;

pub use load::open;

/// Most schedules. A person writes them; a thousand are a program that went wrong.
const MAX_SCHEDULES: usize = 1_000;

/// Longest document in bytes: one record is rewritten at each occurrence. Larger inputs are passed by reference.
pub const MAX_DOCUMENT: usize = 32 * 1024;

/// Lines kept of each history, the newest: half a year of a nightly job.
pub const MAX_LINES: u64 = 200;

/// Lines deleted with one commit, well within what one takes.
const DELETED_AT_ONCE: usize = 50;

/// How long to wait before it is tried again what could not be done now: the store heals, or a place becomes free.
const RETRY: Duration = Duration::from_secs(1);

/// How often it is looked whether a run has ended that others wait for. Nobody notices half a second in a queue.
const POLL: Duration = Duration::from_millis(500);

/// What is scheduled. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

/// What starts runs when their time has come.
#[derive(Debug)]
pub struct Service(Handle);

/// What schedules stand on.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The clock.
    pub clock: Clock,
    /// Where they are kept.
    pub store: Arc<dyn Store>,
    /// What starts runs.
    pub engine: engine::Handle,
    /// Where workflows come from.
    pub catalog: workflows::Handle,
    /// Where is told what was decided.
    pub events: events::Handle,
}

#[derive(Debug)]
struct Shared {
    parts: Parts,
    /// By tenant and name.
    entries: RwLock<BTreeMap<(Name, Name), Arc<Entry>>>,
    /// Held while one is put or deleted.
    turn: Mutex<()>,
    /// Told when a schedule came or changed.
    changed: Notify,
}

/// One schedule.
#[derive(Debug)]
struct Entry {
    tenant: Name,
    name: Name,
    /// Held from a decision about it to its last effect.
    turn: Mutex<()>,
    known: RwLock<Arc<Known>>,
}

/// A schedule as it is on disk.
#[derive(Debug, Clone)]
pub struct Known {
    /// The document.
    pub schedule: Arc<Schedule>,
    /// Its record.
    pub stored: StoredSchedule,
    /// The newest line of its history.
    newest: Option<Line>,
    /// False once it was deleted.
    there: bool,
}

/// A schedule that was put.
#[derive(Debug)]
pub struct Put {
    /// As it is now.
    pub known: Arc<Known>,
    /// False if this very document was there already.
    pub created: bool,
}

/// A schedule that was not put. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The document has errors.
    #[error("the document has {} errors", .0.len())]
    Invalid(Vec<Problem>),
    /// It is too long.
    #[error("the document is {0} bytes long; at most {MAX_DOCUMENT} are kept")]
    TooLong(usize),
    /// Its workflow is not to be had.
    #[error(transparent)]
    Workflow(#[from] CatalogError),
    /// Its workflow would refuse its input.
    #[error("the input breaks the workflow's input schema")]
    Input(Vec<Violation>),
    /// There are too many.
    #[error("{0} schedules are on record, as many as this server takes")]
    Full(usize),
    /// It was not written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A schedule that was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is none of that name.
    #[error("schedule {0} is not stored")]
    NotFound(Name),
    /// It was not written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It could not be encoded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store refused it.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

// === impl Handle ===

impl Handle {
    /// Stores a schedule; on disk when this returns. What comes before now is never fired by it.
    pub async fn put(&self, tenant: &Name, document: &str, by: &str) -> Result<Put, PutError> {
        // On a task: what a caller who leaves has begun is carried through.
        let (handle, tenant) = (self.clone(), tenant.clone());
        let (document, by) = (document.to_owned(), by.to_owned());
        let put = tokio::spawn(async move { handle.put_now(&tenant, document, by).await });
        put.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    async fn put_now(&self, tenant: &Name, document: String, by: String) -> Result<Put, PutError> {
        if document.len() > MAX_DOCUMENT {
            return Err(PutError::TooLong(document.len()));
        }
        let schedule = Schedule::parse(&document).map_err(PutError::Invalid)?;
        self.fits(tenant, &schedule).await?;
        let shared = &self.0;
        let _turn = shared.turn.lock().await;
        let name = schedule.name.clone();
        let entry = self.entry(tenant, &name);
        let Some(entry) = entry else { return self.put_first(tenant, schedule, document, by).await };
        let _turn = entry.turn.lock().await;
        // What was due by the document that goes is settled by it.
        self.settle(&entry).await;
        let before = entry.known();
        if before.schedule.hash == schedule.hash {
            return Ok(Put { known: before, created: false });
        }
        let now = shared.parts.clock.wall();
        let standing =
            Standing { until: now.max(before.stored.standing.until), ..before.stored.standing.clone() };
        let stored =
            StoredSchedule { document, changed_at: now, by: by.clone(), standing, ..before.stored.clone() };
        let known = Known { schedule: Arc::new(schedule), stored, ..(*before).clone() };
        self.keep(&entry, known, Vec::new()).await?;
        self.tell_put(&entry, &by);
        Ok(Put { known: entry.known(), created: true })
    }

    async fn put_first(
        &self,
        tenant: &Name,
        schedule: Schedule,
        document: String,
        by: String,
    ) -> Result<Put, PutError> {
        let count = self.0.entries.read().len();
        if count >= MAX_SCHEDULES {
            return Err(PutError::Full(count));
        }
        let now = self.0.parts.clock.wall();
        let stored = StoredSchedule {
            document,
            created_at: now,
            changed_at: now,
            by: by.clone(),
            paused: None,
            standing: Standing::beginning(now),
            lines: 0,
        };
        let name = schedule.name.clone();
        let known = Known { schedule: Arc::new(schedule), stored, newest: None, there: true };
        let entry = Arc::new(Entry::new(tenant.clone(), name.clone(), known.clone()));
        self.keep(&entry, known, Vec::new()).await?;
        self.0.entries.write().insert((tenant.clone(), name), Arc::clone(&entry));
        self.tell_put(&entry, &by);
        Ok(Put { known: entry.known(), created: true })
    }

    fn tell_put(&self, entry: &Entry, by: &str) {
        let known = entry.known();
        let words = format_args!("runs {}", known.schedule.workflow);
        self.0.parts.events.tell_by(by, &entry.tenant, Kind::SchedulePut, entry.subject(), words);
        self.0.changed.notify_one();
    }

    /// Whether its workflow is there and takes its input: better said now than at three in the morning.
    async fn fits(&self, tenant: &Name, schedule: &Schedule) -> Result<(), PutError> {
        let (catalog, tenant) = (self.0.parts.catalog.clone(), tenant.clone());
        let (workflow, version) = (schedule.workflow.clone(), schedule.version);
        let resolve = move || catalog.resolve(&tenant, &workflow, version);
        let workflow = self.0.parts.clock.blocking(resolve).await?;
        workflow.input().check(&schedule.input).map_err(PutError::Input)
    }

    /// Pauses a schedule, or lifts its pause; on disk when this returns. What comes meanwhile is left out, and stays so.
    pub async fn pause(
        &self,
        tenant: &Name,
        name: &Name,
        pause: Option<Paused>,
        by: &str,
    ) -> Result<Arc<Known>, ChangeError> {
        let entry = self.entry(tenant, name).ok_or_else(|| ChangeError::NotFound(name.clone()))?;
        let _turn = entry.turn.lock().await;
        self.settle(&entry).await;
        let before = entry.known();
        if before.stored.paused.is_some() == pause.is_some() || !before.there {
            return Ok(before);
        }
        let (kind, words) = match &pause {
            Some(pause) => (Kind::SchedulePaused, pause.reason.clone()),
            None => (Kind::ScheduleResumed, "goes on".to_owned()),
        };
        let stored = StoredSchedule { paused: pause, ..before.stored.clone() };
        self.keep(&entry, Known { stored, ..(*before).clone() }, Vec::new()).await?;
        self.0.parts.events.tell_by(by, tenant, kind, entry.subject(), words);
        self.0.changed.notify_one();
        Ok(entry.known())
    }

    /// Removes a schedule with its history. Its runs go on.
    pub async fn delete(&self, tenant: &Name, name: &Name, by: &str) -> Result<(), ChangeError> {
        let _turn = self.0.turn.lock().await;
        let entry = self.entry(tenant, name).ok_or_else(|| ChangeError::NotFound(name.clone()))?;
        let _turn = entry.turn.lock().await;
        let known = entry.known();
        let newest = known.stored.lines;
        let numbers: Vec<u64> = (newest.saturating_sub(MAX_LINES) + 1..=newest).collect();
        // The lines first: of a schedule that is gone, none must be left for one that comes after it.
        for numbers in numbers.chunks(DELETED_AT_ONCE) {
            let batch = numbers.iter().fold(Batch::new(), |batch, number| {
                batch.delete(record::line_key(tenant.as_str(), name, *number))
            });
            self.0.parts.store.commit(batch).await.map_err(WriteError::from)?;
        }
        let batch = Batch::new().delete(record::key(tenant.as_str(), name));
        self.0.parts.store.commit(batch).await.map_err(WriteError::from)?;
        *entry.known.write() = Arc::new(Known { there: false, ..(*known).clone() });
        self.0.entries.write().remove(&(tenant.clone(), name.clone()));
        self.0.parts.events.tell_by(by, tenant, Kind::ScheduleDeleted, entry.subject(), "its runs go on");
        Ok(())
    }

    /// The schedules of a tenant, by name.
    #[must_use]
    pub fn list(&self, tenant: &Name) -> Vec<Arc<Known>> {
        let entries = self.0.entries.read();
        entries.values().filter(|entry| entry.tenant == *tenant).map(|entry| entry.known()).collect()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, tenant: &Name, name: &Name) -> Option<Arc<Known>> {
        self.entry(tenant, name).map(|entry| entry.known())
    }

    /// The history of one, newest first. Blocks on the disk.
    ///
    /// # Errors
    /// If the store cannot be read. A line that is damaged is left out and reported.
    pub fn history(&self, tenant: &Name, name: &Name) -> Result<Vec<(u64, Line)>, ReadError> {
        load::history(&*self.0.parts.store, tenant, name)
    }

    fn entry(&self, tenant: &Name, name: &Name) -> Option<Arc<Entry>> {
        self.0.entries.read().get(&(tenant.clone(), name.clone())).cloned()
    }

    /// Writes a schedule and the lines that come with it, and lets them be seen. A line that goes on with the one before
    /// takes its place, so that a pause of a week is one line.
    async fn keep(&self, entry: &Entry, mut known: Known, lines: Vec<Line>) -> Result<(), WriteError> {
        let (tenant, name) = (entry.tenant.as_str(), &entry.name);
        let mut changed = BTreeMap::new();
        for line in lines {
            let line = match known.newest.take().and_then(|newest| newest.and(&line)) {
                Some(joined) => joined,
                None => {
                    known.stored.lines += 1;
                    line
                }
            };
            changed.insert(known.stored.lines, line.clone());
            known.newest = Some(line);
        }
        let mut batch = Batch::new().put(record::key(tenant, name), known.stored.encode()?);
        for (number, line) in &changed {
            batch = batch.put(record::line_key(tenant, name, *number), line.encode()?);
            if let Some(old) = number.checked_sub(MAX_LINES).filter(|old| *old > 0) {
                batch = batch.delete(record::line_key(tenant, name, old));
            }
        }
        self.0.parts.store.commit(batch).await?;
        *entry.known.write() = Arc::new(known);
        Ok(())
    }
}

// === impl Service ===

impl Service {
    /// Starts what is due, for ever. While the engine takes no work, time stands still here: what comes meanwhile is missed
    /// or on time by how late it is then.
    pub async fn run(self) {
        let Self(handle) = self;
        let mut ready = handle.0.parts.engine.readiness();
        loop {
            if ready.wait_for(|ready| *ready).await.is_err() {
                return;
            }
            let entries: Vec<Arc<Entry>> = handle.0.entries.read().values().cloned().collect();
            let mut wake = None;
            for entry in entries {
                let _turn = entry.turn.lock().await;
                wake = earliest(wake, handle.settle(&entry).await);
            }
            let clock = &handle.0.parts.clock;
            let wake = wake.map(|at| clock.now().mono_at(at));
            tokio::select! {
                () = clock.sleep_until_some(wake) => {}
                () = handle.0.changed.notified() => {}
            }
        }
    }
}

fn earliest(a: Option<Wall>, b: Option<Wall>) -> Option<Wall> {
    a.into_iter().chain(b).min()
}

// === impl Entry ===

impl Entry {
    fn new(tenant: Name, name: Name, known: Known) -> Self {
        Self { tenant, name, turn: Mutex::default(), known: RwLock::new(Arc::new(known)) }
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read())
    }

    fn subject(&self) -> String {
        format!("schedule/{}", self.name)
    }
}

impl Known {
    /// When the next run is due; nothing while it is paused.
    #[must_use]
    pub fn next(&self) -> Option<Wall> {
        self.stored.paused.is_none().then(|| self.schedule.times.next(self.stored.standing.until))?
    }
}
