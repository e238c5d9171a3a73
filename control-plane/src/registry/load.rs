//! Reading the registry back after a start. Instances that held a lease hold it again, with a grace: their sidecars were
//! renewing it, and could not while this server was away.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::breaker::Snapshot;
use mainstay_kernel::id::InstanceId;
use mainstay_kernel::lease::{Lease, RESTART_GRACE, Ttl};
use mainstay_kernel::name::Name;
use mainstay_store::ReadError;
use mainstay_transport::channel::Channel;

use super::Handle;
use super::breakers::Kept;
use super::instance::{Birth, Instance};
use crate::records::instance::{self, StoredInstance};
use crate::records::{spill, tenants};

/// Records read at once.
const PAGE: usize = 500;

/// Why the registry could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Reads every instance on record. One that cannot be read is left out and reported; its sidecar registers again.
pub(super) async fn load(registry: &Handle) -> Result<(), OpenError> {
    let reader = registry.clone();
    let read = tokio::task::spawn_blocking(move || read_all(&reader)).await;
    let (stored, mut kept) = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    for (tenant, id, stored) in stored {
        restore(registry, tenant, id, stored, kept.remove(&id).unwrap_or_default());
    }
    Ok(())
}

/// Whose registration, and what it says.
type OnRecord = (Name, InstanceId, StoredInstance);

fn read_all(registry: &Handle) -> Result<(Vec<OnRecord>, Kept), OpenError> {
    let store = &registry.0.store;
    let (mut all, mut kept) = (Vec::new(), Kept::new());
    for tenant in tenants::all(&**store)? {
        let prefix = instance::prefix(tenant.as_str());
        let mut from: Option<Vec<u8>> = None;
        loop {
            let page = store.scan(&prefix, from.as_deref(), PAGE)?;
            for damaged in &page.damaged {
                tracing::error!(%damaged, "a registration is damaged and left out");
            }
            for (key, entry) in &page.entries {
                let id = key.get(prefix.len()..).and_then(|id| <[u8; 16]>::try_from(id).ok());
                match (id, spill::decode(instance::KIND, &entry.value, &registry.0.blobs)) {
                    (Some(id), Ok(stored)) => all.push((tenant.clone(), InstanceId::from_bytes(id), stored)),
                    (_, Err(error)) => {
                        tracing::error!(%error, "a registration cannot be read and is left out")
                    }
                    (None, Ok(_)) => {
                        tracing::error!("a registration lies under a malformed key and is left out")
                    }
                }
            }
            match page.next {
                Some(next) => from = Some(next.to_vec()),
                None => break,
            }
        }
        registry.kept_breakers(&tenant, &mut kept)?;
    }
    Ok((all, kept))
}

fn restore(
    registry: &Handle,
    tenant: Name,
    id: InstanceId,
    stored: StoredInstance,
    breakers: Vec<(Name, Snapshot)>,
) {
    let shared = &registry.0;
    let now = shared.clock.mono();
    let ttl = Ttl::try_from(Duration::from_millis(stored.ttl_ms)).unwrap_or(Ttl::DEFAULT);
    let mut known = shared.known.write();
    let birth = Birth {
        id,
        fleet: known.fleet(shared, &tenant, &stored.spec.name),
        tenant,
        name: stored.name,
        spec: stored.spec,
        address: stored.address,
        channel: Channel::to(stored.socket, shared.config.channels.clone()),
        epoch: stored.epoch,
        registered_at: stored.registered_at,
        lease: Lease::restored(stored.lease, ttl, RESTART_GRACE, now),
        lapsed_at: stored.lapsed_at,
        breakers: shared.config.breakers,
        slow_start: shared.config.slow_start,
    };
    let leased = birth.lapsed_at.is_none();
    birth.fleet.rates().declare(&birth.spec, birth.registered_at, now);
    let instance = Arc::new(Instance::new(birth, None, None, now));
    instance.resume_breakers(breakers, shared.clock.now());
    known.put(&instance, leased.then_some(stored.lease));
    drop(known);
    shared.routes.place(&instance, leased);
    shared.poll.notify_one();
}
