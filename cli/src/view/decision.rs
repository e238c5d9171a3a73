//! Routing decisions.

use mainstay_proto::pb;
use serde::Serialize;

use super::value::{When, word};

/// Where a routed request went.
#[derive(Debug, Clone, Serialize)]
pub struct RoutedView {
    /// Names the decision, for `routes explain`.
    pub decision_id: String,
    /// The rung that decided.
    pub rung: String,
    /// The capability that was called; empty for the static response.
    pub capability: String,
    /// Whether the output is the static response.
    pub fallback: bool,
}

/// A decision and its grounds.
#[derive(Debug, Clone, Serialize)]
pub struct DecisionView {
    /// Its id; left out of a rehearsal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub decision_id: String,
    /// The routing document.
    pub route: String,
    /// Its version.
    pub version: u32,
    /// When the request came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<When>,
    /// How its input began.
    pub input: String,
    /// The rung that decided.
    pub rung: String,
    /// Where the request went; empty for the static response.
    pub capability: String,
    /// The agent that had to do it; empty if any could.
    pub agent: String,
    /// The rule that held.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// How sure the router agent was, in basis points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence_bp: Option<u32>,
    /// What the classifier found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictView>,
    /// Rungs that did not hold, in order.
    pub passed: Vec<PassedView>,
    /// How the call ended; left out of a rehearsal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// A rung that did not hold.
#[derive(Debug, Clone, Serialize)]
pub struct PassedView {
    /// The rung.
    pub rung: String,
    /// What it named.
    pub capability: String,
    /// The agent it named.
    pub agent: String,
    /// Why that was not taken, in a word.
    pub why: String,
    /// The same as a sentence.
    pub detail: String,
}

/// What the classifier found.
#[derive(Debug, Clone, Serialize)]
pub struct VerdictView {
    /// `sure`, `ambiguous`, `out-of-scope` or `nothing`.
    pub finding: String,
    /// The best capabilities, best first.
    pub ranked: Vec<RankedView>,
    /// The words that decided, strongest first.
    pub features: Vec<FeatureView>,
    /// Share of known examples that look as little like theirs, in basis points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit_bp: Option<u32>,
    /// Share of known examples with no larger lead, in basis points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lead_bp: Option<u32>,
    /// Words left out because they mix alphabets.
    pub disguised: u32,
}

/// A capability and its score.
#[derive(Debug, Clone, Serialize)]
pub struct RankedView {
    /// The capability.
    pub capability: String,
    /// `examples` or `words`.
    pub method: String,
    /// In thousandths.
    pub score_milli: i32,
}

/// A word and what it added.
#[derive(Debug, Clone, Serialize)]
pub struct FeatureView {
    /// The word.
    pub text: String,
    /// In thousandths of a score.
    pub weight_milli: i32,
}

/// What `routes decisions` answers.
#[derive(Debug, Clone, Serialize)]
pub struct DecisionsView {
    /// The decisions, newest first.
    pub decisions: Vec<DecisionView>,
    /// Whether there are more.
    pub more: bool,
}

impl From<pb::Routed> for RoutedView {
    fn from(routed: pb::Routed) -> Self {
        let (rung, decision_id) = (rung(routed.rung), routed.decision_id);
        Self { decision_id, rung, capability: routed.capability, fallback: routed.fallback }
    }
}

impl From<pb::RouteDecision> for DecisionView {
    fn from(decision: pb::RouteDecision) -> Self {
        let outcome = decision.outcome();
        let is_rehearsal = outcome == pb::OutcomeClass::Unspecified;
        Self {
            at: When::of(decision.at.as_ref()),
            rung: rung(decision.rung),
            outcome: (!is_rehearsal).then(|| word(Some(outcome.as_str_name()), "OUTCOME_CLASS_")),
            decision_id: decision.decision_id,
            route: decision.route,
            version: decision.version,
            input: decision.input,
            capability: decision.capability,
            agent: decision.agent,
            rule: decision.rule,
            confidence_bp: decision.confidence_bp,
            verdict: decision.verdict.map(Into::into),
            passed: decision.passed.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<pb::PassedRung> for PassedView {
    fn from(passed: pb::PassedRung) -> Self {
        let pb::PassedRung { rung: at, capability, agent, why, detail } = passed;
        Self { rung: rung(at), capability, agent, why, detail }
    }
}

impl From<pb::RouteVerdict> for VerdictView {
    fn from(verdict: pb::RouteVerdict) -> Self {
        let ranked = verdict.ranked.into_iter().map(|ranked| RankedView {
            capability: ranked.capability,
            method: ranked.method,
            score_milli: ranked.score_milli,
        });
        let features = verdict
            .features
            .into_iter()
            .map(|feature| FeatureView { text: feature.text, weight_milli: feature.weight_milli });
        Self {
            finding: verdict.finding,
            ranked: ranked.collect(),
            features: features.collect(),
            fit_bp: verdict.fit_bp,
            lead_bp: verdict.lead_bp,
            disguised: verdict.disguised,
        }
    }
}

/// The word for a rung of the wire.
pub(super) fn rung(rung: i32) -> String {
    word(pb::Rung::try_from(rung).ok().map(|rung| rung.as_str_name()), "RUNG_")
}
