//! One registered instance: who it is, how to reach it, and the machines that say whether to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::agent::{AgentSpec, CapabilitySpec};
use mainstay_kernel::breaker::{self, Breaker};
use mainstay_kernel::call::Lane;
use mainstay_kernel::dice::Dice;
use mainstay_kernel::health::{self, Evidence, Health};
use mainstay_kernel::id::{InstanceId, LeaseId};
use mainstay_kernel::lease::Lease;
use mainstay_kernel::name::Name;
use mainstay_kernel::pause::Target;
use mainstay_kernel::time::{Mono, Wall};
use mainstay_transport::channel::Channel;
use parking_lot::Mutex;

use super::fleet::Fleet;

/// An instance as it registered last. Registering again makes a new one, which takes over the lanes of the old.
#[derive(Debug)]
pub struct Instance {
    /// Derived from tenant, agent and name: the same at every registration.
    pub id: InstanceId,
    /// Its tenant.
    pub tenant: Name,
    /// Its name within the agent.
    pub name: Name,
    /// The agent, as this instance describes it.
    pub spec: AgentSpec,
    /// Its address, as it was registered.
    pub address: String,
    /// The address that was checked and is dialled.
    pub socket: SocketAddr,
    /// A warm connection to its sidecar.
    pub channel: Channel,
    /// What it shares with the other instances of its agent.
    pub fleet: Arc<Fleet>,
    /// Grows by one at each registration.
    pub epoch: u64,
    /// When it registered.
    pub registered_at: Wall,
    pub(super) vitals: Mutex<Vitals>,
    lanes: Vec<(Name, Arc<Mutex<Lane>>)>,
}

/// Evidence and verdict: one owner of an instance's health.
#[derive(Debug)]
pub(super) struct Vitals {
    pub(super) lease: Lease,
    pub(super) health: Health,
    /// When the lease was lost or given back.
    pub(super) lapsed_at: Option<Wall>,
}

/// What makes an instance, beside what it says of itself.
#[derive(Debug)]
pub(super) struct Birth {
    pub(super) id: InstanceId,
    pub(super) tenant: Name,
    pub(super) name: Name,
    pub(super) spec: AgentSpec,
    pub(super) address: String,
    pub(super) channel: Channel,
    pub(super) fleet: Arc<Fleet>,
    pub(super) epoch: u64,
    pub(super) registered_at: Wall,
    pub(super) lease: Lease,
    pub(super) lapsed_at: Option<Wall>,
    /// What the server has where a capability declares nothing.
    pub(super) breakers: breaker::Config,
    /// How long its share of the traffic grows when it is new or back.
    pub(super) slow_start: Duration,
}

impl Instance {
    /// Lanes of capabilities that `before` had too are kept: a sidecar that restarts does not reset its breakers.
    /// Its health is kept if it presents the lease that `before` holds.
    pub(super) fn new(birth: Birth, before: Option<&Self>, presented: Option<LeaseId>, now: Mono) -> Self {
        let lane = |offered: &CapabilitySpec| {
            let (policy, sla, max) =
                (offered.breaker.over(birth.breakers), offered.sla, offered.max_concurrency);
            match before.and_then(|before| before.lane(offered.name.as_str())) {
                Some(lane) => {
                    lane.lock().set_promise(policy, sla, max, now);
                    Arc::clone(lane)
                }
                None => {
                    let lane = Lane::new(Breaker::new(policy, sla, now), max, now);
                    Arc::new(Mutex::new(lane.with_slow_start(birth.slow_start)))
                }
            }
        };
        let lanes = birth.spec.capabilities.iter().map(|c| (c.name.clone(), lane(c))).collect();
        let health = before
            .map(|before| before.vitals.lock())
            .filter(|vitals| vitals.lapsed_at.is_none() && presented == Some(vitals.lease.id()))
            .map_or_else(|| Health::new(health::Config::default(), now), |vitals| vitals.health.clone());
        Self {
            id: birth.id,
            tenant: birth.tenant,
            name: birth.name,
            spec: birth.spec,
            address: birth.address,
            socket: birth.channel.addr(),
            channel: birth.channel,
            fleet: birth.fleet,
            epoch: birth.epoch,
            registered_at: birth.registered_at,
            vitals: Mutex::new(Vitals { lease: birth.lease, health, lapsed_at: birth.lapsed_at }),
            lanes,
        }
    }

    /// What an operator calls it.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::Instance { agent: self.spec.name.clone(), instance: self.name.clone() }
    }

    /// The lane of a capability.
    #[must_use]
    pub fn lane(&self, capability: &str) -> Option<&Arc<Mutex<Lane>>> {
        self.lanes.iter().find(|(name, _)| *name == *capability).map(|(_, lane)| lane)
    }

    /// All lanes, by capability.
    pub fn lanes(&self) -> impl Iterator<Item = (&Name, &Arc<Mutex<Lane>>)> {
        self.lanes.iter().map(|(name, lane)| (name, lane))
    }

    /// It is new, or back: its share of the traffic grows slowly.
    pub(super) fn warm_up(&self, now: Mono) {
        self.lanes.iter().for_each(|(_, lane)| lane.lock().warm_up(now));
    }

    /// Whether it holds a lease.
    #[must_use]
    pub fn is_leased(&self) -> bool {
        let vitals = self.vitals.lock();
        vitals.lapsed_at.is_none() && vitals.lease.is_held()
    }

    /// When it lost or gave back its lease, if it has.
    #[must_use]
    pub fn lapsed_at(&self) -> Option<Wall> {
        self.vitals.lock().lapsed_at
    }

    /// The verdict on its health.
    #[must_use]
    pub fn verdict(&self) -> health::Verdict {
        self.vitals.lock().health.verdict()
    }

    /// When it is to be polled next; `None` if not at all.
    #[must_use]
    pub fn poll_due(&self) -> Option<Mono> {
        let vitals = self.vitals.lock();
        if vitals.lapsed_at.is_some() { None } else { vitals.health.poll_timeout() }
    }

    /// A poll begins.
    pub fn begin_poll(&self, now: Mono) {
        self.vitals.lock().health.begin_poll(now);
    }

    /// Something was learnt. Through [`super::Handle::observe`], which tells routing of the change.
    pub(super) fn observe(&self, evidence: Evidence, now: Mono, dice: &mut Dice) -> Option<health::Change> {
        self.vitals.lock().health.observe(evidence, now, dice)
    }

    /// Calls under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.lanes.iter().map(|(_, lane)| lane.lock().in_flight()).sum()
    }
}
