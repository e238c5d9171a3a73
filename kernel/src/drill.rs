//! Drills: one fault on purpose, for a bounded time, and a scorecard of what the system did about it.
//!
//! What is never tried does not work when it is needed. A drill lets the outside world fail at its edge (the exchange with a
//! sidecar, a health poll, the sync of a disk), so that everything above the edge is the real thing: the breaker that opens
//! is the breaker that would. Real traffic is watched, not made up. A drill that met none proves nothing, and fails.
//!
//! This machine knows when the fault ends, what noticed it first, when everything is well again, and whether that is good
//! enough. It is shown [`Look`]s; it does not know what a part is, only whether it is well. Which sendings are struck is the
//! [`Plan`]'s, by its seed.
//!
//! Related work: Netflix' "Chaos Engineering" (Basiri et al., IEEE Software 2016) asks for a hypothesis about steady state
//! and a minimal blast radius; the rules of the scorecard are that hypothesis, the target and the share that radius.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Mono;

pub mod kind;
pub mod look;
pub mod plan;
pub mod scorecard;

pub use kind::{Kind, Notice};
pub use look::{Calls, Look, Part, Tally};
pub use plan::{Plan, PlanError, Whom};
pub use scorecard::{Finding, Rule, Scorecard};

/// Time for everything to be well again after the fault. A breaker that failed its probes all along waits up to a minute
/// for the next one; half of that again for the probes.
pub const RECOVER_WITHIN: Duration = Duration::from_secs(90);

/// A drill under way.
#[derive(Debug, Clone)]
pub struct Drill {
    plan: Plan,
    began: Mono,
    now: Mono,
    phase: Phase,
    /// The parts as they were before, by name.
    before: Vec<Part>,
    tally: Tally,
    detected: Option<(Detected, Tally)>,
    /// The first part that turned while the fault lasted, whether or not that is how the fault should be noticed.
    turned: Option<Detected>,
    ended: Option<End>,
    recovered: Option<Mono>,
    /// Parts that were well before and are not now.
    unwell: Vec<String>,
}

/// How far a drill is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The fault acts.
    Underway,
    /// It is over; what it did is watched.
    Recovering,
    /// The scorecard is written.
    Over,
}

/// Why a fault ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Its time was over.
    Over,
    /// Somebody stopped it.
    Stopped,
    /// The client that began it went away.
    ClientGone,
}

/// What noticed a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detected {
    /// How long after it began.
    pub after: Duration,
    /// Which part.
    pub part: String,
    /// In its own words.
    pub reason: String,
}

/// What happened in a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The fault acts.
    Began,
    /// Something noticed it.
    Detected(Detected),
    /// The fault is over.
    Ended {
        /// How long it lasted.
        lasted: Duration,
        /// Why it ended.
        why: Ended,
    },
    /// Everything is well again and traffic flows.
    Recovered {
        /// How long after the end of the fault.
        after: Duration,
    },
    /// The drill is over.
    Judged(Scorecard),
}

#[derive(Debug, Clone, Copy)]
struct End {
    at: Mono,
    why: Ended,
    tally: Tally,
}

impl Ended {
    /// The word in records and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Over => "over",
            Self::Stopped => "stopped",
            Self::ClientGone => "client-gone",
        }
    }
}

impl Drill {
    /// Begins a drill: the fault acts from now on. `look` is how things were before.
    ///
    /// # Errors
    /// The parts that are not well: what is broken already cannot show how it breaks.
    pub fn begin(plan: Plan, look: Look, now: Mono) -> Result<Self, Vec<Part>> {
        let unwell: Vec<Part> = look.parts.iter().filter(|part| !part.well).cloned().collect();
        if !unwell.is_empty() {
            return Err(unwell);
        }
        Ok(Self {
            plan,
            began: now,
            now,
            phase: Phase::Underway,
            before: look.parts,
            tally: look.tally,
            detected: None,
            turned: None,
            ended: None,
            recovered: None,
            unwell: Vec::new(),
        })
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How far it is.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// When it moves on by itself at the latest; `None` once it is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        match self.phase {
            Phase::Underway => Some(self.began + self.plan.lasts),
            Phase::Recovering => self.ended.map(|end| end.at + RECOVER_WITHIN),
            Phase::Over => None,
        }
    }

    /// Looks at what the fault does, and moves on where it is time.
    #[must_use]
    pub fn observe(&mut self, look: &Look, now: Mono) -> Vec<Event> {
        self.now = now;
        let mut events = Vec::new();
        if self.phase == Phase::Over {
            return events;
        }
        self.unwell = self.unwell_in(look);
        self.tally = self.met(look.tally);
        if self.phase == Phase::Underway {
            events.extend(self.detect(look));
            if now >= self.began + self.plan.lasts {
                events.extend(self.stop(Ended::Over, now));
            }
            return events;
        }
        if self.recovered.is_none() && self.is_recovered() {
            self.recovered = Some(now);
            events.push(Event::Recovered { after: self.since_end() });
        }
        let settled = self.recovered.is_some() && self.tally.under_way == 0;
        if settled || self.since_end() >= RECOVER_WITHIN {
            self.phase = Phase::Over;
            events.push(Event::Judged(self.judge()));
        }
        events
    }

    /// Ends the fault before its time, or at it. Nothing happens if it has ended.
    pub fn stop(&mut self, why: Ended, now: Mono) -> Option<Event> {
        if self.phase != Phase::Underway {
            return None;
        }
        self.phase = Phase::Recovering;
        self.ended = Some(End { at: now, why, tally: self.tally });
        Some(Event::Ended { lasted: now - self.began, why })
    }

    /// What is counted, with those given the fault. A fault of the server's own mode is met by whatever comes while the mode
    /// is not what it was; all others are counted where they strike.
    fn met(&self, counted: Tally) -> Tally {
        match self.plan.kind {
            Kind::EmergencyMode => {
                let came = counted.sent.saturating_sub(self.tally.sent);
                let struck = self.tally.struck + if self.unwell.is_empty() { 0 } else { came };
                Tally { struck, ..counted }
            }
            Kind::SlowAgent
            | Kind::FailingAgent
            | Kind::DeadAgent
            | Kind::Overload
            | Kind::LyingRouter
            | Kind::StoreReadOnly => counted,
        }
    }

    fn detect(&mut self, look: &Look) -> Option<Event> {
        let detected = match self.plan.kind.notice() {
            Notice::Part => self.turn_in(look),
            Notice::Pushback => {
                self.turned = self.turned.take().or_else(|| self.turn_in(look));
                self.counted(
                    look.tally.pushed_back,
                    "outcome class overload",
                    "calls were seen as pushed back",
                )
            }
            Notice::Disbelief => {
                self.counted(look.tally.disbelieved, "routing", "answers of the router were not believed")
            }
        };
        if self.detected.is_some() {
            return None;
        }
        let detected = detected?;
        self.detected = Some((detected.clone(), self.tally));
        Some(Event::Detected(detected))
    }

    /// What is noticed by being counted.
    fn counted(&self, count: u64, part: &str, what: &str) -> Option<Detected> {
        (count > 0).then(|| Detected {
            after: self.now - self.began,
            part: part.to_owned(),
            reason: format!("{count} {what}"),
        })
    }

    /// The part that turned first.
    fn turn_in(&self, look: &Look) -> Option<Detected> {
        let turned = look.parts.iter().filter(|part| {
            let before = self.before.iter().find(|before| before.name == part.name);
            before.is_some_and(|before| !part.well || part.turned > before.turned)
        });
        let first = turned.min_by_key(|part| part.since)?;
        Some(Detected {
            // It may have turned between two looks, but not before the fault.
            after: first.since.max(self.began).min(self.now) - self.began,
            part: first.name.clone(),
            reason: first.reason.clone(),
        })
    }

    /// What was there before must be there and well.
    fn unwell_in(&self, look: &Look) -> Vec<String> {
        let unwell = |before: &Part| match look.parts.iter().find(|part| part.name == before.name) {
            Some(part) if part.well => None,
            Some(part) => Some(format!("{} ({})", part.name, part.reason)),
            None => Some(format!("{} (gone)", before.name)),
        };
        self.before.iter().filter_map(unwell).collect()
    }

    fn is_recovered(&self) -> bool {
        let flowed = self.ended.is_some_and(|end| self.tally.flowed > end.tally.flowed);
        flowed && self.unwell.is_empty()
    }

    fn since_end(&self) -> Duration {
        self.ended.map_or(Duration::ZERO, |end| self.now - end.at)
    }
}

#[cfg(test)]
mod tests;
