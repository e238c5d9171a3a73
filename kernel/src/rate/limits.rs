//! All rates of one tenant, and what they say together to one call.
//!
//! A call to an agent is subject to up to four rates: of the tenant, the capability, the agent, and the capability at that
//! agent. It goes when all of them let it, and then counts with each. Where it must wait, its turn is booked with the one
//! it waits for longest, and the others are asked when that has come: booked at once, they would be kept from calls that
//! can go meanwhile. If one of them holds the call up then, it is booked there too and keeps the turn it has, so that two
//! rates that are both used up do not send it from one line to the other for ever.
//!
//! A rate comes from the agent's manifest or from an operator's hand, and the hand wins until it is lifted: whoever runs
//! the system at night cannot edit a manifest.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Meter, Rate, Target};
use crate::agent::AgentSpec;
use crate::name::Name;
use crate::time::{Mono, Wall};

/// The rates of one tenant.
#[derive(Debug, Clone)]
pub struct Limits {
    tenant: Name,
    limits: BTreeMap<Target, Limit>,
    /// When the registration was made whose declarations hold, by agent.
    declared: BTreeMap<Name, Wall>,
    /// Grows with every change of any rate.
    version: u64,
}

#[derive(Debug, Clone, Default)]
struct Limit {
    declared: Option<Rate>,
    set: Option<Rate>,
    /// Of the rate that holds.
    meter: Option<Meter>,
    /// The version at which that rate began to hold: a turn booked with another one is void.
    since: u64,
}

/// A call that is over a rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// Whose rate.
    pub target: Target,
    /// The rate.
    pub rate: Rate,
    /// When it lets one more call through.
    pub until: Mono,
}

/// The turns that one call has booked, for one sending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns(Vec<Turn>);

/// A place in the line before one rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    /// [`Limit::since`] of the rate it was booked with.
    limit: u64,
    at: Mono,
    lapses: Mono,
}

/// A call whose turn would come too late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Whose rate.
    pub target: Target,
    /// The rate.
    pub rate: Rate,
    /// When it is worth trying again.
    pub retry_after: Duration,
}

/// A rate, to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown<'a> {
    /// Of what.
    pub target: &'a Target,
    /// The one that holds.
    pub rate: Rate,
    /// What the agent's manifest declares.
    pub declared: Option<Rate>,
    /// How long a call that came now would wait for it.
    pub wait: Duration,
}

// === impl Limits ===

impl Limits {
    /// Without any rate.
    #[must_use]
    pub const fn new(tenant: Name) -> Self {
        Self { tenant, limits: BTreeMap::new(), declared: BTreeMap::new(), version: 0 }
    }

    /// Whether there is no rate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Sets a rate by hand, or lifts what was set.
    pub fn set(&mut self, target: Target, rate: Option<Rate>, now: Mono) {
        self.amend(target, now, |limit| limit.set = rate);
    }

    /// Takes over what an agent declares, if no newer registration of it did.
    pub fn declare(&mut self, spec: &AgentSpec, registered_at: Wall, now: Mono) {
        let agent = &spec.name;
        if self.declared.get(agent).is_some_and(|newest| registered_at < *newest) {
            return;
        }
        let of = |capability: &Name| Target::Offer { agent: agent.clone(), capability: capability.clone() };
        let offers = spec.capabilities.iter().map(|offered| (of(&offered.name), offered.rate));
        let rates: BTreeMap<_, _> = offers.chain([(Target::Agent(agent.clone()), spec.rate)]).collect();
        let gone: Vec<_> = self.of(agent).filter(|target| !rates.contains_key(target)).cloned().collect();
        for (target, rate) in rates.into_iter().chain(gone.into_iter().map(|target| (target, None))) {
            if rate.is_some() || self.limits.contains_key(&target) {
                self.amend(target, now, |limit| limit.declared = rate);
            }
        }
        self.declared.insert(agent.clone(), registered_at);
    }

    /// The agent is no longer on record: what it declared holds no more. What was set by hand stays.
    pub fn forget(&mut self, agent: &Name, now: Mono) {
        self.declared.remove(agent);
        for target in self.of(agent).cloned().collect::<Vec<_>>() {
            self.amend(target, now, |limit| limit.declared = None);
        }
    }

    /// Whether a call of a capability to an agent may go now, with the turns it has.
    ///
    /// # Errors
    /// The rate that keeps it back longest.
    pub fn check(&self, agent: &Name, capability: &Name, turns: &Turns, now: Mono) -> Result<(), Over> {
        let over = |target: Target| {
            let limit = self.limits.get(&target).filter(|limit| !turns.hold(limit, now))?;
            let meter = limit.meter.as_ref()?;
            let until = meter.next(now);
            (until > now).then_some(Over { target, rate: meter.rate, until })
        };
        let worst =
            self.targets(agent, capability).into_iter().filter_map(over).max_by_key(|over| over.until);
        worst.map_or(Ok(()), Err)
    }

    /// Lets a call go now, and counts it. Its turns are taken.
    ///
    /// # Errors
    /// As [`Limits::check`]; nothing is counted then.
    pub fn admit(
        &mut self,
        agent: &Name,
        capability: &Name,
        turns: &mut Turns,
        now: Mono,
    ) -> Result<(), Over> {
        self.check(agent, capability, turns, now)?;
        for target in self.targets(agent, capability) {
            let Some(limit) = self.limits.get_mut(&target) else { continue };
            // A call whose turn it is was counted when it was booked.
            if !turns.hold(limit, now)
                && let Some(meter) = &mut limit.meter
            {
                meter.spend(now);
            }
        }
        turns.0.clear();
        Ok(())
    }

    /// When to try again: at a turn that is booked already, or at one that is booked now with the rate that keeps the call
    /// back longest, if it comes in less than `patience`.
    ///
    /// # Errors
    /// [`Refused`]; nothing is booked then.
    pub fn book(
        &mut self,
        agent: &Name,
        capability: &Name,
        turns: &mut Turns,
        patience: Duration,
        now: Mono,
    ) -> Result<Mono, Refused> {
        turns
            .0
            .retain(|turn| now < turn.lapses && self.limits.values().any(|limit| limit.since == turn.limit));
        if let Some(ahead) = turns.0.iter().map(|turn| turn.at).filter(|at| *at > now).max() {
            return Ok(ahead);
        }
        // If nothing does, a turn of somebody else lapsed meanwhile.
        let Err(Over { target, rate, until }) = self.check(agent, capability, turns, now) else {
            return Ok(now);
        };
        if until - now >= patience {
            return Err(Refused { target, rate, retry_after: until - now });
        }
        if let Some(limit) = self.limits.get_mut(&target)
            && let Some(meter) = &mut limit.meter
        {
            meter.spend(now);
            let lapses = until + meter.interval;
            turns.0.iter_mut().for_each(|turn| turn.lapses = turn.lapses.max(lapses));
            turns.0.push(Turn { limit: limit.since, at: until, lapses });
        }
        Ok(until)
    }

    /// Every rate that holds, by target.
    pub fn iter(&self, now: Mono) -> impl Iterator<Item = Shown<'_>> {
        self.limits.iter().filter_map(move |(target, limit)| {
            let meter = limit.meter.as_ref()?;
            let wait = meter.next(now) - now;
            Some(Shown { target, rate: meter.rate, declared: limit.declared, wait })
        })
    }

    /// The rates that a call is subject to, if they are set.
    fn targets(&self, agent: &Name, capability: &Name) -> [Target; 4] {
        [
            Target::Tenant(self.tenant.clone()),
            Target::Capability(capability.clone()),
            Target::Agent(agent.clone()),
            Target::Offer { agent: agent.clone(), capability: capability.clone() },
        ]
    }

    /// What is on record of an agent.
    fn of<'a>(&'a self, agent: &'a Name) -> impl Iterator<Item = &'a Target> {
        self.limits.keys().filter(move |target| match target {
            Target::Agent(name) | Target::Offer { agent: name, .. } => name == agent,
            Target::Tenant(_) | Target::Capability(_) => false,
        })
    }

    fn amend(&mut self, target: Target, now: Mono, change: impl FnOnce(&mut Limit)) {
        self.version += 1;
        let limit = self.limits.entry(target.clone()).or_default();
        change(limit);
        let Some(rate) = limit.set.or(limit.declared) else {
            self.limits.remove(&target);
            return;
        };
        match &mut limit.meter {
            Some(meter) if meter.rate == rate => return,
            Some(meter) => meter.change(rate, now),
            none => *none = Some(Meter::new(rate)),
        }
        limit.since = self.version;
    }
}

impl Turns {
    /// Whether it is the call's turn at this rate.
    fn hold(&self, limit: &Limit, now: Mono) -> bool {
        self.0.iter().any(|turn| turn.limit == limit.since && turn.at <= now && now < turn.lapses)
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "over the rate of {}, {}", self.target, self.rate)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, rate, .. } = self;
        write!(f, "{target} takes {rate}, and this call's turn would come after its deadline")
    }
}
