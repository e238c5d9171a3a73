//! What a call that ended badly counts for.
//!
//! An agent that answers nonsense is not as broken as one that is gone, and how much less is for its owner to say: a search
//! whose answers are a little unsure is fine, a classifier's are worth nothing. So each class that says something about the
//! agent has a weight, from nothing to a whole failure, and the share that opens a breaker is the weight of the window
//! over its calls.
//!
//! **Why has "busy" no weight?** An agent that is full would turn into one that is missing, so busy calls alone must never
//! open a breaker: their weight would have to stay below the share that opens it. But then it could never matter. The
//! share of a window is the mean of its calls' weights, and calls that weigh less than the threshold only pull a mean
//! towards themselves: with them the breaker would open later, never sooner. What answers "busy" is the limit, which sends
//! less ([`crate::concurrency`]).

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::outcome::Class;
use crate::share::WHOLE;

/// What can be weighed: how a call ended, and an answer that came late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weighed {
    /// See [`Class::Transport`].
    Transport,
    /// See [`Class::Timeout`]; of an agent that was given a fair share of its SLA.
    Timeout,
    /// See [`Class::AgentError`].
    AgentError,
    /// See [`Class::ContractBreach`].
    ContractBreach,
    /// See [`Class::LowConfidence`].
    LowConfidence,
    /// See [`Class::OverBudget`].
    OverBudget,
    /// An answer after the SLA.
    Slow,
}

/// A name of nothing that can be weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeighedError {
    /// There is no such class, or it says nothing about the agent.
    #[error("has no weight; there are {}", Weighed::ALL.map(Weighed::as_str).join(", "))]
    Unknown,
    /// It is "busy".
    #[error(
        "has no weight: busy is not dead, and a breaker that opened on it would turn a full agent into a missing one"
    )]
    Busy,
}

/// The weight of each, in basis points of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights([u32; Weighed::ALL.len()]);

impl Weighed {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Transport,
        Self::Timeout,
        Self::AgentError,
        Self::ContractBreach,
        Self::LowConfidence,
        Self::OverBudget,
        Self::Slow,
    ];

    /// The name used in manifests; for a class the one used in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transport => Class::Transport.as_str(),
            Self::Timeout => Class::Timeout.as_str(),
            Self::AgentError => Class::AgentError.as_str(),
            Self::ContractBreach => Class::ContractBreach.as_str(),
            Self::LowConfidence => Class::LowConfidence.as_str(),
            Self::OverBudget => Class::OverBudget.as_str(),
            Self::Slow => "slow",
        }
    }
}

impl FromStr for Weighed {
    type Err = WeighedError;
    fn from_str(name: &str) -> Result<Self, WeighedError> {
        match Self::ALL.into_iter().find(|weighed| weighed.as_str() == name) {
            Some(weighed) => Ok(weighed),
            None if name == Class::Overload.as_str() => Err(WeighedError::Busy),
            None => Err(WeighedError::Unknown),
        }
    }
}

impl Default for Weights {
    /// Who does not answer, answers that it failed, or breaks its contract, has failed. An answer that holds to its
    /// contract is one, however sure, dear or late it is; late ones have a share of their own that opens the breaker.
    fn default() -> Self {
        let mut weights = Self([WHOLE; Weighed::ALL.len()]);
        for answered in [Weighed::LowConfidence, Weighed::OverBudget, Weighed::Slow] {
            weights.0[answered as usize] = 0;
        }
        weights
    }
}

impl Weights {
    /// The weight of `weighed`, 0 to 10,000.
    #[must_use]
    pub const fn of(&self, weighed: Weighed) -> u32 {
        self.0[weighed as usize]
    }

    /// These weights, but for those that `other` names.
    #[must_use]
    pub fn but(mut self, other: &BTreeMap<Weighed, u32>) -> Self {
        for (weighed, weight) in other {
            self.0[*weighed as usize] = (*weight).min(WHOLE);
        }
        self
    }
}
