//! A direct call: retried and bounded like any other, but without a journal. Its client waits for it, and names a
//! capability, or a routing document that finds one.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::id::AttemptId;
use mainstay_kernel::json::Limits;
use mainstay_kernel::outcome::{Class, Failure};
use mainstay_kernel::priority::Priority;
use mainstay_kernel::retry::{Retries, RetryPolicy};
use mainstay_kernel::route::Target;
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, chain, outcome, pb};
use mainstay_transport::deadline::Deadline;
use mainstay_transport::retry;
use tonic::Request;

use crate::api::documents::catalog_fault;
use crate::host::Clock;
use crate::{dispatch, registry, routing};

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
    routing: routing::Handle,
    limits: Limits,
}

impl Handle {
    /// Direct calls over dispatch. Payloads hold to `limits`.
    #[must_use]
    pub fn new(
        clock: Clock,
        registry: registry::Handle,
        dispatch: dispatch::Handle,
        routing: routing::Handle,
        limits: Limits,
    ) -> Self {
        Self { clock, registry, dispatch, routing, limits }
    }

    /// Makes the call that `request` asks for, or routes it by the document it names.
    pub async fn call(
        &self,
        request: Request<pb::InvokeRequest>,
        priority: Priority,
    ) -> Result<pb::InvokeResponse, Fault> {
        if !request.get_ref().route.is_empty() {
            return self.route(request, priority).await;
        }
        let time = Deadline::of(request.extensions()).map_or(DEFAULT_DEADLINE, Deadline::remaining);
        let (retries, chain) = (retries(request.metadata()), chain::of(request.metadata())?);
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        if !request.labels.is_empty() || request.route_version != 0 {
            let field = if request.labels.is_empty() { "route_version" } else { "labels" };
            return Err(Fault::invalid(field, "is for routed requests: name a routing document in `route`"));
        }
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
            not_by: Vec::new(),
            input,
            number: 1,
            step: None,
            intent: agent::text("intent", request.intent, agent::MAX_TEXT)?.into(),
            labels: Arc::default(),
            timeout: time,
            deadline: self.clock.mono() + time,
            policy: RetryPolicy::DEFAULT,
            retries,
            chain,
            priority,
            resumed: None,
            left: Arc::default(),
        };
        let report = self.dispatch.call(call).await;
        let attempts = u32::try_from(report.attempts.len()).unwrap_or(u32::MAX);
        match report.result {
            Ok(answer) => {
                let last = dispatch::decisive(&report.attempts);
                Ok(pb::InvokeResponse {
                    answer: Some((&answer).into()),
                    agent: last.map(|attempt| attempt.agent.clone()).unwrap_or_default(),
                    instance: last.map(|attempt| attempt.instance.clone()).unwrap_or_default(),
                    attempts,
                    routed: None,
                    version: last.map(|attempt| attempt.version.clone()).unwrap_or_default(),
                    notes: last.map(|attempt| attempt.notes.clone()).unwrap_or_default(),
                })
            }
            Err(failure) => Err(fault(failure).with("attempts", attempts)),
        }
    }

    /// Sends a request down the rungs of the document it names.
    async fn route(
        &self,
        request: Request<pb::InvokeRequest>,
        priority: Priority,
    ) -> Result<pb::InvokeResponse, Fault> {
        let time = Deadline::of(request.extensions()).map_or(DEFAULT_DEADLINE, Deadline::remaining);
        let (retries, chain) = (retries(request.metadata()), chain::of(request.metadata())?);
        let request = request.into_inner();
        let terms = routing::Terms {
            key: agent::text("idempotency_key", request.idempotency_key, MAX_KEY)?,
            intent: agent::text("intent", request.intent, agent::MAX_TEXT)?.into(),
            time,
            retries,
            chain,
            priority,
        };
        let asked = routing::Request {
            tenant: agent::tenant(&request.tenant)?,
            route: agent::name("route", &request.route)?,
            version: (request.route_version != 0).then_some(request.route_version),
            input: outcome::payload("input", &request.input, &self.limits)?,
            labels: agent::labels("labels", request.labels)?,
            target: target(&request.capability, &request.agent)?,
        };
        let routed = self.routing.call(asked, terms).await;
        let routed = routed.map_err(|error| catalog_fault(error).violation("route", "is not stored"))?;
        let told = pb::Routed {
            decision_id: routed.id.to_string(),
            rung: pb::Rung::from(routed.decision.rung).into(),
            capability: routed
                .decision
                .target
                .as_ref()
                .map(|it| it.capability.to_string())
                .unwrap_or_default(),
            fallback: routed.decision.is_fallback(),
        };
        match routed.result {
            Ok(answer) => Ok(pb::InvokeResponse {
                answer: Some((&answer).into()),
                agent: routed.agent,
                instance: routed.instance,
                attempts: routed.attempts,
                routed: Some(told),
                ..Default::default()
            }),
            Err(failure) => {
                Err(fault(failure).with("attempts", routed.attempts).with("decision_id", routed.id))
            }
        }
    }
}

/// The target that a routed request names itself, if it does.
pub(crate) fn target(capability: &str, agent: &str) -> Result<Option<Target>, Fault> {
    let agent = match agent {
        "" => None,
        name => Some(mainstay_proto::agent::name("agent", name)?),
    };
    match (capability, agent) {
        ("", None) => Ok(None),
        ("", Some(_)) => Err(Fault::invalid("capability", "is missing: an agent alone is no target")),
        (name, agent) => {
            Ok(Some(Target { capability: mainstay_proto::agent::name("capability", name)?, agent }))
        }
    }
}

/// Whether the caller of a request lets us repeat what fails of it.
pub(crate) fn retries(metadata: &tonic::metadata::MetadataMap) -> Retries {
    if retry::is_forbidden(metadata) { Retries::Forbidden } else { Retries::Allowed }
}

/// The key of a client's own: the same for the same tenant, capability and text.
pub(crate) fn keyed(tenant: &str, capability: &str, key: &str) -> AttemptId {
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
