//! `mainstay.v1.Orchestrator`.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use mainstay_kernel::chain::Chain;
use mainstay_kernel::id::RunId;
use mainstay_kernel::json::Limits;
use mainstay_kernel::name::Name;
use mainstay_kernel::poison::Falls;
use mainstay_kernel::retry::Retries;
use mainstay_kernel::run::people::MAX_BY;
use mainstay_kernel::run::{self, EndState, Input, MAX_GRAFTED};
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, chain, outcome, pb, run as wire, time};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::context::get_fault;
use super::documents::catalog_fault;
use super::page::Pages;
use super::{spill_fault, store_fault};
use crate::admission::Door;
use crate::engine::{
    AppendError, Handle, LoadError, ResumeError, ResumeRequest, StartError, StartRequest, UnparkError,
};
use crate::follow::follow;
use crate::invoke;
use crate::listing::{Filter, Listing};

/// Longest idempotency key: a URL or two UUIDs fit.
const MAX_KEY: usize = 256;
/// Longest reason given in words.
const MAX_REASON: usize = 256;
/// How long a client should wait before it asks a server again that was not ready.
const NOT_READY_RETRY: Duration = Duration::from_secs(1);
/// How long a client should wait before it asks for what was paused: a person ends a pause.
const PAUSED_RETRY: Duration = Duration::from_secs(30);
/// How long a client should wait before it asks for what the mode leaves out: rules keep a mode for so long at least.
const MODE_RETRY: Duration = Duration::from_secs(15);

/// The service.
#[derive(Debug, Clone)]
pub struct Api {
    /// The engine.
    pub engine: Handle,
    /// The listing of runs.
    pub listing: Listing,
    /// Who is let in.
    pub door: Door,
    /// Direct calls.
    pub invoke: invoke::Handle,
    /// Page tokens.
    pub pages: Pages,
    /// What payloads hold to.
    pub limits: Limits,
    /// Ends watches, which never end by themselves, when the server stops.
    pub stopping: CancellationToken,
}

impl Api {
    async fn start(
        &self,
        spec: Option<pb::RunSpec>,
        metadata: &MetadataMap,
    ) -> Result<(Name, crate::engine::Started), Fault> {
        let priority = self.door.run(metadata)?;
        let spec = spec.ok_or_else(|| Fault::invalid("run", "is missing"))?;
        let request = start_request(spec, &self.limits).map_err(|fault| fault.inside("run"))?;
        let request = StartRequest {
            retries: invoke::retries(metadata),
            chain: chain::of(metadata)?,
            priority,
            ..request
        };
        let tenant = request.tenant.clone();
        let started = self.engine.start(request).await.map_err(|error| self.start_fault(error))?;
        Ok((tenant, started))
    }

    async fn read(&self, tenant: &Name, id: RunId) -> Result<pb::Run, Fault> {
        let run = self.engine.get(tenant, id).await.map_err(|error| load_fault(id, error))?;
        let mut run = pb::Run::from(&run);
        run.parking = self.engine.parking(id).map(|falls| parking(&falls));
        if !matches!(run.state(), pb::RunState::Running | pb::RunState::Completed) {
            let resumed_as = self.engine.resumed_as(tenant, id).map_err(|error| load_fault(id, error))?;
            run.resumed_as = resumed_as.map(|id| id.to_string()).unwrap_or_default();
        }
        for step in run.steps.iter_mut().filter(|step| step.state() == pb::StepState::Running) {
            step.waiting = self.engine.waiting(id, &step.id).unwrap_or_default();
        }
        Ok(run)
    }

    async fn resume(
        &self,
        request: pb::ResumeRunRequest,
        metadata: &MetadataMap,
    ) -> Result<crate::engine::Started, Fault> {
        let priority = self.door.run(metadata)?;
        let pb::ResumeRunRequest { tenant, run_id: from, accept_unknown, deadline } = request;
        let (tenant, run) = (agent::tenant(&tenant)?, run_id(&from)?);
        if accept_unknown.len() > MAX_GRAFTED {
            let text = format_args!("names {} steps; a run has at most {MAX_GRAFTED}", accept_unknown.len());
            return Err(Fault::invalid("accept_unknown", text));
        }
        let deadline = deadline.as_ref().map(|deadline| time::positive_duration("deadline", deadline));
        let (deadline, retries) = (bounded(deadline.transpose()?)?, invoke::retries(metadata));
        let request = ResumeRequest {
            tenant,
            run,
            accept_unknown,
            deadline,
            retries,
            chain: chain::of(metadata)?,
            priority,
        };
        self.engine.resume(request).await.map_err(|error| match error {
            ResumeError::Load(error) => load_fault(run, error),
            ResumeError::Start(error) => self.start_fault(error),
            ResumeError::Refused(error) => not_resumed(error),
        })
    }

    /// Why nothing goes on now: the store's refusal, if that is the cause.
    pub(super) fn not_ready(&self, otherwise: &dyn std::fmt::Display) -> Fault {
        let fault = match self.engine.refusal() {
            Some(reason) => Fault::new(Reason::StoreReadOnly, reason),
            None => Fault::new(Reason::ServerNotReady, otherwise),
        };
        fault.retry_after(NOT_READY_RETRY)
    }

    fn start_fault(&self, error: StartError) -> Fault {
        match error {
            StartError::Workflow(error) => catalog_fault(error).violation("run.workflow", "is not stored"),
            StartError::Link(_) => Fault::field(Reason::WorkflowNotLinked, "run.workflow", &error),
            StartError::Refused(error) => refused(error),
            StartError::CapabilityUnknown { .. } => {
                Fault::field(Reason::CapabilityUnknown, "run.workflow", error)
            }
            StartError::BudgetSpent { again, .. } => {
                Fault::new(Reason::BudgetExhausted, error).retry_after(again)
            }
            StartError::KeyReused { run } => {
                let fault = Fault::field(Reason::IdempotencyKeyReused, "run.idempotency_key", &error);
                fault.with("run_id", run)
            }
            StartError::TooManyOpen { .. } => {
                Fault::new(Reason::Overloaded, error).retry_after(NOT_READY_RETRY)
            }
            StartError::Paused(pause) => {
                Fault::new(Reason::Paused, &pause).with("target", &pause.target).retry_after(PAUSED_RETRY)
            }
            StartError::LeftOut { mode } => {
                Fault::new(Reason::Overloaded, error).with("mode", mode).retry_after(MODE_RETRY)
            }
            StartError::Context(error) => get_fault(error).violation("run.workflow", "reads it"),
            StartError::NotReady => self.not_ready(&error),
            StartError::Append(AppendError::Commit(error)) => store_fault(error),
            StartError::Append(AppendError::Spill(error)) => spill_fault(error),
            StartError::Append(error @ (AppendError::Record(_) | AppendError::Illegal(_))) => {
                Fault::new(Reason::Internal, error)
            }
            StartError::Load(error) => Fault::new(Reason::StoreFailed, error),
        }
    }
}

#[tonic::async_trait]
impl pb::orchestrator_server::Orchestrator for Api {
    async fn orchestrate(
        &self,
        request: Request<pb::OrchestrateRequest>,
    ) -> Result<Response<pb::OrchestrateResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (tenant, started) = self.start(request.run, &metadata).await?;
        self.engine.wait(started.id).await;
        let run = self.read(&tenant, started.id).await?;
        if let Some(falls) = self.engine.parking(started.id) {
            return Err(parked(started.id, &falls).into());
        }
        if run.state() == pb::RunState::Running {
            let text =
                format!("{} goes on when the server is ready again; watch it or ask for it", started.id);
            return Err(Fault::new(Reason::ServerNotReady, text).with("run_id", started.id).into());
        }
        Ok(Response::new(pb::OrchestrateResponse { run: Some(run) }))
    }

    async fn submit(
        &self,
        request: Request<pb::SubmitRequest>,
    ) -> Result<Response<pb::SubmitResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (_, started) = self.start(request.run, &metadata).await?;
        Ok(Response::new(pb::SubmitResponse { run_id: started.id.to_string(), created: started.created }))
    }

    async fn get_run(
        &self,
        request: Request<pb::GetRunRequest>,
    ) -> Result<Response<pb::GetRunResponse>, Status> {
        let request = request.into_inner();
        let (tenant, id) = (agent::tenant(&request.tenant)?, run_id(&request.run_id)?);
        Ok(Response::new(pb::GetRunResponse { run: Some(self.read(&tenant, id).await?) }))
    }

    async fn list_runs(
        &self,
        request: Request<pb::ListRunsRequest>,
    ) -> Result<Response<pb::ListRunsResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let workflow = match request.workflow.as_str() {
            "" => None,
            name => Some(agent::name("workflow", name)?),
        };
        let states: Vec<_> = request.states().collect();
        let filters = [tenant.as_str(), &request.workflow, &format!("{:?}", request.states)];
        let page = self.pages.open("runs", &filters, request.page_size, &request.page_token)?;
        let filter = Filter { workflow, states };
        let listed = self.listing.page(&tenant, &filter, page.cursor.as_deref(), page.size).await?;
        Ok(Response::new(pb::ListRunsResponse {
            runs: listed.runs,
            next_page_token: listed.cursor.map(|cursor| page.next(&cursor)).unwrap_or_default(),
        }))
    }

    type WatchRunStream = BoxStream<'static, Result<pb::WatchRunResponse, Status>>;

    async fn watch_run(
        &self,
        request: Request<pb::WatchRunRequest>,
    ) -> Result<Response<Self::WatchRunStream>, Status> {
        let request = request.into_inner();
        let (tenant, id) = (agent::tenant(&request.tenant)?, run_id(&request.run_id)?);
        let events = follow(self.engine.clone(), tenant, id, request.from_event).await;
        let events = events.map_err(|error| load_fault(id, error))?;
        let answers = events.map(move |event| match event {
            Ok(event) => Ok(pb::WatchRunResponse { event: Some(event) }),
            Err(error) => Err(load_fault(id, error).into()),
        });
        Ok(Response::new(answers.take_until(self.stopping.clone().cancelled_owned()).boxed()))
    }

    async fn read_journal(
        &self,
        request: Request<pb::ReadJournalRequest>,
    ) -> Result<Response<pb::ReadJournalResponse>, Status> {
        let request = request.into_inner();
        let (tenant, id) = (agent::tenant(&request.tenant)?, run_id(&request.run_id)?);
        let after = (request.after != 0).then_some(request.after);
        let page =
            self.engine.journal_page(&tenant, id, after).await.map_err(|error| load_fault(id, error))?;
        if page.transitions.is_empty() && after.is_none() {
            return Err(load_fault(id, LoadError::NotFound).into());
        }
        Ok(Response::new(pb::ReadJournalResponse {
            transitions: page.transitions.into_iter().map(Into::into).collect(),
            next: page.next.unwrap_or_default(),
        }))
    }

    async fn cancel_run(
        &self,
        request: Request<pb::CancelRunRequest>,
    ) -> Result<Response<pb::CancelRunResponse>, Status> {
        let request = request.into_inner();
        let (tenant, id) = (agent::tenant(&request.tenant)?, run_id(&request.run_id)?);
        let reason = agent::text("reason", request.reason, MAX_REASON)?;
        // Whatever became of the command, the journal says what became of the run.
        self.engine.tell(&tenant, id, Input::Cancel { reason }).await.ok();
        let run = self.engine.get(&tenant, id).await.map_err(|error| load_fault(id, error))?;
        let (end, undoing) = (run.end.as_ref().map(|end| end.state), run.undoing.as_ref());
        let ends = end.or_else(|| undoing.map(|undoing| undoing.state));
        match (ends, end) {
            // It may have to undo something first, and is running until then.
            (Some(EndState::Cancelled), end) => {
                Ok(Response::new(pb::CancelRunResponse { state: wire::state(end).into() }))
            }
            (Some(state), Some(_)) => {
                Err(Fault::new(Reason::RunEnded, format_args!("{id} has {} already", state.as_str())).into())
            }
            (Some(state), None) => {
                let text = format_args!("{id} undoes what it did and then ends as {}", state.as_str());
                Err(Fault::new(Reason::RunEnded, text).into())
            }
            (None, _) => Err(match self.engine.parking(id) {
                Some(falls) => parked(id, &falls),
                None => self.not_ready(&"the run is being taken up again"),
            }
            .into()),
        }
    }

    async fn resume_run(
        &self,
        request: Request<pb::ResumeRunRequest>,
    ) -> Result<Response<pb::ResumeRunResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let started = self.resume(request, &metadata).await?;
        Ok(Response::new(pb::ResumeRunResponse { run_id: started.id.to_string(), created: started.created }))
    }

    async fn unpark_run(
        &self,
        request: Request<pb::UnparkRunRequest>,
    ) -> Result<Response<pb::UnparkRunResponse>, Status> {
        let request = request.into_inner();
        let (tenant, id) = (agent::tenant(&request.tenant)?, run_id(&request.run_id)?);
        let by = agent::text("by", request.by, MAX_BY)?;
        match self.engine.unpark(&tenant, id, &by).await {
            Ok(()) => Ok(Response::new(pb::UnparkRunResponse {})),
            Err(UnparkError::Commit(error)) => Err(store_fault(error).into()),
            Err(UnparkError::Load(error)) => Err(load_fault(id, error).into()),
            Err(UnparkError::NotParked) => {
                let run = self.engine.get(&tenant, id).await.map_err(|error| load_fault(id, error))?;
                let now = run.end.as_ref().map_or("goes on", |end| end.state.as_str());
                let text = format_args!("{id} is not parked; it {now}");
                Err(Fault::new(Reason::RunNotParked, text).into())
            }
        }
    }

    async fn signal_run(
        &self,
        request: Request<pb::SignalRunRequest>,
    ) -> Result<Response<pb::SignalRunResponse>, Status> {
        self.signal(request.into_inner()).await?;
        Ok(Response::new(pb::SignalRunResponse {}))
    }

    async fn list_escalations(
        &self,
        request: Request<pb::ListEscalationsRequest>,
    ) -> Result<Response<pb::ListEscalationsResponse>, Status> {
        Ok(Response::new(self.escalations(&request.into_inner())?))
    }

    async fn answer_escalation(
        &self,
        request: Request<pb::AnswerEscalationRequest>,
    ) -> Result<Response<pb::AnswerEscalationResponse>, Status> {
        self.answer(request.into_inner()).await?;
        Ok(Response::new(pb::AnswerEscalationResponse {}))
    }

    async fn invoke(
        &self,
        request: Request<pb::InvokeRequest>,
    ) -> Result<Response<pb::InvokeResponse>, Status> {
        let inside = self.door.call(request.metadata())?;
        Ok(Response::new(self.invoke.call(request, inside.priority).await?))
    }
}

/// What the kernel has against a run.
fn refused(error: run::StartError) -> Fault {
    match error {
        run::StartError::Input(violations) => {
            let fault = Fault::new(Reason::InputSchemaMismatch, run::StartError::Input(violations.clone()));
            violations.into_iter().fold(fault, |fault, violation| {
                fault.violation(format_args!("run.input{}", violation.instance_path), violation.message)
            })
        }
        run::StartError::DeadlinePassed => Fault::field(Reason::DeadlinePassed, "run.deadline", error),
        run::StartError::Illegal(_) => Fault::new(Reason::Internal, error),
    }
}

/// Why a run is not gone on from.
fn not_resumed(error: run::ResumeError) -> Fault {
    match &error {
        run::ResumeError::Uncertain { steps } => {
            let names: Vec<String> = steps.iter().map(ToString::to_string).collect();
            Fault::new(Reason::ResumeUncertain, &error).with("steps", names.join(","))
        }
        run::ResumeError::NoSuchStep { .. } => Fault::invalid("accept_unknown", &error),
        run::ResumeError::Open
        | run::ResumeError::Completed
        | run::ResumeError::Undone
        | run::ResumeError::TooLarge { .. }
        | run::ResumeError::NothingLeft => Fault::new(Reason::RunNotResumable, error),
    }
}

/// How long a run may take, if its client says so.
fn bounded(deadline: Option<Duration>) -> Result<Option<Duration>, Fault> {
    match deadline {
        Some(deadline) if deadline > mainstay_kernel::workflow::MAX_DEADLINE => {
            Err(Fault::invalid("deadline", "is longer than 30 days"))
        }
        deadline => Ok(deadline),
    }
}

fn start_request(spec: pb::RunSpec, limits: &Limits) -> Result<StartRequest, Fault> {
    let deadline = spec.deadline.as_ref().map(|deadline| time::positive_duration("deadline", deadline));
    let deadline = bounded(deadline.transpose()?)?;
    Ok(StartRequest {
        tenant: agent::tenant(&spec.tenant)?,
        workflow: agent::name("workflow", &spec.workflow)?,
        version: (spec.version != 0).then_some(spec.version),
        input: outcome::payload("input", &spec.input, limits)?,
        idempotency_key: match spec.idempotency_key {
            key if key.is_empty() => None,
            key => Some(agent::text("idempotency_key", key, MAX_KEY)?),
        },
        intent: agent::text("intent", spec.intent, agent::MAX_TEXT)?,
        deadline,
        labels: agent::labels("labels", spec.labels)?,
        retries: Retries::Allowed,
        chain: Chain::default(),
        priority: mainstay_kernel::priority::Priority::default(),
    })
}

pub(super) fn run_id(text: &str) -> Result<RunId, Fault> {
    // An id that cannot be one is one that does not exist, but the client is told what an id looks like.
    text.parse().map_err(|error| Fault::invalid("run_id", error))
}

/// Why nobody drives a run, for a client.
pub(super) fn parking(falls: &Falls) -> pb::Parking {
    pb::Parking {
        reason: falls.reason.clone(),
        falls: falls.in_all,
        since: Some(time::timestamp(falls.last)),
    }
}

/// Why a parked run takes nothing.
pub(super) fn parked(id: RunId, falls: &Falls) -> Fault {
    let Falls { in_all, reason, .. } = falls;
    Fault::new(Reason::RunParked, format_args!("{id} is parked; it fell {in_all} times: {reason}"))
        .with("run_id", id)
}

pub(super) fn load_fault(id: RunId, error: LoadError) -> Fault {
    let reason = match &error {
        LoadError::NotFound => {
            return Fault::field(Reason::RunNotFound, "run_id", format_args!("{id} does not exist"));
        }
        LoadError::Parked(falls) => return parked(id, falls),
        LoadError::Unavailable(_) => Reason::StoreFailed,
        LoadError::Fell => Reason::Internal,
        LoadError::Damaged(_) | LoadError::Workflow(_) | LoadError::Fold(_) => Reason::RecordDamaged,
    };
    Fault::new(reason, error)
}
