//! Taking instances, agents, capabilities and tenants out of service and back, and counting what is still under way.

use std::sync::Arc;

use mainstay_kernel::event::Kind;
use mainstay_kernel::id::InstanceId;
use mainstay_kernel::name::Name;
use mainstay_kernel::pause::{Pause, Target};

use super::{Agent, Handle};
use crate::pauses::{self, PauseError};

impl Handle {
    /// What is paused.
    #[must_use]
    pub fn pauses(&self) -> &pauses::Handle {
        &self.0.pauses
    }

    /// Pauses a target; on disk when this returns, and no call begins there any more.
    pub async fn pause(&self, tenant: &Name, pause: Pause) -> Result<Arc<Pause>, PauseError> {
        let entry = self.0.pauses.put(tenant, pause).await?;
        self.0.events.tell_by(&entry.by, tenant, Kind::Paused, &entry.target, &entry.reason);
        self.tell_of(tenant, &entry.target);
        Ok(entry)
    }

    /// Lifts the pause of exactly this target; off the disk when this returns. Calls that waited for it look again.
    pub async fn resume(&self, tenant: &Name, target: &Target, by: &str) -> Result<Arc<Pause>, PauseError> {
        let entry = self.0.pauses.lift(tenant, target).await?;
        self.0.events.tell_by(
            by,
            tenant,
            Kind::Resumed,
            target,
            format_args!("was paused: {}", entry.reason),
        );
        self.tell_of(tenant, target);
        Ok(entry)
    }

    /// The pauses that an agent feels: of itself, its instances, its capabilities, its tenant.
    #[must_use]
    pub fn pauses_of(&self, agent: &Agent) -> Vec<Arc<Pause>> {
        let all = self.0.pauses.all(Some(&agent.tenant));
        all.into_iter().map(|(_, pause)| pause).filter(|pause| concerns(&pause.target, agent)).collect()
    }

    /// Calls under way where a target is; none for a workflow, which is under way as runs.
    #[must_use]
    pub fn calls_under_way(&self, tenant: &Name, target: &Target) -> u32 {
        let known = self.0.known.read();
        match target {
            Target::Workflow(_) => 0,
            Target::Instance { agent, instance } => {
                let id = InstanceId::derive(tenant.as_str(), agent.as_str(), instance.as_str());
                known.by_id.get(&id).map_or(0, |instance| instance.in_flight())
            }
            Target::Agent(agent) => {
                let instances = known.by_name.get(&(tenant.clone(), agent.clone()));
                let ids = instances.into_iter().flat_map(|instances| instances.values());
                ids.filter_map(|id| known.by_id.get(id)).map(|instance| instance.in_flight()).sum()
            }
            Target::Tenant(tenant) => {
                let all = known.by_id.values().filter(|instance| instance.tenant == *tenant);
                all.map(|instance| instance.in_flight()).sum()
            }
            Target::Capability(capability) => {
                let all = known.by_id.values().filter(|instance| instance.tenant == *tenant);
                all.filter_map(|it| it.lane(capability.as_str())).map(|lane| lane.lock().in_flight()).sum()
            }
        }
    }

    /// Tells waiting calls and watchers: a pause came or went. Seldom, so whoever waits anywhere in the tenant looks again.
    fn tell_of(&self, tenant: &Name, target: &Target) {
        self.0.routes.tell_tenant(tenant);
        for agent in self.agents(tenant, None, usize::MAX) {
            if concerns(target, &agent) {
                // An error means that nobody watches.
                self.0.changes.send((agent.tenant, agent.name)).ok();
            }
        }
    }
}

/// Whether a pause of `target` is felt by an agent of the same tenant.
fn concerns(target: &Target, agent: &Agent) -> bool {
    match target {
        Target::Tenant(_) => true,
        Target::Agent(name) | Target::Instance { agent: name, .. } => agent.name == *name,
        Target::Capability(name) => {
            agent.instances.iter().any(|instance| instance.lane(name.as_str()).is_some())
        }
        Target::Workflow(_) => false,
    }
}
