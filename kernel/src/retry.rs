//! Whether a failed call is made again: one pure function, the only place where that is decided.
//!
//! The run journal asks it between the attempts of a step, and [`crate::call`] asks it for a direct call. Everyone below
//! is told not to retry, so attempts never multiply across levels.
//!
//! # What may be repeated
//! It depends on what the call may do to the world, and on whether the agent began:
//!
//! | effect | `Began::No` | `Began::Yes` | `Began::Unknown` |
//! |---|---|---|---|
//! | read-only | repeat | repeat | repeat |
//! | idempotent | repeat, same key | repeat, same key | repeat, same key |
//! | side-effecting | repeat, same key | only an agent's error, and only if the policy says so | ask the ledger |
//!
//! Only transport failures, timeouts, overload, unavailability, agent errors, contract breaches and answers that are not sure
//! enough are repeated at all. A caller's fault stays one; a cancelled call was not wanted; budgets have rules of their own.
//!
//! A side-effecting call that began and failed is not repeated by default, because "I failed" does not say "I did
//! nothing". An author who knows the agent cleans up behind itself opts in with
//! [`RetryPolicy::retry_agent_errors`]. A contract breach is never repeated there: the work *was* done, only its answer is
//! bad.
//!
//! # Which key
//! A key (an [`crate::id::AttemptId`]) names one effect on the world.
//! - **Kept** whenever the effect may already have happened or certainly has not: `Began::No` (the ledger holds nothing
//!   under it), and every repetition of an idempotent call. "The same key twice is the same as once" is what an idempotent
//!   agent promises; under a new key the repetition would be a second effect.
//! - **New** when the work is to be done afresh: a read-only call that began or may have (nothing to repeat by accident, and
//!   a fresh key does not join a stuck one), and a side-effecting call repeated after an agent's error (the ledger would
//!   answer the old key with the old failure for ever).
//!
//! This asks one thing of the ledger: it replays every recorded success, and a recorded *failure* only for side-effecting
//! keys. An idempotent key that failed may run again.
//!
//! # How much may be repeated
//! A call by its policy, a run by its own cap, and all callers of an agent together by its [`budget`]. A call that was made
//! on behalf of another call carries a mark ([`Retries::Forbidden`]): whoever is above retries, so nobody below does. That
//! keeps the attempts of nested agents from multiplying, three levels of three attempts being 27 calls of the last.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::effect::EffectClass;
use crate::outcome::{Began, Class, Failure, OUTCOME_UNKNOWN};
use crate::time::text;

pub mod budget;

/// The most attempts a policy may ask for. With the longest back-off that is over three hours; gRPC stops at 5, Restate at
/// 70. Work that fails more often needs a person, not a machine.
pub const MAX_ATTEMPTS: u32 = 20;

/// The longest back-off a policy may ask for: beyond 10 min a schedule or a signal says better what is meant.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(600);

/// How often and how fast to try again.
///
/// In a document: `retry: { max_attempts: 3, initial: 200ms, factor: 2, max: 10s, retry_agent_errors: false }`, each
/// optional.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
pub struct RetryPolicy {
    /// Attempts in all, the first one included: 1 ..= [`MAX_ATTEMPTS`].
    pub max_attempts: u32,
    /// The ceiling of the first back-off; at most [`RetryPolicy::max`].
    pub initial: Duration,
    /// What the ceiling is multiplied by each time: 1 ..= 10.
    pub factor: u32,
    /// The highest ceiling: at most [`LONGEST_BACKOFF`].
    pub max: Duration,
    /// Whether a side-effecting call is made again after the agent answered that it failed.
    pub retry_agent_errors: bool,
}

/// A policy that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Too many attempts, or none.
    #[error("`max_attempts` is {0}: give 1 to {MAX_ATTEMPTS}")]
    MaxAttempts(u32),
    /// The multiplier is out of bounds.
    #[error("`factor` is {0}: give 1 to 10")]
    Factor(u32),
    /// The longest back-off is out of bounds.
    #[error("`max` is {0:?}: give at most {LONGEST_BACKOFF:?}")]
    Max(Duration),
    /// The first back-off is longer than the longest.
    #[error("`initial` is {initial:?}: give at most `max`, {max:?}")]
    Initial {
        /// The first back-off asked for.
        initial: Duration,
        /// The longest back-off asked for.
        max: Duration,
    },
}

/// Whether whoever is asked for a call may repeat what fails of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retries {
    /// It may: nobody above does.
    #[default]
    Allowed,
    /// It may not: whoever is above does, and would multiply.
    Forbidden,
}

/// A retry, for the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How long it waits.
    pub after: Duration,
    /// Whether it goes under the same key.
    pub same_key: bool,
    /// What was left of the deadline when it was decided.
    pub remaining: Duration,
    /// How many more retries the agent's budget had; `None` if no agent was reached, which costs nothing.
    pub budget: Option<u32>,
}

/// What to do about a failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a verdict must be carried out"]
pub enum Verdict {
    /// Make it again.
    Retry {
        /// After this long; always less than the time that remains.
        after: Duration,
        /// Whether under the same key; see the module's page.
        same_key: bool,
    },
    /// Nobody knows whether the work was done: ask the ledger of the sidecar that was called.
    AskLedger,
    /// It stays failed.
    GiveUp {
        /// Why it is not made again.
        why: GiveUp,
    },
}

/// Why a failed call is not made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GiveUp {
    /// Repeating cannot help with this kind of failure.
    NotRetryable(Class),
    /// As many attempts were made as the policy allows.
    AttemptsExhausted,
    /// No time remains for another attempt, or the callee asked for more time than remains.
    DeadlineTooNear,
    /// A side effect was begun and may have happened in part.
    SideEffectBegan,
    /// Whether the side effect happened is unknown, and the ledger could not tell.
    OutcomeUnknown,
    /// The agent answered, and under the same key would answer the same.
    AnswerStands,
    /// The agent gave the very answer again that was not taken before.
    NoProgress,
    /// The call was made for another one, and whoever made that one retries.
    Forbidden,
    /// The agent's callers together have retried as much as its successes pay for.
    BudgetSpent,
    /// The run has made as many retries as its workflow allows.
    RunCapReached,
}

/// Decides about `failure` of attempt number `attempt` (from 1), with `remaining` until the deadline.
///
/// A failure with the code [`OUTCOME_UNKNOWN`] says that the ledger has been asked in vain.
pub fn decide(
    policy: &RetryPolicy,
    effect: EffectClass,
    failure: &Failure,
    attempt: u32,
    remaining: Duration,
    dice: &mut Dice,
) -> Verdict {
    let give_up = |why| Verdict::GiveUp { why };
    match failure.class {
        Class::Transport
        | Class::Timeout
        | Class::Overload
        | Class::Unavailable
        | Class::AgentError
        | Class::ContractBreach
        | Class::LowConfidence => {}
        Class::Success | Class::OverBudget | Class::CallerFault | Class::Cancelled => {
            return give_up(GiveUp::NotRetryable(failure.class));
        }
    }
    let same_key = match (effect, failure.began) {
        (EffectClass::ReadOnly, Began::No)
        | (EffectClass::Idempotent, _)
        | (EffectClass::SideEffecting, Began::No) => true,
        (EffectClass::ReadOnly, Began::Yes | Began::Unknown) => false,
        (EffectClass::SideEffecting, Began::Yes) => {
            if !(policy.retry_agent_errors && failure.class == Class::AgentError) {
                return give_up(GiveUp::SideEffectBegan);
            }
            false
        }
        // Asking is not an attempt: it is owed even when no attempt is left.
        (EffectClass::SideEffecting, Began::Unknown) if failure.code == OUTCOME_UNKNOWN => {
            return give_up(GiveUp::OutcomeUnknown);
        }
        (EffectClass::SideEffecting, Began::Unknown) => return Verdict::AskLedger,
    };
    if attempt >= policy.max_attempts {
        return give_up(GiveUp::AttemptsExhausted);
    }
    let pushback = failure.retry_after.unwrap_or_default();
    let room = remaining.saturating_sub(pushback);
    if room.is_zero() {
        return give_up(GiveUp::DeadlineTooNear);
    }
    // Jitter is added to a pushback: callers who were all told "in one second" must not all come in one second.
    Verdict::Retry { after: pushback + dice.jitter(policy.ceiling(attempt).min(room)), same_key }
}

impl RetryPolicy {
    /// One attempt and no other.
    pub const NONE: Self = Self { max_attempts: 1, ..Self::DEFAULT };

    /// Three attempts, as resilience4j, LangGraph and Conductor do; from 200 ms, because an agent's sidecar is restarted
    /// in about that time; doubling, as AWS and gRPC do; at most 10 s, the usual interval of a health poll.
    pub const DEFAULT: Self = Self {
        max_attempts: 3,
        initial: Duration::from_millis(200),
        factor: 2,
        max: Duration::from_secs(10),
        retry_agent_errors: false,
    };

    /// Checks the bounds of every field.
    ///
    /// # Errors
    /// [`PolicyError`] names the first field that is out of bounds.
    pub fn validate(&self) -> Result<(), PolicyError> {
        if !(1..=MAX_ATTEMPTS).contains(&self.max_attempts) {
            return Err(PolicyError::MaxAttempts(self.max_attempts));
        }
        if !(1..=10).contains(&self.factor) {
            return Err(PolicyError::Factor(self.factor));
        }
        if self.max > LONGEST_BACKOFF {
            return Err(PolicyError::Max(self.max));
        }
        if self.initial > self.max {
            return Err(PolicyError::Initial { initial: self.initial, max: self.max });
        }
        Ok(())
    }

    /// The back-off's ceiling after attempt number `attempt` (from 1).
    #[must_use]
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let growth = self.factor.saturating_pow(attempt.saturating_sub(1));
        self.initial.saturating_mul(growth).min(self.max)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The policy as written; becomes a [`RetryPolicy`] only if every field is in bounds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    max_attempts: u32,
    #[serde(with = "text")]
    initial: Duration,
    factor: u32,
    #[serde(with = "text")]
    max: Duration,
    retry_agent_errors: bool,
}

impl Default for Document {
    fn default() -> Self {
        RetryPolicy::DEFAULT.into()
    }
}

impl From<RetryPolicy> for Document {
    fn from(policy: RetryPolicy) -> Self {
        let RetryPolicy { max_attempts, initial, factor, max, retry_agent_errors } = policy;
        Self { max_attempts, initial, factor, max, retry_agent_errors }
    }
}

impl TryFrom<Document> for RetryPolicy {
    type Error = PolicyError;
    fn try_from(document: Document) -> Result<Self, PolicyError> {
        let Document { max_attempts, initial, factor, max, retry_agent_errors } = document;
        let policy = Self { max_attempts, initial, factor, max, retry_agent_errors };
        policy.validate()?;
        Ok(policy)
    }
}

impl Retries {
    /// Whether it may.
    #[must_use]
    pub const fn are_allowed(&self) -> bool {
        matches!(self, Self::Allowed)
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.same_key { "the same key" } else { "a new key" };
        let (after, remaining) = (millis(self.after), millis(self.remaining));
        write!(f, "tried again after {after:?} under {key}; {remaining:?} of the deadline")?;
        match self.budget {
            Some(left) => write!(f, " and {left} of the agent's retry budget were left"),
            None => f.write_str(" were left"),
        }
    }
}

/// Nobody reads nanoseconds.
fn millis(span: Duration) -> Duration {
    Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRetryable(class) => write!(f, "{} is not retried", class.as_str()),
            Self::AttemptsExhausted => f.write_str("every attempt allowed was made"),
            Self::DeadlineTooNear => f.write_str("the deadline is too near for another attempt"),
            Self::SideEffectBegan => f.write_str("the side effect was begun and is not repeated"),
            Self::OutcomeUnknown => {
                f.write_str("whether the side effect happened is unknown, and it is not repeated")
            }
            Self::AnswerStands => f.write_str("the agent answered, and would answer the same again"),
            Self::NoProgress => f.write_str("the agent gave the very answer again that was not taken"),
            Self::Forbidden => f.write_str("the call was made for another one, whose caller retries"),
            Self::BudgetSpent => f.write_str("the agent's retry budget is spent"),
            Self::RunCapReached => f.write_str("the run has made every retry that `max_retries` allows"),
        }
    }
}

#[cfg(test)]
mod tests;
