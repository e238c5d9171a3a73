//! `mainstay.v1.Rollouts`.

use std::sync::atomic::Ordering::Relaxed;

use mainstay_kernel::rollout::{Phase, Rollout, Side, Status as Standing};
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, pb, time};
use tonic::{Request, Response, Status};

use super::documents::{self, catalog_fault};
use crate::api::store_fault;
use crate::host::Clock;
use crate::records::rollout::StoredChange;
use crate::registry;
use crate::rollouts::{Hand, Handle, PutError, Trial, TurnError};

/// Bytes of a person's words: a sentence or two, shown in tables.
const MAX_NOTE: usize = 500;

/// Bytes of a person's name.
const MAX_BY: usize = 256;

/// The service.
#[derive(Debug, Clone)]
pub struct Api {
    /// The clock.
    pub clock: Clock,
    /// The rollouts.
    pub rollouts: Handle,
    /// Whose contracts are compared.
    pub registry: registry::Handle,
}

#[tonic::async_trait]
impl pb::rollouts_server::Rollouts for Api {
    async fn put_rollout(
        &self,
        request: Request<pb::PutRolloutRequest>,
    ) -> Result<Response<pb::PutRolloutResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let by = agent::text("by", request.by, MAX_BY)?;
        let put =
            self.rollouts.put(&tenant, &request.document, &by, &self.registry).await.map_err(put_fault)?;
        Ok(Response::new(pb::PutRolloutResponse {
            rollout: Some(self.view(&put.trial)),
            created: put.created,
            warnings: documents::warnings(&put.warnings),
            notes: put.notes,
        }))
    }

    async fn get_rollout(
        &self,
        request: Request<pb::GetRolloutRequest>,
    ) -> Result<Response<pb::GetRolloutResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let name = agent::name("name", &request.name)?;
        let trial = self.rollouts.get(&tenant, &name);
        let trial = trial.ok_or_else(|| turn_fault(TurnError::NotFound(name.clone())))?;
        let catalog = self.rollouts.catalog();
        let stored = catalog.stored(&tenant, &name, Some(trial.rollout.version())).map_err(catalog_fault)?;
        Ok(Response::new(pb::GetRolloutResponse {
            rollout: Some(self.view(&trial)),
            document: catalog.document(&stored).map_err(catalog_fault)?,
            history: trial.history().iter().rev().map(change).collect(),
        }))
    }

    async fn list_rollouts(
        &self,
        request: Request<pb::ListRolloutsRequest>,
    ) -> Result<Response<pb::ListRolloutsResponse>, Status> {
        let tenant = agent::tenant(&request.into_inner().tenant)?;
        let rollouts = self.rollouts.list(&tenant).iter().map(|trial| self.view(trial)).collect();
        Ok(Response::new(pb::ListRolloutsResponse { rollouts }))
    }

    async fn lint_rollout(
        &self,
        request: Request<pb::LintRolloutRequest>,
    ) -> Result<Response<pb::LintRolloutResponse>, Status> {
        let findings = documents::lint::<Rollout>(request.into_inner().document).await;
        Ok(Response::new(pb::LintRolloutResponse { findings }))
    }

    async fn turn_rollout(
        &self,
        request: Request<pb::TurnRolloutRequest>,
    ) -> Result<Response<pb::TurnRolloutResponse>, Status> {
        let request = request.into_inner();
        let hand = match request.turn() {
            pb::RolloutTurn::Unspecified => return Err(Fault::invalid("turn", "is missing").into()),
            pb::RolloutTurn::Promote => Hand::Promote { fully: false },
            pb::RolloutTurn::PromoteFully => Hand::Promote { fully: true },
            pb::RolloutTurn::RollBack => Hand::RollBack,
            pb::RolloutTurn::Pause => Hand::Pause,
            pb::RolloutTurn::Resume => Hand::Resume,
        };
        let tenant = agent::tenant(&request.tenant)?;
        let name = agent::name("name", &request.name)?;
        if request.reason.trim().is_empty() {
            return Err(Fault::invalid("reason", "is missing: say why, for whoever reads the history").into());
        }
        let note = agent::text("reason", request.reason, MAX_NOTE)?;
        let by = agent::text("by", request.by, MAX_BY)?;
        let trial = self.rollouts.turn(&tenant, &name, hand, note, &by).await.map_err(turn_fault)?;
        Ok(Response::new(pb::TurnRolloutResponse { rollout: Some(self.view(&trial)) }))
    }
}

impl Api {
    fn view(&self, trial: &Trial) -> pb::Rollout {
        let rollout = &trial.rollout;
        let newest = trial.newest();
        let Standing { phase: standing, step, weight_bp } = trial.status();
        let shadowed = &trial.shadowed;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
        pb::Rollout {
            tenant: trial.tenant.to_string(),
            name: rollout.name().to_string(),
            version: rollout.version(),
            hash: rollout.hash().to_string(),
            description: rollout.description().to_owned(),
            agent: rollout.agent().to_string(),
            capability: rollout.capability().map(ToString::to_string).unwrap_or_default(),
            stable: Some(tally(trial, Side::Stable)),
            candidate: Some(tally(trial, Side::Candidate)),
            phase: phase(standing).into(),
            step: step + 1,
            step_count: u32::try_from(rollout.steps().len()).unwrap_or(u32::MAX),
            weight_bp,
            since: Some(time::timestamp(trial.since())),
            reason: newest.reason.to_string(),
            awaits: trial.awaited(self.clock.mono()),
            shadow: (rollout.shadow_bp() > 0).then(|| pb::RolloutShadow {
                share_bp: rollout.shadow_bp(),
                sent: count(&shadowed.sent),
                same: count(&shadowed.same),
                different: count(&shadowed.different),
                failed: count(&shadowed.failed),
                skipped: count(&shadowed.skipped),
            }),
        }
    }
}

fn tally(trial: &Trial, side: Side) -> pb::RolloutTally {
    let tally = trial.tally(side);
    pb::RolloutTally {
        version: trial.rollout.of(side).to_owned(),
        ended: tally.ended,
        failed: tally.failed,
        breached: tally.breached,
        slow: tally.slow().map(time::duration),
    }
}

fn change(change: &StoredChange) -> pb::RolloutChange {
    pb::RolloutChange {
        number: change.number,
        at: Some(time::timestamp(change.at)),
        version: change.version,
        phase: phase(change.to.phase).into(),
        step: change.to.step + 1,
        weight_bp: change.to.weight_bp,
        reason: change.reason.to_string(),
        by: change.by.clone(),
    }
}

const fn phase(phase: Phase) -> pb::RolloutPhase {
    match phase {
        Phase::Progressing => pb::RolloutPhase::Progressing,
        Phase::Held => pb::RolloutPhase::Held,
        Phase::Promoted => pb::RolloutPhase::Promoted,
        Phase::RolledBack => pb::RolloutPhase::RolledBack,
    }
}

/// What a client is told of a rollout that was not put.
fn put_fault(error: PutError) -> Fault {
    match error {
        PutError::Document(error) => documents::put_fault(error),
        PutError::Older { version, .. } => {
            Fault::field(Reason::RolloutVersionTaken, "document.version", &error)
                .hint(format_args!("set `version: {}` and put it again", version.saturating_add(1)))
        }
        PutError::Overlaps { ref other, .. } => {
            Fault::field(Reason::RolloutOverlaps, "document.agent", &error).hint(format_args!(
                "put it as a new version of {other}, or let each name a `capability` of its own"
            ))
        }
        PutError::Contract { .. } => {
            Fault::field(Reason::RolloutContractBroken, "document.candidate", &error)
        }
        PutError::Full(_) => Fault::new(Reason::Overloaded, error),
        PutError::Record(error) => Fault::new(Reason::Internal, error),
        PutError::Commit(error) => store_fault(error),
    }
}

/// What a client is told of a rollout that was not turned.
fn turn_fault(error: TurnError) -> Fault {
    let reason = match error {
        TurnError::NotFound(_) => Reason::RolloutNotFound,
        TurnError::Refused(_) => Reason::RolloutOver,
        TurnError::NotOnRecord => Reason::StoreReadOnly,
    };
    Fault::new(reason, error)
}
