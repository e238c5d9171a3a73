//! Every decision, kept for those who ask later why a request went where it went.
//!
//! A call hands its decision over and goes on: nobody waits for the disk. One part of the server writes them in groups,
//! shows them once they are written, and forgets the oldest. While the disk refuses writes they are shown all the same.
//!
//! A crash can lose the decisions of its last milliseconds. They explain; nothing is taken up again from them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::id::DecisionId;
use mainstay_kernel::name::Name;
use mainstay_kernel::route::Rung;
use mainstay_store::{Batch, ReadError, Store};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::host::Clock;
use crate::metrics::Metrics;
use crate::records::decision::{self as record, Decided};
use crate::records::tenants;

/// Decisions kept of all tenants together. One takes one or two kilobytes, in memory and on disk.
const KEPT: usize = 8192;
/// How long one is kept at most: what was decided longer ago was decided by other agents.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often old ones are looked for while none is taken.
const SWEEP: Duration = Duration::from_secs(3600);
/// Decisions on their way to the disk. What comes faster than the disk takes it for so long is counted and dropped.
const QUEUE: usize = 1024;
/// Decisions written at once: with as many that are forgotten, well within one commit.
const GROUP: usize = 32;
/// Most decisions forgotten at once; see [`GROUP`].
const FORGOTTEN: usize = 60;
/// Records read at once.
const PAGE: usize = 500;

/// Where decisions are told and read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

/// What writes them down.
#[derive(Debug)]
pub struct Service {
    handle: Handle,
    told: mpsc::Receiver<Arc<Decided>>,
}

/// Which decisions are wanted: those that match all that is given.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// By this routing document.
    pub route: Option<Name>,
    /// Taken on this rung.
    pub rung: Option<Rung>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    store: Arc<dyn Store>,
    metrics: Metrics,
    tell: mpsc::Sender<Arc<Decided>>,
    kept: Mutex<Kept>,
    /// Grows with every group that was written.
    groups: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Written, or refused by the disk.
    done: BTreeMap<DecisionId, Arc<Decided>>,
    /// On the way there.
    pending: BTreeMap<DecisionId, Arc<Decided>>,
}

/// Reads what is on record. A decision that cannot be read is left out and reported.
///
/// # Errors
/// If the store cannot be read.
pub fn open(clock: Clock, store: Arc<dyn Store>, metrics: Metrics) -> Result<(Handle, Service), ReadError> {
    let kept = Kept { done: load(&*store)?, pending: BTreeMap::new() };
    let (tell, told) = mpsc::channel(QUEUE);
    let groups = watch::Sender::default();
    let handle = Handle(Arc::new(Shared { clock, store, metrics, tell, kept: Mutex::new(kept), groups }));
    Ok((handle.clone(), Service { handle, told }))
}

fn load(store: &dyn Store) -> Result<BTreeMap<DecisionId, Arc<Decided>>, ReadError> {
    let mut found = BTreeMap::new();
    for tenant in tenants::all(store)? {
        let (prefix, mut from) = (record::prefix(tenant.as_str()), None);
        loop {
            let page = store.scan(&prefix, from.as_deref(), PAGE)?;
            for damaged in &page.damaged {
                tracing::error!(%tenant, %damaged, "a decision is damaged and left out");
            }
            for (_, entry) in &page.entries {
                match record::decode(&entry.value) {
                    Ok(decided) => drop(found.insert(decided.id, Arc::new(decided))),
                    Err(error) => {
                        tracing::error!(%tenant, %error, "a decision cannot be read and is left out")
                    }
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
    }
    Ok(found)
}

// === impl Handle ===

impl Handle {
    /// Hands a decision over.
    pub fn tell(&self, decided: Decided) {
        let decided = Arc::new(decided);
        // Under the lock, so that it is not written before it is pending.
        let mut kept = self.0.kept.lock();
        if self.0.tell.try_send(Arc::clone(&decided)).is_ok() {
            kept.pending.insert(decided.id, decided);
        } else {
            self.0.metrics.decision_lost();
        }
    }

    /// A decision of a tenant. Waits until it is written, if it is on its way.
    pub async fn find(&self, tenant: &Name, id: DecisionId) -> Option<Arc<Decided>> {
        let mut groups = self.0.groups.subscribe();
        loop {
            {
                let kept = self.0.kept.lock();
                if !kept.pending.contains_key(&id) {
                    return kept.done.get(&id).filter(|decided| decided.tenant == *tenant).cloned();
                }
            }
            if groups.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Up to `limit` decisions of a tenant from before `before`, newest first.
    #[must_use]
    pub fn list(
        &self,
        tenant: &Name,
        filter: &Filter,
        before: Option<DecisionId>,
        limit: usize,
    ) -> Vec<Arc<Decided>> {
        let kept = self.0.kept.lock();
        let older = match before {
            Some(before) => kept.done.range(..before),
            None => kept.done.range(..),
        };
        let wanted = older.rev().map(|(_, decided)| decided);
        wanted.filter(|one| one.tenant == *tenant && filter.takes(one)).take(limit).cloned().collect()
    }

    /// Writes a group, and forgets as many of the oldest as are too many or too old.
    async fn write(&self, group: &mut Vec<Arc<Decided>>) {
        let shared = &self.0;
        let forgotten = self.forgotten(group.len());
        if group.is_empty() && forgotten.is_empty() {
            return;
        }
        let mut batch = Batch::new().patient();
        for decided in &*group {
            match record::encode(decided) {
                Ok(value) => batch = batch.put(record::key(decided.tenant.as_str(), decided.id), value),
                Err(error) => tracing::error!(%error, "a decision cannot be written"),
            }
        }
        for decided in &forgotten {
            batch = batch.delete(record::key(decided.tenant.as_str(), decided.id));
        }
        if let Err(error) = shared.store.commit(batch).await {
            tracing::warn!(%error, decisions = group.len(), "decisions are not on record");
        }
        let mut kept = shared.kept.lock();
        for decided in group.drain(..) {
            kept.pending.remove(&decided.id);
            kept.done.insert(decided.id, decided);
        }
        for decided in forgotten {
            kept.done.remove(&decided.id);
        }
        drop(kept);
        shared.groups.send_modify(|groups| *groups += 1);
    }

    /// The oldest decisions that go when `more` come.
    fn forgotten(&self, more: usize) -> Vec<Arc<Decided>> {
        let now = self.0.clock.wall();
        let kept = self.0.kept.lock();
        let too_many = (kept.done.len() + more).saturating_sub(KEPT);
        let goes =
            |(at, one): &(usize, &Arc<Decided>)| *at < too_many || now.saturating_since(one.at) > KEPT_FOR;
        let oldest = kept.done.values().enumerate().take(FORGOTTEN).take_while(goes);
        oldest.map(|(_, one)| Arc::clone(one)).collect()
    }
}

impl Filter {
    fn takes(&self, decided: &Decided) -> bool {
        self.route.as_ref().is_none_or(|route| *route == decided.route)
            && self.rung.is_none_or(|rung| rung == decided.decision.rung)
    }
}

// === impl Service ===

impl Service {
    /// Writes down what is told, until it is dropped.
    pub async fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP);
        loop {
            tokio::select! {
                told = self.told.recv_many(&mut group, GROUP) => if told == 0 { return },
                () = tokio::time::sleep(SWEEP) => {}
            }
            self.handle.write(&mut group).await;
        }
    }
}

#[cfg(test)]
mod tests;
