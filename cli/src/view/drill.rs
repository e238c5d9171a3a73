//! Drills and their scorecards.

use mainstay_proto::pb;
use pb::drill_event::Event;
use serde::Serialize;

use super::value::{Span, When};

/// What can be drilled, and what is.
#[derive(Debug, Clone, Serialize)]
pub struct CatalogueView {
    /// Whether the server injects faults at all.
    pub allowed: bool,
    /// The drill under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<DrillView>,
    /// The catalogue.
    pub kinds: Vec<KindView>,
}

/// An entry of the catalogue.
#[derive(Debug, Clone, Serialize)]
pub struct KindView {
    /// The name to run it by.
    pub name: String,
    /// What is done to the world.
    pub does: String,
    /// What a sound system does about it.
    pub expects: String,
    /// Whether it needs a target.
    pub has_target: bool,
}

/// One drill.
#[derive(Debug, Clone, Serialize)]
pub struct DrillView {
    /// Its id.
    pub id: String,
    /// Which fault.
    pub kind: String,
    /// Whose target.
    pub tenant: String,
    /// Where; empty for the server as a whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// The share of sendings that is struck, in basis points.
    pub share_bp: u32,
    /// How long the fault lasts at most.
    #[serde(skip_serializing_if = "Option::is_none", rename = "lasts_ms")]
    pub lasts: Option<Span>,
    /// How long calls are held back, where that was told.
    #[serde(skip_serializing_if = "Option::is_none", rename = "delay_ms")]
    pub delay: Option<Span>,
    /// Decides which sendings are struck.
    pub seed: u64,
    /// Who began it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began_at: Option<When>,
    /// `under-way`, `recovering`, `passed`, `failed` or `interrupted`.
    pub state: &'static str,
    /// What happened so far.
    pub events: Vec<DrillEventView>,
}

/// What happened in a drill.
#[derive(Debug, Clone, Serialize)]
pub struct DrillEventView {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<When>,
    /// What.
    #[serde(flatten)]
    pub what: Happened,
}

/// What happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happened {
    /// The fault acts.
    Began,
    /// Something noticed it.
    Detected(DetectedView),
    /// The fault is over.
    Ended {
        /// How long it lasted.
        #[serde(rename = "lasted_ms")]
        lasted: Option<Span>,
        /// `over`, `stopped` or `client-gone`.
        why: String,
    },
    /// Everything is well and traffic flows.
    Recovered {
        /// How long after the end of the fault.
        #[serde(rename = "after_ms")]
        after: Option<Span>,
    },
    /// The drill is over.
    Judged(ScorecardView),
    /// The server ended in the middle.
    Interrupted {
        /// In a sentence.
        why: String,
    },
}

/// What noticed a fault.
#[derive(Debug, Clone, Serialize)]
pub struct DetectedView {
    /// How long after it began.
    #[serde(rename = "after_ms")]
    pub after: Option<Span>,
    /// Which part.
    pub part: String,
    /// In its own words.
    pub reason: String,
}

/// How a drill went.
#[derive(Debug, Clone, Serialize)]
pub struct ScorecardView {
    /// Every rule held.
    pub passed: bool,
    /// The rules.
    pub findings: Vec<FindingView>,
    /// Why the fault ended.
    pub ended: String,
    /// How long it lasted.
    #[serde(rename = "lasted_ms")]
    pub lasted: Option<Span>,
    /// What noticed it first; `null` if nothing did.
    pub detected: Option<DetectedView>,
    /// From the end of the fault; `null` if it did not recover in time.
    #[serde(rename = "recovered_in_ms")]
    pub recovered_in: Option<Span>,
    /// Sent to the target while the fault lasted.
    pub sent: u64,
    /// Of these, given the fault.
    pub struck: u64,
    /// Their share, in basis points.
    pub struck_bp: u32,
    /// Given the fault although it was detected already.
    pub struck_after_detection: u64,
    /// Calls of what the target offers.
    pub inside: CallsView,
    /// All other calls.
    pub outside: CallsView,
    /// Accepted and never answered.
    pub lost: u64,
    /// Neither ended nor overdue.
    pub under_way: u64,
}

/// One rule.
#[derive(Debug, Clone, Serialize)]
pub struct FindingView {
    /// Which.
    pub rule: String,
    /// Whether it held.
    pub held: bool,
    /// What was found.
    pub found: String,
}

/// Calls that ended.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct CallsView {
    /// How many.
    pub ended: u64,
    /// How many failed.
    pub failed: u64,
    /// Their share, in basis points.
    pub failed_bp: u32,
}

impl DrillView {
    /// The scorecard, once there is one.
    #[must_use]
    pub fn scorecard(&self) -> Option<&ScorecardView> {
        self.events.iter().rev().find_map(|event| match &event.what {
            Happened::Judged(card) => Some(card),
            Happened::Began
            | Happened::Detected(_)
            | Happened::Ended { .. }
            | Happened::Recovered { .. }
            | Happened::Interrupted { .. } => None,
        })
    }
}

impl From<pb::ListDrillsResponse> for CatalogueView {
    fn from(answer: pb::ListDrillsResponse) -> Self {
        let kinds = answer.kinds.into_iter();
        Self {
            allowed: answer.allowed,
            active: answer.active.map(Into::into),
            kinds: kinds
                .map(|kind| KindView {
                    name: kind.name,
                    does: kind.does,
                    expects: kind.expects,
                    has_target: kind.has_target,
                })
                .collect(),
        }
    }
}

impl From<pb::Drill> for DrillView {
    fn from(drill: pb::Drill) -> Self {
        let state = match drill.state() {
            pb::DrillState::UnderWay => "under-way",
            pb::DrillState::Recovering => "recovering",
            pb::DrillState::Passed => "passed",
            pb::DrillState::Failed => "failed",
            pb::DrillState::Interrupted => "interrupted",
            pb::DrillState::Unspecified => "unknown",
        };
        Self {
            state,
            id: drill.id,
            kind: drill.kind,
            tenant: drill.tenant,
            target: drill.target,
            share_bp: drill.share_bp,
            lasts: Span::of(drill.lasts.as_ref()),
            delay: Span::of(drill.delay.as_ref()),
            seed: drill.seed,
            by: drill.by,
            began_at: When::of(drill.began_at.as_ref()),
            events: drill.events.into_iter().filter_map(DrillEventView::of).collect(),
        }
    }
}

impl DrillEventView {
    /// What a message tells; nothing if it is of a kind that this program does not know.
    #[must_use]
    pub fn of(event: pb::DrillEvent) -> Option<Self> {
        let what = match event.event? {
            Event::Began(_) => Happened::Began,
            Event::Detected(detected) => Happened::Detected(detected.into()),
            Event::Ended(ended) => {
                Happened::Ended { lasted: Span::of(ended.lasted.as_ref()), why: ended.why }
            }
            Event::Recovered(recovered) => Happened::Recovered { after: Span::of(recovered.after.as_ref()) },
            Event::Scorecard(card) => Happened::Judged(card.into()),
            Event::Interrupted(why) => Happened::Interrupted { why },
        };
        Some(Self { at: When::of(event.at.as_ref()), what })
    }
}

impl From<pb::DrillDetected> for DetectedView {
    fn from(detected: pb::DrillDetected) -> Self {
        let after = Span::of(detected.after.as_ref());
        Self { after, part: detected.part, reason: detected.reason }
    }
}

impl From<pb::Scorecard> for ScorecardView {
    fn from(card: pb::Scorecard) -> Self {
        let findings = card.findings.into_iter();
        Self {
            passed: card.passed,
            findings: findings
                .map(|it| FindingView { rule: it.rule, held: it.held, found: it.found })
                .collect(),
            ended: card.ended,
            lasted: Span::of(card.lasted.as_ref()),
            detected: card.detected.map(Into::into),
            recovered_in: Span::of(card.recovered_in.as_ref()),
            sent: card.sent,
            struck: card.struck,
            struck_bp: card.struck_bp,
            struck_after_detection: card.struck_after_detection,
            inside: card.inside.map(Into::into).unwrap_or_default(),
            outside: card.outside.map(Into::into).unwrap_or_default(),
            lost: card.lost,
            under_way: card.under_way,
        }
    }
}

impl From<pb::DrilledCalls> for CallsView {
    fn from(calls: pb::DrilledCalls) -> Self {
        Self { ended: calls.ended, failed: calls.failed, failed_bp: calls.failed_bp }
    }
}
