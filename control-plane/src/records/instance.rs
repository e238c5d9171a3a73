//! An instance of an agent, as it registered last. Written when it registers and when its lease ends; renewals are not
//! written. A description may be large, so it spills like a transition does.

use mainstay_kernel::agent::AgentSpec;
use mainstay_kernel::id::{InstanceId, LeaseId};
use mainstay_kernel::name::Name;
use mainstay_kernel::time::Wall;
use serde::{Deserialize, Serialize};

use super::key;

/// What the record is called in errors.
pub const KIND: &str = "instance";

/// A registration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredInstance {
    /// Name within the agent.
    pub name: Name,
    /// What the agent says of itself.
    pub spec: AgentSpec,
    /// Where its sidecar listens, as it was registered.
    pub address: String,
    /// The address that was checked.
    pub socket: std::net::SocketAddr,
    /// The lease.
    pub lease: LeaseId,
    /// Its length in milliseconds.
    pub ttl_ms: u64,
    /// Grows by one at each registration.
    pub epoch: u64,
    /// When it registered.
    pub registered_at: Wall,
    /// When its lease ended.
    #[serde(default)]
    pub lapsed_at: Option<Wall>,
}

/// Prefix of a tenant's instances.
#[must_use]
pub fn prefix(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::INSTANCE)
}

/// Key of one.
#[must_use]
pub fn key(tenant: &str, id: InstanceId) -> Vec<u8> {
    let mut key = prefix(tenant);
    key.extend_from_slice(id.as_bytes());
    key
}
