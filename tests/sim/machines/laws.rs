//! The laws, looked at after every event. A new machine brings its law: a name, and a line in [`LAWS`] or a complaint of
//! [`super::witness::Witness`] at the moment it is broken.

use std::time::Duration;

use mainstay_kernel::breaker::State;

use super::world::World;
use crate::seeds::Broken;

pub(crate) const PROBES: &str = "never more probes than allowed";
pub(crate) const PERMITS: &str = "permits never leak";
pub(crate) const BUDGETS: &str = "budgets are never overdrawn and never above their bound";
pub(crate) const WAY_BACK: &str = "an opened breaker always has a way back";
pub(crate) const ONE_ANSWER: &str = "an admitted request gets exactly one answer, by its deadline";
pub(crate) const ONCE: &str = "side-effecting work under a key begins at most once";
pub(crate) const KEYS: &str = "whatever is repeated keeps its key, unless it is to be done afresh";
pub(crate) const GATES: &str = "no call goes to whoever is paused, unhealthy or gone";
pub(crate) const HEDGES: &str =
    "only what is read-only is under way twice, as often as declared, and never as a probe";
pub(crate) const SHARES: &str = "nobody has more calls under way than its share";
pub(crate) const OPEN_DOOR: &str = "nobody waits before an open door";
pub(crate) const RETURN: &str = "once faults stop, traffic returns";

type Law = (&'static str, fn(&World) -> Result<(), String>);

const LAWS: [Law; 6] = [
    (PROBES, probes),
    (PERMITS, permits),
    (WAY_BACK, way_back),
    (ONE_ANSWER, in_time),
    (SHARES, shares),
    (OPEN_DOOR, open_door),
];

/// The first law that does not hold.
pub(crate) fn hold(world: &World) -> Result<(), Broken> {
    if let Some(broken) = &world.witness.broken {
        return Err(broken.clone());
    }
    LAWS.iter().try_for_each(|(law, holds)| holds(world).map_err(|what| Broken { law, what }))
}

fn holds_unless(broken: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if broken { Err(what()) } else { Ok(()) }
}

fn probes(world: &World) -> Result<(), String> {
    let most = world.plane.sizes.breaker.probes as usize;
    world.witness.probes.iter().try_for_each(|((at, capability), probes)| {
        holds_unless(probes.len() > most, || {
            format!("{} probes of do{capability} under way at at{at}, {most} allowed", probes.len())
        })
    })
}

/// The machines' count of calls under way is the true one.
fn permits(world: &World) -> Result<(), String> {
    for (at, instance) in world.plane.instances.iter().enumerate() {
        for (capability, lane) in instance.lanes.iter().enumerate() {
            let truth = world.witness.under_way.get(&(at, capability)).map_or(0, |sent| sent.len());
            let (counted, most) = (lane.in_flight() as usize, lane.limit().1 as usize);
            holds_unless(counted != truth || truth > most, || {
                format!("do{capability} at at{at}: {truth} under way, {counted} permits taken of {most}")
            })?;
        }
    }
    Ok(())
}

fn way_back(world: &World) -> Result<(), String> {
    let latest = world.now() + world.plane.sizes.breaker.max_wait;
    for (at, instance) in world.plane.instances.iter().enumerate() {
        for (capability, lane) in instance.lanes.iter().enumerate() {
            let breaker = lane.breaker();
            let stuck = breaker.state() == State::Open
                && !world.tripped.contains(&(at, capability))
                && breaker.poll_timeout().is_none_or(|until| until > latest);
            holds_unless(stuck, || {
                format!("do{capability} at at{at} is open until {:?}", breaker.poll_timeout())
            })?;
        }
    }
    Ok(())
}

fn in_time(world: &World) -> Result<(), String> {
    let overdue = world.unanswered.first().filter(|(deadline, _)| *deadline < world.now());
    holds_unless(overdue.is_some(), || format!("call {} got none", overdue.map_or(0, |(_, call)| *call)))
}

fn shares(world: &World) -> Result<(), String> {
    let plane = &world.plane;
    let walls = &plane.sizes.walls;
    let share = |bp: u32| (u64::from(walls.whole) * u64::from(bp) / 10_000).max(1) as usize;
    let mut agents = vec![0; plane.agents.len()];
    let mut tenants = vec![0; plane.tenants.len()];
    for ((at, _), sent) in &world.witness.under_way {
        let agent = plane.instances[*at].agent;
        agents[agent] += sent.len();
        tenants[plane.agents[agent].tenant] += sent.len();
    }
    let whole: usize = tenants.iter().sum();
    let over = |counts: &[usize], most: usize| counts.iter().position(|count| *count > most);
    if let Some(agent) = over(&agents, share(walls.agent_bp)) {
        return Err(format!("agent{agent} has {} calls under way", agents[agent]));
    }
    if let Some(tenant) = over(&tenants, share(walls.tenant_bp)) {
        return Err(format!("tenant{tenant} has {} calls under way", tenants[tenant]));
    }
    holds_unless(whole > share(10_000), || format!("{whole} calls are under way"))?;
    let taken = plane.whole.taken() as usize;
    holds_unless(taken != whole, || format!("{whole} calls are under way in {taken} places"))
}

/// Checked when nothing more happens at this moment: whoever is told looks within it.
fn open_door(world: &World) -> Result<(), String> {
    if !world.is_settled() {
        return Ok(());
    }
    for call in world.plane.waiting.iter().flatten() {
        let caller = &world.callers[*call];
        if caller.is_bound() || caller.walled_until > world.now() {
            continue;
        }
        for at in world.plane.candidates(caller.tenant, caller.agent) {
            let instance = &world.plane.instances[at];
            let open = world.plane.pause(caller.tenant, caller.capability, at).is_none()
                && instance.lanes[caller.capability].look(instance.health.verdict(), false).is_ok();
            holds_unless(open, || format!("call {call} waits, and at{at} could take it"))?;
        }
    }
    Ok(())
}

/// How long after the last fault every call goes well: the longest a breaker stays open, and time for leases to be taken
/// again, for health to be proved, for late work to end and for probes to pass.
pub(crate) fn returns_within(world: &World) -> Duration {
    world.plane.sizes.breaker.max_wait + Duration::from_secs(7)
}
