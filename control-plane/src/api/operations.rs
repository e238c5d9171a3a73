//! `mainstay.v1.Operations`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use futures::stream::BoxStream;
use mainstay_kernel::time::Wall;
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, pb, time};
use mainstay_store::{Blobs, Status as StoreStatus, Store};
use mainstay_transport::deadline::Deadline;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::registry::breaker_view;
use crate::api::page::Pages;
use crate::host::Clock;
use crate::registry::{Hand, Turned, Which};
use crate::{backup, engine, events as log, modes, registry, retention, workflows};

mod events;
mod limits;
mod mode;
mod pauses;
mod state;

/// Bytes of an operator's words: a sentence or two, shown in tables.
const MAX_NOTE: usize = 500;

/// Most damaged records listed in one answer.
const MAX_LISTED: usize = 100;

/// The service.
#[derive(Debug, Clone)]
pub struct Api {
    /// The clock.
    pub clock: Clock,
    /// When the server started.
    pub started_at: Wall,
    /// Name of the store's backend.
    pub backend: &'static str,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Documents beside it.
    pub blobs: Blobs,
    /// Takes backups.
    pub backup: backup::Handle,
    /// Which finished runs are kept.
    pub retention: retention::Handle,
    /// The engine.
    pub engine: engine::Handle,
    /// The registry.
    pub registry: registry::Handle,
    /// Which workflows there are.
    pub catalog: workflows::Handle,
    /// How much is done.
    pub modes: modes::Handle,
    /// What was decided lately.
    pub events: log::Handle,
    /// Page tokens.
    pub pages: Pages,
    /// Ends waits for a drain when the server stops.
    pub stopping: CancellationToken,
}

#[tonic::async_trait]
impl pb::operations_server::Operations for Api {
    async fn get_server_info(
        &self,
        _request: Request<pb::GetServerInfoRequest>,
    ) -> Result<Response<pb::GetServerInfoResponse>, Status> {
        let quarantined = self.store.quarantined().into_iter().take(MAX_LISTED);
        Ok(Response::new(pb::GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Some(time::timestamp(self.started_at)),
            store: Some(self.store_status()),
            instances: u32::try_from(self.registry.live_instances()).unwrap_or(u32::MAX),
            open_runs: u32::try_from(self.engine.open_runs()).unwrap_or(u32::MAX),
            mode: Some(mode::view(&self.modes.status())),
            quarantined: quarantined
                .map(|record| pb::QuarantinedRecord {
                    key: hex(&record.key),
                    reason: record.damage.to_string(),
                })
                .collect(),
            parked: self.parked(),
            limits: self.limits_in_use(),
            retention: Some(self.kept()),
        }))
    }

    async fn trip_breakers(
        &self,
        request: Request<pb::TripBreakersRequest>,
    ) -> Result<Response<pb::TripBreakersResponse>, Status> {
        let request = request.into_inner();
        let (which, note) = (which(request.breakers)?, note(request.reason)?);
        let (breakers, on_record) = self.turn(which, Hand::Trip(note)).await?;
        Ok(Response::new(pb::TripBreakersResponse { breakers, on_record }))
    }

    async fn reset_breakers(
        &self,
        request: Request<pb::ResetBreakersRequest>,
    ) -> Result<Response<pb::ResetBreakersResponse>, Status> {
        let request = request.into_inner();
        let (which, note) = (which(request.breakers)?, note(request.reason)?);
        let (breakers, on_record) = self.turn(which, Hand::Reset(note)).await?;
        Ok(Response::new(pb::ResetBreakersResponse { breakers, on_record }))
    }

    async fn pause(&self, request: Request<pb::PauseRequest>) -> Result<Response<pb::PauseResponse>, Status> {
        let pause = self.put_pause(request.into_inner()).await?;
        Ok(Response::new(pb::PauseResponse { pause: Some(pause) }))
    }

    async fn drain(&self, request: Request<pb::DrainRequest>) -> Result<Response<pb::DrainResponse>, Status> {
        let deadline = Deadline::of(request.extensions());
        Ok(Response::new(self.wait_until_drained(request.into_inner(), deadline).await?))
    }

    async fn resume(
        &self,
        request: Request<pb::ResumeRequest>,
    ) -> Result<Response<pb::ResumeResponse>, Status> {
        let lifted = self.lift_pause(request.into_inner()).await?;
        Ok(Response::new(pb::ResumeResponse { lifted: Some(lifted) }))
    }

    async fn set_limit(
        &self,
        request: Request<pb::SetLimitRequest>,
    ) -> Result<Response<pb::SetLimitResponse>, Status> {
        let limit = self.put_limit(request.into_inner()).await?;
        Ok(Response::new(pb::SetLimitResponse { limit: Some(limit) }))
    }

    async fn clear_limit(
        &self,
        request: Request<pb::ClearLimitRequest>,
    ) -> Result<Response<pb::ClearLimitResponse>, Status> {
        let cleared = self.lift_limit(request.into_inner()).await?;
        Ok(Response::new(pb::ClearLimitResponse { cleared: Some(cleared) }))
    }

    async fn list_limits(
        &self,
        request: Request<pb::ListLimitsRequest>,
    ) -> Result<Response<pb::ListLimitsResponse>, Status> {
        let limits = self.limits(&request.into_inner())?;
        Ok(Response::new(pb::ListLimitsResponse { limits }))
    }

    async fn list_pauses(
        &self,
        request: Request<pb::ListPausesRequest>,
    ) -> Result<Response<pb::ListPausesResponse>, Status> {
        let pauses = self.pauses(&request.into_inner())?;
        Ok(Response::new(pb::ListPausesResponse { pauses }))
    }

    async fn get_mode(
        &self,
        _request: Request<pb::GetModeRequest>,
    ) -> Result<Response<pb::GetModeResponse>, Status> {
        Ok(Response::new(pb::GetModeResponse { status: Some(mode::view(&self.modes.status())) }))
    }

    async fn set_mode(
        &self,
        request: Request<pb::SetModeRequest>,
    ) -> Result<Response<pb::SetModeResponse>, Status> {
        let status = self.put_mode(request.into_inner()).await?;
        Ok(Response::new(pb::SetModeResponse { status: Some(status) }))
    }

    async fn release_mode(
        &self,
        request: Request<pb::ReleaseModeRequest>,
    ) -> Result<Response<pb::ReleaseModeResponse>, Status> {
        let status = self.hand_back_mode(request.into_inner()).await?;
        Ok(Response::new(pb::ReleaseModeResponse { status: Some(status) }))
    }

    type WatchModeStream = BoxStream<'static, Result<pb::WatchModeResponse, Status>>;

    async fn watch_mode(
        &self,
        _request: Request<pb::WatchModeRequest>,
    ) -> Result<Response<Self::WatchModeStream>, Status> {
        let told = self.follow_mode().map(|status| Ok(pb::WatchModeResponse { status: Some(status) }));
        Ok(Response::new(told.take_until(self.stopping.clone().cancelled_owned()).boxed()))
    }

    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        Ok(Response::new(self.events(request.get_ref())?))
    }

    type WatchEventsStream = BoxStream<'static, Result<pb::WatchEventsResponse, Status>>;

    async fn watch_events(
        &self,
        request: Request<pb::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let events = self.follow_events(request.get_ref())?;
        Ok(Response::new(events.map(Ok).take_until(self.stopping.clone().cancelled_owned()).boxed()))
    }

    type BackupStream = BoxStream<'static, Result<pb::BackupResponse, Status>>;

    async fn backup(
        &self,
        _request: Request<pb::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        Ok(Response::new(self.take_backup()?))
    }

    type ExamineStream = BoxStream<'static, Result<pb::ExamineResponse, Status>>;

    async fn examine(
        &self,
        _request: Request<pb::ExamineRequest>,
    ) -> Result<Response<Self::ExamineStream>, Status> {
        Ok(Response::new(self.examine_all()))
    }

    async fn inspect_record(
        &self,
        request: Request<pb::InspectRecordRequest>,
    ) -> Result<Response<pb::InspectRecordResponse>, Status> {
        Ok(Response::new(self.inspect(&request.get_ref().key).await?))
    }

    async fn drop_record(
        &self,
        request: Request<pb::DropRecordRequest>,
    ) -> Result<Response<pb::DropRecordResponse>, Status> {
        Ok(Response::new(self.drop_damaged(&request.get_ref().key).await?))
    }
}

/// What is asked for, every field checked.
fn which(selector: Option<pb::BreakerSelector>) -> Result<Which, Fault> {
    let selector = selector.unwrap_or_default();
    let optional = |field: &str, text: &str| match text {
        "" => Ok(None),
        text => agent::name(field, text).map(Some),
    };
    let which = Which {
        tenant: agent::tenant(&selector.tenant)?,
        agent: optional("breakers.agent", &selector.agent)?,
        instance: optional("breakers.instance", &selector.instance)?,
        capability: optional("breakers.capability", &selector.capability)?,
    };
    if which.agent.is_none() && which.capability.is_none() {
        return Err(Fault::invalid("breakers", "names neither an agent nor a capability"));
    }
    Ok(which)
}

/// Why, in an operator's words.
fn note(reason: String) -> Result<String, Fault> {
    if reason.trim().is_empty() {
        return Err(Fault::invalid("reason", "is missing: say why, for whoever finds the breaker so"));
    }
    agent::text("reason", reason, MAX_NOTE)
}

impl Api {
    async fn turn(&self, which: Which, hand: Hand) -> Result<(Vec<pb::TurnedBreaker>, bool), Fault> {
        let turn = self.registry.turn_breakers(&which, &hand).await;
        if turn.breakers.is_empty() {
            let text = "match none of any instance on record";
            return Err(Fault::field(Reason::BreakerNotFound, "breakers", text));
        }
        let view = |turned: Turned| pb::TurnedBreaker {
            agent: turned.instance.spec.name.to_string(),
            instance: turned.instance.name.to_string(),
            breaker: Some(breaker_view(&turned.capability, turned.snapshot)),
        };
        Ok((turn.breakers.into_iter().map(view).collect(), turn.on_record))
    }

    fn store_status(&self) -> pb::StoreStatus {
        let backend = self.backend.to_owned();
        match self.store.status() {
            StoreStatus::Writable => {
                pb::StoreStatus { backend, writable: true, ..pb::StoreStatus::default() }
            }
            StoreStatus::ReadOnly { reason, since } => {
                let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
                let since = Wall::from_millis(i64::try_from(since.as_millis()).unwrap_or(0));
                let lasting = self.clock.wall().saturating_since(since);
                pb::StoreStatus { backend, writable: false, reason, r#for: Some(time::duration(lasting)) }
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
