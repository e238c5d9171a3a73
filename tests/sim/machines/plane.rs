//! The control plane's side: every machine of the kernel, wired as the shell wires them (`control-plane/src/dispatch`,
//! `registry`), without locks and without a runtime.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::breaker::{self, Breaker, Change};
use mainstay_kernel::bulkhead::{self, Bulkhead, Wall};
use mainstay_kernel::call::{Lane, Permit, Pool, Rejection};
use mainstay_kernel::dice::Dice;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::health::{self, Health};
use mainstay_kernel::hedge::{self, Hedge, Watch};
use mainstay_kernel::id::{InstanceId, LeaseId};
use mainstay_kernel::lease::{Lease, Ttl};
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::Class;
use mainstay_kernel::pause::{Pause, Pauses};
use mainstay_kernel::queue::{self, Ahead};
use mainstay_kernel::retry::budget::{self, Budget, Leave};
use mainstay_kernel::time::Mono;

use super::bugs::Bug;
use super::witness::Witness;

/// When a call that found a bulkhead full looks again, as the shell does.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The sizes of a world, different with every seed.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    pub(crate) breaker: breaker::Config,
    pub(crate) health: health::Config,
    pub(crate) budget: budget::Config,
    pub(crate) walls: bulkhead::Config,
    pub(crate) queue: queue::Config,
    pub(crate) tenants: usize,
    pub(crate) agents: usize,
    pub(crate) instances: usize,
    pub(crate) capabilities: usize,
    pub(crate) concurrency: u32,
}

#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) name: Name,
    pub(crate) wall: Bulkhead,
}

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) name: Name,
    pub(crate) tenant: usize,
    pub(crate) budget: Budget,
    pub(crate) wall: Bulkhead,
}

#[derive(Debug)]
pub(crate) struct Capability {
    pub(crate) name: Name,
    pub(crate) effect: EffectClass,
    pub(crate) sla: Duration,
    pub(crate) hedge: Option<hedge::Policy>,
}

/// What the registry knows of one instance.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) id: InstanceId,
    pub(crate) name: Name,
    pub(crate) agent: usize,
    pub(crate) registered: bool,
    pub(crate) lease: Lease,
    pub(crate) health: Health,
    /// One lane for each capability; every instance offers all.
    pub(crate) lanes: Vec<Lane>,
}

/// A permit with its place within the walls, held while a call is under way.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) instance: usize,
    pub(crate) capability: usize,
    permit: Option<Permit>,
}

#[derive(Debug)]
pub(crate) struct Plane {
    pub(crate) sizes: Sizes,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) whole: Bulkhead,
    pub(crate) pauses: Pauses,
    /// Calls that wait, by tenant and capability, in the order in which they came.
    pub(crate) waiting: Vec<Vec<usize>>,
    /// What hedges are decided by, by tenant and capability.
    pub(crate) watches: Vec<Watch>,
    /// What the shell would put on record and nobody reads here.
    pub(crate) changes: Vec<(usize, usize, Change)>,
    pub(crate) dice: Dice,
    leases: u8,
}

fn hedge(dice: &mut Dice) -> hedge::Policy {
    let after = match dice.below(3) {
        0 => hedge::After::Percentile(50 + dice.below(50) as u8),
        _ => hedge::After::Span(Duration::from_millis(10 + dice.below(150) as u64)),
    };
    hedge::Policy::try_new(after, 1 + dice.below(2) as u32, 1 + dice.below(5_000) as u32).unwrap()
}

fn name(kind: &str, number: usize) -> Name {
    Name::new(&format!("{kind}{number}")).unwrap()
}

impl Plane {
    pub(crate) fn new(sizes: Sizes, dice: &mut Dice) -> Self {
        let now = Mono::default();
        let wall = |wall| sizes.walls.bulkhead(wall);
        let tenants =
            (0..sizes.tenants).map(|n| Tenant { name: name("tenant", n), wall: wall(Wall::Tenant) });
        let agents = (0..sizes.agents).map(|n| Agent {
            name: name("agent", n),
            tenant: n % sizes.tenants,
            budget: Budget::new(sizes.budget),
            wall: wall(Wall::Agent),
        });
        let effects = [EffectClass::ReadOnly, EffectClass::Idempotent, EffectClass::SideEffecting];
        let capabilities: Vec<_> = (0..sizes.capabilities)
            .map(|n| Capability {
                name: name("do", n),
                effect: effects[dice.below(effects.len())],
                sla: Duration::from_millis(200 + 100 * dice.below(8) as u64),
                // Also where it may not be: the machine looks, too.
                hedge: (dice.below(4) > 0).then(|| hedge(dice)),
            })
            .collect();
        let lane = |capability: &Capability| {
            Lane::new(Breaker::new(sizes.breaker, capability.sla, now), sizes.concurrency, now)
        };
        let instances = (0..sizes.agents * sizes.instances).map(|n| Instance {
            id: InstanceId::from_bytes([u8::try_from(n).unwrap(); 16]),
            name: name("at", n),
            agent: n % sizes.agents,
            registered: false,
            lease: Lease::grant(LeaseId::from_bytes([0; 16]), Ttl::MIN, now),
            health: Health::new(sizes.health, now),
            lanes: capabilities.iter().map(lane).collect(),
        });
        Self {
            tenants: tenants.collect(),
            agents: agents.collect(),
            instances: instances.collect(),
            capabilities,
            whole: wall(Wall::Whole),
            pauses: Pauses::default(),
            waiting: vec![Vec::new(); sizes.tenants * sizes.capabilities],
            watches: vec![Watch::new(); sizes.tenants * sizes.capabilities],
            changes: Vec::new(),
            dice: Dice::seeded(dice.roll()),
            leases: 0,
            sizes,
        }
    }

    /// An instance registers: a lease of its own, in place of the last one.
    pub(crate) fn register(&mut self, at: usize, now: Mono) -> LeaseId {
        self.leases = self.leases.wrapping_add(1);
        let lease = LeaseId::from_bytes([self.leases; 16]);
        let instance = &mut self.instances[at];
        (instance.registered, instance.lease) = (true, Lease::grant(lease, Ttl::MIN, now));
        lease
    }

    pub(crate) fn route(&self, tenant: usize, capability: usize) -> usize {
        tenant * self.capabilities.len() + capability
    }

    /// The instances a call may go to, as the registry lists them.
    pub(crate) fn candidates(&self, tenant: usize, agent: Option<usize>) -> Vec<usize> {
        let fits = |(at, instance): (usize, &Instance)| {
            let wanted = agent.is_none_or(|agent| agent == instance.agent);
            (wanted && instance.registered && self.agents[instance.agent].tenant == tenant).then_some(at)
        };
        self.instances.iter().enumerate().filter_map(fits).collect()
    }

    /// The pause that keeps calls of this tenant and capability from this instance.
    pub(crate) fn pause(&self, tenant: usize, capability: usize, at: usize) -> Option<Arc<Pause>> {
        let paused = self.pauses.of(&self.tenants[tenant].name)?;
        let instance = &self.instances[at];
        let whole = paused.call(&self.tenants[tenant].name, &self.capabilities[capability].name);
        whole.or_else(|| paused.candidate(&self.agents[instance.agent].name, &instance.name)).map(Arc::clone)
    }

    fn enter(&mut self, agent: usize) -> Result<(), (Wall, u32)> {
        let tenant = self.agents[agent].tenant;
        self.agents[agent].wall.enter().map_err(|full| (Wall::Agent, full.most))?;
        if let Err(full) = self.tenants[tenant].wall.enter() {
            self.agents[agent].wall.leave();
            return Err((Wall::Tenant, full.most));
        }
        if let Err(full) = self.whole.enter() {
            self.agents[agent].wall.leave();
            self.tenants[tenant].wall.leave();
            return Err((Wall::Whole, full.most));
        }
        Ok(())
    }

    fn leave(&mut self, agent: usize) {
        let tenant = self.agents[agent].tenant;
        self.agents[agent].wall.leave();
        self.tenants[tenant].wall.leave();
        self.whole.leave();
    }

    /// A call ended: its permit and its place go back.
    pub(crate) fn ended(&mut self, held: Held, class: Class, latency: Duration, now: Mono) {
        let Held { instance, capability, permit } = held;
        let agent = self.instances[instance].agent;
        if class == Class::Success {
            self.agents[agent].budget.deposit(now);
        }
        if let Some(policy) = &self.capabilities[capability].hedge {
            let route = self.route(self.agents[agent].tenant, capability);
            self.watches[route].declare(policy);
            self.watches[route].ended(policy, class, latency, now);
        }
        let lane = &mut self.instances[instance].lanes[capability];
        let change = permit.and_then(|permit| lane.end(permit, class, latency, now, &mut self.dice));
        self.changes.extend(change.map(|change| (instance, capability, change)));
        self.leave(agent);
    }

    /// A call was dropped: its permit and its place go back, and nothing is learnt.
    pub(crate) fn dropped(&mut self, held: Held) {
        if let Some(permit) = held.permit {
            self.instances[held.instance].lanes[held.capability].abandon(permit);
        }
        self.leave(self.instances[held.instance].agent);
    }
}

/// The plane as one call sees it.
pub(crate) struct View<'a> {
    pub(crate) plane: &'a mut Plane,
    pub(crate) witness: &'a mut Witness,
    pub(crate) candidates: &'a [usize],
    pub(crate) tenant: usize,
    pub(crate) capability: usize,
    /// Whether the call is a step's, which may wait however long the queue is.
    pub(crate) step: bool,
    pub(crate) bug: Option<Bug>,
    pub(crate) walled: bool,
}

impl View<'_> {
    fn admit(&mut self, at: usize, now: Mono) -> Result<Option<Permit>, Rejection> {
        let instance = &mut self.plane.instances[at];
        let verdict = instance.health.verdict();
        let (leave, change) = instance.lanes[self.capability].admit(verdict, false, now);
        self.plane.changes.extend(change.map(|change| (at, self.capability, change)));
        match leave {
            Err(Rejection::Probing) if self.bug == Some(Bug::ProbeNotCounted) => Ok(None),
            Err(Rejection::Unhealthy(..)) if self.bug == Some(Bug::HealthNotAsked) => Ok(None),
            leave => leave.map(Some),
        }
    }
}

impl Pool for View<'_> {
    type Permit = Held;

    fn len(&self) -> usize {
        self.candidates.len()
    }

    fn instance(&self, index: usize) -> InstanceId {
        self.plane.instances[self.candidates[index]].id
    }

    fn score(&self, index: usize, now: Mono) -> f64 {
        self.plane.instances[self.candidates[index]].lanes[self.capability].score(now)
    }

    fn weight(&self, index: usize, now: Mono) -> f64 {
        self.plane.instances[self.candidates[index]].lanes[self.capability].weight(now)
    }

    fn gate(&mut self, index: usize, now: Mono) -> Result<Held, Rejection> {
        let (at, agent) = (self.candidates[index], self.plane.instances[self.candidates[index]].agent);
        if let Some(pause) = self.plane.pause(self.tenant, self.capability, at)
            && self.bug != Some(Bug::PauseNotAsked)
        {
            return Err(Rejection::Paused(pause));
        }
        if let Err((wall, most)) = self.plane.enter(agent) {
            self.walled = true;
            return Err(Rejection::Bulkhead { wall, most, until: now + LOOK_AGAIN });
        }
        match self.admit(at, now) {
            Ok(permit) => {
                if self.bug == Some(Bug::PlaceNotTaken) {
                    self.plane.leave(agent);
                }
                Ok(Held { instance: at, capability: self.capability, permit })
            }
            Err(rejection) => {
                self.plane.leave(agent);
                Err(rejection)
            }
        }
    }

    fn is_probe(&self, permit: &Held) -> bool {
        permit.permit.as_ref().is_some_and(Permit::is_probe)
    }

    fn is_trusted(&self, index: usize) -> bool {
        let lane = &self.plane.instances[self.candidates[index]].lanes[self.capability];
        lane.is_trusted() || self.bug == Some(Bug::HedgeForProbe)
    }

    fn hedge(&self, _: usize, now: Mono) -> Option<Hedge> {
        let policy = self.plane.capabilities[self.capability].hedge.as_ref()?;
        self.plane.watches[self.plane.route(self.tenant, self.capability)].hedge(policy, now)
    }

    fn leave_to_hedge(&mut self, now: Mono) -> bool {
        let route = self.plane.route(self.tenant, self.capability);
        let granted = self.plane.waiting[route].is_empty() && self.plane.watches[route].leave(now);
        let granted = granted || self.bug == Some(Bug::HedgeWithoutLeave);
        self.witness.asked_for_hedge(route, granted);
        granted
    }

    fn pause(&self) -> Option<Arc<Pause>> {
        let tenant = &self.plane.tenants[self.tenant].name;
        let paused = self.plane.pauses.of(tenant).filter(|_| self.bug != Some(Bug::PauseNotAsked))?;
        paused.call(tenant, &self.plane.capabilities[self.capability].name).map(Arc::clone)
    }

    fn queue(&self, remaining: Duration) -> Result<(), queue::Refused> {
        if self.step {
            return Ok(());
        }
        let healthy = self.candidates.iter().map(|at| &self.plane.instances[*at]);
        let healthy = healthy.filter(|instance| instance.health.is_routable());
        let lanes: Vec<_> = healthy.map(|instance| &instance.lanes[self.capability]).collect();
        let known: Vec<Duration> = lanes.iter().filter_map(|lane| lane.latency()).collect();
        let ahead = Ahead {
            waiting: self.plane.waiting[self.plane.route(self.tenant, self.capability)].len() as u32,
            places: lanes.iter().map(|lane| lane.limit().0).sum(),
            latency: known.iter().sum::<Duration>().checked_div(known.len() as u32),
            // All of them are equally urgent.
            ..Ahead::default()
        };
        self.plane.sizes.queue.admit(ahead, remaining)
    }

    fn retry(&mut self, instance: InstanceId, now: Mono) -> Leave {
        let found = self.plane.instances.iter().find(|known| known.id == instance);
        let Some(agent) = found.map(|known| known.agent) else { return Leave::Granted { left: 0 } };
        let mut leave = self.plane.agents[agent].budget.withdraw(now, Duration::ZERO);
        if leave == Leave::Refused && self.bug == Some(Bug::BudgetOverdrawn) {
            leave = Leave::Granted { left: 0 };
        }
        self.witness.asked_for_retry(agent, leave, now);
        leave
    }
}
