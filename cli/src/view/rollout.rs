//! Rollouts.

use mainstay_proto::pb;
use serde::Serialize;

use super::finding::FindingView;
use super::value::{Span, When, word};

/// What the calls of one version came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TallyView {
    /// The version.
    pub version: String,
    /// Calls that ended on this step.
    pub ended: u32,
    /// Of those, failed.
    pub failed: u32,
    /// Of those, broke the contract.
    pub breached: u32,
    /// Nine of ten answers came within.
    #[serde(skip_serializing_if = "Option::is_none", rename = "slow_ms")]
    pub slow: Option<Span>,
}

/// What became of copies.
#[derive(Debug, Clone, Serialize)]
pub struct ShadowView {
    /// The share of calls that is copied, in basis points.
    pub share_bp: u32,
    /// Sent.
    pub sent: u64,
    /// Answered as the stable version answered.
    pub same: u64,
    /// Answered otherwise.
    pub different: u64,
    /// Failed.
    pub failed: u64,
    /// Not sent.
    pub skipped: u64,
}

/// One rollout.
#[derive(Debug, Clone, Serialize)]
pub struct RolloutView {
    /// Whose it is.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// Of the document.
    pub version: u32,
    /// Hash of the document.
    pub hash: String,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whose versions.
    pub agent: String,
    /// The only capability it is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub capability: String,
    /// The version that is trusted.
    pub stable: TallyView,
    /// The one on trial.
    pub candidate: TallyView,
    /// `progressing`, `held`, `promoted` or `rolled-back`.
    pub phase: String,
    /// The step it is on, from 1.
    pub step: u32,
    /// Of so many.
    pub step_count: u32,
    /// The candidate's share of calls, in basis points.
    pub weight_bp: u32,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<When>,
    /// Why.
    pub reason: String,
    /// What the step waits for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub awaits: String,
    /// Copies, if any are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowView>,
}

/// One change.
#[derive(Debug, Clone, Serialize)]
pub struct ChangeView {
    /// Its place among the changes, from 1.
    pub number: u64,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<When>,
    /// The document's version.
    pub version: u32,
    /// The phase after it.
    pub phase: String,
    /// The step after it.
    pub step: u32,
    /// The weight after it, in basis points.
    pub weight_bp: u32,
    /// Why.
    pub reason: String,
    /// Who did it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// What `rollouts put` answers.
#[derive(Debug, Clone, Serialize)]
pub struct PutView {
    /// The rollout.
    pub rollout: RolloutView,
    /// False if it was in force already.
    pub created: bool,
    /// What its author may not have meant.
    pub warnings: Vec<FindingView>,
    /// What could not be compared.
    pub notes: Vec<String>,
}

/// What `rollouts show` answers.
#[derive(Debug, Clone, Serialize)]
pub struct ShowView {
    /// The rollout.
    #[serde(flatten)]
    pub rollout: RolloutView,
    /// The document as it was put.
    pub document: String,
}

impl From<pb::RolloutTally> for TallyView {
    fn from(tally: pb::RolloutTally) -> Self {
        let pb::RolloutTally { version, ended, failed, breached, slow } = tally;
        Self { version, ended, failed, breached, slow: Span::of(slow.as_ref()) }
    }
}

impl From<pb::RolloutShadow> for ShadowView {
    fn from(shadow: pb::RolloutShadow) -> Self {
        let pb::RolloutShadow { share_bp, sent, same, different, failed, skipped } = shadow;
        Self { share_bp, sent, same, different, failed, skipped }
    }
}

impl From<pb::Rollout> for RolloutView {
    fn from(rollout: pb::Rollout) -> Self {
        Self {
            phase: phase(rollout.phase),
            tenant: rollout.tenant,
            name: rollout.name,
            version: rollout.version,
            hash: rollout.hash,
            description: rollout.description,
            agent: rollout.agent,
            capability: rollout.capability,
            stable: rollout.stable.unwrap_or_default().into(),
            candidate: rollout.candidate.unwrap_or_default().into(),
            step: rollout.step,
            step_count: rollout.step_count,
            weight_bp: rollout.weight_bp,
            since: When::of(rollout.since.as_ref()),
            reason: rollout.reason,
            awaits: rollout.awaits,
            shadow: rollout.shadow.map(Into::into),
        }
    }
}

impl From<pb::RolloutChange> for ChangeView {
    fn from(change: pb::RolloutChange) -> Self {
        Self {
            number: change.number,
            at: When::of(change.at.as_ref()),
            version: change.version,
            phase: phase(change.phase),
            step: change.step,
            weight_bp: change.weight_bp,
            reason: change.reason,
            by: change.by,
        }
    }
}

impl From<pb::GetRolloutResponse> for ShowView {
    fn from(answer: pb::GetRolloutResponse) -> Self {
        Self { rollout: answer.rollout.unwrap_or_default().into(), document: answer.document }
    }
}

fn phase(phase: i32) -> String {
    word(pb::RolloutPhase::try_from(phase).ok().map(|phase| phase.as_str_name()), "ROLLOUT_PHASE_")
}
