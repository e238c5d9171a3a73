//! Why a rollout changed.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::text::Human as Span;

/// Two shares side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// So many calls of the candidate …
    pub candidate: u32,
    /// … of so many.
    pub of: u32,
    /// So many of the stable version …
    pub stable: u32,
    /// … of so many.
    pub than_of: u32,
}

/// Why a rollout changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The document was put.
    Put {
        /// Its version.
        version: u32,
    },
    /// Enough calls went well for long enough.
    StepDone {
        /// Calls of the candidate that ended.
        samples: u32,
        /// How long the step lasted, in milliseconds.
        millis: u64,
    },
    /// The candidate fails more.
    MoreErrors(Compared),
    /// The candidate breaks its contract more.
    MoreBreaches(Compared),
    /// The candidate's slow answers are slower.
    Slower {
        /// Nine of ten of its answers came within, in milliseconds.
        candidate_millis: u64,
        /// And of the stable version's.
        stable_millis: u64,
    },
    /// A breaker of the candidate opened.
    BreakerOpened {
        /// Of which instance, and why.
        breaker: String,
    },
    /// A person raised the weight; their words.
    PromotedByHand(String),
    /// A person took the weight away; their words.
    RolledBackByHand(String),
    /// A person stopped the weight where it is; their words.
    PausedByHand(String),
    /// A person let it rise by itself again; their words.
    ResumedByHand(String),
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { candidate, of, stable, than_of } = self;
        write!(f, "{candidate} of {of} calls against {stable} of {than_of} of the stable version")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { version } => write!(f, "version {version} of the document was put"),
            Self::StepDone { samples, millis } => {
                write!(f, "{samples} calls in {} went no worse", Span(Duration::from_millis(*millis)))
            }
            Self::MoreErrors(compared) => write!(f, "the candidate failed {compared}"),
            Self::MoreBreaches(compared) => write!(f, "the candidate broke its contract in {compared}"),
            Self::Slower { candidate_millis, stable_millis } => write!(
                f,
                "nine of ten answers of the candidate take {}, of the stable version {}",
                Span(Duration::from_millis(*candidate_millis)),
                Span(Duration::from_millis(*stable_millis)),
            ),
            Self::BreakerOpened { breaker } => write!(f, "a breaker of the candidate opened: {breaker}"),
            Self::PromotedByHand(note) => write!(f, "promoted by hand: {note}"),
            Self::RolledBackByHand(note) => write!(f, "rolled back by hand: {note}"),
            Self::PausedByHand(note) => write!(f, "paused by hand: {note}"),
            Self::ResumedByHand(note) => write!(f, "resumed by hand: {note}"),
        }
    }
}
