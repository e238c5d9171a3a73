//! A circuit breaker for one capability of one instance.
//!
//! **Why one for each pair of instance and capability, and none that covers more?** An instance may fail at one thing and
//! be good at another, and another instance may do the same thing well. A breaker that covers more than what is broken is
//! an outage of its own. In particular there is none over a capability as a whole. While an instance is well, it would
//! only take that one away; and once they all fail, each has opened its own, so it would say nothing new but lose what
//! each of them says by itself: who fails how, and which probe comes first. What it is asked for elsewhere is answered by
//! whoever sees all instances at once: those that do worse than their siblings are left out, if most seem to fail none is,
//! and a call that nobody takes is routed to a fallback.
//!
//! Closed: traffic flows and is measured over a rolling window. It opens when, over the window, too many calls failed,
//! timed out or were slow, or at once when several failed in a row (thin traffic may never fill a window, and an outage
//! should not have to outweigh the good calls before it). Over few calls more than chance is asked for: an agent that stays
//! below the threshold must not open its breaker by bad luck. Open: nothing
//! flows until a wait is over; the wait doubles each time and is jittered, so that callers do not come back in step.
//! Half-open: a bounded number of *real* calls flows as probes (a health check that passes says little about the work;
//! Linkerd holds the same). Enough good probes close it, one bad probe opens it again.
//!
//! # What counts
//! - Failed: [`Class::Transport`], [`Class::AgentError`], [`Class::ContractBreach`], and [`Class::Timeout`] if the agent was
//!   given most of the time it promised to answer in. A caller with less patience than that learns nothing about the agent.
//!   What each counts for, and whether an unsure, dear or late answer counts too, the [`Weights`] say.
//! - Slow: an answer that took longer than the SLA the capability declares. A long call inside its SLA is never slow.
//! - Not at all: [`Class::Overload`] (busy is not dead: opening would turn a full instance into a missing one), and what
//!   is not the agent's doing: [`Class::CallerFault`], [`Class::Cancelled`], [`Class::Unavailable`].
//!
//! All of it is policy: a capability declares what it wants otherwise ([`Policy`]), over the server's own [`Config`].
//!
//! # Late results
//! Every change of state begins a new generation, and an [`Admission`] remembers its own. The result of a call admitted
//! in an earlier generation tells of a time the breaker has judged already: it is dropped, and can neither free nor fill
//! a place among the probes of today.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::outcome::Class;
use crate::share::WHOLE;
use crate::time::{Mono, Now, Wall};

mod chance;
mod config;
mod policy;
mod reason;
mod weights;
mod window;

pub use config::{Config, ConfigError};
pub use policy::{Policy, PolicyError};
pub use reason::Reason;
pub use weights::{Weighed, WeighedError, Weights};
pub use window::Counts;
use window::Window;

/// The state, in the classic words: closed means traffic flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Traffic flows.
    Closed,
    /// No traffic until the wait is over.
    Open,
    /// A bounded number of probes flows.
    HalfOpen,
}

/// Leave to make one call. Give it back through [`Breaker::record`] or [`Breaker::abandon`], or a probe's place stays taken.
#[derive(Debug)]
#[must_use = "an admission not given back blocks a probe's place"]
pub struct Admission {
    generation: u64,
    probe: bool,
}

/// No leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The breaker is open; until then, or, tripped by hand, until it is reset.
    Open {
        /// When probes will flow; `None` if only a reset will do.
        until: Option<Mono>,
    },
    /// The breaker is half-open and all its probes are under way.
    Probing,
}

/// The state changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the record and the store must hear of a change"]
pub struct Change {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// Why.
    pub reason: Reason,
    /// When.
    pub at: Mono,
}

/// What survives a restart and what people see. Without the window: evidence older than a restart is stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The state.
    pub state: State,
    /// Why it last changed; `None` if it never did.
    pub reason: Option<Reason>,
    /// When it last changed.
    pub since: Wall,
    /// While open: when probes will flow; `None` if only a reset will do.
    pub until: Option<Wall>,
    /// How many times in a row it opened without a calm time between: the exponent of its wait.
    pub level: u32,
    /// How many times it has opened.
    pub opened: u64,
}

/// The breaker. See the module's page.
#[derive(Debug, Clone)]
pub struct Breaker {
    config: Config,
    sla: Duration,
    phase: Phase,
    window: Window,
    /// What failed since the last call that did not.
    in_a_row: Counts,
    level: u32,
    generation: u64,
    opened: u64,
    since: Mono,
    reason: Option<Reason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { until: Option<Mono> },
    HalfOpen { under_way: u32, passed: u32 },
}

impl Breaker {
    /// A closed breaker for a capability that promises to answer within `sla`.
    #[must_use]
    pub fn new(config: Config, sla: Duration, now: Mono) -> Self {
        let window = Window::new(config.window, now);
        Self {
            config,
            sla,
            phase: Phase::Closed,
            window,
            in_a_row: Counts::default(),
            level: 0,
            generation: 0,
            opened: 0,
            since: now,
            reason: None,
        }
    }

    /// The breaker as it was before a restart. Its probes of then are gone; a wait longer than the configuration allows
    /// (the wall clock may have moved) is cut to that.
    #[must_use]
    pub fn restore(config: Config, sla: Duration, snapshot: Snapshot, now: Now) -> Self {
        let Snapshot { state, reason, since, until, level, opened } = snapshot;
        let latest = now.mono + config.max_wait;
        let phase = match state {
            State::Closed => Phase::Closed,
            State::Open => Phase::Open { until: until.map(|until| now.mono_at(until).min(latest)) },
            State::HalfOpen => Phase::HalfOpen { under_way: 0, passed: 0 },
        };
        Self { phase, level, opened, since: now.mono_at(since), reason, ..Self::new(config, sla, now.mono) }
    }

    /// Takes over the state that was kept before a restart; see [`Breaker::restore`].
    pub fn resume(&mut self, snapshot: Snapshot, now: Now) {
        *self = Self::restore(self.config, self.sla, snapshot, now);
    }

    /// What to keep and to show.
    #[must_use]
    pub fn snapshot(&self, now: Now) -> Snapshot {
        let until = match self.phase {
            Phase::Open { until } => until.map(|until| now.wall_at(until)),
            Phase::Closed | Phase::HalfOpen { .. } => None,
        };
        Snapshot {
            state: self.state(),
            reason: self.reason.clone(),
            since: now.wall_at(self.since),
            until,
            level: self.level,
            opened: self.opened,
        }
    }

    /// Asks leave for one call. An open breaker whose wait is over becomes half-open here, hence the change beside it.
    pub fn admit(&mut self, now: Mono) -> (Result<Admission, Refusal>, Option<Change>) {
        let change = self.handle_timeout(now);
        let generation = self.generation;
        let leave = match &mut self.phase {
            Phase::Closed => Ok(Admission { generation, probe: false }),
            Phase::Open { until } => Err(Refusal::Open { until: *until }),
            Phase::HalfOpen { under_way, .. } if *under_way < self.config.probes => {
                *under_way += 1;
                Ok(Admission { generation, probe: true })
            }
            Phase::HalfOpen { .. } => Err(Refusal::Probing),
        };
        (leave, change)
    }

    /// The admitted call ended: its class, and how long it took.
    pub fn record(
        &mut self,
        admission: Admission,
        class: Class,
        latency: Duration,
        now: Mono,
        dice: &mut Dice,
    ) -> Option<Change> {
        if admission.generation != self.generation {
            return None;
        }
        let Some(mark) = self.mark(class, latency) else {
            self.abandon(admission);
            return None;
        };
        match self.phase {
            Phase::Closed => self.measured(mark, now, dice),
            Phase::HalfOpen { under_way, passed } => {
                if let Some(reason) = mark.bad_probe(class) {
                    return Some(self.open(reason, now, dice));
                }
                let passed = passed + 1;
                self.phase = Phase::HalfOpen { under_way: under_way.saturating_sub(1), passed };
                (passed >= self.config.passes)
                    .then(|| self.turn(Phase::Closed, Reason::ProbesPassed(passed), now))
            }
            Phase::Open { .. } => None,
        }
    }

    /// The admitted call was never made, or nobody waited for its end: gives the place back, judges nothing.
    pub fn abandon(&mut self, admission: Admission) {
        // Whoever was admitted in this generation of a half-open breaker is a probe.
        if let Phase::HalfOpen { under_way, .. } = &mut self.phase
            && admission.generation == self.generation
        {
            *under_way = under_way.saturating_sub(1);
        }
    }

    /// The wait of an open breaker is over: it becomes half-open.
    pub fn handle_timeout(&mut self, now: Mono) -> Option<Change> {
        let due = matches!(self.phase, Phase::Open { until: Some(until) } if until <= now);
        due.then(|| self.turn(Phase::HalfOpen { under_way: 0, passed: 0 }, Reason::WaitOver, now))
    }

    /// When to call [`Breaker::handle_timeout`]; `None` unless a wait is running.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Mono> {
        match self.phase {
            Phase::Open { until } => until,
            Phase::Closed | Phase::HalfOpen { .. } => None,
        }
    }

    /// Opens it by hand, until [`Breaker::reset`]: an operator's word is not undone by a timer.
    pub fn trip(&mut self, note: String, now: Mono) -> Change {
        self.opened += 1;
        self.turn(Phase::Open { until: None }, Reason::TrippedByHand(note), now)
    }

    /// Closes it by hand and forgets its failures.
    pub fn reset(&mut self, note: String, now: Mono) -> Change {
        self.level = 0;
        self.turn(Phase::Closed, Reason::ResetByHand(note), now)
    }

    /// The capability was registered again, maybe with another policy and another promise. What was counted stays, unless
    /// it was counted over another window; a wait that is too long now is cut.
    pub fn set_policy(&mut self, config: Config, sla: Duration, now: Mono) {
        if config.window != self.config.window {
            self.window = Window::new(config.window, now);
        }
        if let Phase::Open { until: Some(until) } = &mut self.phase {
            *until = (*until).min(now + config.max_wait);
        }
        (self.config, self.sla) = (config, sla);
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// What the window holds now.
    #[must_use]
    pub fn counts(&self, now: Mono) -> Counts {
        self.window.counts(now)
    }

    /// How much of a failure a call is, in basis points; `None` if it says nothing about the agent.
    #[must_use]
    pub fn weigh(&self, class: Class, latency: Duration) -> Option<u32> {
        self.mark(class, latency).map(|mark| u32::try_from(mark.weight).unwrap_or(u32::MAX))
    }

    /// How the breaker sees a call; `None` if it says nothing about the agent.
    fn mark(&self, class: Class, latency: Duration) -> Option<Counts> {
        let weight = |weighed| self.config.weights.of(weighed);
        let (weight, timed_out, slow) = match class {
            Class::Success => self.answered(0, latency),
            Class::LowConfidence => self.answered(weight(Weighed::LowConfidence), latency),
            Class::OverBudget => self.answered(weight(Weighed::OverBudget), latency),
            Class::Transport => (weight(Weighed::Transport), false, false),
            Class::AgentError => (weight(Weighed::AgentError), false, false),
            Class::ContractBreach => (weight(Weighed::ContractBreach), false, false),
            Class::Timeout if latency < self.sla.mul_f64(config::FAIR_SHARE_OF_SLA) => return None,
            Class::Timeout => (weight(Weighed::Timeout), true, false),
            Class::Overload | Class::CallerFault | Class::Cancelled | Class::Unavailable => return None,
        };
        Some(Counts {
            calls: 1,
            failed: u32::from(weight > 0),
            weight: u64::from(weight),
            timed_out: u32::from(timed_out),
            slow: u32::from(slow),
        })
    }

    fn answered(&self, weight: u32, latency: Duration) -> (u32, bool, bool) {
        let slow = latency > self.sla;
        let late = if slow { self.config.weights.of(Weighed::Slow) } else { 0 };
        (weight.max(late), false, slow)
    }

    fn measured(&mut self, mark: Counts, now: Mono, dice: &mut Dice) -> Option<Change> {
        if mark.weight > 0 {
            self.in_a_row += mark;
        } else {
            self.in_a_row = Counts::default();
        }
        self.window.add(mark, now);
        if mark.weight == 0 && mark.timed_out == 0 && mark.slow == 0 {
            // A good call can make the calls enough to judge; that is no reason to open on good news.
            return None;
        }
        let counts = self.window.counts(now);
        let reason = if self.config.is_enough(self.in_a_row, counts.without(self.in_a_row)) {
            Reason::FailedInARow(self.in_a_row.failed)
        } else {
            self.config.verdict(counts)?
        };
        Some(self.open(reason, now, dice))
    }

    fn open(&mut self, reason: Reason, now: Mono, dice: &mut Dice) -> Change {
        // A breaker that opens again soon after it closed did not recover: its wait goes on growing where it was.
        let recovered = self.phase == Phase::Closed && now - self.since >= self.config.window;
        self.level = if recovered || self.opened == 0 { 0 } else { self.level.saturating_add(1) };
        self.opened += 1;
        let wait = self.config.wait(self.level, dice);
        self.turn(Phase::Open { until: Some(now + wait) }, reason, now)
    }

    fn turn(&mut self, phase: Phase, reason: Reason, now: Mono) -> Change {
        let from = self.state();
        self.phase = phase;
        self.generation += 1;
        self.in_a_row = Counts::default();
        self.window.clear();
        self.since = now;
        self.reason = Some(reason.clone());
        Change { from, to: self.state(), reason, at: now }
    }
}

impl Counts {
    /// Why a probe that ended like this opens the breaker again, if it does. A probe is judged by itself, so it is bad if
    /// it weighs at least half a failure.
    fn bad_probe(self, class: Class) -> Option<Reason> {
        if self.timed_out > 0 || (self.slow == 0 && 2 * self.weight >= u64::from(WHOLE)) {
            return Some(Reason::ProbeFailed(class));
        }
        (self.slow > 0).then_some(Reason::ProbeSlow)
    }
}

impl Admission {
    /// Whether the call is a probe: it should not be hedged, and its failure opens the breaker again.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.probe
    }
}

impl State {
    /// The name used in records, tables and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

#[cfg(test)]
mod tests;
