//! The one owner of declared rates: what manifests declare, what operators set over it, and the meters of both.
//!
//! What is set by hand is on disk before it is acknowledged and read back at the start; what is declared comes with the
//! registrations. Meters are in memory: a restart lets one burst through.
//!
//! Each tenant has one lock for all its rates, because a call counts with all of its own or with none. A tenant without
//! any rate, as most are, costs a call one look at a flag.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mainstay_kernel::agent::AgentSpec;
use mainstay_kernel::name::Name;
use mainstay_kernel::rate::{Limits, Over, Rate, Refused, Target, Turns};
use mainstay_kernel::time::{Mono, Wall};
use mainstay_store::{Batch, CommitError, ReadError, Store};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use crate::records::limit::{self as record, StoredLimit};
use crate::records::{RecordError, tenants};

/// Most entries of all tenants together that operators may set. A person writes them; ten thousand are a program that went
/// wrong.
const MAX_SET: usize = 10_000;

/// Records read at once.
const PAGE: usize = 500;

/// All rates. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    set: RwLock<BTreeMap<(Name, Target), Arc<SetByHand>>>,
    meters: RwLock<HashMap<Name, Arc<Meters>>>,
    /// Held from the decision to its last effect, so that memory and disk agree.
    turn: tokio::sync::Mutex<()>,
    booked: AtomicU64,
    refused: AtomicU64,
}

/// A rate that an operator set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetByHand {
    /// The rate.
    pub rate: Rate,
    /// Why, in the words of whoever did it.
    pub reason: String,
    /// Who did it, as they said; empty if they did not.
    #[serde(default)]
    pub by: String,
    /// When.
    pub since: Wall,
}

/// A rate that holds.
#[derive(Debug, Clone)]
pub struct Held {
    /// Of what.
    pub target: Target,
    /// The rate.
    pub rate: Rate,
    /// What the manifest declares.
    pub declared: Option<Rate>,
    /// Who set it, if it is not the declared one.
    pub set: Option<Arc<SetByHand>>,
    /// How long a call that came now would wait.
    pub wait: Duration,
}

/// The rates of one tenant.
#[derive(Debug)]
pub struct Meters {
    any: AtomicBool,
    limits: Mutex<Limits>,
}

/// Why no rate was set or cleared.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// Nobody set one.
    #[error("no rate of {0} was set")]
    NotSet(Target),
    /// Too many are set.
    #[error("{set} rates are set, as many as this server takes")]
    Full {
        /// How many.
        set: usize,
    },
    /// It could not be encoded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store refused it.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Reads what operators set. An entry that cannot be read is left out and reported: what is declared holds there.
///
/// # Errors
/// If the store cannot be read.
pub fn open(store: Arc<dyn Store>, now: Mono) -> Result<Handle, ReadError> {
    let mut set = BTreeMap::new();
    for tenant in tenants::all(&*store)? {
        let (prefix, mut from) = (record::prefix(tenant.as_str()), None);
        loop {
            let page = store.scan(&prefix, from.as_deref(), PAGE)?;
            for damaged in &page.damaged {
                tracing::error!(%tenant, %damaged, "a rate is damaged, and what is declared holds");
            }
            for (_, entry) in &page.entries {
                match record::decode(&entry.value) {
                    Ok(StoredLimit { target, limit }) => {
                        set.insert((tenant.clone(), target), Arc::new(limit));
                    }
                    Err(error) => {
                        tracing::error!(%tenant, %error, "a rate cannot be read, and what is declared holds");
                    }
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
    }
    let handle = Handle(Arc::new(Shared {
        store,
        set: RwLock::default(),
        meters: RwLock::default(),
        turn: tokio::sync::Mutex::default(),
        booked: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    }));
    for ((tenant, target), limit) in &set {
        handle.meters(tenant).change(|limits| limits.set(target.clone(), Some(limit.rate), now));
    }
    *handle.0.set.write() = set;
    Ok(handle)
}

// === impl Handle ===

impl Handle {
    /// Sets a rate by hand; on disk when this returns. It is carried through even if the caller leaves.
    pub async fn set(
        &self,
        tenant: &Name,
        target: Target,
        limit: SetByHand,
        now: Mono,
    ) -> Result<(), LimitError> {
        let (handle, tenant) = (self.clone(), tenant.clone());
        let set = tokio::spawn(async move {
            let shared = &handle.0;
            let _turn = shared.turn.lock().await;
            let at = (tenant, target);
            let (known, set) = {
                let set = shared.set.read();
                (set.contains_key(&at), set.len())
            };
            if !known && set >= MAX_SET {
                return Err(LimitError::Full { set });
            }
            let (tenant, target) = &at;
            let stored = StoredLimit { target: target.clone(), limit };
            let key = record::key(tenant.as_str(), target);
            shared.store.commit(Batch::new().put(key, record::encode(&stored)?)).await?;
            let rate = stored.limit.rate;
            handle.meters(tenant).change(|limits| limits.set(target.clone(), Some(rate), now));
            shared.set.write().insert(at, Arc::new(stored.limit));
            Ok(())
        });
        set.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Clears what was set by hand; off the disk when this returns. It is carried through even if the caller leaves.
    pub async fn clear(
        &self,
        tenant: &Name,
        target: &Target,
        now: Mono,
    ) -> Result<Arc<SetByHand>, LimitError> {
        let (handle, at) = (self.clone(), (tenant.clone(), target.clone()));
        let cleared = tokio::spawn(async move {
            let shared = &handle.0;
            let _turn = shared.turn.lock().await;
            let (tenant, target) = &at;
            let Some(limit) = shared.set.read().get(&at).cloned() else {
                return Err(LimitError::NotSet(target.clone()));
            };
            shared.store.commit(Batch::new().delete(record::key(tenant.as_str(), target))).await?;
            handle.meters(tenant).change(|limits| limits.set(target.clone(), None, now));
            shared.set.write().remove(&at);
            Ok(limit)
        });
        cleared.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Every rate that holds, of one tenant or of all, by tenant and target.
    #[must_use]
    pub fn all(&self, tenant: Option<&Name>, now: Mono) -> Vec<(Name, Held)> {
        let meters: BTreeMap<Name, Arc<Meters>> = {
            let meters = self.0.meters.read();
            let wanted = meters.iter().filter(|(of, _)| tenant.is_none_or(|tenant| *of == tenant));
            wanted.map(|(tenant, meters)| (tenant.clone(), Arc::clone(meters))).collect()
        };
        let mut all = Vec::new();
        for (tenant, meters) in meters {
            for shown in meters.limits.lock().iter(now) {
                let set = self.0.set.read().get(&(tenant.clone(), shown.target.clone())).cloned();
                let (target, rate) = (shown.target.clone(), shown.rate);
                all.push((
                    tenant.clone(),
                    Held { target, rate, declared: shown.declared, set, wait: shown.wait },
                ));
            }
        }
        all
    }

    /// Calls that had to wait for a turn, and calls whose turn would have come too late, since the start.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); 2] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("delayed", read(&self.0.booked)), ("refused", read(&self.0.refused))]
    }

    /// The rates of a tenant.
    pub(crate) fn meters(&self, tenant: &Name) -> Arc<Meters> {
        if let Some(meters) = self.0.meters.read().get(tenant) {
            return Arc::clone(meters);
        }
        let mut all = self.0.meters.write();
        Arc::clone(all.entry(tenant.clone()).or_insert_with(|| Arc::new(Meters::new(tenant))))
    }

    /// Forgets tenants that have no rate and that nobody holds, so that names made up by a sidecar do not pile up.
    pub(crate) fn forget_unused(&self) {
        let used = |meters: &Arc<Meters>| Arc::strong_count(meters) > 1 || meters.any.load(Ordering::Relaxed);
        self.0.meters.write().retain(|_, meters| used(meters));
    }

    /// Books a turn for a call; see [`Limits::book`].
    pub(crate) fn book(
        &self,
        meters: &Meters,
        (agent, capability): (&Name, &Name),
        turns: &mut Turns,
        patience: Duration,
        now: Mono,
    ) -> Result<Mono, Refused> {
        let before = turns.clone();
        let booked = meters.limits.lock().book(agent, capability, turns, patience, now);
        match &booked {
            Ok(_) if *turns != before => self.0.booked.fetch_add(1, Ordering::Relaxed),
            Ok(_) => 0,
            Err(_) => self.0.refused.fetch_add(1, Ordering::Relaxed),
        };
        booked
    }
}

// === impl Meters ===

impl Meters {
    fn new(tenant: &Name) -> Self {
        Self { any: AtomicBool::new(false), limits: Mutex::new(Limits::new(tenant.clone())) }
    }

    fn change(&self, change: impl FnOnce(&mut Limits)) {
        let mut limits = self.limits.lock();
        change(&mut limits);
        self.any.store(!limits.is_empty(), Ordering::Relaxed);
    }

    /// See [`Limits::declare`].
    pub(crate) fn declare(&self, spec: &AgentSpec, registered_at: Wall, now: Mono) {
        self.change(|limits| limits.declare(spec, registered_at, now));
    }

    /// See [`Limits::forget`].
    pub(crate) fn forget(&self, agent: &Name, now: Mono) {
        self.change(|limits| limits.forget(agent, now));
    }

    /// See [`Limits::check`].
    pub(crate) fn check(
        &self,
        agent: &Name,
        capability: &Name,
        turns: &Turns,
        now: Mono,
    ) -> Result<(), Over> {
        if !self.any.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.limits.lock().check(agent, capability, turns, now)
    }

    /// See [`Limits::admit`].
    pub(crate) fn admit(
        &self,
        agent: &Name,
        capability: &Name,
        turns: &mut Turns,
        now: Mono,
    ) -> Result<(), Over> {
        if !self.any.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.limits.lock().admit(agent, capability, turns, now)
    }
}
