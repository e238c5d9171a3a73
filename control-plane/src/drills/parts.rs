//! What a drill looks at: breakers and health of its target, or the store and the engine.

use std::sync::Arc;

use mainstay_kernel::breaker;
use mainstay_kernel::drill::{Kind, Look, Part, Plan, Tally, Whom};
use mainstay_kernel::health;
use mainstay_kernel::mode::Mode;
use mainstay_kernel::name::Name;
use mainstay_kernel::time::{Now, Wall};
use mainstay_store::{Stats, Status};

use super::Parts;
use crate::registry::Instance;

impl Parts {
    /// Every part that the fault could turn, without the traffic.
    pub(super) fn look(&self, plan: &Plan) -> Look {
        let now = self.clock.now();
        let parts = match plan.kind {
            Kind::StoreReadOnly => vec![self.store_part(now), self.engine_part(now)],
            Kind::EmergencyMode => vec![self.mode_part(now)],
            Kind::SlowAgent | Kind::FailingAgent | Kind::DeadAgent | Kind::Overload | Kind::LyingRouter => {
                self.aimed_at(plan).iter().flat_map(|instance| parts_of(instance, plan, now)).collect()
            }
        };
        Look { parts, tally: Tally::default() }
    }

    /// What the target of a drill offers.
    pub(super) fn offers(&self, plan: &Plan) -> Vec<Name> {
        let mut offers: Vec<Name> = Vec::new();
        for instance in self.aimed_at(plan) {
            let aimed = capabilities(&instance, plan).filter(|name| !offers.contains(name)).cloned();
            let aimed: Vec<_> = aimed.collect();
            offers.extend(aimed);
        }
        offers
    }

    /// The traffic of the store since `before`.
    pub(super) fn writes(&self, before: Stats) -> Tally {
        let stats = self.store.stats();
        let struck = stats.refused.saturating_sub(before.refused);
        let flowed = stats.commits.saturating_sub(before.commits);
        Tally { sent: struck + flowed, struck, flowed, ..Tally::default() }
    }

    /// Instances with a lease that the plan aims at, or that offer a capability it aims at.
    fn aimed_at(&self, plan: &Plan) -> Vec<Arc<Instance>> {
        let mut leased = self.registry.leased();
        leased.retain(|instance| capabilities(instance, plan).next().is_some());
        leased.sort_by(|a, b| (&a.spec.name, &a.name).cmp(&(&b.spec.name, &b.name)));
        leased
    }

    fn store_part(&self, now: Now) -> Part {
        let (well, since, reason) = match self.store.status() {
            Status::Writable => (true, now.mono, String::new()),
            Status::ReadOnly { reason, since } => {
                let since = since.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
                let since = Wall::from_millis(i64::try_from(since.as_millis()).unwrap_or(0));
                (false, now.mono_at(since), reason)
            }
        };
        Part { name: "store".to_owned(), well, turned: self.store.stats().reopened, since, reason }
    }

    fn mode_part(&self, now: Now) -> Part {
        let status = self.modes.status();
        let well = status.mode == Mode::Full;
        let reason = if well { String::new() } else { format!("{}: {}", status.mode, status.reason) };
        Part { name: "mode".to_owned(), well, turned: 0, since: now.mono_at(status.since), reason }
    }

    fn engine_part(&self, now: Now) -> Part {
        let well = self.engine.is_ready();
        let reason = if well { "" } else { "runs are not driven" };
        Part { name: "engine".to_owned(), well, turned: 0, since: now.mono, reason: reason.to_owned() }
    }
}

/// The capabilities of an instance that the plan aims at.
fn capabilities<'a>(instance: &'a Instance, plan: &Plan) -> impl Iterator<Item = &'a Name> {
    instance.lanes().map(|(name, _)| name).filter(|name| {
        plan.covers(Whom {
            tenant: &instance.tenant,
            agent: &instance.spec.name,
            instance: &instance.name,
            capability: Some(name),
        })
    })
}

fn parts_of(instance: &Instance, plan: &Plan, now: Now) -> Vec<Part> {
    let who = format!("{}/{}", instance.spec.name, instance.name);
    let verdict = instance.verdict();
    let mut parts = vec![Part {
        name: format!("health of {who}"),
        well: verdict.state == health::State::Healthy && instance.is_leased(),
        turned: 0,
        since: verdict.since,
        reason: verdict.reason.to_string(),
    }];
    for capability in capabilities(instance, plan) {
        let Some(lane) = instance.lane(capability.as_str()) else { continue };
        let breaker = lane.lock().breaker().snapshot(now);
        parts.push(Part {
            name: format!("breaker of {who} for {capability}"),
            well: breaker.state == breaker::State::Closed,
            turned: breaker.opened,
            since: now.mono_at(breaker.since),
            reason: breaker.reason.map(|reason| reason.to_string()).unwrap_or_default(),
        });
    }
    parts
}
