//! Pause, drain, resume. What is to be paused must exist: a misspelt target would leave the real one in service, and
//! whoever paused it would not know.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::name::Name;
use mainstay_kernel::pause::{Pause, Target};
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, pb, time};
use mainstay_transport::deadline::Deadline;

use super::Api;
use crate::api::documents::catalog_fault;
use crate::api::store_fault;
use crate::pauses::PauseError;

/// Longest reason and author: a sentence for whoever wonders at night.
pub(super) const MAX_REASON: usize = 256;
/// Longest time that one drain waits. Work that takes longer is asked for again.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// How often a drain counts what is under way: a person waits for it, and counting takes microseconds.
const COUNT_EVERY: Duration = Duration::from_millis(50);

impl Api {
    pub(super) async fn put_pause(&self, request: pb::PauseRequest) -> Result<pb::Pause, Fault> {
        let (tenant, target) = target(&request.tenant, &request.target)?;
        if request.reason.trim().is_empty() {
            return Err(Fault::invalid("reason", "must say why"));
        }
        let pause = Pause {
            reason: agent::text("reason", request.reason, MAX_REASON)?,
            by: agent::text("by", request.by, MAX_REASON)?,
            since: self.clock.wall(),
            target,
        };
        self.must_exist(&tenant, &pause.target).await?;
        let entry = self.registry.pause(&tenant, pause).await.map_err(fault)?;
        Ok(self.view(&tenant, &entry))
    }

    pub(super) async fn wait_until_drained(
        &self,
        request: pb::DrainRequest,
        deadline: Option<Deadline>,
    ) -> Result<pb::DrainResponse, Fault> {
        let wait = match &request.wait {
            None => Duration::ZERO,
            Some(wait) => time::std_duration(wait)
                .filter(|wait| *wait <= MAX_WAIT)
                .ok_or_else(|| Fault::invalid("wait", "must be 0 to 10 min"))?,
        };
        let wait = deadline.map_or(wait, |deadline| wait.min(deadline.remaining()));
        let (tenant, target) = target(&request.tenant, &request.target)?;
        let pause = pb::PauseRequest {
            tenant: request.tenant,
            target: request.target,
            reason: request.reason,
            by: request.by,
        };
        let mut pause = self.put_pause(pause).await?;
        let until = self.clock.mono() + wait;
        let under_way = loop {
            let under_way = self.under_way(&tenant, &target);
            if under_way == 0 || self.clock.mono() >= until || self.stopping.is_cancelled() {
                break under_way;
            }
            tokio::time::sleep(COUNT_EVERY.min(until - self.clock.mono())).await;
        };
        pause.under_way = Some(under_way);
        Ok(pb::DrainResponse { pause: Some(pause), drained: under_way == 0 })
    }

    pub(super) async fn lift_pause(&self, request: pb::ResumeRequest) -> Result<pb::Pause, Fault> {
        let (tenant, target) = target(&request.tenant, &request.target)?;
        let by = agent::text("by", request.by, MAX_REASON)?;
        let entry = self.registry.resume(&tenant, &target, &by).await.map_err(fault)?;
        Ok(self.view(&tenant, &entry))
    }

    pub(super) fn pauses(&self, request: &pb::ListPausesRequest) -> Result<Vec<pb::Pause>, Fault> {
        let tenant = agent::tenant(&request.tenant)?;
        let tenant = (!request.all_tenants).then_some(&tenant);
        let all = self.registry.pauses().all(tenant);
        Ok(all.iter().map(|(tenant, pause)| self.view(tenant, pause)).collect())
    }

    fn view(&self, tenant: &Name, pause: &Arc<Pause>) -> pb::Pause {
        let under_way = Some(self.under_way(tenant, &pause.target));
        pb::Pause { under_way, ..mainstay_proto::pause::view(tenant, pause) }
    }

    fn under_way(&self, tenant: &Name, target: &Target) -> u32 {
        match target {
            Target::Workflow(workflow) => {
                u32::try_from(self.engine.open_runs_of(tenant, workflow)).unwrap_or(u32::MAX)
            }
            Target::Tenant(_) | Target::Capability(_) | Target::Agent(_) | Target::Instance { .. } => {
                self.registry.calls_under_way(tenant, target)
            }
        }
    }

    async fn must_exist(&self, tenant: &Name, target: &Target) -> Result<(), Fault> {
        let no_agent = |text: String| Fault::field(Reason::AgentNotFound, "target", text);
        match target {
            // A tenant is known by what it does, and may begin after it is paused.
            Target::Tenant(_) => Ok(()),
            Target::Capability(name) if self.registry.was_ever_registered(tenant, name) => Ok(()),
            Target::Capability(name) => {
                let text = format_args!("names {name}, which was never registered by any agent");
                Err(Fault::field(Reason::CapabilityUnknown, "target", text))
            }
            Target::Agent(name) if self.registry.agent(tenant, name).is_some() => Ok(()),
            Target::Agent(name) => Err(no_agent(format!("names {name}, which is not registered"))),
            Target::Instance { agent, instance } => match self.registry.agent(tenant, agent) {
                Some(found) if found.instances.iter().any(|it| it.name == *instance) => Ok(()),
                Some(_) => Err(no_agent(format!("names {instance}, which {agent} does not have"))),
                None => Err(no_agent(format!("names {agent}, which is not registered"))),
            },
            Target::Workflow(name) => {
                let (catalog, tenant, name) = (self.catalog.clone(), tenant.clone(), name.clone());
                let found = tokio::task::spawn_blocking(move || catalog.resolve(&tenant, &name, None)).await;
                let found = found.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
                found.map(drop).map_err(|error| catalog_fault(error).violation("target", "is not stored"))
            }
        }
    }
}

/// Reads a target and whose it is. A tenant names itself.
fn target(tenant: &str, text: &str) -> Result<(Name, Target), Fault> {
    let target: Target = text.parse().map_err(|error| Fault::invalid("target", error))?;
    match &target {
        Target::Tenant(named) if !tenant.is_empty() && *named != *tenant => {
            Err(Fault::invalid("target", format_args!("is another tenant than the request's, {tenant:?}")))
        }
        Target::Tenant(named) => Ok((named.clone(), target)),
        Target::Capability(_) | Target::Agent(_) | Target::Instance { .. } | Target::Workflow(_) => {
            Ok((agent::tenant(tenant)?, target))
        }
    }
}

fn fault(error: PauseError) -> Fault {
    match error {
        PauseError::NotPaused(target) => {
            Fault::field(Reason::PauseNotFound, "target", format_args!("names {target}, which is not paused"))
        }
        PauseError::Full { .. } => Fault::new(Reason::Overloaded, error),
        PauseError::Record(error) => Fault::new(Reason::Internal, error),
        PauseError::Commit(error) => store_fault(error),
    }
}
