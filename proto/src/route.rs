//! Routing decisions and scores for the wire.

use mainstay_kernel::name::Name;
use mainstay_kernel::route::classify::{Finding, Method, Verdict};
use mainstay_kernel::route::evaluate::{Evaluation, Share};
use mainstay_kernel::route::{Decision, Passed, Rung, Target};

use crate::pb;

impl From<Rung> for pb::Rung {
    fn from(rung: Rung) -> Self {
        match rung {
            Rung::Target => Self::Target,
            Rung::Rules => Self::Rules,
            Rung::Classifier => Self::Classifier,
            Rung::Router => Self::Router,
            Rung::Generalist => Self::Generalist,
            Rung::Static => Self::Static,
        }
    }
}

/// The rung a client asks for; nothing if it asks for none.
#[must_use]
pub fn rung(rung: pb::Rung) -> Option<Rung> {
    Rung::ALL.into_iter().find(|known| pb::Rung::from(*known) == rung)
}

impl From<&Decision> for pb::RouteDecision {
    /// What the decision itself says; whose and when it was, the caller adds.
    fn from(decision: &Decision) -> Self {
        let (capability, agent) = names(decision.target.as_ref());
        Self {
            rung: pb::Rung::from(decision.rung).into(),
            capability,
            agent,
            rule: decision.rule.as_ref().map(ToString::to_string).unwrap_or_default(),
            confidence_bp: decision.confidence_bp.map(u32::from),
            verdict: decision.verdict.as_ref().map(Into::into),
            passed: decision.passed.iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}

impl From<&Passed> for pb::PassedRung {
    fn from(passed: &Passed) -> Self {
        let (capability, agent) = names(passed.target.as_ref());
        Self {
            rung: pb::Rung::from(passed.rung).into(),
            capability,
            agent,
            why: passed.why.as_str().to_owned(),
            detail: passed.detail.clone(),
        }
    }
}

impl From<&Verdict> for pb::RouteVerdict {
    fn from(verdict: &Verdict) -> Self {
        let finding = match verdict.finding {
            Finding::Sure => "sure",
            Finding::Ambiguous => "ambiguous",
            Finding::OutOfScope => "out-of-scope",
            Finding::Nothing => "nothing",
        };
        let ranked = verdict.ranked.iter().map(|ranked| pb::RankedCapability {
            capability: ranked.capability.to_string(),
            method: match ranked.method {
                Method::Examples => "examples".to_owned(),
                Method::Words => "words".to_owned(),
            },
            score_milli: ranked.score_milli,
        });
        let features = verdict.features.iter().map(|feature| pb::RouteFeature {
            text: feature.text.clone(),
            weight_milli: feature.weight_milli,
        });
        Self {
            finding: finding.to_owned(),
            ranked: ranked.collect(),
            features: features.collect(),
            fit_bp: verdict.fit_bp.map(u32::from),
            lead_bp: verdict.lead_bp.map(u32::from),
            disguised: verdict.disguised,
        }
    }
}

fn names(target: Option<&Target>) -> (String, String) {
    let capability = target.map(|target| target.capability.to_string());
    let agent = target.and_then(|target| target.agent.as_ref()).map(ToString::to_string);
    (capability.unwrap_or_default(), agent.unwrap_or_default())
}

impl From<&Evaluation> for pb::EvaluateRoutesResponse {
    fn from(evaluation: &Evaluation) -> Self {
        let all = Share { requests: evaluation.requests, right: evaluation.right };
        let name = |name: Option<Name>| name.map(|name| name.to_string()).unwrap_or_default();
        let rungs = evaluation.rungs.iter().map(|(rung, share)| pb::RungShare {
            rung: pb::Rung::from(*rung).into(),
            share: Some((*share).into()),
        });
        let matrix = evaluation.matrix().map(|cell| pb::RouteConfusion {
            expected: name(cell.expected),
            decided: name(cell.decided),
            count: cell.count,
        });
        let overlaps = evaluation.overlaps().into_iter().map(|overlap| pb::RouteOverlap {
            capability: overlap.capability.to_string(),
            with: overlap.with.to_string(),
            mistaken: overlap.mistaken,
            requests: overlap.requests,
        });
        Self {
            all: Some(all.into()),
            in_scope: Some(evaluation.in_scope.into()),
            out_of_scope: Some(evaluation.out_of_scope.into()),
            rungs: rungs.collect(),
            matrix: matrix.collect(),
            overlaps: overlaps.collect(),
        }
    }
}

impl From<Share> for pb::RouteShare {
    fn from(share: Share) -> Self {
        Self { requests: share.requests, right: share.right }
    }
}
