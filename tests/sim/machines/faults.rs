//! What goes wrong, and how it is made well. A new fault is one line of the table.

use std::time::Duration;

use mainstay_kernel::pause::{Pause, Target};
use mainstay_kernel::time::Wall;

use super::sidecar::{Link, Mood};
use super::world::{Event, World};

/// A fault: its name, and what it does to an instance.
type Fault = (&'static str, fn(&mut World, usize));

pub(crate) const FAULTS: [Fault; 16] = [
    ("fails", |world, at| world.sidecars[at].mood = Mood::Fails { always: true }),
    ("fails every second time", |world, at| world.sidecars[at].mood = Mood::Fails { always: false }),
    ("hangs", |world, at| world.sidecars[at].mood = Mood::Hangs),
    ("refuses", |world, at| world.sidecars[at].mood = Mood::Refuses),
    ("answers late", |world, at| world.sidecars[at].mood = Mood::Late),
    ("lies", |world, at| world.sidecars[at].mood = Mood::Lies),
    ("is cut off", |world, at| world.sidecars[at].link = Link::Cut),
    ("breaks its connections", |world, at| world.sidecars[at].link = Link::Breaks),
    ("hears late", |world, at| world.sidecars[at].link = Link::Delays),
    ("hears everything twice", |world, at| world.sidecars[at].link = Link::Repeats),
    ("crashes", |world, at| {
        let bug = world.bug;
        world.sidecars[at].crash(bug);
    }),
    ("crashes and comes back at once", |world, at| {
        let bug = world.bug;
        world.sidecars[at].crash(bug);
        world.well(at);
    }),
    ("leaves", |world, at| {
        world.sidecars[at].wanted = false;
        world.gone(at);
    }),
    ("is paused", |world, at| world.pauses(at)),
    ("is tripped by hand", |world, at| world.trips(at, true)),
    ("is reset by hand", |world, at| world.trips(at, false)),
];

impl World {
    /// The next fault, of one instance or of all of its agent's.
    pub(crate) fn trouble(&mut self) {
        let (name, begin) = FAULTS[self.dice.below(FAULTS.len())];
        let victim = self.dice.below(self.sidecars.len());
        let agent = self.plane.instances[victim].agent;
        let all = self.dice.below(4) == 0;
        let lasts = Duration::from_millis(100) + self.dice.jitter(Duration::from_millis(6_000));
        self.witness.tally.count(name);
        for at in 0..self.sidecars.len() {
            if at == victim || all && self.plane.instances[at].agent == agent {
                self.log(format_args!("at{at} {name}"));
                begin(self, at);
                self.agenda.after(lasts, Event::Well(at));
            }
        }
        self.settle_changes();
        let next = self.now() + Duration::from_millis(50) + self.dice.jitter(Duration::from_millis(1_200));
        if next < self.heals_at {
            self.agenda.at(next, Event::Trouble);
        }
    }

    /// Whatever an instance suffers from is over.
    pub(crate) fn well(&mut self, at: usize) {
        self.log(format_args!("at{at} is well"));
        let sidecar = &mut self.sidecars[at];
        (sidecar.mood, sidecar.link) = (Mood::Well, Link::Whole);
        sidecar.life += u32::from(!sidecar.up);
        if !sidecar.up || !sidecar.wanted {
            (sidecar.up, sidecar.wanted) = (true, true);
            sidecar.term += 1;
            let term = sidecar.term;
            let soon = self.delay();
            self.agenda.after(soon, Event::Renews { at, term });
        }
        self.resumes(at);
        for capability in 0..self.plane.capabilities.len() {
            if self.tripped.remove(&(at, capability)) {
                self.reset(at, capability);
            }
        }
        self.settle_changes();
        self.wake_all();
    }

    pub(crate) fn heals(&mut self) {
        self.log(format_args!("all faults are over"));
        (0..self.sidecars.len()).for_each(|at| self.well(at));
    }

    fn targets(&self, at: usize) -> [Target; 4] {
        let instance = &self.plane.instances[at];
        let agent = &self.plane.agents[instance.agent];
        [
            Target::Instance { agent: agent.name.clone(), instance: instance.name.clone() },
            Target::Agent(agent.name.clone()),
            Target::Capability(self.plane.capabilities[0].name.clone()),
            Target::Tenant(self.plane.tenants[agent.tenant].name.clone()),
        ]
    }

    /// An operator pauses an instance, or what it belongs to.
    fn pauses(&mut self, at: usize) {
        let target = self.targets(at)[self.dice.below(4)].clone();
        let tenant =
            self.plane.tenants[self.plane.agents[self.plane.instances[at].agent].tenant].name.clone();
        let pause = Pause { target, reason: "simulated".into(), by: String::new(), since: Wall::default() };
        self.log(format_args!("{pause}"));
        self.plane.pauses.put(tenant, pause);
    }

    fn resumes(&mut self, at: usize) {
        let tenant =
            self.plane.tenants[self.plane.agents[self.plane.instances[at].agent].tenant].name.clone();
        for target in self.targets(at) {
            self.plane.pauses.lift(&tenant, &target);
        }
    }

    fn trips(&mut self, at: usize, trip: bool) {
        let capability = self.dice.below(self.plane.capabilities.len());
        if trip {
            let now = self.now();
            let breaker = self.plane.instances[at].lanes[capability].breaker_mut();
            let change = breaker.trip("simulated".into(), now);
            self.tripped.insert((at, capability));
            self.plane.changes.push((at, capability, change));
        } else {
            self.tripped.remove(&(at, capability));
            self.reset(at, capability);
        }
    }

    fn reset(&mut self, at: usize, capability: usize) {
        let now = self.now();
        let change = self.plane.instances[at].lanes[capability].breaker_mut().reset("simulated".into(), now);
        self.plane.changes.push((at, capability, change));
        self.wake_all();
    }
}
