//! Resolving a capability to instances, for callers who make their calls themselves.

use std::sync::Arc;

use mainstay_kernel::balance;
use mainstay_kernel::call::Rejection;
use mainstay_kernel::name::Name;
use mainstay_kernel::pause::Pause;

use super::{Candidate, Handle, Instance};

/// Why nobody is recommended.
#[derive(Debug)]
pub enum Unresolved {
    /// No instance offers it now, or none of the agent asked for.
    Nobody,
    /// The capability, its tenant, or all who offer it are paused.
    Paused(Arc<Pause>),
    /// Every instance has a reason not to be called now; the first few of them.
    NoneReady(Vec<(Arc<Instance>, Rejection)>),
}

/// Reasons kept for the answer: enough to see a pattern.
const MOST_REASONS: usize = 5;

impl Handle {
    /// Up to `count` instances that a call could go to now, the most advisable first: healthy, not paused, with a closed
    /// breaker and room. What becomes of calls that do not come through here is not seen: they move no breaker and count
    /// in no load.
    ///
    /// # Errors
    /// [`Unresolved`] if there is none.
    pub fn resolve(
        &self,
        tenant: &Name,
        capability: &Name,
        agent: Option<&Name>,
        count: usize,
    ) -> Result<Vec<Candidate>, Unresolved> {
        let paused = self.pauses().look(tenant);
        if let Some(pause) = paused.call(tenant, capability) {
            return Err(Unresolved::Paused(pause));
        }
        let now = self.0.clock.mono();
        let (mut ready, mut scores, mut pause, mut reasons) = (Vec::new(), Vec::new(), None, Vec::new());
        let route = self.route(tenant, capability);
        for candidate in route.candidates().iter() {
            let instance = &candidate.instance;
            if agent.is_some_and(|agent| *agent != instance.spec.name) {
                continue;
            }
            if let Some(found) = paused.candidate(&instance.spec.name, &instance.name) {
                pause = Some(found);
                continue;
            }
            let verdict = instance.verdict();
            let lane = candidate.lane.lock();
            match lane.look(verdict, route.is_panicking()) {
                Ok(()) => {
                    scores.push(lane.score(now));
                    ready.push(candidate.clone());
                }
                Err(rejection) if reasons.len() < MOST_REASONS => {
                    reasons.push((Arc::clone(instance), rejection));
                }
                Err(_) => {}
            }
        }
        if !ready.is_empty() {
            let order = balance::suggest(&scores, count, &mut self.0.clock.dice());
            return Ok(order.into_iter().map(|index| ready[index].clone()).collect());
        }
        Err(match pause {
            Some(pause) if reasons.is_empty() => Unresolved::Paused(pause),
            _ if reasons.is_empty() => Unresolved::Nobody,
            _ => Unresolved::NoneReady(reasons),
        })
    }
}
