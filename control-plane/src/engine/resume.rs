//! Going on from a run that failed, with a run of its own.
//!
//! A run is gone on from once: which run does is on record in the batch that lets it begin, so a request that is repeated,
//! by whomever and however often, finds the same run. Should that one fail as well, it is the one to go on from.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::chain::Chain;
use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::priority::Priority;
use mainstay_kernel::retry::Retries;
use mainstay_kernel::run;
use mainstay_store::CommitError;

use super::journal::{AppendError, read_error};
use super::start::{self, StartError, Started};
use super::{Handle, LoadError, Shared, blocking};
use crate::records::idempotency;

/// A run that is to be gone on from, every field checked at the border.
#[derive(Debug, Clone, PartialEq)]
pub struct ResumeRequest {
    /// The tenant.
    pub tenant: Name,
    /// The run that failed.
    pub run: RunId,
    /// Steps that may be called again although they may have had their effect.
    pub accept_unknown: Vec<String>,
    /// How long the new run may take; `None` for what the workflow says.
    pub deadline: Option<Duration>,
    /// Whether its steps may be tried again.
    pub retries: Retries,
    /// The calls on whose behalf it goes on.
    pub chain: Chain,
    /// How urgent it is.
    pub priority: Priority,
}

/// Why a run was not gone on from. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The run cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// There is nothing to go on from, or somebody must look first.
    #[error(transparent)]
    Refused(#[from] run::ResumeError),
    /// No run starts now.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Handle {
    /// Starts the run that goes on from another, durable when this returns; or finds it, if it was started before.
    pub async fn resume(&self, request: ResumeRequest) -> Result<Started, ResumeError> {
        // On a task: a client that goes away while the run is being written must not leave it written and not driven.
        let shared = Arc::clone(&self.0);
        let started = tokio::spawn(async move { resume(&shared, request).await }).await;
        started.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// The run that goes on from `run`, if one does.
    pub fn resumed_as(&self, tenant: &Name, run: RunId) -> Result<Option<RunId>, LoadError> {
        resumed_as(&self.0, tenant, run)
    }
}

async fn resume(shared: &Arc<Shared>, request: ResumeRequest) -> Result<Started, ResumeError> {
    let ResumeRequest { tenant, run: from, accept_unknown, deadline, retries, chain, priority } = request;
    if let Some(id) = resumed_as(shared, &tenant, from)? {
        return Ok(Started { id, created: false });
    }
    let of = tenant.clone();
    let failed = blocking(shared, move |shared| shared.journal.load(&of, from, &shared.catalog)).await?;
    let effect = |capability: &Name| shared.registry.strictest_effect(&tenant, capability);
    let resumed = run::carry(&failed, effect, &accept_unknown)?;
    let admitted = start::admit(shared, &tenant, &failed.workflow)?;
    let start = run::Start {
        id: shared.clock.id().into(),
        tenant: tenant.clone(),
        workflow: failed.workflow.clone(),
        input: failed.input.clone(),
        intent: Arc::clone(&failed.intent),
        labels: Arc::clone(&failed.labels),
        idempotency_key: None,
        deadline: deadline.map(|deadline| admitted.now + deadline),
        retries,
        chain,
        priority,
        mode: admitted.mode,
        // What the finished steps saw.
        context: failed.context.clone(),
        estimates: start::estimates(shared, &tenant, &failed.workflow),
        resumed: Some(Arc::new(resumed)),
    };
    let by = (idempotency::resumed_key(tenant.as_str(), from), String::new());
    match start::begin(shared, start, admitted, Some(by)).await {
        // Another request was faster.
        Err(StartError::Append(AppendError::Commit(CommitError::Conflict { .. }))) => {
            let id = resumed_as(shared, &tenant, from)?.ok_or(StartError::NotReady)?;
            Ok(Started { id, created: false })
        }
        begun => Ok(begun?),
    }
}

fn resumed_as(shared: &Shared, tenant: &Name, run: RunId) -> Result<Option<RunId>, LoadError> {
    let entry = shared.journal.store().get(&idempotency::resumed_key(tenant.as_str(), run));
    let Some(entry) = entry.map_err(read_error)? else { return Ok(None) };
    let started = idempotency::Started::decode(&entry.value);
    Ok(Some(started.map_err(|error| LoadError::Damaged(error.to_string()))?.run))
}
