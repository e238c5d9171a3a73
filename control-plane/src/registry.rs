//! The registry: which agents there are, who holds a lease, who offers what, and who is paused.
//!
//! A registration is on disk before it is acknowledged; renewals stay in memory. After a restart every instance that had
//! a lease is back with a grace period and its old lease id, so sidecars go on renewing and notice nothing. A lease that
//! lapses takes the instance out of routing at once; the record stays as history for a while.
//!
//! **Invariant:** one identity changes in one place at a time. Whoever writes a record of an instance holds the identity's
//! turn from its first look to its last effect, so memory and disk agree on who registered last; and whoever moves
//! an instance between routing and history does so under the lock of what is known, so no late farewell to an old
//! registration takes out a newer one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use mainstay_kernel::agent::{AgentSpec, CapabilitySpec};
use mainstay_kernel::breaker;
use mainstay_kernel::bulkhead::{self, Bulkhead, Wall};
use mainstay_kernel::call::SLOW_START;
use mainstay_kernel::dice::Dice;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::ejection;
use mainstay_kernel::event::Kind;
use mainstay_kernel::health::{Evidence, State};
use mainstay_kernel::id::{InstanceId, LeaseId};
use mainstay_kernel::lease::Ttl;
use mainstay_kernel::name::Name;
use mainstay_kernel::panic;
use mainstay_kernel::queue;
use mainstay_kernel::share::WHOLE;
use mainstay_kernel::time::Mono;
use mainstay_store::{Blobs, ReadError, Store};
use mainstay_transport::channel;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, broadcast};

use crate::address::Policy;
use crate::host::Clock;
use crate::{events, pauses, rates};

mod breakers;
mod fleet;
mod hedging;
mod instance;
mod leases;
mod limiting;
mod load;
mod pausing;
mod register;
mod resolve;
mod routes;
mod siblings;
mod standing;

pub use breakers::{Hand, Turn, Turned, Which};
pub use fleet::{Fleet, Place};
pub use instance::Instance;
pub use leases::LeaseError;
pub use load::OpenError;
pub use register::{RegisterError, Registered, Registration};
pub use resolve::Unresolved;
pub use routes::{Candidate, Queued, Route};

use routes::Routes;

/// How often lapsed leases are looked for. Leases last at least 5 s, so this adds at most a tenth.
const SWEEP: Duration = Duration::from_millis(500);

/// How long an instance without a lease stays on record: long enough to look into it the week after.
pub(crate) const HISTORY: Duration = Duration::from_secs(7 * 24 * 3600);

/// Identities that may be written at once. More than the disk can tell apart in one flush would only cost memory, and two
/// identities that share a turn by chance wait one commit for each other.
const TURNS: usize = 256;

/// Changes a watcher may lag behind before it is told to read everything again.
pub(crate) const WATCH_LAG: usize = 1024;

/// Settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which addresses may be registered.
    pub addresses: Policy,
    /// Instances on record at once, with a lease or without. Each costs about 20 KiB with its connection.
    pub max_instances: usize,
    /// How the calls under way are divided among agents and tenants.
    pub bulkheads: bulkhead::Config,
    /// How many calls may wait for a capability.
    pub queue: queue::Config,
    /// When breakers open, where a capability declares nothing else.
    pub breakers: breaker::Config,
    /// How many of a pool may be ejected because they do worse than their siblings.
    pub ejection: ejection::Config,
    /// When too few look usable to be believed.
    pub panic: panic::Config,
    /// How long the share of a new or recovered instance grows; none if it is zero.
    pub slow_start: Duration,
    /// How instances are dialled.
    pub channels: channel::Options,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addresses: Policy::default(),
            max_instances: 20_000,
            bulkheads: bulkhead::Config::default(),
            queue: queue::Config::default(),
            breakers: breaker::Config::default(),
            ejection: ejection::Config::default(),
            panic: panic::Config::default(),
            slow_start: SLOW_START,
            channels: channel::Options::default(),
        }
    }
}

/// The registry. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

/// What ends leases.
#[derive(Debug)]
pub struct Service(Handle);

/// One agent with its instances.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its tenant.
    pub tenant: Name,
    /// Its name.
    pub name: Name,
    /// Its instances, by name; never empty.
    pub instances: Vec<Arc<Instance>>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    clock: Clock,
    store: Arc<dyn Store>,
    blobs: Blobs,
    known: RwLock<Known>,
    /// The places that all fleets share.
    whole: Arc<Mutex<Bulkhead>>,
    turns: Vec<tokio::sync::Mutex<()>>,
    routes: Routes,
    pauses: pauses::Handle,
    rates: rates::Handle,
    events: events::Handle,
    dice: Mutex<Dice>,
    /// Told when an instance is to be polled at once.
    poll: Notify,
    /// Names agents that changed, to whoever watches.
    changes: broadcast::Sender<(Name, Name)>,
    breaker_changes: breakers::Changes,
    /// When siblings were last compared.
    compared: Mutex<Mono>,
    ejections: AtomicU64,
    panics: AtomicU64,
}

/// Every instance on record, found in each of the ways it is asked for. What is gone through is ordered, so that the same
/// happens in the same order each time.
#[derive(Debug, Default)]
struct Known {
    by_id: BTreeMap<InstanceId, Arc<Instance>>,
    by_lease: BTreeMap<LeaseId, InstanceId>,
    /// Tenant, agent, instance name.
    by_name: BTreeMap<(Name, Name), BTreeMap<Name, InstanceId>>,
    /// By tenant and agent.
    fleets: HashMap<(Name, Name), Arc<Fleet>>,
    /// What the fleets of each tenant share.
    tenants: HashMap<Name, Arc<Mutex<Bulkhead>>>,
}

/// Opens the registry: reads what is on record.
pub async fn open(
    config: Config,
    clock: Clock,
    store: Arc<dyn Store>,
    blobs: Blobs,
    events: events::Handle,
) -> Result<(Handle, Service), OpenError> {
    let (dice, compared) = (Mutex::new(clock.dice()), Mutex::new(clock.mono()));
    let whole = Arc::new(Mutex::new(config.bulkheads.bulkhead(Wall::Whole)));
    let (reading, now) = (Arc::clone(&store), clock.mono());
    let by_hand =
        move || Ok::<_, ReadError>((pauses::open(Arc::clone(&reading))?, rates::open(reading, now)?));
    let by_hand = tokio::task::spawn_blocking(by_hand).await;
    let (pauses, rates) = by_hand.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    let handle = Handle(Arc::new(Shared {
        config,
        clock,
        store,
        blobs,
        known: RwLock::default(),
        whole,
        turns: (0..TURNS).map(|_| tokio::sync::Mutex::default()).collect(),
        routes: Routes::default(),
        pauses,
        rates,
        events,
        dice,
        poll: Notify::new(),
        changes: broadcast::Sender::new(WATCH_LAG),
        breaker_changes: breakers::Changes::default(),
        compared,
        ejections: AtomicU64::new(0),
        panics: AtomicU64::new(0),
    }));
    load::load(&handle).await?;
    Ok((handle.clone(), Service(handle)))
}

// === impl Handle ===

impl Handle {
    /// Registers an instance; on disk when this returns.
    pub async fn register(&self, registration: Registration) -> Result<Registered, RegisterError> {
        // On a task: a sidecar that goes away meanwhile must not leave a record on disk that is not in memory.
        let registry = self.clone();
        let registered = tokio::spawn(async move { register::register(&registry, registration).await }).await;
        registered.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Renews a lease. `instance`, if given, must be the one that holds it.
    pub fn renew(&self, lease: LeaseId, instance: Option<InstanceId>) -> Result<Ttl, LeaseError> {
        leases::renew(self, lease, instance)
    }

    /// Ends a lease; on disk when this returns.
    pub async fn deregister(
        &self,
        lease: LeaseId,
        instance: Option<InstanceId>,
        reason: &str,
    ) -> Result<(), LeaseError> {
        // On a task, like a registration: what a caller who leaves has begun is carried through.
        let (registry, reason) = (self.clone(), reason.to_owned());
        let ended =
            tokio::spawn(async move { leases::deregister(&registry, lease, instance, &reason).await }).await;
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// The instances that offer a capability, now and later.
    #[must_use]
    pub fn route(&self, tenant: &Name, capability: &Name) -> Arc<Route> {
        self.0.routes.get_or_make(tenant, capability)
    }

    /// Calls that wait for an instance, as a share of the calls that may be under way, in basis points.
    #[must_use]
    pub fn waiting_bp(&self) -> u64 {
        let whole = u64::from(self.0.config.bulkheads.whole.max(1));
        self.waiting_calls().saturating_mul(u64::from(WHOLE)) / whole
    }

    /// Calls that wait for an instance.
    #[must_use]
    pub fn waiting_calls(&self) -> u64 {
        self.0.routes.waiting()
    }

    /// Whether any instance on record offers or offered this capability.
    #[must_use]
    pub fn was_ever_registered(&self, tenant: &Name, capability: &Name) -> bool {
        self.0.routes.get(tenant, capability).is_some_and(|route| route.was_ever_registered())
    }

    /// The strictest effect class declared for a capability.
    #[must_use]
    pub fn strictest_effect(&self, tenant: &Name, capability: &Name) -> EffectClass {
        self.0
            .routes
            .get(tenant, capability)
            .map_or(EffectClass::SideEffecting, |route| route.strictest_effect())
    }

    /// What a capability takes and gives, as its newest registration has it; nothing if nobody ever registered it.
    #[must_use]
    pub fn offer(&self, tenant: &Name, capability: &Name) -> Option<CapabilitySpec> {
        let everyone = self.0.routes.get(tenant, capability)?.everyone();
        let newest = everyone.iter().max_by_key(|candidate| candidate.instance.registered_at)?;
        newest.instance.spec.capability(capability.as_str()).cloned()
    }

    /// What a call of a capability costs by what the instances that hold a lease declare, in 10⁻⁹ US dollars: the most of
    /// it; nothing if none does.
    #[must_use]
    pub fn declared_cost(&self, tenant: &Name, capability: &Name) -> Option<u64> {
        let route = self.0.routes.get(tenant, capability)?;
        let candidates = route.candidates();
        let declared = candidates.iter().filter_map(|candidate| {
            let capability = candidate.instance.spec.capability(capability.as_str())?;
            u64::try_from(capability.cost_hint_nano_usd).ok().filter(|nano_usd| *nano_usd > 0)
        });
        declared.max()
    }

    /// How many calls may wait for a capability.
    #[must_use]
    pub fn queue(&self) -> queue::Config {
        self.0.config.queue
    }

    /// Instances that hold a lease.
    #[must_use]
    pub fn live_instances(&self) -> usize {
        self.0.known.read().by_lease.len()
    }

    /// Capabilities of instances that get fewer calls at once than they declare, because more only made them slower.
    #[must_use]
    pub fn lowered_limits(&self) -> usize {
        let is_lowered = |instance: &Arc<Instance>| {
            instance.lanes().map(|(_, lane)| lane.lock().limit()).filter(|(now, most)| now < most).count()
        };
        self.leased().iter().map(is_lowered).sum()
    }

    /// One agent.
    #[must_use]
    pub fn agent(&self, tenant: &Name, name: &Name) -> Option<Agent> {
        let known = self.0.known.read();
        let instances = known.by_name.get(&(tenant.clone(), name.clone()))?;
        Some(known.agent(tenant, name, instances))
    }

    /// What the instances of an agent share, while one is on record.
    #[must_use]
    pub fn fleet(&self, tenant: &Name, agent: &Name) -> Option<Arc<Fleet>> {
        self.0.known.read().fleets.get(&(tenant.clone(), agent.clone())).cloned()
    }

    /// Up to `limit` agents of a tenant behind `after`, by name.
    #[must_use]
    pub fn agents(&self, tenant: &Name, after: Option<&Name>, limit: usize) -> Vec<Agent> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let known = self.0.known.read();
        let from = match after {
            Some(after) => Excluded((tenant.clone(), after.clone())),
            None => match known.by_name.keys().find(|(t, _)| t == tenant) {
                Some(first) => Included(first.clone()),
                None => return Vec::new(),
            },
        };
        let range = known.by_name.range((from, Unbounded)).take_while(|((t, _), _)| t == tenant);
        range.take(limit).map(|((tenant, name), instances)| known.agent(tenant, name, instances)).collect()
    }

    /// Names of agents as they change. A receiver that lags is told so, and reads everything again.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<(Name, Name)> {
        self.0.changes.subscribe()
    }

    /// All instances that hold a lease.
    #[must_use]
    pub fn leased(&self) -> Vec<Arc<Instance>> {
        let known = self.0.known.read();
        known.by_lease.values().filter_map(|id| known.by_id.get(id)).cloned().collect()
    }

    /// The instance of this id, if it is on record.
    #[must_use]
    pub fn instance(&self, id: InstanceId) -> Option<Arc<Instance>> {
        self.0.known.read().by_id.get(&id).cloned()
    }

    /// Events that were not written down, since the start.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.0.events.lost()
    }

    /// Something was learnt about an instance. Routing hears of it if the verdict changes.
    pub fn observe(&self, instance: &Instance, evidence: Evidence) {
        let change = instance.observe(evidence, self.0.clock.mono(), &mut self.0.dice.lock());
        let Some(change) = change else { return };
        if change.to.state == State::Healthy {
            instance.warm_up(self.0.clock.mono());
        }
        if let Some(kind) = Kind::of_health(&change) {
            self.0.events.tell_of(&instance.tenant, kind, instance.target(), change.to.reason);
        }
        self.changed(instance);
    }

    /// Completes when an instance is to be polled sooner than was known.
    pub async fn poll_wanted(&self) {
        self.0.poll.notified().await;
    }

    /// The turn to write records of this identity.
    fn turn(&self, id: InstanceId) -> &tokio::sync::Mutex<()> {
        // Ids are hashes, so any byte spreads them.
        &self.0.turns[usize::from(id.as_bytes()[0]) % TURNS]
    }

    /// Tells waiting calls and watchers that an instance changed.
    pub(crate) fn changed(&self, instance: &Instance) {
        for capability in &instance.spec.capabilities {
            if let Some(route) = self.0.routes.get(&instance.tenant, &capability.name) {
                route.tell_all();
            }
        }
        // An error means that nobody watches.
        self.0.changes.send((instance.tenant.clone(), instance.spec.name.clone())).ok();
    }
}

impl Service {
    /// Ends leases that lapse, forgets what has been history for long enough, and compares siblings. Runs until it is dropped.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            leases::sweep(&self.0);
            self.0.compare_siblings();
        }
    }
}

impl Known {
    fn agent(&self, tenant: &Name, name: &Name, instances: &BTreeMap<Name, InstanceId>) -> Agent {
        let instances = instances.values().filter_map(|id| self.by_id.get(id)).cloned().collect();
        Agent { tenant: tenant.clone(), name: name.clone(), instances }
    }

    /// What the instances of an agent share.
    fn fleet(&mut self, shared: &Shared, tenant: &Name, agent: &Name) -> Arc<Fleet> {
        let fleet = self.fleets.entry((tenant.clone(), agent.clone())).or_insert_with(|| {
            let config = &shared.config.bulkheads;
            let of_tenant = self.tenants.entry(tenant.clone());
            let of_tenant = of_tenant.or_insert_with(|| Arc::new(Mutex::new(config.bulkhead(Wall::Tenant))));
            let rates = shared.rates.meters(tenant);
            Arc::new(Fleet::new(config, Arc::clone(of_tenant), Arc::clone(&shared.whole), rates))
        });
        Arc::clone(fleet)
    }

    /// Whether this is the newest registration of its identity.
    fn is_newest(&self, instance: &Arc<Instance>) -> bool {
        self.by_id.get(&instance.id).is_some_and(|newest| Arc::ptr_eq(newest, instance))
    }

    /// Puts an instance on record in place of the one of the same id. Its lease, if it holds one, can be renewed.
    fn put(&mut self, instance: &Arc<Instance>, lease: Option<LeaseId>) {
        let agent = (instance.tenant.clone(), instance.spec.name.clone());
        self.by_name.entry(agent).or_default().insert(instance.name.clone(), instance.id);
        if let Some(before) = self.by_id.insert(instance.id, Arc::clone(instance)) {
            self.by_lease.remove(&before.vitals.lock().lease.id());
        }
        if let Some(lease) = lease {
            self.by_lease.insert(lease, instance.id);
        }
    }

    fn remove(&mut self, instance: &Instance, now: Mono) {
        self.by_id.remove(&instance.id);
        self.by_lease.remove(&instance.vitals.lock().lease.id());
        let agent = (instance.tenant.clone(), instance.spec.name.clone());
        if let Some(instances) = self.by_name.get_mut(&agent) {
            instances.remove(&instance.name);
            if instances.is_empty() {
                self.by_name.remove(&agent);
                self.fleets.remove(&agent);
                instance.fleet.rates().forget(&instance.spec.name, now);
                // One that only the map still holds has no fleet and no call under way.
                self.tenants.retain(|_, places| Arc::strong_count(places) > 1);
            }
        }
    }
}

impl Agent {
    /// What the agent says of itself, as its newest registration has it.
    #[must_use]
    pub fn spec(&self) -> Option<&AgentSpec> {
        self.instances.iter().max_by_key(|instance| instance.registered_at).map(|instance| &instance.spec)
    }
}

#[cfg(test)]
mod tests;
