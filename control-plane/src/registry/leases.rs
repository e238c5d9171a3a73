//! Leases: renewed, given back, lapsed. Whichever way one ends, the instance leaves routing at that moment.

use std::sync::Arc;

use mainstay_kernel::event::Kind;
use mainstay_kernel::health::Evidence;
use mainstay_kernel::id::{InstanceId, LeaseId};
use mainstay_kernel::lease::Ttl;
use mainstay_store::{Batch, CommitError, ReadError};

use super::instance::Instance;
use super::{HISTORY, Handle};
use crate::records::instance::{self, StoredInstance};
use crate::records::loose;
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
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
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
    let _turn = registry.turn(instance.id).lock().await;
    if !end(registry, &instance) {
        // It lapsed or registered again while this waited for its turn.
        return Err(LeaseError::Unknown);
    }
    tracing::info!(agent = %instance.spec.name, instance = %instance.name, reason, "deregistered");
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
            let reason = format_args!("its lease was not renewed for {:?}", lapse.silent_for);
            registry.0.events.tell_of(&instance.tenant, Kind::InstanceLapsed, instance.target(), reason);
            end(registry, &instance);
            let registry = registry.clone();
            tokio::spawn(async move {
                let _turn = registry.turn(instance.id).lock().await;
                if let Err(error) = write(&registry, &instance).await {
                    // It lapses again after a restart, so nothing is lost but the time of it.
                    tracing::debug!(%error, "the end of a lease was not written");
                }
            });
        } else if lapsed_at.is_some_and(|at| now.wall.saturating_since(at) > HISTORY) {
            let registry = registry.clone();
            tokio::spawn(async move { forget(&registry, &instance).await });
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

/// Takes an instance out of routing; false if it is out already, or has registered again meanwhile.
pub(super) fn end(registry: &Handle, instance: &Arc<Instance>) -> bool {
    {
        let mut known = registry.0.known.write();
        if !known.is_newest(instance) {
            return false;
        }
        let mut vitals = instance.vitals.lock();
        if vitals.lapsed_at.is_some() {
            return false;
        }
        vitals.lapsed_at = Some(registry.0.clock.wall());
        known.by_lease.remove(&vitals.lease.id());
        drop(vitals);
        registry.0.routes.place(instance, false);
    }
    registry.observe(instance, Evidence::LeaseLapsed);
    registry.changed(instance);
    true
}

/// Writes the end of a lease, unless the identity has registered again meanwhile. Needs the identity's turn.
async fn write(registry: &Handle, instance: &Arc<Instance>) -> Result<(), LeaseError> {
    if !registry.0.known.read().is_newest(instance) {
        return Ok(());
    }
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
    let key = instance::key(instance.tenant.as_str(), instance.id);
    let value = spill::encode(instance::KIND, &key, &stored, &registry.0.blobs).await?;
    let batch = match registry.0.store.get(&key) {
        Ok(Some(entry)) => {
            let batch = Batch::new().version_is(key.clone(), entry.version);
            loose::note_of(batch, &key, &entry.value, Some(&value))
        }
        // Not on record any more, so there is no lease to end there.
        Ok(None) => return Ok(()),
        Err(ReadError::Damaged { .. }) => Batch::new(),
        Err(error) => return Err(error.into()),
    };
    match registry.0.store.commit(batch.put(key, value)).await {
        // Somebody else wrote this identity: that record stands.
        Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes an instance off record, on disk first: what stays there is found again at the next start, and forgotten then.
pub(super) async fn forget(registry: &Handle, instance: &Arc<Instance>) {
    // Taken or not, the next sweep comes by again.
    let Ok(_turn) = registry.turn(instance.id).try_lock() else { return };
    if !registry.0.known.read().is_newest(instance) {
        return;
    }
    let key = instance::key(instance.tenant.as_str(), instance.id);
    let batch = registry.forget_breakers(instance, |_| true);
    let batch = match registry.0.store.get(&key) {
        Ok(Some(entry)) => loose::note_of(batch, &key, &entry.value, None),
        // Nobody can tell the name of its document.
        Ok(None) | Err(_) => batch,
    };
    if let Err(error) = registry.0.store.commit(batch.delete(key)).await {
        tracing::debug!(%error, "an old instance stays on record for now");
        return;
    }
    {
        let mut known = registry.0.known.write();
        known.remove(instance, registry.0.clock.mono());
        registry.0.routes.remove(instance, |_| true);
    }
    registry.0.rates.forget_unused();
    registry.changed(instance);
}
