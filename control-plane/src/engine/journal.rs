//! The journals of all runs, on disk.
//!
//! A transition is handed to the store in the order in which it was decided, and the store commits in that order: when
//! one is durable, so is everything before it. That is why a task may keep deciding while earlier transitions are still
//! on their way, and waits only where the world could notice.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use mainstay_kernel::artifact::ArtifactId;
use mainstay_kernel::budget::spend;
use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::poison::Falls;
use mainstay_kernel::run::{Durability, Event, FoldError, Run, Transition};
use mainstay_kernel::workflow::Linked;
use mainstay_store::{Batch, Blobs, Commit, CommitError, ReadError, Store};

use crate::documents::CatalogError;
use crate::records::run_spend::RunSpend;
use crate::records::run_summary::RunSummary;
use crate::records::spill::{self, SpillError};
use crate::records::{RecordError, artifact, idempotency, open_run, run_spend, run_summary, transition};
use crate::workflows;

/// Wait before a transition that met a full queue is handed over again. The queue holds some tens of milliseconds of
/// work, so this is about when there is room.
const BUSY_WAIT: Duration = Duration::from_millis(5);

/// Transitions read at once. A run has a few per step; a page holds most runs whole.
const PAGE: usize = 256;

/// Bytes on one page for a client, at most one transition more: a message of this size is sent in milliseconds.
const PAGE_BYTES: usize = 1024 * 1024;

/// The journals of all runs.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    store: Arc<dyn Store>,
    blobs: Blobs,
}

/// A part of a journal, as text.
#[derive(Debug)]
pub struct JournalPage {
    /// Transitions in order, each JSON text.
    pub transitions: Vec<Vec<u8>>,
    /// Behind what the next page begins; nothing if there is none.
    pub next: Option<u64>,
}

/// A transition that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It could not be encoded, or its blob not written.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// A small record beside it could not be encoded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store refused it.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// It does not follow from its run: a fault of ours. What is on disk is still good.
    #[error("a decided transition does not follow from its run: {0}")]
    Illegal(#[from] FoldError),
}

/// A run that could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such run.
    #[error("no such run")]
    NotFound,
    /// The store cannot be read now.
    #[error("the store cannot be read: {0}")]
    Unavailable(String),
    /// One of its records is damaged.
    #[error("{0}")]
    Damaged(String),
    /// The workflow it pins is not there.
    #[error("its workflow: {0}")]
    Workflow(#[from] CatalogError),
    /// Its events do not follow from each other.
    #[error("its journal does not fold: {0}")]
    Fold(#[from] FoldError),
    /// Reading it broke what reads it.
    #[error("reading it panicked; the server's log says where")]
    Fell,
    /// Nobody drives it, because it broke what drove it.
    #[error("the run is parked; it fell {} times: {}", .0.in_all, .0.reason)]
    Parked(Falls),
}

impl AppendError {
    /// Whether it would come again however well the disk does: the run asks for what cannot be written.
    pub(super) fn is_of_the_run(&self) -> bool {
        match self {
            Self::Illegal(_)
            | Self::Record(_)
            | Self::Spill(SpillError::Record(_) | SpillError::BlobMissing(_)) => true,
            Self::Spill(SpillError::Blob(_)) => false,
            Self::Commit(error) => match error {
                CommitError::Conflict { .. }
                | CommitError::Damaged { .. }
                | CommitError::TooLarge { .. }
                | CommitError::WrittenTwice { .. } => true,
                CommitError::Busy
                | CommitError::ReadOnly { .. }
                | CommitError::Unknown { .. }
                | CommitError::Closed => false,
            },
        }
    }
}

impl Journal {
    pub(super) fn new(store: Arc<dyn Store>, blobs: Blobs) -> Self {
        Self { store, blobs }
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Writes the first transition of a run with all that makes the run findable, or nothing.
    pub(super) async fn begin(
        &self,
        run: &Run,
        first: &Transition,
        started_by: Option<(Vec<u8>, &idempotency::Started)>,
    ) -> Result<(), AppendError> {
        let key = transition::key(run.tenant.as_str(), run.id, first.first_event);
        let (value, named) = spill::encode_naming(transition::KIND, &key, first, &self.blobs).await?;
        let mut batch = Batch::new()
            .absent(key.clone())
            .put(key, value)
            .put(run_summary::key(run.tenant.as_str(), run.id), summary(run).encode()?);
        // One that ended where it began is not to be taken up.
        if run.end.is_none() {
            batch = batch.put(open_run::key(run.tenant.as_str(), run.id), open_run::encode(&run.tenant)?);
        }
        batch = name(batch, run, first.first_event, &named)?;
        if let Some((key, started)) = started_by {
            batch = batch.absent(key.clone()).put(key, started.encode()?);
        }
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Hands over a transition that `run` has folded already. Await the commit where the world could notice; if that is
    /// soon, the commit hurries.
    pub(super) async fn append(
        &self,
        run: &Run,
        transition: &Transition,
        durability: Durability,
    ) -> Result<Commit, AppendError> {
        let tenant = run.tenant.as_str();
        let key = transition::key(tenant, run.id, transition.first_event);
        let (value, named) = spill::encode_naming(transition::KIND, &key, transition, &self.blobs).await?;
        let mut batch = Batch::new().absent(key.clone()).put(key, value);
        batch = name(batch, run, transition.first_event, &named)?;
        if durability == Durability::Buffered {
            batch = batch.patient();
        }
        if run.end.is_some() {
            batch = batch
                .delete(open_run::key(tenant, run.id))
                .put(run_summary::key(tenant, run.id), summary(run).encode()?);
            let rows = spend::of_run(run);
            if !rows.is_empty() {
                let spend = RunSpend::new(run.workflow.name(), rows);
                batch = batch.put(run_spend::key(tenant, run.id), run_spend::encode(&spend)?);
            }
        }
        loop {
            let mut commit = self.store.commit(batch.clone());
            match (&mut commit).now_or_never() {
                Some(Err(CommitError::Busy)) => tokio::time::sleep(BUSY_WAIT).await,
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(_)) | None => return Ok(commit),
            }
        }
    }

    /// Reads the transitions of a run whose first event is above `after`, in order. Blocks on the disk.
    pub(super) fn transitions(
        &self,
        tenant: &str,
        run: RunId,
        after: Option<u64>,
    ) -> Result<Vec<Transition>, LoadError> {
        let prefix = transition::prefix(tenant, run);
        let mut from = after.map(|first_event| transition::key(tenant, run, first_event));
        let mut transitions = Vec::new();
        loop {
            let page = self.store.scan(&prefix, from.as_deref(), PAGE).map_err(read_error)?;
            if let Some(damaged) = page.damaged.first() {
                return Err(LoadError::Damaged(damaged.to_string()));
            }
            for (_, entry) in &page.entries {
                let transition = spill::decode(transition::KIND, &entry.value, &self.blobs);
                transitions.push(transition.map_err(|error| LoadError::Damaged(error.to_string()))?);
            }
            match page.next {
                Some(next) => from = Some(next.to_vec()),
                None => return Ok(transitions),
            }
        }
    }

    /// Reads the first transitions of a run whose first event is above `after`, until they make a page. Blocks on the disk.
    pub(super) fn page(
        &self,
        tenant: &str,
        run: RunId,
        after: Option<u64>,
    ) -> Result<JournalPage, LoadError> {
        let prefix = transition::prefix(tenant, run);
        let from = after.map(|first_event| transition::key(tenant, run, first_event));
        let page = self.store.scan(&prefix, from.as_deref(), PAGE).map_err(read_error)?;
        if let Some(damaged) = page.damaged.first() {
            return Err(LoadError::Damaged(damaged.to_string()));
        }
        let damaged = |error: &dyn std::fmt::Display| LoadError::Damaged(error.to_string());
        let (mut transitions, mut bytes, mut last) = (Vec::new(), 0, None);
        let mut more = page.next.is_some();
        for (_, entry) in &page.entries {
            if bytes >= PAGE_BYTES {
                more = true;
                break;
            }
            let transition: Transition = spill::decode(transition::KIND, &entry.value, &self.blobs)
                .map_err(|error| damaged(&error))?;
            let text = serde_json::to_vec(&transition).map_err(|error| damaged(&error))?;
            bytes += text.len();
            last = Some(transition.first_event);
            transitions.push(text);
        }
        Ok(JournalPage { transitions, next: last.filter(|_| more) })
    }

    /// Rebuilds a run from its journal. Blocks on the disk.
    pub(super) fn load(
        &self,
        tenant: &Name,
        id: RunId,
        catalog: &workflows::Handle,
    ) -> Result<Run, LoadError> {
        let transitions = self.transitions(tenant.as_str(), id, None)?;
        let (first, rest) = transitions.split_first().ok_or(LoadError::NotFound)?;
        let Some(Event::RunStarted { workflow: pinned, subs, .. }) = first.events.first() else {
            if self.is_being_removed(tenant, id) {
                return Err(LoadError::NotFound);
            }
            return Err(LoadError::Damaged("its first event is missing".to_owned()));
        };
        let workflow = catalog.version(tenant, &pinned.name, pinned.version)?;
        let subs = subs.iter().map(|sub| catalog.version(tenant, &sub.name, sub.version));
        let subs = subs.collect::<Result<Vec<_>, _>>()?;
        let mut run = Run::begin(first, Linked::pinned(workflow, subs), id)?;
        for transition in rest {
            run.fold(transition)?;
        }
        Ok(run)
    }
}

impl Journal {
    /// Whether a run without a beginning is one that retention removes: its line in the listing goes with its head.
    fn is_being_removed(&self, tenant: &Name, id: RunId) -> bool {
        matches!(self.store.get(&run_summary::key(tenant.as_str(), id)), Ok(None))
    }
}

/// Puts down which artifacts a transition names, beside it, so that they are kept as long as the run.
fn name(batch: Batch, run: &Run, first_event: u64, named: &[ArtifactId]) -> Result<Batch, RecordError> {
    if named.is_empty() {
        return Ok(batch);
    }
    let key = artifact::named_key(run.tenant.as_str(), run.id, first_event);
    Ok(batch.put(key, artifact::encode_named(named)?))
}

/// What the listing shows of `run` now.
fn summary(run: &Run) -> RunSummary {
    RunSummary {
        run: run.id,
        workflow: run.workflow.name().clone(),
        version: run.workflow.version(),
        end: run.end.as_ref().map(|end| end.state),
        intent: run.intent.to_string(),
        labels: (*run.labels).clone(),
        started_at: run.started_at,
        deadline: run.deadline,
        ended_at: run.end.as_ref().map(|end| end.at),
        failure: run.end.as_ref().and_then(|end| end.failure.clone()),
        usage: run.usage,
        calls: if run.end.is_some() { calls(run) } else { 0 },
    }
}

/// How many calls of a run reached an agent.
fn calls(run: &Run) -> u64 {
    let attempts = run.steps.iter().flat_map(|step| &step.attempts);
    attempts.filter(|attempt| !attempt.agent.is_empty()).count() as u64
}

/// What a store that cannot be read means for whoever reads a run.
pub(super) fn read_error(error: ReadError) -> LoadError {
    match error {
        ReadError::Damaged { .. } => LoadError::Damaged(error.to_string()),
        ReadError::Unavailable { reason } => LoadError::Unavailable(reason),
    }
}
