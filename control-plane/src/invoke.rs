//! A direct call: routed, retried and bounded like any other, but without a journal. Its client waits for it.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::id::AttemptId;
use mainstay_kernel::json::Limits;
use mainstay_kernel::outcome::{Class, Failure};
use mainstay_kernel::retry::{Retries, RetryPolicy};
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, outcome, pb};
use mainstay_transport::deadline::Deadline;
use mainstay_transport::retry;
use tonic::Request;

use crate::host::Clock;
use crate::{dispatch, registry};

/// How long a call may take where the client sets no deadline.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);
/// Longest idempotency key.
const MAX_KEY: usize = 256;

/// Makes direct calls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    clock: Clock,
    registry: registry::Handle,
    dispatch: dispatch::Handle,
    limits: Limits,
}

impl Handle {
    /// Direct calls over dispatch. Payloads hold to `limits`.
    #[must_use]
    pub fn new(clock: Clock, registry: registry::Handle, dispatch: dispatch::Handle, limits: Limits) -> Self {
        Self { clock, registry, dispatch, limits }
    }

    /// Makes the call that `request` asks for.
    pub async fn call(&self, request: Request<pb::InvokeRequest>) -> Result<pb::InvokeResponse, Fault> {
        let time = Deadline::of(request.extensions()).map_or(DEFAULT_DEADLINE, Deadline::remaining);
        let retries = retries(request.metadata());
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let capability = agent::name("capability", &request.capability)?;
        let agent = match request.agent.as_str() {
            "" => None,
            name => Some(agent::name("agent", name)?),
        };
        let key = agent::text("idempotency_key", request.idempotency_key, MAX_KEY)?;
        let input = outcome::payload("input", &request.input, &self.limits)?;
        if !self.registry.was_ever_registered(&tenant, &capability) {
            let text = format_args!("{capability} was never registered by any agent");
            return Err(Fault::field(Reason::CapabilityUnknown, "capability", text));
        }
        if let Some(agent) = &agent
            && self.registry.agent(&tenant, agent).is_none()
        {
            return Err(Fault::field(
                Reason::AgentNotFound,
                "agent",
                format_args!("{agent} is not registered"),
            ));
        }
        let call = dispatch::Call {
            key: match key.as_str() {
                "" => AttemptId::from(self.clock.id()),
                key => keyed(tenant.as_str(), capability.as_str(), key),
            },
            tenant,
            capability,
            agent,
            input,
            number: 1,
            step: None,
            intent: agent::text("intent", request.intent, agent::MAX_TEXT)?.into(),
            timeout: time,
            deadline: self.clock.mono() + time,
            policy: RetryPolicy::DEFAULT,
            retries,
            resumed: None,
            left: Arc::default(),
        };
        let report = self.dispatch.call(call).await;
        let attempts = u32::try_from(report.attempts.len()).unwrap_or(u32::MAX);
        match report.result {
            Ok(answer) => {
                let last = report.attempts.last();
                Ok(pb::InvokeResponse {
                    answer: Some((&answer).into()),
                    agent: last.map(|attempt| attempt.agent.clone()).unwrap_or_default(),
                    instance: last.map(|attempt| attempt.instance.clone()).unwrap_or_default(),
                    attempts,
                })
            }
            Err(failure) => Err(fault(failure).with("attempts", attempts)),
        }
    }
}

/// Whether the caller of a request lets us repeat what fails of it.
pub(crate) fn retries(metadata: &tonic::metadata::MetadataMap) -> Retries {
    if retry::is_forbidden(metadata) { Retries::Forbidden } else { Retries::Allowed }
}

/// The key of a client's own: the same for the same tenant, capability and text.
fn keyed(tenant: &str, capability: &str, key: &str) -> AttemptId {
    let mut hash = blake3::Hasher::new_derive_key("mainstay direct call key v1");
    for part in [tenant, capability, key] {
        hash.update(&(part.len() as u64).to_be_bytes()).update(part.as_bytes());
    }
    let mut id = [0; 16];
    hash.finalize_xof().fill(&mut id);
    AttemptId::from_bytes(id)
}

/// What a client is told of a call that failed.
fn fault(failure: Failure) -> Fault {
    let by_class = match failure.class {
        Class::Timeout => Reason::AgentTimeout,
        Class::Overload => Reason::AgentBusy,
        Class::ContractBreach | Class::LowConfidence => Reason::OutputSchemaMismatch,
        Class::CallerFault => Reason::FieldInvalid,
        Class::Unavailable => Reason::NoInstance,
        Class::Cancelled => Reason::CallCancelled,
        Class::AgentError | Class::OverBudget => Reason::AgentFailed,
        Class::Success | Class::Transport => Reason::AgentUnreachable,
    };
    let reason = Reason::from_code(&failure.code).unwrap_or(by_class);
    let fault = Fault::new(reason, &failure.message).with("class", failure.class.as_str());
    match failure.retry_after {
        Some(delay) => fault.retry_after(delay),
        None => fault,
    }
}
