//! One request to one sidecar, and what its end means. The sidecar may break, lie or say nothing; each of it has a class.

use std::time::Duration;

use mainstay_kernel::id::AttemptId;
use mainstay_kernel::json::Limits;
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::status::{Code, Status};
use mainstay_kernel::outcome::{Answer, Began, Class, Failure};
use mainstay_proto::fault::Seen;
use mainstay_proto::reason::Reason;
use mainstay_proto::{chain, outcome, pb, priority};
use mainstay_transport::channel::{Channel, not_sent};
use mainstay_transport::{deadline, retry};
use pb::agent_sidecar_client::AgentSidecarClient;
use tonic::Request;

use super::Call;
use crate::faults::{Sending, Strike};

/// What an answer may be larger than its payload: usage, warnings, framing.
const ENVELOPE: usize = 64 * 1024;

/// Parts of an answer that are read before its end. A stream that goes on beyond them is not an answer.
const MAX_PARTS: usize = 100_000;

/// Time for a stream to end after its outcome. The two come together; a sidecar that holds the end back is not waited for.
const FAREWELL: Duration = Duration::from_millis(100);

/// One sending.
pub(super) struct Exchange {
    pub(super) channel: Channel,
    pub(super) key: AttemptId,
    pub(super) epoch: u64,
    pub(super) timeout: Duration,
    pub(super) limits: Limits,
    pub(super) agent: Name,
}

impl Exchange {
    /// Sends the call and reads its outcome, within the timeout.
    pub(super) async fn run(self, call: &Call) -> Result<Answer, Failure> {
        let timeout = self.timeout;
        match tokio::time::timeout(timeout, self.send(call)).await {
            Ok(ended) => ended,
            Err(_) => Err(timed_out(timeout)),
        }
    }

    /// The same to the target of a drill: a struck call is held back, or ends without having been sent.
    pub(super) async fn run_under(mut self, sending: &Sending, call: &Call) -> Result<Answer, Failure> {
        match sending.strike() {
            None => self.run(call).await,
            Some(Strike::Fail(failure)) => Err(failure.clone()),
            Some(Strike::Lie(answer)) => Ok(answer.clone()),
            Some(Strike::Hold(delay)) => {
                let allowed = self.timeout;
                tokio::time::sleep((*delay).min(allowed)).await;
                self.timeout = allowed.saturating_sub(*delay);
                if self.timeout.is_zero() { Err(timed_out(allowed)) } else { self.run(call).await }
            }
        }
    }

    async fn send(self, call: &Call) -> Result<Answer, Failure> {
        let mut client =
            AgentSidecarClient::new(self.channel).max_decoding_message_size(self.limits.max_bytes + ENVELOPE);
        let (run_id, step_id) = match &call.step {
            Some((run, step)) => (run.to_string(), step.clone()),
            None => (String::new(), String::new()),
        };
        let mut request = Request::new(pb::AgentSidecarInvokeRequest {
            attempt_id: self.key.to_string(),
            capability: call.capability.to_string(),
            input: outcome::bytes(&call.input),
            run_id,
            step_id,
            intent: call.intent.to_string(),
            epoch: self.epoch,
        });
        deadline::set(&mut request, self.timeout);
        retry::forbid(&mut request);
        priority::set(&mut request, call.priority);
        chain::set(&mut request, &call.chain.with(self.agent, call.capability.clone()));
        let mut stream = client.invoke(request).await.map_err(|status| refused(&status))?.into_inner();
        for _ in 0..MAX_PARTS {
            let message = stream.message().await.map_err(|status| refused(&status))?;
            match message.and_then(|message| message.event) {
                Some(pb::agent_sidecar_invoke_response::Event::Partial(_)) => {}
                Some(pb::agent_sidecar_invoke_response::Event::Outcome(ended)) => {
                    // A stream that is dropped before its end is reset, and a peer that sees many resets hangs up.
                    tokio::time::timeout(FAREWELL, stream.message()).await.ok();
                    return read(ended, &self.limits);
                }
                None => return Err(broken("the sidecar ended the call without an outcome")),
            }
        }
        Err(broken("the sidecar sends parts without end"))
    }
}

/// Reads an outcome that a sidecar reports.
pub(super) fn read(ended: pb::Outcome, limits: &Limits) -> Result<Answer, Failure> {
    match ended.result {
        Some(pb::outcome::Result::Answer(answer)) => outcome::answer(answer, limits).map_err(|fault| {
            let text = format!("the sidecar's answer: {}", fault.message());
            failure(Class::ContractBreach, Reason::OutputSchemaMismatch, text, Began::Yes)
        }),
        Some(pb::outcome::Result::Failure(failure)) => Err(outcome::failure(failure)),
        None => Err(broken("the sidecar's outcome is empty")),
    }
}

/// A status that came instead of an outcome. What it means, the kernel says.
fn refused(status: &tonic::Status) -> Failure {
    let seen = Seen::of(status);
    Failure::from(Status {
        sent: !not_sent(status),
        code: Code::from_number(status.code().into()),
        reason: Reason::from_code(&seen.reason).map(Reason::as_str),
        message: status.message().to_owned(),
        retry_after: seen.retry_after,
    })
}

fn timed_out(timeout: Duration) -> Failure {
    let text = format!("no answer within {timeout:?}");
    failure(Class::Timeout, Reason::AgentTimeout, text, Began::Unknown)
}

/// A sending that somebody else was faster than.
pub(super) fn retracted() -> Failure {
    failure(Class::Cancelled, Reason::CallCancelled, "another instance answered first".into(), Began::Unknown)
}

fn broken(text: &str) -> Failure {
    failure(Class::Transport, Reason::AgentUnreachable, text.to_owned(), Began::Unknown)
}

fn failure(class: Class, reason: Reason, message: String, began: Began) -> Failure {
    Failure { class, code: reason.as_str().to_owned(), message, began, retry_after: None }
}
