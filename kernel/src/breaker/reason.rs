//! Why a breaker changed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::outcome::Class;

/// Why a breaker changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Too large a share of calls failed.
    FailedRate {
        /// How many failed.
        failed: u32,
        /// Of how many.
        of: u32,
    },
    /// Too large a share of calls timed out.
    TimedOutRate {
        /// How many timed out.
        timed_out: u32,
        /// Of how many.
        of: u32,
    },
    /// Too large a share of answers came after the SLA.
    SlowRate {
        /// How many were slow.
        slow: u32,
        /// Of how many.
        of: u32,
    },
    /// That many calls failed in a row.
    FailedInARow(u32),
    /// The wait is over: probes may flow.
    WaitOver,
    /// A probe failed.
    ProbeFailed(Class),
    /// A probe was answered after the SLA.
    ProbeSlow,
    /// That many probes were good.
    ProbesPassed(u32),
    /// An operator opened it; their words.
    TrippedByHand(String),
    /// An operator closed it; their words.
    ResetByHand(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailedRate { failed, of } => write!(f, "{failed} of {of} calls failed"),
            Self::TimedOutRate { timed_out, of } => write!(f, "{timed_out} of {of} calls timed out"),
            Self::SlowRate { slow, of } => write!(f, "{slow} of {of} answers came after the SLA"),
            Self::FailedInARow(n) => write!(f, "{n} calls failed in a row"),
            Self::WaitOver => f.write_str("the wait is over"),
            Self::ProbeFailed(class) => write!(f, "a probe failed ({})", class.as_str()),
            Self::ProbeSlow => f.write_str("a probe was answered after the SLA"),
            Self::ProbesPassed(n) => write!(f, "{n} probe(s) were good"),
            Self::TrippedByHand(note) => write!(f, "opened by hand: {note}"),
            Self::ResetByHand(note) => write!(f, "closed by hand: {note}"),
        }
    }
}
