//! `mainstay.v1.AgentRegistry`.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use mainstay_kernel::agent::AgentSpec;
use mainstay_kernel::call::Rejection;
use mainstay_kernel::ejection::Ejected;
use mainstay_kernel::id::{InstanceId, LeaseId};
use mainstay_kernel::lease::Ttl;
use mainstay_kernel::name::Name;
use mainstay_kernel::time::Now;
use mainstay_kernel::{breaker, health};
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, pause, pb, time};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::page::Pages;
use super::watcher::Watcher;
use super::{spill_fault, store_fault};
use crate::host::Clock;
use crate::registry::{
    Agent, Candidate, Handle, Instance, LeaseError, RegisterError, Registration, Unresolved,
};

/// Longest reason given in words.
const MAX_REASON: usize = 256;

/// Most instances named in one answer of `Resolve`: a caller that spreads its calls wider should let them be routed.
const MAX_RESOLVED: u32 = 100;

/// How long a resolved instance may be taken to be good: about as long as two polls of its health, by which a sick one is
/// found out.
const RESOLVED_FOR: Duration = Duration::from_secs(10);

/// The service.
#[derive(Debug, Clone)]
pub struct Api {
    /// The registry.
    pub registry: Handle,
    /// The clock.
    pub clock: Clock,
    /// Page tokens.
    pub pages: Pages,
    /// Ends watches, which never end by themselves, when the server stops.
    pub stopping: CancellationToken,
}

#[tonic::async_trait]
impl pb::agent_registry_server::AgentRegistry for Api {
    async fn register(
        &self,
        request: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        let registration = registration(request.into_inner())?;
        let granted = self.registry.register(registration).await.map_err(register_fault)?;
        Ok(Response::new(pb::RegisterResponse {
            instance_id: granted.id.to_string(),
            lease_id: granted.lease.to_string(),
            ttl: Some(time::duration(granted.ttl.as_duration())),
            renew_every: Some(time::duration(granted.ttl.renewal_interval())),
            epoch: granted.epoch,
        }))
    }

    async fn renew(&self, request: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        let request = request.into_inner();
        let (lease, instance) = holder(&request.lease_id, &request.instance_id)?;
        let ttl = self.registry.renew(lease, instance).map_err(lease_fault)?;
        Ok(Response::new(pb::RenewResponse { ttl: Some(time::duration(ttl.as_duration())) }))
    }

    async fn deregister(
        &self,
        request: Request<pb::DeregisterRequest>,
    ) -> Result<Response<pb::DeregisterResponse>, Status> {
        let request = request.into_inner();
        let (lease, instance) = holder(&request.lease_id, &request.instance_id)?;
        let reason = agent::text("reason", request.reason, MAX_REASON)?;
        self.registry.deregister(lease, instance, &reason).await.map_err(lease_fault)?;
        Ok(Response::new(pb::DeregisterResponse {}))
    }

    async fn list_agents(
        &self,
        request: Request<pb::ListAgentsRequest>,
    ) -> Result<Response<pb::ListAgentsResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        if !request.capability.is_empty() {
            agent::name("capability", &request.capability)?;
        }
        let filters = [tenant.as_str(), &request.capability];
        let page = self.pages.open("agents", &filters, request.page_size, &request.page_token)?;
        let after = page.cursor_text()?.map(|name| agent::name("page_token", name)).transpose()?;
        let now = self.clock.now();
        let mut listed = self.registry.agents(&tenant, after.as_ref(), page.size + 1);
        let more = listed.len() > page.size;
        listed.truncate(page.size);
        let next = listed.last().filter(|_| more).map(|last| page.next(last.name.as_str().as_bytes()));
        let offers = |agent: &&Agent| {
            let mut specs = agent.instances.iter().map(|instance| &instance.spec);
            request.capability.is_empty() || specs.any(|spec| spec.capability(&request.capability).is_some())
        };
        Ok(Response::new(pb::ListAgentsResponse {
            agents: listed.iter().filter(offers).map(|agent| view(&self.registry, agent, now)).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn get_agent(
        &self,
        request: Request<pb::GetAgentRequest>,
    ) -> Result<Response<pb::GetAgentResponse>, Status> {
        let request = request.into_inner();
        let (tenant, name) = (agent::tenant(&request.tenant)?, agent::name("name", &request.name)?);
        let found = self.registry.agent(&tenant, &name);
        let found = found.ok_or_else(|| {
            Fault::field(Reason::AgentNotFound, "name", format_args!("{name} is not registered"))
        })?;
        Ok(Response::new(pb::GetAgentResponse {
            agent: Some(view(&self.registry, &found, self.clock.now())),
        }))
    }

    async fn resolve(
        &self,
        request: Request<pb::ResolveRequest>,
    ) -> Result<Response<pb::ResolveResponse>, Status> {
        let request = request.into_inner();
        let (tenant, capability) =
            (agent::tenant(&request.tenant)?, agent::name("capability", &request.capability)?);
        let agent = match request.agent.as_str() {
            "" => None,
            name => Some(agent::name("agent", name)?),
        };
        if request.limit > MAX_RESOLVED {
            let text = format_args!("is {}; it must be at most {MAX_RESOLVED}", request.limit);
            return Err(Fault::invalid("limit", text).into());
        }
        if !self.registry.was_ever_registered(&tenant, &capability) {
            let text = format_args!("{capability} was never registered by any agent");
            return Err(Fault::field(Reason::CapabilityUnknown, "capability", text).into());
        }
        let count = usize::try_from(request.limit.max(1)).unwrap_or(1);
        let found = self.registry.resolve(&tenant, &capability, agent.as_ref(), count);
        let found = found.map_err(|why| unresolved(&capability, &why))?;
        Ok(Response::new(pb::ResolveResponse {
            instances: found.into_iter().map(|candidate| resolved(&capability, &candidate)).collect(),
            valid_for: Some(time::duration(RESOLVED_FOR)),
            panicking: self.registry.route(&tenant, &capability).is_panicking(),
        }))
    }

    type WatchAgentsStream = BoxStream<'static, Result<pb::WatchAgentsResponse, Status>>;

    async fn watch_agents(
        &self,
        request: Request<pb::WatchAgentsRequest>,
    ) -> Result<Response<Self::WatchAgentsStream>, Status> {
        let tenant = agent::tenant(&request.into_inner().tenant)?;
        let watcher = Watcher::new(self.registry.clone(), self.clock.clone(), tenant);
        let events = watcher.stream().map(Ok).take_until(self.stopping.clone().cancelled_owned());
        Ok(Response::new(events.boxed()))
    }
}

fn unresolved(capability: &Name, why: &Unresolved) -> Fault {
    match why {
        Unresolved::Nobody => {
            Fault::new(Reason::NoInstance, format_args!("no instance offers {capability} now"))
        }
        Unresolved::Paused(pause) => Fault::new(Reason::Paused, pause).with("target", &pause.target),
        Unresolved::NoneReady(reasons) => {
            let reason = |(instance, rejection): &(Arc<Instance>, Rejection)| {
                format!("{}/{}: {rejection}", instance.spec.name, instance.name)
            };
            let reasons: Vec<_> = reasons.iter().map(reason).collect();
            let text = format_args!("no instance of {capability} can be called now: {}", reasons.join("; "));
            Fault::new(Reason::NoInstance, text).retry_after(RESOLVED_FOR)
        }
    }
}

fn resolved(capability: &Name, candidate: &Candidate) -> pb::ResolvedInstance {
    let instance = &candidate.instance;
    let sla = instance.spec.capability(capability.as_str()).map(|capability| time::duration(capability.sla));
    pb::ResolvedInstance {
        agent: instance.spec.name.to_string(),
        instance: instance.name.to_string(),
        instance_id: instance.id.to_string(),
        address: instance.address.clone(),
        version: instance.spec.version.clone(),
        effect: pb::EffectClass::from(candidate.effect).into(),
        sla,
    }
}

fn registration(request: pb::RegisterRequest) -> Result<Registration, Fault> {
    let spec = request.agent.ok_or_else(|| Fault::invalid("agent", "is missing"))?;
    let ttl = match &request.ttl {
        None => Ttl::DEFAULT,
        Some(ttl) => {
            let ttl = time::positive_duration("ttl", ttl)?;
            Ttl::try_from(ttl).map_err(|error| Fault::invalid("ttl", error))?
        }
    };
    let lease = match request.lease_id.as_str() {
        "" => None,
        lease => Some(lease.parse().map_err(|error| Fault::invalid("lease_id", error))?),
    };
    Ok(Registration {
        tenant: agent::tenant(&request.tenant)?,
        spec: AgentSpec::try_from(spec).map_err(|fault| fault.inside("agent"))?,
        instance: agent::name("instance", &request.instance)?,
        address: request.address,
        ttl,
        lease,
    })
}

fn holder(lease: &str, instance: &str) -> Result<(LeaseId, Option<InstanceId>), Fault> {
    let lease = lease.parse().map_err(|error| Fault::invalid("lease_id", error))?;
    let instance = match instance {
        "" => None,
        instance => Some(instance.parse().map_err(|error| Fault::invalid("instance_id", error))?),
    };
    Ok((lease, instance))
}

fn register_fault(error: RegisterError) -> Fault {
    match error {
        RegisterError::Address(error) => Fault::field(Reason::AddressRefused, "address", error),
        RegisterError::Schema { index, field, error } => {
            let code = error.code();
            let at = format_args!("agent.capabilities[{index}].{field}");
            Fault::field(Reason::AgentInvalid, at, error).precisely(code)
        }
        RegisterError::Held { .. } => Fault::field(Reason::InstanceHeld, "instance", error),
        RegisterError::NotYours => {
            Fault::field(Reason::LeaseNotYours, "lease_id", "belongs to another instance")
        }
        RegisterError::Full { .. } => Fault::new(Reason::Overloaded, error),
        RegisterError::Spill(error) => spill_fault(error),
        RegisterError::Commit(error) => store_fault(error),
        RegisterError::Read(error) => Fault::new(Reason::StoreFailed, error),
    }
}

fn lease_fault(error: LeaseError) -> Fault {
    match error {
        LeaseError::Unknown => Fault::field(Reason::LeaseUnknown, "lease_id", "is not known; register again"),
        LeaseError::NotYours => {
            Fault::field(Reason::LeaseNotYours, "lease_id", "belongs to another instance")
        }
        LeaseError::Spill(error) => spill_fault(error),
        LeaseError::Commit(error) => store_fault(error),
        LeaseError::Read(error) => Fault::new(Reason::StoreFailed, error),
    }
}

pub(super) fn view(registry: &Handle, agent: &Agent, now: Now) -> pb::Agent {
    pb::Agent {
        tenant: agent.tenant.to_string(),
        spec: agent.spec().map(Into::into),
        instances: agent.instances.iter().map(|instance| instance_view(instance, now)).collect(),
        pauses: registry.pauses_of(agent).iter().map(|pause| pause::view(&agent.tenant, pause)).collect(),
        panicking: registry.panicking(agent).iter().map(ToString::to_string).collect(),
    }
}

fn instance_view(instance: &Instance, now: Now) -> pb::Instance {
    let verdict = instance.verdict();
    let health = match verdict.state {
        health::State::Unknown => pb::HealthState::Unknown,
        health::State::Healthy => pb::HealthState::Healthy,
        health::State::Unhealthy => pb::HealthState::Unhealthy,
    };
    pb::Instance {
        instance_id: instance.id.to_string(),
        name: instance.name.to_string(),
        address: instance.address.clone(),
        version: instance.spec.version.clone(),
        health: health.into(),
        health_reason: verdict.reason.to_string(),
        health_since: Some(time::timestamp(now.wall_at(verdict.since))),
        leased: instance.is_leased(),
        registered_at: Some(time::timestamp(instance.registered_at)),
        epoch: instance.epoch,
        in_flight: instance.in_flight(),
        breakers: instance
            .lanes()
            .map(|(capability, lane)| breaker_view(capability, lane.lock().breaker().snapshot(now)))
            .collect(),
        ejections: instance
            .lanes()
            .filter_map(|(capability, lane)| Some(ejection_view(capability, lane.lock().ejected()?, now)))
            .collect(),
        slow_starts: instance
            .lanes()
            .filter_map(|(capability, lane)| {
                let until = lane.lock().warming_until(now.mono)?;
                let until = Some(time::timestamp(now.wall_at(until)));
                Some(pb::SlowStart { capability: capability.to_string(), until })
            })
            .collect(),
    }
}

fn ejection_view(capability: &Name, ejected: Ejected, now: Now) -> pb::Ejection {
    pb::Ejection {
        capability: capability.to_string(),
        reason: ejected.reason.to_string(),
        since: Some(time::timestamp(now.wall_at(ejected.since))),
        until: Some(time::timestamp(now.wall_at(ejected.until))),
    }
}

pub(super) fn breaker_view(capability: &Name, snapshot: breaker::Snapshot) -> pb::Breaker {
    let state = match snapshot.state {
        breaker::State::Closed => pb::BreakerState::Closed,
        breaker::State::Open => pb::BreakerState::Open,
        breaker::State::HalfOpen => pb::BreakerState::HalfOpen,
    };
    pb::Breaker {
        capability: capability.to_string(),
        state: state.into(),
        reason: snapshot.reason.map(|reason| reason.to_string()).unwrap_or_default(),
        changed_at: Some(time::timestamp(snapshot.since)),
        opened: snapshot.opened,
    }
}
