//! Whether a capability could be called now: what routing asks before it sends a request there.

use mainstay_kernel::call::Rejection;
use mainstay_kernel::health::State;
use mainstay_kernel::name::Name;
use mainstay_kernel::route::Standing;

use super::{Candidate, Handle};

impl Handle {
    /// How a capability stands, by any agent or by this one. Ready means that a call would find its turn: an instance that is
    /// busy, or whose breaker is about to let probes through, counts, and so does one that was not looked at yet. Its first
    /// poll is on its way; after a restart that is everyone.
    #[must_use]
    pub fn standing(&self, tenant: &Name, capability: &Name, agent: Option<&Name>) -> Standing {
        // Not made if there is none: names that a router made up must not pile up.
        let Some(route) = self.0.routes.get(tenant, capability) else { return Standing::Unknown };
        let is_meant =
            |candidate: &&Candidate| agent.is_none_or(|agent| *agent == candidate.instance.spec.name);
        let paused = self.pauses().look(tenant);
        let (now, candidates) = (self.0.clock.mono(), route.candidates());
        let (mut pause, mut rejected) = (paused.call(tenant, capability), None);
        let all_are_paused = pause.is_some();
        for candidate in candidates.iter().filter(is_meant) {
            let instance = &candidate.instance;
            if all_are_paused {
                break;
            }
            if let Some(found) = paused.candidate(&instance.spec.name, &instance.name) {
                pause = Some(found);
                continue;
            }
            let verdict = instance.verdict();
            let looked = candidate.lane.lock().look(verdict, route.is_panicking());
            match looked {
                Ok(())
                | Err(
                    Rejection::Busy { .. } | Rejection::Probing | Rejection::Unhealthy(State::Unknown, _),
                ) => return Standing::Ready,
                Err(Rejection::BreakerOpen { until: Some(until) }) if until <= now => return Standing::Ready,
                Err(rejection) => {
                    rejected = Some(format!("{}/{}: {rejection}", instance.spec.name, instance.name))
                }
            }
        }
        if !route.everyone().iter().any(|candidate| is_meant(&candidate)) {
            return Standing::Unknown;
        }
        match (rejected, pause) {
            (Some(rejected), _) => Standing::Down(rejected),
            (None, Some(pause)) => Standing::Forbidden(pause.to_string()),
            (None, None) => Standing::Down("no instance holds a lease".to_owned()),
        }
    }
}
