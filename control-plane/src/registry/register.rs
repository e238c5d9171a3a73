//! Registering an instance: every check before the first change, and on disk before it is acknowledged.
//!
//! A sidecar that presents the lease it holds is the same process knocking again: what is known of its health stays, so
//! routing does not see it blink. One that does not may be a new process, and proves itself by its first poll.

use std::sync::Arc;

use mainstay_kernel::agent::AgentSpec;
use mainstay_kernel::health::Evidence;
use mainstay_kernel::id::{InstanceId, LeaseId};
use mainstay_kernel::lease::{Lease, Ttl};
use mainstay_kernel::name::Name;
use mainstay_kernel::schema::{Schema, SchemaError};
use mainstay_store::{Batch, CommitError, ReadError};
use mainstay_transport::channel::Channel;

use super::Handle;
use super::instance::{Birth, Instance};
use crate::address::AddressError;
use crate::host::Clock;
use crate::records::instance::{self, StoredInstance};
use crate::records::loose;
use crate::records::spill::{self, SpillError};

/// A registration, every field checked at the border.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The tenant.
    pub tenant: Name,
    /// What the agent says of itself.
    pub spec: AgentSpec,
    /// The instance's name within the agent.
    pub instance: Name,
    /// Where its sidecar says it listens.
    pub address: String,
    /// How long the lease is to last.
    pub ttl: Ttl,
    /// The lease it held before, if it remembers one.
    pub lease: Option<LeaseId>,
}

/// A granted registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The instance.
    pub id: InstanceId,
    /// Its lease.
    pub lease: LeaseId,
    /// How long that lasts.
    pub ttl: Ttl,
    /// How often this identity has registered.
    pub epoch: u64,
}

/// Why a registration was refused. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The address may not be dialled.
    #[error("address {0}")]
    Address(#[from] AddressError),
    /// A schema does not compile.
    #[error("agent.capabilities[{index}].{field}: {error}")]
    Schema {
        /// Place of the capability in the registration.
        index: usize,
        /// `input_schema` or `output_schema`.
        field: &'static str,
        /// What is wrong with it.
        error: SchemaError,
    },
    /// Another address holds a live lease on this identity.
    #[error("instance {instance} of {agent} is held by {holder}")]
    Held {
        /// The agent.
        agent: Name,
        /// The instance's name.
        instance: Name,
        /// The address that holds it.
        holder: String,
    },
    /// The lease presented belongs to another instance.
    #[error("lease_id belongs to another instance")]
    NotYours,
    /// Too many instances are on record.
    #[error("{known} instances are on record, as many as this server takes")]
    Full {
        /// How many.
        known: usize,
    },
    /// It could not be encoded or its blob not written.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// The store refused it.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// See [`Handle::register`].
pub(super) async fn register(
    registry: &Handle,
    registration: Registration,
) -> Result<Registered, RegisterError> {
    let shared = &registry.0;
    let socket = shared.config.addresses.check(&registration.address).await?;
    let spec = registration.spec;
    let (spec, compiled) = compile(&shared.clock, spec).await;
    compiled?;
    let registration = Registration { spec, ..registration };
    let id = InstanceId::derive(
        registration.tenant.as_str(),
        registration.spec.name.as_str(),
        registration.instance.as_str(),
    );
    let key = instance::key(registration.tenant.as_str(), id);
    let _turn = registry.turn(id).lock().await;
    loop {
        let before = may_register(registry, &registration, id)?;
        let stored = StoredInstance {
            name: registration.instance.clone(),
            spec: registration.spec.clone(),
            address: registration.address.clone(),
            socket,
            lease: shared.clock.secret().into(),
            ttl_ms: u64::try_from(registration.ttl.as_duration().as_millis()).unwrap_or(u64::MAX),
            epoch: before.as_ref().map_or(0, |before| before.epoch) + 1,
            registered_at: shared.clock.wall(),
            lapsed_at: None,
        };
        let value = spill::encode(instance::KIND, &key, &stored, &shared.blobs).await?;
        let batch = match shared.store.get(&key) {
            Ok(Some(entry)) => {
                let batch = Batch::new().version_is(key.clone(), entry.version);
                loose::note_of(batch, &key, &entry.value, Some(&value))
            }
            Ok(None) => Batch::new().absent(key.clone()),
            // What was there cannot be trusted; this registration is what replaces it.
            Err(ReadError::Damaged { .. }) => Batch::new(),
            Err(error) => return Err(error.into()),
        };
        match shared.store.commit(batch.put(key.clone(), value)).await {
            Ok(_) => return Ok(admit(registry, stored, registration, id)),
            // Somebody else wrote this identity: look again at who holds it now.
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Compiles every schema, off the async threads: schemas come from strangers and may take a while.
async fn compile(clock: &Clock, spec: AgentSpec) -> (AgentSpec, Result<(), RegisterError>) {
    let check = move || {
        let compiled = spec.capabilities.iter().enumerate().try_for_each(|(index, capability)| {
            let schemas =
                [("input_schema", &capability.input_schema), ("output_schema", &capability.output_schema)];
            schemas.into_iter().try_for_each(|(field, schema)| match Schema::compile(schema) {
                Ok(_) => Ok(()),
                Err(error) => Err(RegisterError::Schema { index, field, error }),
            })
        });
        (spec, compiled)
    };
    clock.blocking(check).await
}

fn may_register(
    registry: &Handle,
    registration: &Registration,
    id: InstanceId,
) -> Result<Option<Arc<Instance>>, RegisterError> {
    let known = registry.0.known.read();
    let claimed = registration.lease.and_then(|lease| known.by_lease.get(&lease));
    if claimed.is_some_and(|claimed| *claimed != id) {
        return Err(RegisterError::NotYours);
    }
    let before = known.by_id.get(&id).cloned();
    if let Some(before) = &before
        && before.is_leased()
        && before.address != registration.address
        && claimed.is_none()
    {
        return Err(RegisterError::Held {
            agent: registration.spec.name.clone(),
            instance: registration.instance.clone(),
            holder: before.address.clone(),
        });
    }
    if before.is_none() && known.by_id.len() >= registry.0.config.max_instances {
        return Err(RegisterError::Full { known: known.by_id.len() });
    }
    Ok(before)
}

/// Puts a registration that is on disk into routing.
fn admit(
    registry: &Handle,
    stored: StoredInstance,
    registration: Registration,
    id: InstanceId,
) -> Registered {
    let shared = &registry.0;
    let now = shared.clock.mono();
    let mut known = shared.known.write();
    let before = known.by_id.get(&id).cloned();
    let channel = match &before {
        Some(before) if before.socket == stored.socket => before.channel.clone(),
        _ => Channel::to(stored.socket, shared.config.channels.clone()),
    };
    let fleet = known.fleet(shared, &registration.tenant, &stored.spec.name);
    let birth = Birth {
        id,
        tenant: registration.tenant,
        name: stored.name,
        spec: stored.spec,
        address: stored.address,
        channel,
        fleet,
        epoch: stored.epoch,
        registered_at: stored.registered_at,
        lease: Lease::grant(stored.lease, registration.ttl, now),
        lapsed_at: None,
        breakers: shared.config.breakers,
        slow_start: shared.config.slow_start,
    };
    birth.fleet.rates().declare(&birth.spec, birth.registered_at, now);
    let instance = Arc::new(Instance::new(birth, before.as_deref(), registration.lease, now));
    known.put(&instance, Some(stored.lease));
    shared.routes.place(&instance, true);
    if let Some(before) = &before {
        let no_longer = |capability: &str| instance.lane(capability).is_none();
        shared.routes.remove(before, no_longer);
        // Not waited for: one that stays is left out at the next start.
        drop(shared.store.commit(registry.forget_breakers(before, no_longer)));
    }
    drop(known);
    registry.observe(&instance, Evidence::Registered);
    registry.changed(&instance);
    shared.poll.notify_one();
    tracing::info!(
        agent = %instance.spec.name, instance = %instance.name, address = %instance.address,
        epoch = instance.epoch, "registered"
    );
    Registered { id, lease: stored.lease, ttl: registration.ttl, epoch: stored.epoch }
}
