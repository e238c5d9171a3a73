//! Rollouts: two versions of an agent side by side, the new one on a short leash.
//!
//! A document names the version that is trusted (**stable**), the one on trial (**candidate**), the share of calls that
//! the candidate gets, step by step, and what makes it lose them. Which version a call belongs to follows from a key
//! ([`split`]), so that who has met the new version meets it again. What the calls come to is counted for each version
//! ([`tally`]), and a machine ([`machine`]) raises the weight when enough went well for long enough, or takes it to zero.
//!
//! **Why compare with the other version, and not with a threshold?** Because whatever both share (a slow model behind
//! them, a customer who sends nonsense, a bad hour) says nothing about the new version. Only the difference does.
//!
//! **Why is only the first sending of a call evidence?** What comes later was chosen by how the first one went: a retry is
//! harder than the average call, and a call that fell back says that its own version had no room. Counting them would
//! compare two different kinds of calls.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::document::{Code, DocumentHash, Problem, Report};
use crate::name::Name;
use crate::share::{Human, WHOLE};
use crate::yaml;

pub mod contract;
mod document;
mod evidence;
mod lint;
pub mod machine;
mod reason;
pub mod split;
pub mod tally;
#[cfg(test)]
mod tests;

pub use document::Sticky;
pub use reason::{Compared, Reason};

/// Most steps: twice the ladders people climb.
pub const MAX_STEPS: usize = 20;
/// Longest a step may last.
pub const MAX_STEP: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most samples a step may wait for: what more would tell is smaller than anybody tolerates anyway.
pub const MAX_SAMPLES: u32 = 10_000;
/// Longest text of a version, as agents register it.
pub const MAX_VERSION_BYTES: usize = 64;
/// Longest document. It has a dozen fields; what is longer was meant for something else.
pub const MAX_DOCUMENT_BYTES: usize = 16 * 1024;

/// A rollout, checked.
#[derive(Debug, Clone)]
pub struct Rollout {
    name: Name,
    version: u32,
    description: String,
    agent: Name,
    capability: Option<Name>,
    stable: String,
    candidate: String,
    sticky: Sticky,
    steps: Vec<Step>,
    fixed: bool,
    shadow_bp: u32,
    fallback: Fallback,
    rule: Rule,
    hash: DocumentHash,
    warnings: Vec<Problem>,
}

/// One step of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The candidate's share of calls, in basis points.
    pub weight_bp: u32,
    /// Calls of the candidate that must have ended before the next step.
    pub samples: u32,
    /// How long it lasts at least.
    pub least: Duration,
}

/// Who takes a call that its own version cannot take now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// The stable version takes the candidate's calls; nobody takes the stable version's.
    Stable,
    /// Each takes the other's.
    Both,
}

/// When the candidate has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Calls of each version that must have ended before they are compared.
    pub min_samples: u32,
    /// By how much its share of failed calls may be worse, in basis points.
    pub errors_bp: u32,
    /// By how much its share of broken contracts may be worse, in basis points.
    pub breaches_bp: u32,
    /// By how much its slow answers may be slower, in basis points of the stable version's.
    pub slower_bp: u32,
    /// Whether one of its breakers opening is enough.
    pub breaker: bool,
}

/// One of the two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The one that is trusted.
    Stable,
    /// The one on trial.
    Candidate,
}

/// How far a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The weight rises by itself, step by step.
    Progressing,
    /// The weight stays where the document or a person put it. It is still taken away from a candidate that does worse.
    Held,
    /// The candidate has all calls for good.
    Promoted,
    /// The candidate has lost its calls. Only a new version of the document begins again.
    RolledBack,
}

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// How far it is.
    pub phase: Phase,
    /// The step it is on, from 0.
    pub step: u32,
    /// The candidate's share of calls, in basis points.
    pub weight_bp: u32,
}

/// What a machine decided.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a change is to be put on record and told"]
pub struct Change {
    /// Where the rollout stood.
    pub from: Status,
    /// Where it stands.
    pub to: Status,
    /// Why.
    pub reason: Reason,
}

impl Rollout {
    /// Reads a document, YAML or JSON.
    ///
    /// # Errors
    /// Every problem there is, in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(vec![Problem {
                code: Code::DocumentInvalid,
                path: String::new(),
                place: yaml::Place::default(),
                message: format!("is {} bytes long; at most {MAX_DOCUMENT_BYTES} are allowed", text.len()),
                hint: String::new(),
            }]);
        }
        let tree = yaml::parse(text).map_err(|error| vec![Problem::from(error)])?;
        let mut report = Report::new(&tree);
        let draft = document::read(&tree, &mut report);
        let problems = report.finish();
        if !problems.is_empty() {
            return Err(problems);
        }
        let warnings = lint::lint(&draft, Report::new(&tree));
        let hash = DocumentHash::of("mainstay rollout hash v1", &tree.value());
        document::build(draft, hash, warnings).ok_or_else(|| vec![Problem::incomplete()])
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The document's own version, from 1.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// What it is for, in words.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Whose versions these are.
    #[must_use]
    pub const fn agent(&self) -> &Name {
        &self.agent
    }

    /// The only capability it is about, if it is about one.
    #[must_use]
    pub const fn capability(&self) -> Option<&Name> {
        self.capability.as_ref()
    }

    /// Whether calls of `capability` to its agent are divided by it.
    #[must_use]
    pub fn covers(&self, capability: &Name) -> bool {
        self.capability.as_ref().is_none_or(|only| only == capability)
    }

    /// Whether some call would be divided by both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.agent == other.agent
            && match (&self.capability, &other.capability) {
                (Some(one), Some(other)) => one == other,
                (None, _) | (_, None) => true,
            }
    }

    /// The version of the agent on that side.
    #[must_use]
    pub fn of(&self, side: Side) -> &str {
        match side {
            Side::Stable => &self.stable,
            Side::Candidate => &self.candidate,
        }
    }

    /// On which side a version of the agent is, if on any.
    #[must_use]
    pub fn side(&self, version: &str) -> Option<Side> {
        [Side::Candidate, Side::Stable].into_iter().find(|side| self.of(*side) == version)
    }

    /// What a call is known by.
    #[must_use]
    pub const fn sticky(&self) -> &Sticky {
        &self.sticky
    }

    /// The ladder; never empty.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The share of the stable version's read-only calls that the candidate is sent a copy of, in basis points.
    #[must_use]
    pub const fn shadow_bp(&self) -> u32 {
        self.shadow_bp
    }

    /// Who takes a call that its own version cannot take now.
    #[must_use]
    pub const fn fallback(&self) -> Fallback {
        self.fallback
    }

    /// When the candidate has lost.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// What identifies this very content; layout and comments do not count.
    #[must_use]
    pub const fn hash(&self) -> DocumentHash {
        self.hash
    }

    /// What is allowed but probably not meant.
    #[must_use]
    pub fn lint(&self) -> &[Problem] {
        &self.warnings
    }

    /// The order in which the versions are asked to take a call of `side`, the best first. A version that is not in it is
    /// one the document does not name: it is asked last of all, so that no call is lost while somebody is there.
    #[must_use]
    pub const fn order(&self, side: Side) -> &'static [Side] {
        match (side, self.fallback) {
            (Side::Candidate, _) => &[Side::Candidate, Side::Stable],
            (Side::Stable, Fallback::Both) => &[Side::Stable, Side::Candidate],
            (Side::Stable, Fallback::Stable) => &[Side::Stable],
        }
    }
}

impl Side {
    /// The name used in records, tables and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Candidate => "candidate",
        }
    }
}

impl Phase {
    /// The name used in records, tables and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Progressing => "progressing",
            Self::Held => "held",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled-back",
        }
    }

    /// Whether nothing changes it any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Promoted | Self::RolledBack)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.phase.as_str(), Human(self.weight_bp.min(WHOLE)))
    }
}
