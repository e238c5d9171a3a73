//! One world: its machines, its agents, its callers, and the events that move it on. A seed decides everything in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_kernel::breaker::{self, State};
use mainstay_kernel::bulkhead;
use mainstay_kernel::call::Ledger;
use mainstay_kernel::dice::Dice;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::health::{self, Evidence, PollFailure};
use mainstay_kernel::id::{AttemptId, LeaseId};
use mainstay_kernel::lease::Ttl;
use mainstay_kernel::outcome::{Began, Class};
use mainstay_kernel::queue;
use mainstay_kernel::retry::budget;
use mainstay_kernel::time::Mono;

use super::bugs::Bug;
use super::caller::Caller;
use super::laws;
use super::plane::{Plane, Sizes};
use super::sidecar::{Ended, Link, Reply, Request, Sidecar, failure};
use super::witness::{At, Tally, Witness};
use crate::agenda::Agenda;
use crate::seeds::Broken;
use crate::transcript::Transcript;

/// How long things go wrong, and how long they are watched once all is well and traffic has returned.
const TROUBLE: Duration = Duration::from_secs(8);
const CALM: Duration = Duration::from_secs(2);

/// The least time of one way over the network.
const LEAST_DELAY: Duration = Duration::from_micros(200);

/// When an answer to a poll is no longer waited for.
const POLL_TIMEOUT: Duration = Duration::from_millis(300);

/// More events than any world has: beyond them it runs in a circle.
const ENDLESS: u64 = 200_000;

#[derive(Debug)]
pub(crate) enum Event {
    /// The next caller comes.
    Arrives,
    Cancels(usize),
    /// The time of a decision is over.
    Timer {
        call: usize,
        number: u64,
    },
    /// The pool changed: whoever waits looks again.
    Wakes(usize),
    Reaches {
        at: usize,
        request: Request,
    },
    Finishes {
        at: usize,
        life: u32,
        key: AttemptId,
        effect: EffectClass,
        ended: Ended,
    },
    /// A request is given up by whoever sent it.
    GivenUp {
        at: usize,
        life: u32,
        call: usize,
        number: u64,
        key: AttemptId,
    },
    Replied {
        call: usize,
        number: u64,
        ended: Ended,
    },
    Asks {
        at: usize,
        call: usize,
        number: u64,
        key: AttemptId,
    },
    Told {
        call: usize,
        number: u64,
        ledger: Ledger,
    },
    Polls {
        at: usize,
        due: Mono,
    },
    Polled {
        at: usize,
        evidence: Evidence,
    },
    Renews {
        at: usize,
        term: u32,
    },
    Lapses {
        at: usize,
        lease: LeaseId,
    },
    /// The next fault.
    Trouble,
    /// A fault of this instance is over.
    Well(usize),
    /// All faults are over, for good.
    Heals,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) agenda: Agenda<Event>,
    transcript: Transcript,
    /// The world's dice: faults, delays, callers.
    pub(crate) dice: Dice,
    /// The dice of calls.
    pub(crate) lot: Dice,
    pub(crate) plane: Plane,
    pub(crate) sidecars: Vec<Sidecar>,
    pub(crate) callers: Vec<Caller>,
    /// When each request arrives.
    arrivals: BTreeMap<(usize, u64), Mono>,
    pub(crate) unanswered: BTreeSet<(Mono, usize)>,
    /// Breakers that an operator opened.
    pub(crate) tripped: BTreeSet<At>,
    pub(crate) witness: Witness,
    pub(crate) bug: Option<Bug>,
    pub(crate) heals_at: Mono,
    /// Twice the mean time between two callers.
    pace: Duration,
    last_arrival: Mono,
}

fn ms(millis: usize) -> Duration {
    Duration::from_millis(millis as u64)
}

fn sizes(dice: &mut Dice) -> Sizes {
    let breaker = breaker::Config {
        window: ms(1_000 + dice.below(4_000)),
        min_calls: 3 + dice.below(10) as u32,
        in_a_row: 2 + dice.below(5) as u32,
        wait: ms(100 + dice.below(900)),
        max_wait: ms(1_000 + dice.below(2_000)),
        probes: 1 + dice.below(3) as u32,
        passes: 1 + dice.below(3) as u32,
        ..breaker::Config::default()
    };
    let (fall, rise) = (1 + dice.below(3) as u32, 1 + dice.below(2) as u32);
    Sizes {
        breaker,
        health: health::Config::try_new(ms(500), ms(50), fall, rise).unwrap(),
        budget: budget::Config {
            share_bp: dice.below(3_000) as u32,
            window: ms(1_000 + dice.below(4_000)),
            reserve: dice.below(8) as u32,
        },
        walls: bulkhead::Config {
            whole: 4 + dice.below(30) as u32,
            agent_bp: 2_500 + dice.below(7_501) as u32,
            tenant_bp: 5_000 + dice.below(5_001) as u32,
        },
        queue: queue::Config { most: 2 + dice.below(20) as u32 },
        tenants: 1 + dice.below(2),
        agents: 2 + dice.below(2),
        instances: 1 + dice.below(3),
        capabilities: 1 + dice.below(2),
        concurrency: 1 + dice.below(4) as u32,
    }
}

impl World {
    pub(crate) fn new(seed: u64, bug: Option<Bug>, transcript: Transcript) -> Self {
        let mut dice = Dice::seeded(seed);
        let sizes = sizes(&mut dice);
        let mut world = Self {
            agenda: Agenda::new(),
            transcript,
            lot: Dice::seeded(dice.roll()),
            witness: Witness::new(sizes.agents, sizes.budget),
            sidecars: (0..sizes.agents * sizes.instances).map(|_| Sidecar::new(sizes.concurrency)).collect(),
            callers: Vec::new(),
            arrivals: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            tripped: BTreeSet::new(),
            bug,
            heals_at: Mono::default() + TROUBLE,
            pace: ms(20 + dice.below(180)),
            last_arrival: Mono::default() + TROUBLE + sizes.breaker.max_wait,
            plane: Plane::new(sizes, &mut dice),
            dice,
        };
        world.last_arrival = world.heals_at + laws::returns_within(&world) + CALM;
        for at in 0..world.sidecars.len() {
            world.agenda.after(ms(at), Event::Renews { at, term: 0 });
        }
        world.agenda.after(ms(50), Event::Arrives);
        world.agenda.after(ms(500), Event::Trouble);
        world.agenda.at(world.heals_at, Event::Heals);
        world
    }

    /// Lives through it all; the laws are looked at after every event.
    pub(crate) fn live(mut self) -> (Tally, Transcript, Result<(), Broken>) {
        let mut events = 0;
        let ended = loop {
            let over = self.unanswered.is_empty() && self.now() > self.last_arrival;
            let Some(event) = self.agenda.next().filter(|_| !over) else { break self.at_the_end() };
            self.happens(event);
            events += 1;
            if let Err(broken) = laws::hold(&self) {
                break Err(broken);
            }
            if events > ENDLESS {
                break Err(Broken { law: "every world ends", what: format!("{events} events") });
            }
        };
        *self.witness.tally.0.entry("events").or_default() += events;
        (self.witness.tally, self.transcript, ended)
    }

    fn at_the_end(&self) -> Result<(), Broken> {
        let in_flight: u32 =
            self.plane.instances.iter().flat_map(|at| &at.lanes).map(|lane| lane.in_flight()).sum();
        let taken = self.plane.whole.taken();
        if in_flight + taken > 0 {
            let what = format!("at the end {in_flight} permits and {taken} places are still taken");
            return Err(Broken { law: laws::PERMITS, what });
        }
        laws::hold(self)
    }

    pub(crate) fn now(&self) -> Mono {
        self.agenda.now()
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.agenda.is_settled()
    }

    pub(crate) fn log(&mut self, what: std::fmt::Arguments<'_>) {
        self.transcript.line(self.agenda.now(), what);
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Arrives => {
                self.arrives();
                let calm = self.now() >= self.heals_at;
                let pace = if calm { self.pace.max(ms(600)) } else { self.pace };
                let next = self.now() + self.dice.jitter(pace);
                if next < self.last_arrival {
                    self.agenda.at(next, Event::Arrives);
                }
            }
            Event::Cancels(call) => self.cancels(call),
            Event::Timer { call, number } => self.timer(call, number),
            Event::Wakes(call) => self.wakes(call),
            Event::Reaches { at, request } => self.reaches(at, &request),
            Event::Finishes { at, life, key, effect, ended } => self.finishes(at, life, key, effect, &ended),
            Event::GivenUp { at, life, call, number, key } => self.given_up(at, life, (call, number), key),
            Event::Replied { call, number, ended } => self.replied(call, number, ended),
            Event::Asks { at, call, number, key } => self.asks(at, call, number, key),
            Event::Told { call, number, ledger } => self.told(call, number, ledger),
            Event::Polls { at, due } => self.polls(at, due),
            Event::Polled { at, evidence } => self.observe(at, evidence),
            Event::Renews { at, term } => self.renews(at, term),
            Event::Lapses { at, lease } => self.lapses(at, lease),
            Event::Trouble => self.trouble(),
            Event::Well(at) => self.well(at),
            Event::Heals => self.heals(),
        }
    }

    // === the network ===

    /// The time of one way over a network that is well.
    pub(crate) fn delay(&mut self) -> Duration {
        LEAST_DELAY + self.dice.jitter(ms(4))
    }

    /// Tells a sidecar that nobody waits for a request any more. On their connection that is ahead of whatever is sent later.
    pub(crate) fn tell_given_up(&mut self, at: usize, call: usize, number: u64, key: AttemptId) {
        let life = self.sidecars[at].life;
        // On the stream of its request, which it never overtakes.
        let arrival = self.arrivals.remove(&(call, number)).unwrap_or_default();
        self.agenda.at(arrival.max(self.now() + LEAST_DELAY), Event::GivenUp { at, life, call, number, key });
    }

    fn given_up(&mut self, at: usize, life: u32, sending: (usize, u64), key: AttemptId) {
        let sidecar = &mut self.sidecars[at];
        if sidecar.life == life && sidecar.link != Link::Cut {
            sidecar.given_up(key, sending);
        }
    }

    pub(crate) fn deliver(&mut self, at: usize, request: Request) {
        let mut delay = self.delay();
        match self.sidecars[at].link {
            Link::Cut => return,
            Link::Delays if self.dice.below(2) == 0 => delay += request.timeout + self.dice.jitter(ms(2_000)),
            Link::Repeats => {
                let again = delay + self.dice.jitter(request.timeout);
                self.agenda.after(again, Event::Reaches { at, request: request.clone() });
            }
            Link::Delays | Link::Breaks | Link::Whole => {}
        }
        self.arrivals.insert((request.call, request.number), self.now() + delay);
        self.agenda.after(delay, Event::Reaches { at, request });
    }

    fn reply(&mut self, at: usize, call: usize, number: u64, ended: Ended) {
        let delay = self.delay();
        let ended = match self.sidecars[at].link {
            Link::Cut => return,
            Link::Breaks => Err(failure(Class::Transport, Began::Unknown)),
            Link::Delays | Link::Repeats | Link::Whole => ended,
        };
        self.agenda.after(delay, Event::Replied { call, number, ended });
    }

    fn reaches(&mut self, at: usize, request: &Request) {
        let Request { call, number, key, effect, life, .. } = *request;
        let sidecar = &self.sidecars[at];
        if !sidecar.up || sidecar.life != life {
            // Nobody was there to connect to, or the connection ended with whoever was.
            let began = if sidecar.life == life { Began::No } else { Began::Unknown };
            return self.reply(at, call, number, Err(failure(Class::Transport, began)));
        }
        match self.sidecars[at].invoke(request, self.bug, &mut self.dice) {
            Reply::Now(ended) => self.reply(at, call, number, ended),
            Reply::Joins => self.log(format_args!("call {call}/{number} joins its work at at{at}")),
            Reply::Begins(takes, ended) => {
                self.log(format_args!("at{at} begins the work of call {call}/{number}"));
                self.witness.begins(key, effect);
                let life = self.sidecars[at].life;
                self.agenda.after(takes, Event::Finishes { at, life, key, effect, ended });
                if self.sidecars[at].link == Link::Breaks {
                    self.reply(at, call, number, Err(failure(Class::Transport, Began::Unknown)));
                }
            }
        }
    }

    fn finishes(&mut self, at: usize, life: u32, key: AttemptId, effect: EffectClass, ended: &Ended) {
        if self.sidecars[at].life != life {
            return;
        }
        for (call, number) in self.sidecars[at].finish(key, ended, effect) {
            self.reply(at, call, number, ended.clone());
        }
    }

    fn asks(&mut self, at: usize, call: usize, number: u64, key: AttemptId) {
        if self.sidecars[at].link == Link::Cut {
            return;
        }
        let up = self.sidecars[at].up;
        let ledger = if up { self.sidecars[at].outcome(key, number) } else { Ledger::Unreachable };
        self.log(format_args!("the ledger of at{at} says to call {call}: {ledger:?}"));
        let delay = self.delay();
        self.agenda.after(delay, Event::Told { call, number, ledger });
    }

    // === health and leases ===

    pub(crate) fn observe(&mut self, at: usize, evidence: Evidence) {
        let now = self.now();
        let health = &mut self.plane.instances[at].health;
        let before = health.poll_timeout().filter(|_| evidence != Evidence::Registered);
        let change = health.observe(evidence, now, &mut self.plane.dice);
        if let Some(due) = health.poll_timeout().filter(|due| before != Some(*due)) {
            self.agenda.at(due, Event::Polls { at, due });
        }
        if let Some(change) = change {
            self.witness.tally.count("changes of health");
            self.log(format_args!("at{at} is {}: {}", change.to.state.as_str(), change.to.reason));
            self.wake_all();
        }
    }

    fn polls(&mut self, at: usize, due: Mono) {
        let now = self.now();
        let health = &mut self.plane.instances[at].health;
        if health.poll_timeout() != Some(due) {
            return;
        }
        health.begin_poll(now);
        let sidecar = &self.sidecars[at];
        let (cut, up) = (sidecar.link == Link::Cut, sidecar.up);
        let evidence = match (cut, up) {
            (true, _) => Evidence::PollFailed(PollFailure::TimedOut),
            (false, false) => Evidence::PollFailed(PollFailure::Unreachable),
            (false, true) => Evidence::PollPassed,
        };
        let delay = if cut { POLL_TIMEOUT } else { self.delay() };
        self.agenda.after(delay, Event::Polled { at, evidence });
    }

    fn renews(&mut self, at: usize, term: u32) {
        let now = self.now();
        let sidecar = &self.sidecars[at];
        if sidecar.term != term || !sidecar.up || !sidecar.wanted {
            return;
        }
        self.agenda.after(Ttl::MIN.renewal_interval(), Event::Renews { at, term });
        if sidecar.link == Link::Cut {
            return;
        }
        let instance = &mut self.plane.instances[at];
        let renewed = sidecar
            .lease
            .is_some_and(|lease| instance.registered && instance.lease.renew(lease, now).is_ok());
        if !renewed {
            let lease = self.plane.register(at, now);
            self.sidecars[at].lease = Some(lease);
            self.log(format_args!("at{at} registers"));
            self.witness.tally.count("registrations");
            self.agenda.after(Ttl::MIN.as_duration(), Event::Lapses { at, lease });
            self.observe(at, Evidence::Registered);
            self.wake_all();
        }
    }

    fn lapses(&mut self, at: usize, lease: LeaseId) {
        let now = self.now();
        let instance = &mut self.plane.instances[at];
        if !instance.registered || instance.lease.id() != lease {
            return;
        }
        if instance.lease.handle_timeout(now).is_some() {
            self.witness.tally.count("leases lapsed");
            self.log(format_args!("the lease of at{at} lapses"));
            self.gone(at);
        } else if let Some(due) = instance.lease.poll_timeout() {
            self.agenda.at(due, Event::Lapses { at, lease });
        }
    }

    /// An instance leaves the registry.
    pub(crate) fn gone(&mut self, at: usize) {
        self.plane.instances[at].registered = false;
        self.observe(at, Evidence::LeaseLapsed);
        self.wake_all();
    }

    // === breakers ===

    /// Hears of every change of a breaker, as the record does.
    pub(crate) fn settle_changes(&mut self) {
        for (at, capability, change) in std::mem::take(&mut self.plane.changes) {
            self.log(format_args!("the breaker of do{capability} at at{at} is {}", change.to.as_str()));
            self.witness.changed((at, capability), &change);
            if change.to == State::Open && self.bug == Some(Bug::NoWayBack) {
                let breaker = self.plane.instances[at].lanes[capability].breaker_mut();
                let _planted = breaker.trip("planted".into(), self.agenda.now());
            }
        }
    }
}
