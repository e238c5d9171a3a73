//! The machine that raises a candidate's weight, or takes it away.
//!
//! Evidence may be lost (a restart begins to count anew); where the rollout stands may not, so every change is handed out
//! to be put on record, and [`Machine::resume`] takes it up again. A rollout that was rolled back stays so, whatever the
//! candidate does afterwards: there is no evidence about a version that gets no calls.

use std::time::Duration;

use super::evidence::Evidence;
use super::tally::Tally;
use super::{Change, Phase, Reason, Rollout, Rule, Side, Status, Step};
use crate::outcome::Class;
use crate::share::WHOLE;
use crate::time::Mono;

/// The machine of one rollout. See the module's page.
#[derive(Debug, Clone)]
pub struct Machine {
    steps: Vec<Step>,
    rule: Rule,
    status: Status,
    /// When the step began.
    since: Mono,
    evidence: Evidence,
}

/// A person's word that cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was rolled back.
    #[error("it was rolled back; only a new version of the document begins again")]
    RolledBack,
    /// The candidate has all calls.
    #[error("it is promoted already; roll it back, or put a new version of the document")]
    Promoted,
    /// It does not rise by itself as it is.
    #[error("it is held already")]
    Held,
    /// It does.
    #[error("it is not held")]
    NotHeld,
}

/// What a step still waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    /// Calls of the candidate that must end yet.
    pub samples: u32,
    /// Calls of the stable version that must end yet.
    pub stable_samples: u32,
    /// Time that must pass yet.
    pub time: Duration,
}

impl Machine {
    /// A rollout whose document was put now.
    #[must_use]
    pub fn new(rollout: &Rollout, now: Mono) -> Self {
        let phase = if rollout.fixed { Phase::Held } else { Phase::Progressing };
        let weight_bp = rollout.steps.first().map_or(0, |step| step.weight_bp);
        Self::resume(rollout, Status { phase, step: 0, weight_bp }, now)
    }

    /// A rollout that stood there since then.
    #[must_use]
    pub fn resume(rollout: &Rollout, status: Status, since: Mono) -> Self {
        let (steps, rule) = (rollout.steps.clone(), rollout.rule);
        Self { steps, rule, status, since, evidence: Evidence::default() }
    }

    /// Where it stands.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// What the calls of a version came to on this step.
    #[must_use]
    pub const fn tally(&self, side: Side) -> &Tally {
        match side {
            Side::Stable => &self.evidence.stable,
            Side::Candidate => &self.evidence.candidate,
        }
    }

    /// A call that its key gave to `side` ended there.
    pub fn observe(&mut self, side: Side, class: Class, latency: Duration, now: Mono) -> Option<Change> {
        if self.status.phase.is_over() {
            return None;
        }
        self.evidence.count(side, class, latency);
        match self.evidence.look(self.rule) {
            Some(reason) => Some(self.go(Phase::RolledBack, self.status.step, reason, now)),
            None => self.tick(now),
        }
    }

    /// A breaker of the candidate opened, by itself.
    pub fn breaker_opened(&mut self, breaker: String, now: Mono) -> Option<Change> {
        let loses = self.rule.breaker && !self.status.phase.is_over();
        loses.then(|| self.go(Phase::RolledBack, self.status.step, Reason::BreakerOpened { breaker }, now))
    }

    /// Time passed.
    pub fn tick(&mut self, now: Mono) -> Option<Change> {
        let awaited = self.awaited(now)?;
        if awaited != Awaited::NOTHING {
            return None;
        }
        let samples = self.evidence.candidate.ended;
        let millis = u64::try_from((now - self.since).as_millis()).unwrap_or(u64::MAX);
        let reason = Reason::StepDone { samples, millis };
        let next = self.status.step + 1;
        if (next as usize) < self.steps.len() {
            return Some(self.go(Phase::Progressing, next, reason, now));
        }
        // The last step is over. Short of everything, it is a person who goes further.
        let phase = if self.status.weight_bp == WHOLE { Phase::Promoted } else { Phase::Held };
        Some(self.go(phase, self.status.step, reason, now))
    }

    /// When to come back; `None` if time alone changes nothing.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        let step = self.step().filter(|_| self.status.phase == Phase::Progressing)?;
        let awaited = self.awaited(self.since + step.least)?;
        (awaited == Awaited::NOTHING).then(|| self.since + step.least)
    }

    /// What the step it is on still waits for; `None` if it does not rise by itself.
    #[must_use]
    pub fn awaited(&self, now: Mono) -> Option<Awaited> {
        let step = self.step().filter(|_| self.status.phase == Phase::Progressing)?;
        let stable_samples = match self.evidence.baseline(self.rule) {
            // Where the candidate has all calls there is nobody left to compare it with.
            Some(_) => 0,
            None if self.status.weight_bp == WHOLE => 0,
            None => self.rule.min_samples.saturating_sub(self.evidence.stable.ended),
        };
        Some(Awaited {
            samples: step.samples.saturating_sub(self.evidence.candidate.ended),
            stable_samples,
            time: step.least.saturating_sub(now - self.since),
        })
    }

    /// A person moves it on: to the next step, or to the end.
    ///
    /// # Errors
    /// If it is over.
    pub fn promote(&mut self, to_the_end: bool, note: String, now: Mono) -> Result<Change, Refusal> {
        self.is_open()?;
        let reason = Reason::PromotedByHand(note);
        let next = self.status.step + 1;
        if to_the_end || next as usize >= self.steps.len() {
            let last = u32::try_from(self.steps.len().saturating_sub(1)).unwrap_or(u32::MAX);
            return Ok(self.go(Phase::Promoted, last, reason, now));
        }
        Ok(self.go(self.status.phase, next, reason, now))
    }

    /// A person takes the candidate's calls away, also from one that was promoted.
    ///
    /// # Errors
    /// If that has happened.
    pub fn roll_back(&mut self, note: String, now: Mono) -> Result<Change, Refusal> {
        if self.status.phase == Phase::RolledBack {
            return Err(Refusal::RolledBack);
        }
        Ok(self.go(Phase::RolledBack, self.status.step, Reason::RolledBackByHand(note), now))
    }

    /// A person keeps the weight where it is.
    ///
    /// # Errors
    /// If it is over, or held.
    pub fn pause(&mut self, note: String, now: Mono) -> Result<Change, Refusal> {
        self.is_open()?;
        if self.status.phase == Phase::Held {
            return Err(Refusal::Held);
        }
        Ok(self.go(Phase::Held, self.status.step, Reason::PausedByHand(note), now))
    }

    /// A person lets the weight rise by itself again.
    ///
    /// # Errors
    /// If it is over, or not held.
    pub fn unpause(&mut self, note: String, now: Mono) -> Result<Change, Refusal> {
        self.is_open()?;
        if self.status.phase != Phase::Held {
            return Err(Refusal::NotHeld);
        }
        Ok(self.go(Phase::Progressing, self.status.step, Reason::ResumedByHand(note), now))
    }

    const fn is_open(&self) -> Result<(), Refusal> {
        match self.status.phase {
            Phase::RolledBack => Err(Refusal::RolledBack),
            Phase::Promoted => Err(Refusal::Promoted),
            Phase::Progressing | Phase::Held => Ok(()),
        }
    }

    fn step(&self) -> Option<&Step> {
        self.steps.get(self.status.step as usize)
    }

    /// The one place where the status changes.
    fn go(&mut self, phase: Phase, step: u32, reason: Reason, now: Mono) -> Change {
        let from = self.status;
        let weight_bp = match phase {
            Phase::RolledBack => 0,
            Phase::Promoted => WHOLE,
            Phase::Progressing | Phase::Held => {
                self.steps.get(step as usize).map_or(from.weight_bp, |step| step.weight_bp)
            }
        };
        self.status = Status { phase, step, weight_bp };
        if step != from.step || phase.is_over() {
            self.evidence.next_stage(self.rule);
            self.since = now;
        }
        Change { from, to: self.status, reason }
    }
}

impl Awaited {
    /// Nothing.
    pub const NOTHING: Self = Self { samples: 0, stable_samples: 0, time: Duration::ZERO };
}
