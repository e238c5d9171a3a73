//! Who offers what: for each capability the instances that hold a lease.
//!
//! Registrations come in herds, calls come all the time. A change only marks a capability's snapshot as stale; the next
//! call rebuilds it and all later ones share it. Ten thousand registrations in a row cost one rebuild.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

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
    /// Told when an instance appears, recovers or has room again.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Members {
    leased: BTreeMap<InstanceId, Candidate>,
    /// Instances that had a lease once and are still on record: their ledgers may know of an attempt.
    lapsed: BTreeMap<InstanceId, Candidate>,
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

    pub(super) fn get(&self, tenant: &Name, capability: &Name) -> Option<Arc<Route>> {
        self.0.read().get(tenant)?.get(capability).cloned()
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

    /// Takes an instance out altogether.
    pub(super) fn remove(&self, instance: &Instance) {
        for capability in &instance.spec.capabilities {
            if let Some(route) = self.get(&instance.tenant, &capability.name) {
                route.remove(instance.id);
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
        let members = self.members.read();
        let effects =
            members.leased.values().chain(members.lapsed.values()).map(|candidate| candidate.effect);
        let rank = |effect: &EffectClass| match effect {
            EffectClass::ReadOnly => 0,
            EffectClass::Idempotent => 1,
            EffectClass::SideEffecting => 2,
        };
        effects.max_by_key(rank).unwrap_or(EffectClass::SideEffecting)
    }

    /// Completes when an instance appears, recovers or has room. Make it before looking, then nothing is missed.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// A place became free: one waiting call may look again.
    pub fn has_room(&self) {
        self.changed.notify_one();
    }

    /// Candidates changed: all waiting calls look again.
    pub(super) fn tell_all(&self) {
        self.changed.notify_waiters();
    }

    fn place(&self, candidate: Candidate, leased: bool) {
        let mut members = self.members.write();
        let id = candidate.instance.id;
        members.leased.remove(&id);
        members.lapsed.remove(&id);
        let place = if leased { &mut members.leased } else { &mut members.lapsed };
        place.insert(id, candidate);
        members.snapshot = None;
        drop(members);
        self.tell_all();
    }

    fn remove(&self, id: InstanceId) {
        let mut members = self.members.write();
        members.leased.remove(&id);
        members.lapsed.remove(&id);
        members.snapshot = None;
    }
}
