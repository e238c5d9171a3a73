//! Reading rollouts back at the start.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use mainstay_kernel::name::Name;
use mainstay_store::{Blobs, ReadError, Store};
use parking_lot::RwLock;

use super::{Catalog, Handle, Service, Shared, Trial};
use crate::events;
use crate::host::Clock;
use crate::metrics::Metrics;
use crate::records::rollout::{self as record, StoredChange};
use crate::records::tenants;

/// Records read at once.
const PAGE: usize = 500;

/// Reads what is rolled out. A rollout of which no change can be read divides no calls, and that is said.
///
/// # Errors
/// If the store cannot be read.
pub fn open(
    clock: Clock,
    (store, blobs): (Arc<dyn Store>, Blobs),
    events: events::Handle,
    metrics: Metrics,
) -> Result<(Handle, Service), ReadError> {
    let catalog = Catalog::new(clock.clone(), Arc::clone(&store), blobs);
    let handle = Handle(Arc::new(Shared {
        clock,
        store,
        catalog,
        events,
        metrics,
        trials: RwLock::default(),
        count: AtomicUsize::new(0),
        routes: RwLock::new(HashMap::new()),
        turn: tokio::sync::Mutex::default(),
    }));
    for tenant in tenants::all(&*handle.0.store)? {
        for (name, history) in histories(&*handle.0.store, &tenant)? {
            resume(&handle, &tenant, &name, history);
        }
    }
    Ok((handle.clone(), Service(handle)))
}

fn resume(handle: &Handle, tenant: &Name, name: &Name, history: VecDeque<StoredChange>) {
    let Some(version) = history.back().map(|newest| newest.version) else { return };
    match handle.0.catalog.version(tenant, name, version) {
        Ok(rollout) => {
            let trial = Trial::resume(tenant.clone(), rollout, history, handle.0.clock.mono());
            handle.install(&Arc::new(trial));
        }
        Err(error) => {
            tracing::error!(%tenant, %name, %error, "a rollout cannot be read, and divides no calls")
        }
    }
}

/// The changes of each rollout of a tenant, in their order.
fn histories(store: &dyn Store, tenant: &Name) -> Result<BTreeMap<Name, VecDeque<StoredChange>>, ReadError> {
    let prefix = record::changes(tenant.as_str());
    let (mut histories, mut from) = (BTreeMap::<Name, VecDeque<StoredChange>>::new(), None);
    loop {
        let page = store.scan(&prefix, from.as_deref(), PAGE)?;
        for damaged in &page.damaged {
            tracing::error!(%damaged, "a change of a rollout is damaged and left out");
        }
        for (key, entry) in &page.entries {
            match (record::name(&key[prefix.len()..]), StoredChange::decode(&entry.value)) {
                (Some(name), Ok(change)) => histories.entry(name).or_default().push_back(change),
                (_, Err(error)) => tracing::error!(%tenant, %error, "a change of a rollout cannot be read"),
                (None, Ok(_)) => {}
            }
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(histories),
        }
    }
}
