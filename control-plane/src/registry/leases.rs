//! Leases: renewed, given back, lapsed. Whichever way one ends, the instance leaves routing at that moment.

use std::sync::Arc;

use mainstay_kernel::health::Evidence;
use mainstay_kernel::id::{InstanceId, LeaseId};
use mainstay_kernel::lease::Ttl;
use mainstay_store::{Batch, CommitError};

use super::instance::Instance;
use super::{HISTORY, Handle};
use crate::records::instance::{self, StoredInstance};
use crate::records::spill::{self, SpillError};

/// Why a lease was not renewed or ended.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// It lapsed, was given back, or was replaced by a newer registration.
    #[error("the lease is not known; register again")]
    Unknown,
    /// Another instance holds it.
    #[error("the lease belongs to another instance")]
    NotYours,
    /// The end of the lease could not be encoded.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// The store refused the end of the lease.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// See [`Handle::renew`].
pub(super) fn renew(
    registry: &Handle,
    lease: LeaseId,
    claimed: Option<InstanceId>,
) -> Result<Ttl, LeaseError> {
    let instance = holder(registry, lease, claimed)?;
    let mut vitals = instance.vitals.lock();
    vitals.lease.renew(lease, registry.0.clock.mono()).map_err(|_| LeaseError::Unknown)?;
    Ok(vitals.lease.ttl())
}

/// See [`Handle::deregister`].
pub(super) async fn deregister(
    registry: &Handle,
    lease: LeaseId,
    claimed: Option<InstanceId>,
    reason: &str,
) -> Result<(), LeaseError> {
    let instance = holder(registry, lease, claimed)?;
    tracing::info!(agent = %instance.spec.name, instance = %instance.name, reason, "deregistered");
    end(registry, &instance);
    write(registry, &instance).await
}

/// Ends the leases that have lapsed, and forgets instances that have been without one for long.
pub(super) fn sweep(registry: &Handle) {
    let now = registry.0.clock.now();
    let known: Vec<_> = registry.0.known.read().by_id.values().cloned().collect();
    for instance in known {
        let (lapse, lapsed_at) = {
            let mut vitals = instance.vitals.lock();
            match vitals.lapsed_at {
                Some(at) => (None, Some(at)),
                None => (vitals.lease.handle_timeout(now.mono), None),
            }
        };
        if let Some(lapse) = lapse {
            tracing::warn!(
                agent = %instance.spec.name, instance = %instance.name, silent_for = ?lapse.silent_for,
                "lease lapsed"
            );
            end(registry, &instance);
            let registry = registry.clone();
            tokio::spawn(async move {
                if let Err(error) = write(&registry, &instance).await {
                    // It lapses again after a restart, so nothing is lost but the time of it.
                    tracing::debug!(%error, "the end of a lease was not written");
                }
            });
        } else if lapsed_at.is_some_and(|at| now.wall.saturating_since(at) > HISTORY) {
            forget(registry, &instance);
        }
    }
}

fn holder(
    registry: &Handle,
    lease: LeaseId,
    claimed: Option<InstanceId>,
) -> Result<Arc<Instance>, LeaseError> {
    let known = registry.0.known.read();
    let id = known.by_lease.get(&lease).ok_or(LeaseError::Unknown)?;
    if claimed.is_some_and(|claimed| claimed != *id) {
        return Err(LeaseError::NotYours);
    }
    known.by_id.get(id).cloned().ok_or(LeaseError::Unknown)
}

/// Takes an instance out of routing.
fn end(registry: &Handle, instance: &Arc<Instance>) {
    let lease = {
        let mut vitals = instance.vitals.lock();
        vitals.lapsed_at = Some(registry.0.clock.wall());
        vitals.lease.id()
    };
    registry.0.known.write().by_lease.remove(&lease);
    registry.0.routes.place(instance, false);
    registry.observe(instance, Evidence::LeaseLapsed);
    registry.changed(instance);
}

/// Writes the end of a lease, unless the identity has registered again meanwhile.
async fn write(registry: &Handle, instance: &Instance) -> Result<(), LeaseError> {
    let (lease, ttl, lapsed_at) = {
        let vitals = instance.vitals.lock();
        (vitals.lease.id(), vitals.lease.ttl(), vitals.lapsed_at)
    };
    let stored = StoredInstance {
        name: instance.name.clone(),
        spec: instance.spec.clone(),
        address: instance.address.clone(),
        socket: instance.socket,
        lease,
        ttl_ms: u64::try_from(ttl.as_duration().as_millis()).unwrap_or(u64::MAX),
        epoch: instance.epoch,
        registered_at: instance.registered_at,
        lapsed_at,
    };
    let value = spill::encode(instance::KIND, &stored, &registry.0.blobs).await?;
    let key = instance::key(instance.tenant.as_str(), instance.id);
    let Ok(Some(entry)) = registry.0.store.get(&key) else { return Ok(()) };
    let newest = registry.instance(instance.id).is_none_or(|now| now.epoch == instance.epoch);
    if !newest {
        return Ok(());
    }
    let batch = Batch::new().version_is(key.clone(), entry.version).put(key, value);
    match registry.0.store.commit(batch).await {
        // Registered again at this very moment: that record stands.
        Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn forget(registry: &Handle, instance: &Arc<Instance>) {
    registry.0.known.write().remove(instance);
    registry.0.routes.remove(instance);
    registry.changed(instance);
    let commit =
        registry.0.store.commit(Batch::new().delete(instance::key(instance.tenant.as_str(), instance.id)));
    tokio::spawn(async move {
        if let Err(error) = commit.await {
            tracing::debug!(%error, "an old instance stays on record until the next start");
        }
    });
}
