//! Verdicts: what a verifier says, and what of it goes on record.

use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::name::Name;

/// Grounds kept of one verdict, and the characters of each: what an agent can act on, and a page for a person.
pub(super) const MAX_GROUNDS: usize = 20;
const MAX_GROUND_CHARS: usize = 1_000;

/// A verdict on a step's answer, as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// What it says.
    pub verdict: Soundness,
    /// The verifier's score in basis points, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_bp: Option<u16>,
    /// Why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grounds: Vec<String>,
    /// The agent that gave it; empty where the post-conditions did, or nobody could.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// What a verdict says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Soundness {
    /// The answer counts.
    Passed,
    /// It does not.
    Refused,
    /// It is one that was refused before, and was not looked at again.
    Unchanged,
    /// Nobody could look at it, and the step fails.
    Unavailable,
    /// Nobody could look at it, and it goes on, as the workflow says.
    Unverified,
}

/// What a verifier says.
#[derive(Deserialize)]
pub(super) struct Word {
    #[serde(default)]
    score: Option<f64>,
    #[serde(default)]
    verdict: Option<String>,
    grounds: Grounds,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Grounds {
    One(String),
    Several(Vec<String>),
}

impl Word {
    pub(super) fn read(word: &Json) -> Option<Self> {
        serde_json::from_str(word.as_str()).ok()
    }

    /// It passes if both its score and its verdict say so, as far as it gives them.
    pub(super) fn verdict(self, threshold_bp: Option<u16>, by: Option<Name>) -> Verified {
        let score_bp = self.score.map(|score| (score.clamp(0.0, 1.0) * 10_000.0).round() as u16);
        let enough = threshold_bp.is_none_or(|least| score_bp.is_some_and(|score| score >= least));
        let passed = enough && self.verdict.as_deref() != Some("fail");
        let grounds = match self.grounds {
            Grounds::One(text) => vec![text],
            Grounds::Several(texts) => texts,
        };
        let grounds = grounds.iter().filter(|text| !text.trim().is_empty()).take(MAX_GROUNDS);
        let grounds = grounds.map(|text| text.chars().take(MAX_GROUND_CHARS).collect()).collect();
        let verdict = if passed { Soundness::Passed } else { Soundness::Refused };
        let by = by.map(|by| by.to_string()).unwrap_or_default();
        Verified { verdict, score_bp, grounds, by }
    }
}

impl Soundness {
    /// The name used in records, tables and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Unchanged => "unchanged",
            Self::Unavailable => "unavailable",
            Self::Unverified => "unverified",
        }
    }

    /// Whether the answer counts.
    #[must_use]
    pub const fn lets_pass(self) -> bool {
        match self {
            Self::Passed | Self::Unverified => true,
            Self::Refused | Self::Unchanged | Self::Unavailable => false,
        }
    }
}
