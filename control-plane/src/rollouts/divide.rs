//! Dividing the candidates of a capability among versions: the ones a call belongs to first, then those that stand in.
//!
//! Which instances are of which version changes when somebody registers; calls come all the time. So the order is made once
//! for each snapshot of a route and each version a call may belong to, and shared by all calls until the snapshot changes.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mainstay_kernel::name::Name;
use mainstay_kernel::rollout::Side;
use mainstay_kernel::rollout::split::{Caller, Pick};
use parking_lot::Mutex;

use super::{Handle, Trial};
use crate::registry::Candidate;

/// Orders kept of one route. Two for each agent with a rollout; where many agents offer a capability and each has a
/// rollout, the rest is made anew for each call.
const MAX_ORDERS: usize = 64;

/// Tiers there are: a call's own version, the one that stands in for it, those no document names.
const TIERS: usize = 3;

/// What an order is made for: the only agent that may be called, if there is one, and the version a call belongs to of each
/// rollout.
type Order = (Option<Name>, Vec<Side>);

/// The rollouts that divide one route.
#[derive(Debug)]
pub(super) struct Divided {
    /// What it was made from.
    source: Arc<[Candidate]>,
    trials: Vec<Arc<Trial>>,
    orders: Mutex<HashMap<Order, Arc<Arranged>>>,
}

/// Candidates in the order in which they are asked.
#[derive(Debug)]
pub struct Arranged {
    /// Tier by tier.
    pub candidates: Arc<[Candidate]>,
    ends: [usize; TIERS],
}

/// What was picked for one call, so that it is not picked anew while the call lasts.
#[derive(Debug, Default)]
pub struct Division {
    picks: Vec<(Arc<Trial>, Pick)>,
    of_retry: bool,
}

impl Handle {
    /// The candidates of a call in the order in which they are to be asked; `None` if no rollout divides them.
    #[must_use]
    pub fn arrange(
        &self,
        (tenant, capability, agent): (&Name, &Name, Option<&Name>),
        candidates: &Arc<[Candidate]>,
        caller: Caller<'_>,
        division: &mut Division,
    ) -> Option<Arc<Arranged>> {
        if self.0.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let divided = self.divided(tenant, capability, candidates)?;
        let sides = division.sides(&divided.trials, caller);
        Some(divided.order(agent, sides))
    }

    fn divided(
        &self,
        tenant: &Name,
        capability: &Name,
        candidates: &Arc<[Candidate]>,
    ) -> Option<Arc<Divided>> {
        let known = self.0.routes.read().get(tenant).and_then(|routes| routes.get(capability)).cloned();
        let divided = match known.filter(|known| Arc::ptr_eq(&known.source, candidates)) {
            Some(known) => known,
            None => {
                // Under the lock that a document is put in force under: one put meanwhile takes out what is made here.
                let mut routes = self.0.routes.write();
                let trials = self.list(tenant);
                let is_here = |trial: &Arc<Trial>| {
                    trial.rollout.covers(capability)
                        && candidates.iter().any(|it| it.instance.spec.name == *trial.rollout.agent())
                };
                let trials = trials.into_iter().filter(is_here).collect();
                let source = Arc::clone(candidates);
                let made = Arc::new(Divided { source, trials, orders: Mutex::default() });
                routes.entry(tenant.clone()).or_default().insert(capability.clone(), Arc::clone(&made));
                made
            }
        };
        (!divided.trials.is_empty()).then_some(divided)
    }
}

impl Divided {
    fn order(&self, agent: Option<&Name>, sides: Vec<Side>) -> Arc<Arranged> {
        let key = (agent.cloned(), sides);
        if let Some(known) = self.orders.lock().get(&key) {
            return Arc::clone(known);
        }
        let made = Arc::new(self.arranged(agent, &key.1));
        let mut orders = self.orders.lock();
        if orders.len() < MAX_ORDERS {
            orders.insert(key, Arc::clone(&made));
        }
        made
    }

    fn arranged(&self, agent: Option<&Name>, sides: &[Side]) -> Arranged {
        let mut tiers: [Vec<Candidate>; TIERS] = Default::default();
        for candidate in
            self.source.iter().filter(|it| agent.is_none_or(|only| it.instance.spec.name == *only))
        {
            let spec = &candidate.instance.spec;
            let mut of_it =
                self.trials.iter().zip(sides).filter(|(trial, _)| *trial.rollout.agent() == spec.name);
            let tier = match of_it.next() {
                // Nobody divides its agent's calls.
                None => Some(0),
                Some((trial, side)) => match trial.rollout.side(&spec.version) {
                    Some(version) => trial.rollout.order(*side).iter().position(|it| *it == version),
                    None => Some(TIERS - 1),
                },
            };
            if let Some(tier) = tier.and_then(|tier| tiers.get_mut(tier)) {
                tier.push(candidate.clone());
            }
        }
        let mut ends = [0; TIERS];
        let mut end = 0;
        for (at, tier) in ends.iter_mut().zip(&tiers) {
            end += tier.len();
            *at = end;
        }
        Arranged { candidates: tiers.into_iter().flatten().collect(), ends }
    }
}

impl Arranged {
    /// The candidates of a tier, as [`mainstay_kernel::call::Pool::tier`] wants them.
    #[must_use]
    pub fn tier(&self, number: usize) -> Option<Range<usize>> {
        let end = *self.ends.get(number)?;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(start..end)
    }
}

impl Division {
    /// Whether versions are still compared by what becomes of the call.
    #[must_use]
    pub fn is_compared(&self) -> bool {
        self.picks.iter().any(|(trial, _)| !trial.status().phase.is_over())
    }

    /// What was picked for the call where the calls of an agent are divided.
    #[must_use]
    pub fn of(&self, agent: &Name) -> Option<&(Arc<Trial>, Pick)> {
        self.picks.iter().find(|(trial, _)| trial.rollout.agent() == agent)
    }

    fn sides(&mut self, trials: &[Arc<Trial>], caller: Caller<'_>) -> Vec<Side> {
        if caller.is_retry != self.of_retry {
            self.of_retry = caller.is_retry;
            self.picks.clear();
        }
        let mut pick = |trial: &Arc<Trial>| {
            if let Some((_, known)) = self.picks.iter().find(|(it, _)| Arc::ptr_eq(it, trial)) {
                return known.side;
            }
            let pick = trial.pick(caller);
            self.picks.retain(|(it, _)| it.rollout.agent() != trial.rollout.agent());
            self.picks.push((Arc::clone(trial), pick));
            pick.side
        };
        trials.iter().map(&mut pick).collect()
    }
}
