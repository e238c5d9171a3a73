//! `mainstay.v1.Drills`.

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use mainstay_kernel::drill::plan::{DEFAULT_LASTS, WHOLE_BP};
use mainstay_kernel::drill::{Event, Kind, Phase};
use mainstay_kernel::pause::Target;
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, drill, pb, time};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::store_fault;
use crate::drills::{Handle, MAX_KEPT, Order, RunError, Running, Seen};

/// Longest author: a name.
const MAX_BY: usize = 256;

/// The service.
#[derive(Debug, Clone)]
pub struct Api {
    /// Drills, if the server was started with `--allow-drills`.
    pub drills: Option<Handle>,
    /// Ends streams when the server stops.
    pub stopping: CancellationToken,
}

#[tonic::async_trait]
impl pb::drills_server::Drills for Api {
    async fn list_drills(
        &self,
        _request: Request<pb::ListDrillsRequest>,
    ) -> Result<Response<pb::ListDrillsResponse>, Status> {
        let active = self.drills.as_ref().and_then(Handle::active);
        Ok(Response::new(pb::ListDrillsResponse {
            allowed: self.drills.is_some(),
            kinds: Kind::ALL.into_iter().map(drill::kind).collect(),
            active: active.as_ref().map(view),
        }))
    }

    type RunDrillStream = BoxStream<'static, Result<pb::RunDrillResponse, Status>>;

    async fn run_drill(
        &self,
        request: Request<pb::RunDrillRequest>,
    ) -> Result<Response<Self::RunDrillStream>, Status> {
        let order = order(request.into_inner())?;
        let running = self.drills()?.run(order).await.map_err(run_fault)?;
        let Running { drill: stored, events } = running;
        let first = view(&Seen { drill: stored, phase: Some(Phase::Underway) });
        let first = pb::RunDrillResponse { drill: Some(first), event: None };
        let rest = stream::unfold(events, |mut events| async {
            let (at, event) = events.recv().await?;
            let event = Some(drill::event(at, &event));
            Some((pb::RunDrillResponse { drill: None, event }, events))
        });
        let told = stream::iter([first]).chain(rest).map(Ok);
        Ok(Response::new(told.take_until(self.stopping.clone().cancelled_owned()).boxed()))
    }

    async fn stop_drill(
        &self,
        request: Request<pb::StopDrillRequest>,
    ) -> Result<Response<pb::StopDrillResponse>, Status> {
        let id = match request.into_inner().id.as_str() {
            "" => None,
            id => Some(id.parse().map_err(|error| Fault::invalid("id", error))?),
        };
        let stopped = self.drills()?.stop(id);
        let stopped =
            stopped.ok_or_else(|| Fault::new(Reason::DrillNotFound, "no such fault is injected now"))?;
        Ok(Response::new(pb::StopDrillResponse { drill: Some(view(&stopped)) }))
    }

    async fn list_drill_history(
        &self,
        request: Request<pb::ListDrillHistoryRequest>,
    ) -> Result<Response<pb::ListDrillHistoryResponse>, Status> {
        let limit = match request.into_inner().limit {
            0 => MAX_KEPT,
            limit => usize::try_from(limit).unwrap_or(MAX_KEPT),
        };
        let drills = self.drills()?.history(limit);
        Ok(Response::new(pb::ListDrillHistoryResponse { drills: drills.iter().map(view).collect() }))
    }
}

impl Api {
    fn drills(&self) -> Result<&Handle, Fault> {
        self.drills.as_ref().ok_or_else(|| {
            Fault::new(Reason::DrillsNotAllowed, "this server was started without `--allow-drills`")
        })
    }
}

fn order(request: pb::RunDrillRequest) -> Result<Order, Fault> {
    let lasts = request.lasts.as_ref().map(|lasts| time::positive_duration("lasts", lasts));
    let delay = request.delay.as_ref().map(|delay| time::positive_duration("delay", delay));
    let target = match request.target.as_str() {
        "" => None,
        target => Some(target.parse::<Target>().map_err(|error| Fault::invalid("target", error))?),
    };
    Ok(Order {
        kind: request.kind.parse().map_err(|error| Fault::invalid("kind", error))?,
        tenant: agent::tenant(&request.tenant)?,
        target,
        share_bp: request.share_bp.unwrap_or(WHOLE_BP),
        lasts: lasts.transpose()?.unwrap_or(DEFAULT_LASTS),
        delay: delay.transpose()?,
        seed: request.seed,
        by: agent::text("by", request.by, MAX_BY)?,
    })
}

fn view(seen: &Seen) -> pb::Drill {
    let Seen { drill: stored, phase } = seen;
    let judged = stored.events.iter().rev().find_map(|(_, event)| match event {
        Event::Judged(card) => Some(card.passed),
        Event::Began | Event::Detected(_) | Event::Ended { .. } | Event::Recovered { .. } => None,
    });
    let state = match (judged, phase) {
        (Some(true), _) => pb::DrillState::Passed,
        (Some(false), _) => pb::DrillState::Failed,
        (None, Some(Phase::Underway)) => pb::DrillState::UnderWay,
        (None, Some(Phase::Recovering | Phase::Over)) => pb::DrillState::Recovering,
        (None, None) => pb::DrillState::Interrupted,
    };
    let events = stored.events.iter().map(|(at, event)| drill::event(*at, event));
    pb::Drill {
        began_at: Some(time::timestamp(stored.began_at)),
        state: state.into(),
        events: events.chain(stored.interrupted_at.map(drill::interrupted)).collect(),
        ..drill::plan(&stored.plan)
    }
}

fn run_fault(error: RunError) -> Fault {
    match error {
        RunError::Plan(error) => Fault::invalid(error.field, error.problem),
        RunError::UnderWay(_) => Fault::new(Reason::DrillUnderWay, error),
        RunError::Nobody(Target::Capability(_)) => Fault::field(Reason::CapabilityUnknown, "target", error),
        RunError::Nobody(_) => Fault::field(Reason::AgentNotFound, "target", error),
        RunError::Unwell(_) => Fault::field(Reason::DrillTargetUnfit, "target", error),
        RunError::Record(error) => Fault::new(Reason::Internal, error),
        RunError::Commit(error) => store_fault(error),
    }
}
