//! Who offers what: for each capability the instances that hold a lease.
//!
//! Registrations come in herds, calls come all the time. A change only marks a capability's snapshot as stale; the next
//! call rebuilds it and all later ones share it. Ten thousand registrations in a row cost one rebuild.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use mainstay_kernel::call::Lane;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::id::InstanceId;
use mainstay_kernel::name::Name;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::instance::Instance;

/// Routes of all tenants.
#[derive(Debug, Default)]
pub(super) struct Routes(RwLock<HashMap<Name, HashMap<Name, Arc<Route>>>>);

/// The instances that offer one capability to one tenant.
#[derive(Debug, Default)]
pub struct Route {
    members: RwLock<Members>,
    /// Calls that any instance may take. One of them is woken for each place that becomes free.
    anyone: Notify,
    /// Calls that only some may take. They are all woken, because a free place may not be for the first of them; and they
    /// wait apart, so that none of them is woken in vain instead of a call that could use the place.
    choosy: Notify,
    /// Calls that wait for their turn at a rate: a place that becomes free is nothing to them.
    in_turn: Notify,
    waiting: AtomicU32,
    /// Whether verdicts on health and siblings are set aside.
    panicking: AtomicBool,
}

/// A place in the queue of a route, given up when it is dropped.
#[derive(Debug)]
pub struct Queued(Arc<Route>);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Members {
    leased: BTreeMap<InstanceId, Candidate>,
    /// Instances that had a lease once and are still on record: their ledgers may know of an attempt.
    lapsed: BTreeMap<InstanceId, Candidate>,
    /// How many of both declare each effect: every call asks for the strictest, and there may be thousands of instances.
    effects: BTreeMap<EffectClass, usize>,
    snapshot: Option<Arc<[Candidate]>>,
}

/// An instance as a candidate for calls of one capability.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The instance.
    pub instance: Arc<Instance>,
    /// Its lane for this capability.
    pub lane: Arc<Mutex<Lane>>,
    /// What a call may do to the world.
    pub effect: EffectClass,
}

impl Routes {
    /// The route of a capability; made if there is none, so that a call can wait for it.
    pub(super) fn get_or_make(&self, tenant: &Name, capability: &Name) -> Arc<Route> {
        if let Some(route) = self.get(tenant, capability) {
            return route;
        }
        let mut all = self.0.write();
        Arc::clone(all.entry(tenant.clone()).or_default().entry(capability.clone()).or_default())
    }

    /// All waiting calls of a tenant look again.
    pub(super) fn tell_tenant(&self, tenant: &Name) {
        let all = self.0.read();
        all.get(tenant).into_iter().flat_map(HashMap::values).for_each(|route| route.tell_all());
    }

    pub(super) fn get(&self, tenant: &Name, capability: &Name) -> Option<Arc<Route>> {
        self.0.read().get(tenant)?.get(capability).cloned()
    }

    /// All routes that anybody is on.
    pub(super) fn all(&self) -> Vec<(Name, Name, Arc<Route>)> {
        let all = self.0.read();
        let named = |(tenant, routes): (&Name, &HashMap<Name, Arc<Route>>)| {
            let named = routes.iter().filter(|(_, route)| route.was_ever_registered());
            named.map(|(name, route)| (tenant.clone(), name.clone(), Arc::clone(route))).collect::<Vec<_>>()
        };
        all.iter().flat_map(named).collect()
    }

    /// Puts an instance where it belongs: among the leased, or among those that were.
    pub(super) fn place(&self, instance: &Arc<Instance>, leased: bool) {
        for capability in &instance.spec.capabilities {
            let Some(lane) = instance.lane(capability.name.as_str()) else { continue };
            let candidate = Candidate {
                instance: Arc::clone(instance),
                lane: Arc::clone(lane),
                effect: capability.effect,
            };
            self.get_or_make(&instance.tenant, &capability.name).place(candidate, leased);
        }
    }

    /// Takes an instance out of the routes of those of its capabilities that `no_longer` names. A route that nobody is
    /// on and nobody waits for goes too, so that names made up by a sidecar do not pile up.
    pub(super) fn remove(&self, instance: &Instance, no_longer: impl Fn(&str) -> bool) {
        let mut all = self.0.write();
        let Some(routes) = all.get_mut(&instance.tenant) else { return };
        for capability in instance.spec.capabilities.iter().filter(|c| no_longer(c.name.as_str())) {
            let Some(route) = routes.get(&capability.name) else { continue };
            route.remove(instance.id);
            // Nobody can take another share of it while the map is locked.
            if Arc::strong_count(route) == 1 && !route.was_ever_registered() {
                routes.remove(&capability.name);
            }
        }
    }
}

impl Route {
    /// Those that hold a lease.
    #[must_use]
    pub fn candidates(&self) -> Arc<[Candidate]> {
        if let Some(snapshot) = &self.members.read().snapshot {
            return Arc::clone(snapshot);
        }
        let mut members = self.members.write();
        let snapshot: Arc<[Candidate]> = members.leased.values().cloned().collect();
        members.snapshot = Some(Arc::clone(&snapshot));
        snapshot
    }

    /// Everyone on record, with a lease or without.
    #[must_use]
    pub fn everyone(&self) -> Vec<Candidate> {
        let members = self.members.read();
        members.leased.values().chain(members.lapsed.values()).cloned().collect()
    }

    /// Whether anybody on record offers or offered it.
    #[must_use]
    pub fn was_ever_registered(&self) -> bool {
        let members = self.members.read();
        !members.leased.is_empty() || !members.lapsed.is_empty()
    }

    /// The strictest effect class that anybody on record declares: what a call must be ready for. Nobody known may do
    /// anything.
    #[must_use]
    pub fn strictest_effect(&self) -> EffectClass {
        let strictest = self.members.read().effects.last_key_value().map(|(effect, _)| *effect);
        strictest.unwrap_or(EffectClass::SideEffecting)
    }

    /// Completes when an instance appears, recovers or has room. Make it before looking, then nothing is missed. `choosy`
    /// is a call that not every instance may take.
    pub fn changed(&self, choosy: bool) -> tokio::sync::futures::Notified<'_> {
        if choosy { self.choosy.notified() } else { self.anyone.notified() }
    }

    /// Completes when candidates or rates change, and not when one has room. As [`Route::changed`].
    pub fn amended(&self) -> tokio::sync::futures::Notified<'_> {
        self.in_turn.notified()
    }

    /// Whether so many instances look unusable that all are used; see [`mainstay_kernel::panic`].
    #[must_use]
    pub fn is_panicking(&self) -> bool {
        self.panicking.load(Ordering::Relaxed)
    }

    pub(super) fn set_panicking(&self, panicking: bool) {
        self.panicking.store(panicking, Ordering::Relaxed);
    }

    /// Calls that wait.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Counts a call as waiting.
    pub fn wait(self: &Arc<Self>) -> Queued {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Queued(Arc::clone(self))
    }

    /// A place became free: one waiting call may look again, and all that are choosy.
    pub fn has_room(&self) {
        self.anyone.notify_one();
        self.choosy.notify_waiters();
    }

    /// Candidates or rates changed: all waiting calls look again.
    pub(super) fn tell_all(&self) {
        self.anyone.notify_waiters();
        self.choosy.notify_waiters();
        self.in_turn.notify_waiters();
    }

    fn place(&self, candidate: Candidate, leased: bool) {
        let mut members = self.members.write();
        members.take_out(candidate.instance.id);
        members.put_in(candidate, leased);
        drop(members);
        self.tell_all();
    }

    fn remove(&self, id: InstanceId) {
        self.members.write().take_out(id);
        self.tell_all();
    }
}

impl Members {
    fn put_in(&mut self, candidate: Candidate, leased: bool) {
        *self.effects.entry(candidate.effect).or_default() += 1;
        let place = if leased { &mut self.leased } else { &mut self.lapsed };
        place.insert(candidate.instance.id, candidate);
        self.snapshot = None;
    }

    fn take_out(&mut self, id: InstanceId) {
        self.snapshot = None;
        let Some(gone) = self.leased.remove(&id).or_else(|| self.lapsed.remove(&id)) else { return };
        if let Entry::Occupied(mut count) = self.effects.entry(gone.effect) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
