//! Siblings compared: who is ejected, who is back, and whether routing of a capability panics.
//!
//! A reconciler. Each sweep looks at every capability as it is now and asks the kernel ([`mainstay_kernel::ejection`],
//! [`mainstay_kernel::panic`]) what should be; the paths of calls only read what it left: an ejection in the lane they lock anyway,
//! a panic in one flag of the route. It is at most a sweep late, which is nothing beside the time it takes to fill a tally or to
//! fail a row of polls.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use mainstay_kernel::ejection::{self, Sibling};
use mainstay_kernel::event::Kind;
use mainstay_kernel::name::Name;
use mainstay_kernel::panic::{Change, Usable};
use mainstay_kernel::time::Mono;

use super::{Agent, Candidate, Handle, Route};

/// One capability of one tenant, while its siblings are looked at.
struct Pool<'a> {
    tenant: &'a Name,
    capability: &'a Name,
    route: &'a Route,
    /// Those that hold a lease and are not paused.
    members: Vec<Candidate>,
}

impl Handle {
    /// Brings ejections and panics of every capability up to date.
    pub(super) fn compare_siblings(&self) {
        let now = self.0.clock.mono();
        let judging = {
            let mut compared = self.0.compared.lock();
            let due = now - *compared >= ejection::INTERVAL;
            if due {
                *compared = now;
            }
            due
        };
        for (tenant, capability, route) in self.0.routes.all() {
            let paused = self.pauses().look(&tenant);
            let is_paused =
                |it: &Candidate| paused.candidate(&it.instance.spec.name, &it.instance.name).is_some();
            let members = route.candidates().iter().filter(|it| !is_paused(it)).cloned().collect();
            let pool = Pool { tenant: &tenant, capability: &capability, route: &route, members };
            self.bring_back(&pool, now);
            if judging {
                self.eject_outliers(&pool, now);
            }
            self.doubt(&pool);
        }
    }

    /// Instances that are ejected from a capability now.
    #[must_use]
    pub fn ejected(&self) -> usize {
        let ejected = |(_, _, route): (Name, Name, Arc<Route>)| {
            route.candidates().iter().filter(|it| it.lane.lock().ejected().is_some()).count()
        };
        self.0.routes.all().into_iter().map(ejected).sum()
    }

    /// How often instances were ejected since the start.
    #[must_use]
    pub fn ejections(&self) -> u64 {
        self.0.ejections.load(Relaxed)
    }

    /// Capabilities whose routing panics now, and how often one began to since the start.
    #[must_use]
    pub fn panics(&self) -> (usize, u64) {
        let now = self.0.routes.all().iter().filter(|(_, _, route)| route.is_panicking()).count();
        (now, self.0.panics.load(Relaxed))
    }

    /// Capabilities of an agent whose routing panics now.
    #[must_use]
    pub fn panicking(&self, agent: &Agent) -> Vec<Name> {
        let lanes = agent.instances.iter().flat_map(|instance| instance.lanes().map(|(name, _)| name));
        let mut names: Vec<Name> = lanes
            .filter(|name| self.0.routes.get(&agent.tenant, name).is_some_and(|route| route.is_panicking()))
            .cloned()
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn bring_back(&self, pool: &Pool<'_>, now: Mono) {
        for candidate in &pool.members {
            if candidate.lane.lock().handle_timeout(now) {
                self.0.events.tell_of(
                    pool.tenant,
                    Kind::InstanceReturned,
                    pool.subject(candidate),
                    "its ejection is over",
                );
                self.changed(&candidate.instance);
            }
        }
    }

    fn eject_outliers(&self, pool: &Pool<'_>, now: Mono) {
        let config = &self.0.config;
        let sight = |it: &Candidate| {
            let verdict = it.instance.verdict();
            it.lane.lock().sibling(verdict)
        };
        let siblings: Vec<Sibling> = pool.members.iter().map(sight).collect();
        let least = config.panic.least_usable(siblings.len());
        for (place, reason) in config.ejection.outliers(&siblings, least) {
            let candidate = &pool.members[place];
            let ejected = candidate.lane.lock().eject(reason, now, &mut self.0.dice.lock());
            self.0.ejections.fetch_add(1, Relaxed);
            let why = format_args!("{reason}; left out for {:?}", ejected.until - ejected.since);
            self.0.events.tell_of(pool.tenant, Kind::InstanceEjected, pool.subject(candidate), why);
            self.changed(&candidate.instance);
        }
        pool.members.iter().for_each(|candidate| candidate.lane.lock().compared());
    }

    fn doubt(&self, pool: &Pool<'_>) {
        let mut usable = Usable::default();
        for candidate in &pool.members {
            let verdict = candidate.instance.verdict();
            let lane = candidate.lane.lock();
            usable.count(verdict, lane.breaker().state(), lane.ejected().is_some());
        }
        let Some(change) = self.0.config.panic.change(pool.route.is_panicking(), usable) else { return };
        let began = matches!(change, Change::Began(..));
        pool.route.set_panicking(began);
        self.0.panics.fetch_add(u64::from(began), Relaxed);
        let kind = if began { Kind::PanicBegan } else { Kind::PanicEnded };
        self.0.events.tell_of(pool.tenant, kind, format_args!("capability/{}", pool.capability), change);
        pool.members.iter().for_each(|candidate| self.changed(&candidate.instance));
    }
}

impl Pool<'_> {
    fn subject(&self, candidate: &Candidate) -> String {
        let instance = &candidate.instance;
        format!("ejection/{}/{}/{}", instance.spec.name, instance.name, self.capability)
    }
}
