//! The registry, as routing asks it.

use mainstay_kernel::name::Name;
use mainstay_kernel::route::{Registry, Standing, Target};

use super::learning::material;
use crate::registry;

/// The agents of a tenant as they stand now.
#[derive(Debug)]
pub(super) struct Live<'a> {
    pub(super) registry: &'a registry::Handle,
    pub(super) tenant: &'a Name,
}

impl Registry for Live<'_> {
    fn standing(&self, target: &Target) -> Standing {
        self.registry.standing(self.tenant, &target.capability, target.agent.as_ref())
    }

    fn offers(&self, agent: &Name) -> Vec<Name> {
        let agent = self.registry.agent(self.tenant, agent);
        let spec = agent.as_ref().and_then(registry::Agent::spec);
        spec.map_or_else(Vec::new, |spec| spec.capabilities.iter().map(|c| c.name.clone()).collect())
    }

    fn capabilities(&self) -> Vec<(Name, String)> {
        let material = material(self.registry, self.tenant);
        material.into_iter().map(|(name, material)| (name, material.description())).collect()
    }
}
