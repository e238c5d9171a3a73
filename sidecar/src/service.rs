//! The gRPC face: parses what comes in, hands it to the desk, and answers each call with one message.

use futures::stream::{self, Once};
use mainstay_kernel::id::AttemptId;
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::Failure;
use mainstay_proto::agent::MAX_TEXT;
use mainstay_proto::fault::Fault;
use mainstay_proto::pb::agent_sidecar_server::AgentSidecar;
use mainstay_proto::reason::Reason;
use mainstay_proto::{chain, pb, priority};
use mainstay_transport::deadline::Deadline;
use mainstay_transport::retry;
use tonic::{Request, Response, Status};

use crate::desk::{Desk, Order, Refused};
use crate::ledger::{Ended, Known};

/// Longest run or step id that is passed on.
const MAX_ID: usize = 128;
/// Longest reason of a cancellation, as the wire allows.
const MAX_REASON: usize = 256;

/// `mainstay.v1.AgentSidecar`.
#[derive(Debug, Clone)]
pub(crate) struct Face {
    desk: Desk,
    instance: Name,
}

/// The messages of one call: exactly one, the outcome, in the same write as the headers.
type Messages = Once<std::future::Ready<Result<pb::AgentSidecarInvokeResponse, Status>>>;

// === impl Face ===

impl Face {
    pub(crate) fn new(desk: Desk, instance: Name) -> Self {
        Self { desk, instance }
    }
}

#[tonic::async_trait]
impl AgentSidecar for Face {
    type InvokeStream = Messages;

    async fn describe(
        &self,
        _: Request<pb::DescribeRequest>,
    ) -> Result<Response<pb::DescribeResponse>, Status> {
        Ok(Response::new(pb::DescribeResponse {
            agent: Some(self.desk.agent().into()),
            instance: self.instance.to_string(),
            in_flight: u32::try_from(self.desk.in_flight()).unwrap_or(u32::MAX),
            draining: self.desk.is_draining(),
        }))
    }

    async fn invoke(
        &self,
        request: Request<pb::AgentSidecarInvokeRequest>,
    ) -> Result<Response<Messages>, Status> {
        let order = order(request)?;
        let outcome = self.desk.call(order).await.map_err(refused)?;
        let event = pb::agent_sidecar_invoke_response::Event::Outcome(message(&outcome));
        let response = pb::AgentSidecarInvokeResponse { event: Some(event) };
        Ok(Response::new(stream::once(std::future::ready(Ok(response)))))
    }

    async fn outcome(
        &self,
        request: Request<pb::OutcomeRequest>,
    ) -> Result<Response<pb::OutcomeResponse>, Status> {
        use pb::outcome_response::{Lost, NeverSeen, Running, State};
        let id = attempt_id(&request.get_ref().attempt_id)?;
        let state = match self.desk.ledger().known_for_good(id, request.get_ref().epoch) {
            Ok(Known::Nothing) => State::NeverSeen(NeverSeen {}),
            Ok(Known::Running) => State::Running(Running {}),
            Ok(Known::Ended(outcome)) => State::Ended(message(&outcome)),
            Ok(Known::Lost) => State::Lost(Lost {}),
            Err(failure) => return Err(unreadable(&failure).into()),
        };
        Ok(Response::new(pb::OutcomeResponse { state: Some(state) }))
    }

    async fn cancel(
        &self,
        request: Request<pb::CancelRequest>,
    ) -> Result<Response<pb::CancelResponse>, Status> {
        let request = request.into_inner();
        let id = attempt_id(&request.attempt_id)?;
        bounded("reason", &request.reason, MAX_REASON)?;
        let was_running = self.desk.ledger().cancel(id);
        tracing::info!(attempt = %id, reason = request.reason, was_running, "asked to cancel");
        Ok(Response::new(pb::CancelResponse { was_running }))
    }
}

fn order(request: Request<pb::AgentSidecarInvokeRequest>) -> Result<Order, Fault> {
    let deadline = Deadline::of(request.extensions()).map(Deadline::instant);
    let traceparent =
        request.metadata().get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let retry_forbidden = retry::is_forbidden(request.metadata());
    let priority = priority::of(request.metadata())?;
    let chain = chain::of(request.metadata())?;
    let message = request.into_inner();
    bounded("run_id", &message.run_id, MAX_ID)?;
    bounded("step_id", &message.step_id, MAX_ID)?;
    bounded("intent", &message.intent, MAX_TEXT)?;
    Ok(Order {
        id: attempt_id(&message.attempt_id)?,
        capability: message.capability,
        input: message.input,
        run: message.run_id,
        step: message.step_id,
        intent: message.intent,
        epoch: message.epoch,
        traceparent,
        retry_forbidden,
        priority,
        chain,
        deadline,
    })
}

fn attempt_id(text: &str) -> Result<AttemptId, Fault> {
    text.parse().map_err(|error| Fault::invalid("attempt_id", error))
}

fn bounded(field: &str, text: &str, max: usize) -> Result<(), Fault> {
    if text.len() <= max {
        return Ok(());
    }
    Err(Fault::invalid(field, format_args!("is {} bytes long; at most {max} are allowed", text.len())))
}

fn message(outcome: &Ended) -> pb::Outcome {
    let result = match outcome {
        Ok(answer) => pb::outcome::Result::Answer(answer.into()),
        Err(failure) => pb::outcome::Result::Failure(failure.into()),
    };
    pb::Outcome { result: Some(result) }
}

fn refused(refused: Refused) -> Fault {
    match refused {
        Refused::Draining => Fault::new(Reason::ServerDraining, "this sidecar is shutting down"),
        Refused::DeadlinePassed => Fault::new(Reason::DeadlinePassed, "the deadline had passed on arrival"),
    }
}

fn unreadable(failure: &Failure) -> Fault {
    Fault::new(Reason::StoreFailed, &failure.message)
}
