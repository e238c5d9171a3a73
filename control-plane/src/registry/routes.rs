//! Who offers what: for each capability the instances that hold a lease.
//!
//! Registrations come in herds, calls come all the time. A change only marks a capability's snapshot as stale; the next
//! call rebuilds it and all later ones share it. Ten thousand registrations in a row cost one rebuild.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::sync::{Arc, OnceLock};

use mainstay_kernel::call::Lane;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::hedge::Watch;
use mainstay_kernel::id::InstanceId;
use mainstay_kernel::name::Name;
use mainstay_kernel::priority::Priority;
use mainstay_kernel::queue::line::{Line, Place};
use mainstay_kernel::time::Mono;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::hedging::Hedging;
use super::instance::Instance;

/// Routes of all tenants.
#[derive(Debug, Default)]
pub(super) struct Routes(RwLock<HashMap<Name, HashMap<Name, Arc<Route>>>>);

/// The instances that offer one capability to one tenant.
#[derive(Debug, Default)]
pub struct Route {
    members: RwLock<Members>,
    /// Calls that any instance may take. Whose turn it is is woken for each place that becomes free, and wakes the next
    /// when it leaves the line: should two places have become free, each finds its call.
    line: Mutex<Line<Arc<Waiter>>>,
    /// Calls that only some may take. They are all woken, because a free place may not be for the first of them; and they
    /// wait apart, so that none of them is woken in vain instead of a call that could use the place.
    choosy: Notify,
    /// Calls that wait for their turn at a rate: a place that becomes free is nothing to them.
    in_turn: Notify,
    /// What its calls are hedged by, once somebody has declared it.
    hedges: OnceLock<Arc<Mutex<Watch>>>,
    waiting: AtomicU32,
    /// Whether verdicts on health and siblings are set aside.
    panicking: AtomicBool,
}

/// A place among those who wait on a route, given up when it is dropped.
#[derive(Debug)]
pub struct Queued {
    route: Arc<Route>,
    /// In the line; `None` apart from it.
    place: Option<(Place, Arc<Waiter>)>,
}

/// Someone who waits in a line.
#[derive(Debug, Default)]
struct Waiter {
    told: Notify,
    /// It waits for somebody busy, and whoever comes later must not go first. Where it waits for something else, such as the
    /// end of a pause, everyone finds out for itself.
    for_room: AtomicBool,
    displaced: AtomicBool,
}

impl Queued {
    /// Whether it waits for somebody busy.
    pub fn waits_for_room(&self, for_room: bool) {
        if let Some((_, waiter)) = &self.place {
            waiter.for_room.store(for_room, Ordering::Relaxed);
        }
    }

    /// Completes when it should look again, if it waits in the line.
    #[must_use]
    pub fn told(&self) -> Option<tokio::sync::futures::Notified<'_>> {
        self.place.as_ref().map(|(_, waiter)| waiter.told.notified())
    }

    /// Whether it waits in the line, and not apart.
    #[must_use]
    pub const fn is_in_line(&self) -> bool {
        self.place.is_some()
    }

    /// Whether a call that is more urgent took its place.
    #[must_use]
    pub fn is_displaced(&self) -> bool {
        self.place.as_ref().is_some_and(|(_, waiter)| waiter.displaced.load(Ordering::Relaxed))
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.route.waiting.fetch_sub(1, Ordering::Relaxed);
        if let Some((place, _)) = self.place {
            let mut line = self.route.line.lock();
            line.leave(place);
            tell_first(&line);
        }
    }
}

fn tell_first(line: &Line<Arc<Waiter>>) {
    if let Some((_, waiter)) = line.first() {
        waiter.told.notify_one();
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
    /// When a call is hedged, if that is declared.
    pub hedging: Option<Hedging>,
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

    /// Calls that wait, of all capabilities.
    pub(super) fn waiting(&self) -> u64 {
        let all = self.0.read();
        all.values().flat_map(HashMap::values).map(|route| u64::from(route.waiting())).sum()
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
            let route = self.get_or_make(&instance.tenant, &capability.name);
            let candidate = Candidate {
                instance: Arc::clone(instance),
                lane: Arc::clone(lane),
                effect: capability.effect,
                hedging: capability.hedge.map(|policy| Hedging::new(policy, route.hedges())),
            };
            route.place(candidate, leased);
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

    /// Completes when an instance appears, recovers or has room, for a call that not every instance may take. Make it before
    /// looking, then nothing is missed.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.choosy.notified()
    }

    /// Whether a call that any instance may take may look for one, or others come first. `queued` is its own place, if it
    /// waits.
    pub fn may_look(&self, priority: Priority, queued: Option<&Queued>) -> bool {
        if self.waiting() == 0 {
            return true;
        }
        let line = self.line.lock();
        let Some((first, waiter)) = line.first() else { return true };
        let is_first =
            queued.and_then(|queued| queued.place.as_ref()).is_some_and(|(place, _)| *place == first);
        let passes = queued.is_none() && line.may_pass(priority);
        is_first || passes || !waiter.for_room.load(Ordering::Relaxed)
    }

    /// Someone was served: if others wait, it counts whose turn is next.
    pub fn served(&self) {
        if self.waiting() > 0 {
            self.line.lock().served();
        }
    }

    /// Of those who wait, how many come before a call of this priority and how many after it, and whether one of those may
    /// be sent away for it.
    #[must_use]
    pub fn ahead_of(&self, priority: Priority) -> (u32, u32, bool) {
        let line = self.line.lock();
        let ahead = line.ahead_of(priority);
        (ahead, self.waiting().saturating_sub(ahead), line.can_displace(priority))
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

    /// Puts a call among those who wait. If there are more than `most`, the least urgent of those that `may_drop` is sent
    /// away, if it is less urgent than this one. Look again afterwards: what became free meanwhile was told to nobody.
    pub fn wait(self: &Arc<Self>, priority: Priority, may_drop: bool, most: u32) -> Queued {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let waiter = Arc::new(Waiter::default());
        let mut line = self.line.lock();
        let place = line.enter(priority, may_drop, Arc::clone(&waiter));
        if line.len() > usize::try_from(most).unwrap_or(usize::MAX)
            && let Some(out) = line.displace(priority)
        {
            out.displaced.store(true, Ordering::Relaxed);
            out.told.notify_one();
        }
        drop(line);
        Queued { route: Arc::clone(self), place: Some((place, waiter)) }
    }

    /// Counts a call as waiting that does so apart from the line: only some may take it, or it waits for its turn at a rate.
    pub fn wait_apart(self: &Arc<Self>) -> Queued {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Queued { route: Arc::clone(self), place: None }
    }

    /// A place became free: whose turn it is may look again, and all that are choosy.
    pub fn has_room(&self) {
        // Pairs with the one in `wait`: either the place that became free is seen there, or who waits is seen here.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            tell_first(&self.line.lock());
        }
        self.choosy.notify_waiters();
    }

    /// Candidates or rates changed: all waiting calls look again.
    pub(super) fn tell_all(&self) {
        self.line.lock().iter().for_each(|waiter| waiter.told.notify_one());
        self.choosy.notify_waiters();
        self.in_turn.notify_waiters();
    }

    /// Asks leave for one hedge. There is none while anybody waits: a hedge takes a place that a call could have.
    #[must_use]
    pub fn leave_to_hedge(&self, now: Mono) -> bool {
        self.waiting() == 0 && self.hedges.get().is_some_and(|watch| watch.lock().leave(now))
    }

    fn hedges(&self) -> Arc<Mutex<Watch>> {
        Arc::clone(self.hedges.get_or_init(Arc::default))
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
