//! The live instances, as the kernel's call machine sees them.

use std::sync::Arc;

use mainstay_kernel::call::{Pool, Rejection};
use mainstay_kernel::id::InstanceId;
use mainstay_kernel::name::Name;
use mainstay_kernel::time::Mono;

use super::permit::Held;
use crate::registry::{self, Candidate, Route};

/// A snapshot of candidates with their live lanes.
pub(super) struct Live<'a> {
    registry: &'a registry::Handle,
    capability: &'a Name,
    route: &'a Arc<Route>,
    candidates: &'a [Candidate],
}

impl<'a> Live<'a> {
    pub(super) fn new(
        registry: &'a registry::Handle,
        capability: &'a Name,
        route: &'a Arc<Route>,
        candidates: &'a [Candidate],
    ) -> Self {
        Self { registry, capability, route, candidates }
    }
}

impl Pool for Live<'_> {
    type Permit = Held;

    fn len(&self) -> usize {
        self.candidates.len()
    }

    fn instance(&self, index: usize) -> InstanceId {
        self.candidates[index].instance.id
    }

    fn score(&self, index: usize, now: Mono) -> f64 {
        self.candidates[index].lane.lock().score(now)
    }

    fn gate(&mut self, index: usize, now: Mono) -> Result<Held, Rejection> {
        let candidate = &self.candidates[index];
        let health = candidate.instance.verdict();
        let (leave, change) = candidate.lane.lock().admit(health, now);
        if let Some(change) = change {
            self.registry.breaker_changed(&candidate.instance, self.capability, &change);
        }
        leave.map(|permit| Held::new(Arc::clone(&candidate.lane), Arc::clone(self.route), permit))
    }
}
