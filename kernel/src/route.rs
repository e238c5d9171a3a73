//! Routing: which capability a request is for, when its sender does not say.
//!
//! A [`Routing`] document names the rungs of a ladder, and a request goes down it until one holds: the target it names
//! itself, [rules](Rule), the [classifier](classify), a router agent, a generalist agent, a static response. Only the last
//! must be there, and it always holds: that is why no request is ever lost to a fault of routing.
//!
//! Nobody on the ladder is believed. A rule may be out of date, a classifier wrong, and a router agent is a language model:
//! whatever a rung names is checked against the [live registry](Registry) before anything is called, and what is unknown,
//! down or not allowed sends the request to the next rung, with the reason on record. The record ([`Decision`]) says
//! which rung decided, by which rule or features, who else was a candidate, and who was passed over and why.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::document::{Code, Problem};
use crate::document::{DocumentHash, Report};
use crate::expr::{Condition, Mapping};
use crate::json::Json;
use crate::mode::Mode;
use crate::name::Name;
use crate::yaml;

mod answer;
pub mod classify;
mod decision;
mod document;
pub mod evaluate;
mod lint;
mod machine;
mod pattern;
mod question;
#[cfg(test)]
mod tests;

use classify::Thresholds;
pub use decision::{Decision, Passed, Why};
pub use machine::{Machine, Move, Registry, Request, Standing};
pub use pattern::Pattern;
pub use question::Question;

/// Most rules of a document: every one may be evaluated for every request, and people read them from top to bottom.
pub const MAX_RULES: usize = 100;
/// Most patterns of capabilities a document may route to: each is compared with what a rung names.
pub const MAX_PATTERNS: usize = 500;
/// How long a router agent may take where the document does not say. A router slower than this costs more than it saves.
pub const DEFAULT_ROUTER_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest a document may allow it.
pub const MAX_ROUTER_TIMEOUT: Duration = Duration::from_secs(60);
/// How sure a router agent must be where the document does not say: more likely right than wrong.
pub const DEFAULT_MIN_CONFIDENCE_BP: u16 = 5_000;
/// The classifier's thresholds where the document does not say: one genuine request in a hundred may be sent on for looking
/// strange, one for looking like another's. A fifth of its words must speak for a capability with few examples.
pub const DEFAULT_THRESHOLDS: Thresholds =
    Thresholds { out_of_scope_bp: 100, ambiguous_bp: 100, words_bp: 2_000 };

/// The rungs that a degraded system leaves out where the document does not say: a model that only finds out who to ask.
const DROPPED_WHEN_DEGRADED: [Rung; 1] = [Rung::Router];
/// And those that a system in an emergency does: all but the last, which costs nothing.
const DROPPED_IN_EMERGENCY: [Rung; 5] =
    [Rung::Target, Rung::Rules, Rung::Classifier, Rung::Router, Rung::Generalist];

/// A rung of the ladder, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// The target that the request itself names.
    Target,
    /// The first rule that holds.
    Rules,
    /// What the classifier is sure of.
    Classifier,
    /// What the router agent answers.
    Router,
    /// The agent for everything else.
    Generalist,
    /// An answer that no agent gives. It is marked as a fallback.
    Static,
}

/// What a request is routed to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// The capability that is called.
    pub capability: Name,
    /// The agent that must do it; any that offers the capability if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Name>,
}

/// A routing document, checked and compiled. Share it as `Arc<Routing>`.
#[derive(Debug)]
pub struct Routing {
    name: Name,
    version: u32,
    description: String,
    capabilities: Vec<Pattern>,
    text: Option<Mapping>,
    rules: Vec<Rule>,
    classifier: Option<Thresholds>,
    router: Option<Router>,
    generalist: Option<Target>,
    response: Json,
    dropped: Dropped,
    hash: DocumentHash,
    warnings: Vec<Problem>,
}

/// The rungs that are left out in each mode but the full one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dropped {
    degraded: Vec<Rung>,
    emergency: Vec<Rung>,
}

/// A rule: requests for which `when` holds go to `to`.
#[derive(Debug)]
pub struct Rule {
    /// Its name, unique in the document: decisions name it.
    pub name: Name,
    /// When it holds.
    pub when: Condition,
    /// Where it sends.
    pub to: Target,
}

/// The router agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// Who is asked.
    pub target: Target,
    /// How sure it must be, in basis points.
    pub min_confidence_bp: u16,
    /// How long it may take.
    pub timeout: Duration,
}

// === impl Routing ===

impl Routing {
    /// Reads a document, YAML or JSON.
    ///
    /// # Errors
    /// Every problem there is, in the order of the text; see [`Code`].
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let tree = yaml::parse(text).map_err(|error| vec![Problem::from(error)])?;
        let mut report = Report::new(&tree);
        let draft = document::read(&tree, &mut report);
        let problems = report.finish();
        if !problems.is_empty() {
            return Err(problems);
        }
        let warnings = lint::lint(&draft, Report::new(&tree));
        let hash = DocumentHash::of("mainstay routing hash v1", &tree.value());
        document::build(draft, hash, warnings).ok_or_else(|| vec![Problem::incomplete()])
    }

    /// What is allowed but probably not meant.
    #[must_use]
    pub fn lint(&self) -> &[Problem] {
        &self.warnings
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Its version, from 1.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// What it is for, in words.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What identifies this very content; layout and comments do not count.
    #[must_use]
    pub const fn hash(&self) -> DocumentHash {
        self.hash
    }

    /// Its rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The classifier's thresholds, if it has that rung.
    #[must_use]
    pub const fn classifier(&self) -> Option<&Thresholds> {
        self.classifier.as_ref()
    }

    /// The router agent, if it has that rung.
    #[must_use]
    pub const fn router(&self) -> Option<&Router> {
        self.router.as_ref()
    }

    /// The generalist agent, if it has that rung.
    #[must_use]
    pub const fn generalist(&self) -> Option<&Target> {
        self.generalist.as_ref()
    }

    /// The static response.
    #[must_use]
    pub const fn response(&self) -> &Json {
        &self.response
    }

    /// Whether `rung` is left out while the system operates in `mode`. The last never is.
    #[must_use]
    pub fn drops(&self, rung: Rung, mode: Mode) -> bool {
        match mode {
            Mode::Full => false,
            Mode::Degraded => self.dropped.degraded.contains(&rung),
            Mode::Emergency => self.dropped.emergency.contains(&rung),
        }
    }

    /// Whether the document has this rung, for a request that names no target.
    fn has(&self, rung: Rung) -> bool {
        match rung {
            Rung::Target => false,
            Rung::Rules => !self.rules.is_empty(),
            Rung::Classifier => self.classifier.is_some(),
            Rung::Router => self.router.is_some(),
            Rung::Generalist => self.generalist.is_some(),
            Rung::Static => true,
        }
    }

    /// Whether the classifier and the router agent may route to `capability`. What rules and the generalist rung name needs
    /// no leave; the router agent itself is never a destination, because it would be asked for ever.
    #[must_use]
    pub fn allows(&self, capability: &Name) -> bool {
        let listed = self.capabilities.is_empty()
            || self.capabilities.iter().any(|pattern| pattern.matches(capability));
        listed && self.router.as_ref().is_none_or(|router| router.target.capability != *capability)
    }
}

// === impl Rung ===

impl Rung {
    /// Every rung, from the first to the last.
    pub const ALL: [Self; 6] =
        [Self::Target, Self::Rules, Self::Classifier, Self::Router, Self::Generalist, Self::Static];

    /// The rung of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rung| rung.as_str() == name)
    }

    /// The name used in records, tables and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Rules => "rules",
            Self::Classifier => "classifier",
            Self::Router => "router",
            Self::Generalist => "generalist",
            Self::Static => "static",
        }
    }
}

// === impl Dropped ===

impl Default for Dropped {
    fn default() -> Self {
        Self { degraded: DROPPED_WHEN_DEGRADED.to_vec(), emergency: DROPPED_IN_EMERGENCY.to_vec() }
    }
}

// === impl Target ===

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.agent {
            Some(agent) => write!(f, "{} of {agent}", self.capability),
            None => write!(f, "{}", self.capability),
        }
    }
}
