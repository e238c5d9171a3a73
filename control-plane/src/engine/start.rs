//! Accepting a run: everything that can be wrong with it is found before it is acknowledged, and then it is on disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mainstay_kernel::budget::window::Over;
use mainstay_kernel::chain::Chain;
use mainstay_kernel::context::Pins;
use mainstay_kernel::id::RunId;
use mainstay_kernel::json::Json;
use mainstay_kernel::mode::Mode;
use mainstay_kernel::name::Name;
use mainstay_kernel::pause::Pause;
use mainstay_kernel::priority::Priority;
use mainstay_kernel::retry::Retries;
use mainstay_kernel::run::{self, Estimates, Run};
use mainstay_kernel::time::Wall;
use mainstay_kernel::workflow::{Call, LinkError, Linked, Sub};
use mainstay_store::CommitError;

use super::journal::{AppendError, read_error};
use super::{LoadError, Shared, blocking};
use crate::context::{self, GetError};
use crate::documents::CatalogError;
use crate::records::idempotency;

/// A run as a client asks for it, every field checked at the border.
#[derive(Debug, Clone, PartialEq)]
pub struct StartRequest {
    /// The tenant.
    pub tenant: Name,
    /// The workflow's name.
    pub workflow: Name,
    /// Its version; `None` for the newest.
    pub version: Option<u32>,
    /// The input.
    pub input: Json,
    /// Makes a repeated start return the first run.
    pub idempotency_key: Option<String>,
    /// What the person asked for.
    pub intent: String,
    /// How long the run may take; `None` for what the workflow says.
    pub deadline: Option<Duration>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether its steps may be tried again. Not part of what makes two requests the same.
    pub retries: Retries,
    /// The calls on whose behalf it is started. Not part of it either.
    pub chain: Chain,
    /// How urgent it is. Not part of what makes two requests the same, either.
    pub priority: Priority,
}

/// A run that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Its id.
    pub id: RunId,
    /// False if the idempotency key had started it before.
    pub created: bool,
}

/// Why a run was not accepted. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its workflow is not there or cannot be read.
    #[error(transparent)]
    Workflow(#[from] CatalogError),
    /// A workflow that its steps run is not there, or they run each other without end.
    #[error(transparent)]
    Link(LinkError<CatalogError>),
    /// Its input breaks the workflow's schema, or its deadline has passed.
    #[error(transparent)]
    Refused(#[from] run::StartError),
    /// A critical step needs a capability that nobody ever registered.
    #[error("step {step} needs capability {capability}, which no agent has ever registered")]
    CapabilityUnknown {
        /// The step.
        step: String,
        /// The capability.
        capability: Name,
    },
    /// The key was used for a different request.
    #[error("the idempotency key started {run} with a different request")]
    KeyReused {
        /// The run it started.
        run: RunId,
    },
    /// Too many runs are open.
    #[error("{open} runs are open, as many as this server takes")]
    TooManyOpen {
        /// How many.
        open: usize,
    },
    /// Its workflow or its tenant is paused.
    #[error("{0}")]
    Paused(Arc<Pause>),
    /// A budget over time is used up.
    #[error("{over}")]
    BudgetSpent {
        /// Which.
        over: Over,
        /// How long until it begins anew.
        again: Duration,
    },
    /// Its workflow is not started in this mode.
    #[error("the mode is {mode}, and the workflow is not started then")]
    LeftOut {
        /// The mode.
        mode: Mode,
    },
    /// The server takes no runs now: it recovers, heals or stops.
    #[error("the server is not ready to take runs")]
    NotReady,
    /// What its workflow reads of the shared context is missing or too old.
    #[error("the workflow reads the shared context: {0}")]
    Context(#[from] GetError),
    /// The store refused it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The store cannot be read.
    #[error("{0}")]
    Load(#[from] LoadError),
}

/// See [`super::Handle::start`].
pub(super) async fn start(shared: &Arc<Shared>, request: StartRequest) -> Result<Started, StartError> {
    if let Some(key) = &request.idempotency_key
        && let Some(started) = started_before(shared, &request, key)?
    {
        return Ok(started);
    }
    let workflow = workflow(shared, &request).await?;
    let admitted = admit(shared, &request.tenant, &workflow)?;
    let context = pins(shared, &request.tenant, &workflow).await?;
    let start = run::Start {
        id: shared.clock.id().into(),
        tenant: request.tenant.clone(),
        workflow: workflow.clone(),
        input: request.input.clone(),
        intent: request.intent.as_str().into(),
        labels: Arc::new(request.labels.clone()),
        idempotency_key: request.idempotency_key.as_deref().map(Into::into),
        deadline: request.deadline.map(|deadline| admitted.now + deadline),
        retries: request.retries,
        chain: request.chain.clone(),
        priority: request.priority,
        mode: admitted.mode,
        context,
        estimates: estimates(shared, &request.tenant, &workflow),
        resumed: None,
    };
    let key = request.idempotency_key.as_deref();
    let by_key = key.map(|key| (idempotency::key(request.tenant.as_str(), key), body_digest(&request)));
    match (begin(shared, start, admitted, by_key).await, key) {
        // Another request with the same key was faster.
        (Err(StartError::Append(AppendError::Commit(CommitError::Conflict { .. }))), Some(key)) => {
            started_before(shared, &request, key)?.ok_or(StartError::NotReady)
        }
        (begun, _) => begun,
    }
}

/// Leave to start a run.
pub(super) struct Admitted<'a> {
    /// When it starts.
    pub(super) now: Wall,
    /// The mode it starts in.
    pub(super) mode: Mode,
    _place: Place<'a>,
}

/// Asks everybody who may have something against a run of `workflow` now.
pub(super) fn admit<'a>(
    shared: &'a Shared,
    tenant: &Name,
    workflow: &Linked,
) -> Result<Admitted<'a>, StartError> {
    check(shared, tenant, workflow)?;
    let mode = shared.modes.mode();
    if workflow.drop_in().is_some_and(|from| mode >= from) {
        return Err(StartError::LeftOut { mode });
    }
    let place = Place::take(shared)?;
    // Asked with the place taken: a drain that did not count it is seen here.
    if let Some(pause) = shared.registry.pauses().start(tenant, workflow.name()) {
        return Err(StartError::Paused(pause));
    }
    let now = shared.clock.wall();
    if let Err(over) = shared.budgets.admit(tenant, workflow.name()) {
        let again = over.until.saturating_since(now);
        return Err(StartError::BudgetSpent { over, again });
    }
    Ok(Admitted { now, mode, _place: place })
}

/// Lets a run begin: it is on disk and driven when this returns. With a record of what it was started by, under a key that
/// nothing else may have taken, and with what it is remembered.
pub(super) async fn begin(
    shared: &Arc<Shared>,
    start: run::Start,
    admitted: Admitted<'_>,
    by: Option<(Vec<u8>, String)>,
) -> Result<Started, StartError> {
    let (id, tenant, workflow) = (start.id, start.tenant.clone(), start.workflow.clone());
    let first = run::start(start, admitted.now)?;
    let run = Run::begin(&first, workflow, id).map_err(LoadError::from)?;
    let by = by.map(|(key, body)| (key, idempotency::Started { run: id, body }));
    let by = by.as_ref().map(|(key, started)| (key.clone(), started));
    shared.journal.begin(&run, &first, by).await?;
    shared.metrics.run_started();
    shared.spawn(run, false, None);
    if let Some(faults) = shared.dispatch.faults() {
        faults.accepted(&tenant, id);
    }
    Ok(Started { id, created: true })
}

/// The workflow that the run pins, with those its steps run. Usually in memory; the first run of one reads and parses its
/// document.
async fn workflow(shared: &Arc<Shared>, request: &StartRequest) -> Result<Linked, StartError> {
    let (tenant, name, version) = (request.tenant.clone(), request.workflow.clone(), request.version);
    let (catalog, of) = (shared.catalog.clone(), tenant.clone());
    let at_hand = catalog.cached(&tenant, &name, version);
    let linked =
        at_hand.map(|own| Linked::new(own, |sub| catalog.cached(&of, &sub.workflow, sub.version).ok_or(())));
    if let Some(Ok(linked)) = linked {
        return Ok(linked);
    }
    blocking(shared, move |shared| {
        let own = shared.catalog.resolve(&tenant, &name, version)?;
        let find = |sub: &Sub| shared.catalog.resolve(&tenant, &sub.workflow, sub.version);
        Linked::new(own, find).map_err(|error| {
            if let LinkError::Missing { error: CatalogError::Unavailable(reason), .. } = error {
                // Not the fault of any document: the same start may succeed later.
                return CatalogError::Unavailable(reason).into();
            }
            StartError::Link(error)
        })
    })
    .await
}

/// What the calls of `workflow` cost by what is declared now; nothing where no budget asks for it.
pub(super) fn estimates(shared: &Shared, tenant: &Name, workflow: &Linked) -> Estimates {
    if !workflow.has_budgets() {
        return Estimates::default();
    }
    let calls = workflow.all_steps().flat_map(|step| step.kind.calls());
    let declared = calls.filter_map(|call| {
        let nano_usd = shared.registry.declared_cost(tenant, &call.capability)?;
        Some((call.capability.clone(), nano_usd))
    });
    Arc::new(declared.collect())
}

/// What the workflow and those its steps run read of the shared context, as it is now.
async fn pins(shared: &Arc<Shared>, tenant: &Name, workflow: &Linked) -> Result<Pins, GetError> {
    if workflow.reads().next().is_none() {
        return Ok(Pins::default());
    }
    let (tenant, workflow) = (tenant.clone(), workflow.clone());
    blocking(shared, move |shared| {
        let now = shared.clock.wall();
        context::pins(&**shared.journal.store(), &tenant, &workflow, now)
    })
    .await
}

fn check(shared: &Shared, tenant: &Name, workflow: &Linked) -> Result<(), StartError> {
    for step in workflow.all_steps().filter(|step| !step.optional) {
        let known = |call: &&Call| shared.registry.was_ever_registered(tenant, &call.capability);
        if let Some(call) = step.calls().find(|call| !known(call)) {
            return Err(StartError::CapabilityUnknown {
                step: step.id.to_string(),
                capability: call.capability.clone(),
            });
        }
    }
    if *shared.ready.borrow() { Ok(()) } else { Err(StartError::NotReady) }
}

/// A place among the open runs, for one on its way to the disk: it is not listed before it is there, and as many as wait for
/// a slow disk must count.
pub(super) struct Place<'a>(&'a Shared);

impl<'a> Place<'a> {
    fn take(shared: &'a Shared) -> Result<Self, StartError> {
        // Both under the lock of the list, so that no two take the last place.
        let listed = shared.open.lock();
        let open = shared.open_runs(&listed) + shared.starting.load(Ordering::Relaxed);
        if open >= shared.config.max_open_runs {
            return Err(StartError::TooManyOpen { open });
        }
        shared.starting.fetch_add(1, Ordering::Relaxed);
        Ok(Self(shared))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.starting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn started_before(shared: &Shared, request: &StartRequest, key: &str) -> Result<Option<Started>, StartError> {
    let record = idempotency::key(request.tenant.as_str(), key);
    let entry = shared.journal.store().get(&record).map_err(read_error)?;
    let Some(entry) = entry else { return Ok(None) };
    let started = idempotency::Started::decode(&entry.value)
        .map_err(|error| StartError::Load(LoadError::Damaged(error.to_string())))?;
    if started.body != body_digest(request) {
        return Err(StartError::KeyReused { run: started.run });
    }
    Ok(Some(Started { id: started.run, created: false }))
}

/// Digest of all that a client asks for: the same key with anything else is a different request.
fn body_digest(request: &StartRequest) -> String {
    let mut hash = blake3::Hasher::new();
    let version = request.version.unwrap_or(0).to_be_bytes();
    let deadline = request.deadline.unwrap_or_default().as_nanos().to_be_bytes();
    let labels = serde_json::to_vec(&request.labels).unwrap_or_default();
    let parts: [&[u8]; 6] = [
        request.workflow.as_str().as_bytes(),
        &version,
        request.input.as_str().as_bytes(),
        request.intent.as_bytes(),
        &deadline,
        &labels,
    ];
    for part in parts {
        hash.update(&(part.len() as u64).to_be_bytes()).update(part);
    }
    hash.finalize().to_hex().to_string()
}
