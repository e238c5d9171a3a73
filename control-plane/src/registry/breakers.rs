//! Breakers outside the path of calls: kept on disk as they change, taken up after a restart, opened and closed by hand.
//!
//! A change is handed to the store while the breaker is locked, so that the last state is the last one written. Traffic
//! does not wait for it: should a crash lose it, the breaker learns again what it knew. An operator's word is waited for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use futures::FutureExt;
use mainstay_kernel::breaker::{Breaker, Change, Snapshot, State};
use mainstay_kernel::call::Lane;
use mainstay_kernel::event::Kind;
use mainstay_kernel::id::InstanceId;
use mainstay_kernel::name::Name;
use mainstay_kernel::time::Mono;
use mainstay_store::{Batch, Commit};
use parking_lot::Mutex;

use super::instance::Instance;
use super::load::OpenError;
use super::{Agent, Handle};
use crate::records::breaker as record;

/// Records read at once.
const PAGE: usize = 500;

/// Breakers as they were before a restart.
pub(super) type Kept = HashMap<InstanceId, Vec<(Name, Snapshot)>>;

/// Which breakers of a tenant are meant: those that match all that is given.
#[derive(Debug, Clone)]
pub struct Which {
    /// The tenant.
    pub tenant: Name,
    /// Of this agent.
    pub agent: Option<Name>,
    /// Of this instance.
    pub instance: Option<Name>,
    /// Of this capability.
    pub capability: Option<Name>,
}

/// What an operator wants of breakers. The words are for the record.
#[derive(Debug, Clone)]
pub enum Hand {
    /// Open, until it is closed by hand.
    Trip(String),
    /// Close, and forget its failures.
    Reset(String),
}

/// A breaker that was turned by hand.
#[derive(Debug, Clone)]
pub struct Turned {
    /// Its instance.
    pub instance: Arc<Instance>,
    /// Its capability.
    pub capability: Name,
    /// How it is now.
    pub snapshot: Snapshot,
}

/// What turning breakers came to.
#[derive(Debug)]
pub struct Turn {
    /// Those that were turned, by agent, instance and capability; empty if none matched.
    pub breakers: Vec<Turned>,
    /// Whether that is on disk. If not, it holds until a restart.
    pub on_record: bool,
}

/// Changes of breakers since the start, by the state they led to.
#[derive(Debug, Default)]
pub(super) struct Changes {
    closed: AtomicU64,
    open: AtomicU64,
    half_open: AtomicU64,
}

impl Handle {
    /// Traffic changed a breaker. Whoever waits or watches hears of it, and it is on its way to the disk.
    pub(crate) fn breaker_changed(&self, instance: &Instance, capability: &Name, change: &Change) {
        if let Some(lane) = instance.lane(capability.as_str()) {
            // Dropped: it is not waited for.
            drop(self.keep(instance, capability, lane.lock().breaker()));
        }
        self.tell(instance, capability, change);
    }

    /// Opens or closes breakers by hand; on disk when this returns, or said not to be.
    pub async fn turn_breakers(&self, which: &Which, hand: &Hand) -> Turn {
        let now = self.0.clock.mono();
        let mut turn = Turn { breakers: Vec::new(), on_record: true };
        let mut commits = Vec::new();
        for instance in self.instances_of(which) {
            let lanes = instance.lanes();
            for (capability, lane) in
                lanes.filter(|(name, _)| which.capability.as_ref().is_none_or(|c| c == *name))
            {
                let (change, commit, snapshot) = {
                    let mut lane = lane.lock();
                    let change = hand.turn(lane.breaker_mut(), now);
                    if change.to == State::Closed {
                        lane.warm_up(now);
                    }
                    let commit = self.keep(&instance, capability, lane.breaker());
                    (change, commit, lane.breaker().snapshot(self.0.clock.now()))
                };
                self.tell(&instance, capability, &change);
                commits.push(commit);
                let turned =
                    Turned { instance: Arc::clone(&instance), capability: capability.clone(), snapshot };
                turn.breakers.push(turned);
            }
        }
        for commit in commits {
            turn.on_record &= match commit {
                Some(commit) => commit.await.is_ok(),
                None => false,
            };
        }
        turn
    }

    /// How often breakers turned since the start, by the state they turned to.
    #[must_use]
    pub fn breaker_changes(&self) -> [(State, u64); 3] {
        let Changes { closed, open, half_open } = &self.0.breaker_changes;
        [
            (State::Closed, closed.load(Relaxed)),
            (State::Open, open.load(Relaxed)),
            (State::HalfOpen, half_open.load(Relaxed)),
        ]
    }

    /// Breakers of leased instances that let no call through now.
    #[must_use]
    pub fn open_breakers(&self) -> usize {
        let open = |lane: &Arc<Mutex<Lane>>| lane.lock().breaker().state() == State::Open;
        self.leased().iter().map(|instance| instance.lanes().filter(|(_, lane)| open(lane)).count()).sum()
    }

    /// Forgets the breakers of capabilities that `no_longer` names.
    pub(super) fn forget_breakers(&self, instance: &Instance, no_longer: impl Fn(&str) -> bool) -> Batch {
        let tenant = instance.tenant.as_str();
        let gone = instance.lanes().map(|(name, _)| name).filter(|name| no_longer(name.as_str()));
        gone.fold(Batch::new(), |batch, name| batch.delete(record::key(tenant, instance.id, name)))
    }

    /// Reads a tenant's breakers. One that cannot be read starts closed.
    pub(super) fn kept_breakers(&self, tenant: &Name, kept: &mut Kept) -> Result<(), OpenError> {
        let prefix = record::prefix(tenant.as_str());
        let mut from: Option<Vec<u8>> = None;
        loop {
            let page = self.0.store.scan(&prefix, from.as_deref(), PAGE)?;
            for damaged in &page.damaged {
                tracing::error!(%damaged, "a breaker's record is damaged; it starts closed");
            }
            for (key, entry) in &page.entries {
                match record::decode(&key[prefix.len()..], &entry.value) {
                    Ok((id, capability, snapshot)) => {
                        kept.entry(id).or_default().push((capability, snapshot))
                    }
                    Err(error) => tracing::error!(%error, "a breaker cannot be read; it starts closed"),
                }
            }
            match page.next {
                Some(next) => from = Some(next.to_vec()),
                None => return Ok(()),
            }
        }
    }

    /// Hands the state of a locked breaker to the store; `None` if it is refused at once.
    fn keep(&self, instance: &Instance, capability: &Name, breaker: &Breaker) -> Option<Commit> {
        let key = record::key(instance.tenant.as_str(), instance.id, capability);
        let value = record::encode(&breaker.snapshot(self.0.clock.now())).ok()?;
        let mut commit = self.0.store.commit(Batch::new().put(key, value));
        match (&mut commit).now_or_never() {
            Some(Err(error)) => {
                tracing::warn!(agent = %instance.spec.name, %capability, %error, "a breaker's change is not on record");
                None
            }
            Some(Ok(_)) | None => Some(commit),
        }
    }

    fn tell(&self, instance: &Instance, capability: &Name, change: &Change) {
        let subject = format_args!("breaker/{}/{}/{capability}", instance.spec.name, instance.name);
        self.0.events.tell_of(&instance.tenant, Kind::of_breaker(change), subject, &change.reason);
        self.0.breaker_changes.count(change.to);
        self.changed(instance);
    }

    fn instances_of(&self, which: &Which) -> Vec<Arc<Instance>> {
        let agents = match &which.agent {
            Some(name) => self.agent(&which.tenant, name).into_iter().collect(),
            None => self.agents(&which.tenant, None, usize::MAX),
        };
        let wanted =
            |instance: &Arc<Instance>| which.instance.as_ref().is_none_or(|name| *name == instance.name);
        agents.into_iter().flat_map(|Agent { instances, .. }| instances).filter(wanted).collect()
    }
}

impl Instance {
    /// Takes up the breakers it had before a restart; what it no longer offers is left out.
    pub(super) fn resume_breakers(&self, kept: Vec<(Name, Snapshot)>, now: mainstay_kernel::time::Now) {
        for (capability, snapshot) in kept {
            if let Some(lane) = self.lane(capability.as_str()) {
                lane.lock().breaker_mut().resume(snapshot, now);
            }
        }
    }
}

impl Hand {
    fn turn(&self, breaker: &mut Breaker, now: Mono) -> Change {
        match self {
            Self::Trip(note) => breaker.trip(note.clone(), now),
            Self::Reset(note) => breaker.reset(note.clone(), now),
        }
    }
}

impl Changes {
    fn count(&self, to: State) {
        let counter = match to {
            State::Closed => &self.closed,
            State::Open => &self.open,
            State::HalfOpen => &self.half_open,
        };
        counter.fetch_add(1, Relaxed);
    }
}
