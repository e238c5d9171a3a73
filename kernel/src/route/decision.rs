//! What was decided, and on which grounds: the record of one routed request.

use serde::{Deserialize, Serialize};

use super::classify::Verdict;
use super::{Rung, Target};
use crate::name::Name;

/// Longest detail in characters: a sentence. What a router agent says may be a megabyte.
const MAX_DETAIL: usize = 300;

/// A decision on one request. A new one is not decided yet: its rung is the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The rung that decided.
    pub rung: Rung,
    /// Where the request goes; nowhere for the static response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The rule that held, if a rule decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Name>,
    /// How sure the router agent was, if it decided; in basis points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence_bp: Option<u16>,
    /// What the classifier found, if the request came so far: candidates, features and margins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The rungs that did not hold, in order, each with what it named and why that was not taken.
    #[serde(default)]
    pub passed: Vec<Passed>,
}

/// A rung that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The rung.
    pub rung: Rung,
    /// What it named, if that could be made out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Why it was not taken.
    pub why: Why,
    /// The same in words.
    pub detail: String,
}

/// Why a rung did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// No rule held.
    NoMatch,
    /// An expression has no value for this request.
    Error,
    /// No agent on record offers what it named.
    Unknown,
    /// Who offers it cannot take a call now.
    Down,
    /// The document, or an operator, does not let requests go there.
    Forbidden,
    /// Two capabilities are too close to call.
    Ambiguous,
    /// It looks like no known request.
    OutOfScope,
    /// There is nothing to tell by: no words, or no capability that says anything of itself.
    Nothing,
    /// The router agent was not sure enough.
    LowConfidence,
    /// The router agent's answer is none.
    Garbage,
    /// The router agent did not answer in time.
    Timeout,
    /// The router agent failed.
    Failed,
    /// The router agent was not asked, because this was only a rehearsal.
    NotAsked,
    /// It was called, and could not take the call.
    Unserved,
    /// The rung is left out in the mode that the system operates in.
    Mode,
}

impl Why {
    /// The name used in records, tables and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoMatch => "no-match",
            Self::Error => "error",
            Self::Unknown => "unknown",
            Self::Down => "down",
            Self::Forbidden => "forbidden",
            Self::Ambiguous => "ambiguous",
            Self::OutOfScope => "out-of-scope",
            Self::Nothing => "nothing",
            Self::LowConfidence => "low-confidence",
            Self::Garbage => "garbage",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::NotAsked => "not-asked",
            Self::Unserved => "unserved",
            Self::Mode => "mode",
        }
    }
}

impl Decision {
    pub(super) const fn open() -> Self {
        Self {
            rung: Rung::Static,
            target: None,
            rule: None,
            confidence_bp: None,
            verdict: None,
            passed: Vec::new(),
        }
    }

    pub(super) fn pass(&mut self, rung: Rung, target: Option<Target>, why: Why, detail: &str) {
        let detail = match detail.char_indices().nth(MAX_DETAIL) {
            Some((end, _)) => format!("{}…", detail.get(..end).unwrap_or_default()),
            None => detail.to_owned(),
        };
        self.passed.push(Passed { rung, target, why, detail });
    }

    /// Whether the request got the static response instead of an agent's answer.
    #[must_use]
    pub const fn is_fallback(&self) -> bool {
        matches!(self.rung, Rung::Static)
    }
}
