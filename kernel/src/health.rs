//! One owner of an instance's health.
//!
//! Systems with a poller, a passive detector and a lease that each decide for themselves make instances flap between
//! their verdicts. Here all evidence comes to one machine, which keeps one [`Verdict`] with its reason.
//!
//! - **Polls decide.** `fall` failed polls in a row make an instance unhealthy, `rise` passed ones healthy again.
//! - **Calls warn.** A call that could not be carried ([`Class::Transport`]) counts towards the fall as a failed poll does,
//!   so that a crash under load is noticed within a few calls. A call that timed out only brings the next poll forward:
//!   slow is not dead. An agent that answers at all, even "busy" or "I failed", is alive. Calls never lift an unhealthy
//!   instance: late answers from before the fall would undo a `NOT_SERVING` that was meant.
//! - **A lapsed lease overrides both** until the sidecar registers again.
//!
//! A fresh instance is [`State::Unknown`] and *not* routable: its first poll is due at once, so the wait costs a round
//! trip, calls wait for candidates anyway, and an address that never answered gets no work. Its first success, of a poll
//! or of a call, is enough; `rise` is for those that have failed before.
//!
//! Against flapping, each fall that follows a recovery within [`CALM`] doubles the `rise` the next recovery needs.

use std::fmt;
use std::time::Duration;

use crate::dice::Dice;
use crate::outcome::Class;
use crate::time::Mono;

/// An instance that stays healthy this long has its earlier falls forgiven. Six polls at the usual interval.
pub const CALM: Duration = Duration::from_secs(60);

/// The most doublings of `rise` for an instance that flaps: 2 × 8 = 16 polls, about half a minute of proof at the quick
/// pace. More would keep a repaired instance out for longer than people wait.
const MAX_DOUBLINGS: u32 = 3;

/// Thresholds and pace. Make one with [`Config::try_new`]; the default suits most agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    interval: Duration,
    quick: Duration,
    fall: u32,
    rise: u32,
}

/// A [`Config`] that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The poll interval is out of bounds.
    #[error("health interval {0:?} is out of bounds: give 100ms to 10 min")]
    Interval(Duration),
    /// The quick interval is out of bounds.
    #[error("quick health interval {0:?} is out of bounds: give 10ms up to the usual interval")]
    Quick(Duration),
    /// A threshold is out of bounds.
    #[error("health threshold `{name}` is {given}: give 1 to 100")]
    Threshold {
        /// `fall` or `rise`.
        name: &'static str,
        /// What was asked for.
        given: u32,
    },
}

/// What is known of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Registered, never yet seen to answer.
    Unknown,
    /// It answers: calls may go there.
    Healthy,
    /// It does not: no calls.
    Unhealthy,
}

/// Why a poll failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PollFailure {
    /// The sidecar answered that the agent is not serving.
    NotServing,
    /// Nobody answered at the address.
    Unreachable,
    /// No answer within the poll's own timeout.
    TimedOut,
}

/// Something learnt about the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A poll was answered `SERVING`.
    PollPassed,
    /// A poll failed.
    PollFailed(PollFailure),
    /// A real call ended.
    Call(Class),
    /// The lease lapsed.
    LeaseLapsed,
    /// The sidecar registered (again).
    Registered,
}

/// What a [`Verdict`] rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Registered; the first poll is under way.
    Registered,
    /// That many polls in a row were answered.
    PollsPassed(u32),
    /// A real call was answered.
    CallAnswered,
    /// Polls (and calls, if any) failed in a row.
    PollsFailed {
        /// How many failures in a row.
        in_a_row: u32,
        /// The last poll's failure.
        last: PollFailure,
    },
    /// That many failures in a row, the last one a call that could not be carried.
    CallsFailed(u32),
    /// The lease lapsed.
    LeaseLapsed,
}

/// The one verdict: state, reason, since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The state.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// Since when.
    pub since: Mono,
}

/// The state changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "routing and the record must hear of a change"]
pub struct Change {
    /// The state before.
    pub from: State,
    /// The verdict now.
    pub to: Verdict,
}

/// The health of one instance. See the module's page.
#[derive(Debug, Clone)]
pub struct Health {
    config: Config,
    verdict: Verdict,
    lapsed: bool,
    /// Contrary evidence in a row: failures while healthy or unknown, passed polls while unhealthy.
    streak: u32,
    /// Failed polls since the fall; slows the pace of polling the dead.
    failed_since_fall: u32,
    /// Falls that each came soon after a recovery.
    relapses: u32,
    next_poll: Mono,
}

impl Config {
    /// Checks and makes a configuration: polls every `interval`, every `quick` while in doubt.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of bounds.
    pub fn try_new(interval: Duration, quick: Duration, fall: u32, rise: u32) -> Result<Self, ConfigError> {
        // Below 100 ms polling 10,000 instances costs more than the calls; beyond 10 min a death is found by callers.
        if !(Duration::from_millis(100)..=Duration::from_secs(600)).contains(&interval) {
            return Err(ConfigError::Interval(interval));
        }
        if !(Duration::from_millis(10)..=interval).contains(&quick) {
            return Err(ConfigError::Quick(quick));
        }
        for (name, given) in [("fall", fall), ("rise", rise)] {
            if !(1..=100).contains(&given) {
                return Err(ConfigError::Threshold { name, given });
            }
        }
        Ok(Self { interval, quick, fall, rise })
    }
}

impl Default for Config {
    /// Every 10 s and 3 failures to fall, as Kubernetes and Envoy do; 1 s while in doubt, so that a death between two
    /// polls is settled in 3 s rather than 30; 2 successes to rise, one more than Kubernetes, because one lucky answer
    /// from a sick agent should not bring it traffic.
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), quick: Duration::from_secs(1), fall: 3, rise: 2 }
    }
}

impl Health {
    /// The health of an instance registered now: unknown, its first poll due at once.
    #[must_use]
    pub const fn new(config: Config, now: Mono) -> Self {
        Self {
            config,
            verdict: Verdict { state: State::Unknown, reason: Reason::Registered, since: now },
            lapsed: false,
            streak: 0,
            failed_since_fall: 0,
            relapses: 0,
            next_poll: now,
        }
    }

    /// Takes in a piece of evidence; the change it makes, if any.
    pub fn observe(&mut self, evidence: Evidence, now: Mono, dice: &mut Dice) -> Option<Change> {
        let change = match evidence {
            Evidence::Registered => self.registered(now),
            Evidence::LeaseLapsed => self.lease_lapsed(now),
            // A poll or call that was on its way when the lease lapsed proves nothing about who answers there now.
            _ if self.lapsed => None,
            Evidence::PollPassed => self.passed(now),
            Evidence::PollFailed(failure) => self.poll_failed(failure, now),
            Evidence::Call(class) => return self.called(class, now, dice),
        };
        if matches!(evidence, Evidence::PollPassed | Evidence::PollFailed(_)) {
            self.next_poll = now + self.pace(dice);
        }
        change
    }

    /// A poll starts now. Until its result is observed no other is due, unless it gets lost: then one interval later.
    pub fn begin_poll(&mut self, now: Mono) {
        self.next_poll = now + self.config.interval;
    }

    /// When the next poll is due; `None` while the lease is lapsed.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        (!self.lapsed).then_some(self.next_poll)
    }

    /// The verdict.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether calls may go to the instance.
    #[must_use]
    pub fn is_routable(&self) -> bool {
        self.verdict.state == State::Healthy
    }

    fn registered(&mut self, now: Mono) -> Option<Change> {
        self.next_poll = now;
        if !self.lapsed {
            // The same instance knocks again, for example after our own outage: what is known of it stays.
            return None;
        }
        self.lapsed = false;
        self.turn(State::Unknown, Reason::Registered, now)
    }

    fn lease_lapsed(&mut self, now: Mono) -> Option<Change> {
        if self.lapsed {
            return None;
        }
        self.lapsed = true;
        self.turn(State::Unhealthy, Reason::LeaseLapsed, now)
    }

    fn passed(&mut self, now: Mono) -> Option<Change> {
        match self.verdict.state {
            State::Unknown => self.turn(State::Healthy, Reason::PollsPassed(1), now),
            State::Healthy => {
                self.streak = 0;
                None
            }
            State::Unhealthy => {
                self.streak += 1;
                self.failed_since_fall = 0;
                let enough = self.streak >= self.config.rise << self.relapses;
                enough.then(|| self.turn(State::Healthy, Reason::PollsPassed(self.streak), now)).flatten()
            }
        }
    }

    fn poll_failed(&mut self, failure: PollFailure, now: Mono) -> Option<Change> {
        if self.verdict.state == State::Unhealthy {
            self.streak = 0;
            self.failed_since_fall = self.failed_since_fall.saturating_add(1);
            return None;
        }
        self.streak += 1;
        self.fall_if_enough(Reason::PollsFailed { in_a_row: self.streak, last: failure }, now)
    }

    fn called(&mut self, class: Class, now: Mono, dice: &mut Dice) -> Option<Change> {
        if self.verdict.state == State::Unhealthy {
            return None;
        }
        match class {
            Class::Success
            | Class::Overload
            | Class::AgentError
            | Class::ContractBreach
            | Class::LowConfidence
            | Class::OverBudget => {
                self.streak = 0;
                let fresh = self.verdict.state == State::Unknown;
                fresh.then(|| self.turn(State::Healthy, Reason::CallAnswered, now)).flatten()
            }
            Class::Transport => {
                self.streak += 1;
                self.poll_soon(now, dice);
                self.fall_if_enough(Reason::CallsFailed(self.streak), now)
            }
            Class::Timeout => {
                self.poll_soon(now, dice);
                None
            }
            Class::CallerFault | Class::Unavailable | Class::Cancelled => None,
        }
    }

    fn fall_if_enough(&mut self, reason: Reason, now: Mono) -> Option<Change> {
        (self.streak >= self.config.fall).then(|| self.turn(State::Unhealthy, reason, now)).flatten()
    }

    /// Never puts a poll off that is due sooner.
    fn poll_soon(&mut self, now: Mono, dice: &mut Dice) {
        self.next_poll = self.next_poll.min(now + dice.half_jitter(self.config.quick));
    }

    fn turn(&mut self, state: State, reason: Reason, now: Mono) -> Option<Change> {
        let from = self.verdict.state;
        if from == State::Healthy && state == State::Unhealthy {
            let soon = now - self.verdict.since < CALM;
            let recovered = matches!(self.verdict.reason, Reason::PollsPassed(n) if n >= self.config.rise);
            self.relapses = if soon && recovered { (self.relapses + 1).min(MAX_DOUBLINGS) } else { 0 };
        }
        self.streak = 0;
        self.failed_since_fall = 0;
        self.verdict = Verdict { state, reason, since: now };
        (from != state).then_some(Change { from, to: self.verdict })
    }

    /// The wait before the next poll. Sure of a healthy instance: the usual interval. In doubt: quick. Certainly dead:
    /// from quick, doubling up to the usual interval, so that a dead pool costs no more than a live one. Each is spread
    /// over the upper half of its span, which keeps 10,000 instances from falling into step.
    fn pace(&self, dice: &mut Dice) -> Duration {
        let Config { interval, quick, .. } = self.config;
        let span = match self.verdict.state {
            State::Healthy if self.streak == 0 => interval,
            State::Healthy | State::Unknown => quick,
            State::Unhealthy => quick.saturating_mul(1 << self.failed_since_fall.min(16)).min(interval),
        };
        dice.half_jitter(span)
    }
}

impl State {
    /// The name used in records and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for PollFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotServing => "not serving",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "no answer in time",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered => f.write_str("registered, not yet seen to answer"),
            Self::PollsPassed(n) => write!(f, "{n} health check(s) passed"),
            Self::CallAnswered => f.write_str("answered a call"),
            Self::PollsFailed { in_a_row, last } => {
                write!(f, "{in_a_row} failures in a row, last health check: {last}")
            }
            Self::CallsFailed(n) => write!(f, "{n} failures in a row, last a call that could not be carried"),
            Self::LeaseLapsed => f.write_str("lease lapsed"),
        }
    }
}

#[cfg(test)]
mod tests;
