//! Rates by hand. What is to be limited must exist: a misspelt target would limit nothing.

use mainstay_kernel::name::Name;
use mainstay_kernel::rate::{Rate, Target};
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, pb, rate, time};

use super::Api;
use super::pauses::MAX_REASON;
use crate::api::store_fault;
use crate::rates::{Held, LimitError, SetByHand};

impl Api {
    pub(super) async fn put_limit(&self, request: pb::SetLimitRequest) -> Result<pb::Limit, Fault> {
        let (tenant, target) = target(&request.tenant, &request.target)?;
        if request.reason.trim().is_empty() {
            return Err(Fault::invalid("reason", "must say why"));
        }
        let rate = request
            .rate
            .ok_or_else(|| Fault::invalid("rate", "is missing; say how many calls, like 10/s"))?;
        let limit = SetByHand {
            rate: Rate::try_from(rate).map_err(|fault| fault.inside("rate"))?,
            reason: agent::text("reason", request.reason, MAX_REASON)?,
            by: agent::text("by", request.by, MAX_REASON)?,
            since: self.clock.wall(),
        };
        self.must_be_known(&tenant, &target)?;
        self.registry.set_rate(&tenant, target.clone(), limit.clone()).await.map_err(fault)?;
        let held = self.limits_of(Some(&tenant)).into_iter().find(|(_, held)| held.target == target);
        // Cleared by somebody else meanwhile, it is told as it was set.
        Ok(held.map_or_else(|| cleared(&tenant, &target, &limit), |(tenant, held)| view(&tenant, &held)))
    }

    pub(super) async fn lift_limit(&self, request: pb::ClearLimitRequest) -> Result<pb::Limit, Fault> {
        let (tenant, target) = target(&request.tenant, &request.target)?;
        let by = agent::text("by", request.by, MAX_REASON)?;
        let limit = self.registry.clear_rate(&tenant, &target, &by).await.map_err(fault)?;
        Ok(cleared(&tenant, &target, &limit))
    }

    pub(super) fn limits(&self, request: &pb::ListLimitsRequest) -> Result<Vec<pb::Limit>, Fault> {
        let tenant = agent::tenant(&request.tenant)?;
        let all = self.limits_of((!request.all_tenants).then_some(&tenant));
        Ok(all.iter().map(|(tenant, held)| view(tenant, held)).collect())
    }

    fn limits_of(&self, tenant: Option<&Name>) -> Vec<(Name, Held)> {
        self.registry.rates().all(tenant, self.clock.mono())
    }

    fn must_be_known(&self, tenant: &Name, target: &Target) -> Result<(), Fault> {
        let no_agent = |name| {
            Fault::field(
                Reason::AgentNotFound,
                "target",
                format_args!("names {name}, which is not registered"),
            )
        };
        let unknown = |name, by: &str| {
            let text = format_args!("names {name}, which was never registered by {by}");
            Fault::field(Reason::CapabilityUnknown, "target", text)
        };
        match target {
            // A tenant is known by what it does, and may begin after it is limited.
            Target::Tenant(_) => Ok(()),
            Target::Capability(name) if self.registry.was_ever_registered(tenant, name) => Ok(()),
            Target::Capability(name) => Err(unknown(name, "any agent")),
            Target::Agent(name) => self.registry.agent(tenant, name).map(drop).ok_or_else(|| no_agent(name)),
            Target::Offer { agent, capability } => {
                let found = self.registry.agent(tenant, agent).ok_or_else(|| no_agent(agent))?;
                let offered = found.instances.iter().any(|it| it.lane(capability.as_str()).is_some());
                if offered { Ok(()) } else { Err(unknown(capability, agent.as_str())) }
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
        Target::Capability(_) | Target::Agent(_) | Target::Offer { .. } => {
            Ok((agent::tenant(tenant)?, target))
        }
    }
}

fn view(tenant: &Name, held: &Held) -> pb::Limit {
    let set = held.set.as_deref();
    pb::Limit {
        tenant: tenant.to_string(),
        target: held.target.to_string(),
        rate: Some(rate::view(&held.rate)),
        declared: held.declared.as_ref().map(rate::view),
        set: set.is_some(),
        reason: set.map(|set| set.reason.clone()).unwrap_or_default(),
        by: set.map(|set| set.by.clone()).unwrap_or_default(),
        since: set.map(|set| time::timestamp(set.since)),
        wait: Some(time::duration(held.wait)),
    }
}

fn cleared(tenant: &Name, target: &Target, limit: &SetByHand) -> pb::Limit {
    pb::Limit {
        tenant: tenant.to_string(),
        target: target.to_string(),
        rate: Some(rate::view(&limit.rate)),
        declared: None,
        set: true,
        reason: limit.reason.clone(),
        by: limit.by.clone(),
        since: Some(time::timestamp(limit.since)),
        wait: None,
    }
}

fn fault(error: LimitError) -> Fault {
    match error {
        LimitError::NotSet(target) => Fault::field(
            Reason::LimitNotFound,
            "target",
            format_args!("names {target}, whose rate nobody set"),
        ),
        LimitError::Full { .. } => Fault::new(Reason::Overloaded, error),
        LimitError::Record(error) => Fault::new(Reason::Internal, error),
        LimitError::Commit(error) => store_fault(error),
    }
}
