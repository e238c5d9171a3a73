//! How a call ended, classified once. Breaker, health, retry, run journal and record all read the same class.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::json::Json;

pub mod status;

/// The class of an outcome. "Busy" ([`Class::Overload`]) is not "dead" ([`Class::Transport`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The agent answered, and its answer holds to its contract.
    Success,
    /// The agent or its sidecar could not be reached, or the connection broke.
    Transport,
    /// No answer within the time allowed.
    Timeout,
    /// The agent or sidecar is at its declared limit and said so.
    Overload,
    /// The agent answered that it failed.
    AgentError,
    /// The answer breaks the declared schema or is not JSON.
    ContractBreach,
    /// The answer's confidence is below the threshold.
    LowConfidence,
    /// The answer cost more than was allowed.
    OverBudget,
    /// The call itself was wrong: unknown capability, input that breaks the schema, too large.
    CallerFault,
    /// No instance was there to be called.
    Unavailable,
    /// The call was cancelled by its caller.
    Cancelled,
}

impl Class {
    /// The name used in records, tables and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Transport => "transport",
            Self::Timeout => "timeout",
            Self::Overload => "overload",
            Self::AgentError => "agent-error",
            Self::ContractBreach => "contract-breach",
            Self::LowConfidence => "low-confidence",
            Self::OverBudget => "over-budget",
            Self::CallerFault => "caller-fault",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The code of a failure whose outcome nobody can tell: the ledger was asked in vain. Such a call is never repeated blindly.
pub const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";
/// The code of a call that no instance could take in time.
pub const NO_INSTANCE: &str = "NO_INSTANCE";
/// The code of a call that only agents offer to take that had a part in the work it is to look at.
pub const NO_OTHER_AGENT: &str = "NO_OTHER_AGENT";
/// The code of a call that was not made, or not in time, because what it needs is paused.
pub const PAUSED: &str = "PAUSED";
/// The code of a call that could not have had its turn in time.
pub const OVERLOADED: &str = "OVERLOADED";
/// The code of a call that is over a declared rate and whose turn would come too late.
pub const RATE_LIMITED: &str = "RATE_LIMITED";
/// The code of a call whose deadline had passed before it could be sent.
pub const DEADLINE_PASSED: &str = "DEADLINE_PASSED";
/// The code of a call its caller no longer wanted.
pub const CALL_CANCELLED: &str = "CALL_CANCELLED";

/// Whether the agent began the work before the call failed. Decides if a side-effecting call may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Began {
    /// Certainly not: refused before it reached the agent.
    No,
    /// Certainly, and the agent answered that it failed.
    Yes,
    /// Nobody can say: the connection broke or time ran out while it was on its way.
    Unknown,
}

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure; never [`Class::Success`].
    pub class: Class,
    /// Stable upper-case reason code, the same that goes on the wire (for example `OUTPUT_SCHEMA_MISMATCH`).
    pub code: String,
    /// One sentence for a person.
    pub message: String,
    /// Whether the agent began the work.
    pub began: Began,
    /// Pushback: the callee asks not to be called again before this much time has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
}

/// What a call consumed, as reported by the agent or its sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens.
    #[serde(default)]
    pub tokens_in: u64,
    /// Completion tokens.
    #[serde(default)]
    pub tokens_out: u64,
    /// Money, in 10⁻⁹ US dollars.
    #[serde(default)]
    pub cost_nano_usd: i64,
    /// Time the agent worked, in microseconds, measured by its sidecar.
    #[serde(default)]
    pub agent_micros: u64,
}

impl Usage {
    /// Both together. Saturating: a liar's numbers must not wrap around to small ones.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            tokens_in: self.tokens_in.saturating_add(other.tokens_in),
            tokens_out: self.tokens_out.saturating_add(other.tokens_out),
            cost_nano_usd: self.cost_nano_usd.saturating_add(other.cost_nano_usd),
            agent_micros: self.agent_micros.saturating_add(other.agent_micros),
        }
    }
}

/// An answer that held to its contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The agent's output.
    pub output: Json,
    /// What it consumed.
    #[serde(default)]
    pub usage: Usage,
    /// The agent's own confidence in basis points (0–10,000), where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence_bp: Option<u16>,
    /// What the agent wants people to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
