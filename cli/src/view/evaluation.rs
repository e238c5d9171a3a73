//! How well a routing document routes a labelled set.

use mainstay_proto::pb;
use serde::Serialize;

use super::decision::rung;

/// What `routes eval` answers.
#[derive(Debug, Clone, Serialize)]
pub struct EvaluationView {
    /// The share of all requests that was decided rightly, from 0 to 1.
    pub accuracy: f64,
    /// All requests.
    pub all: ShareView,
    /// Requests that belong somewhere; right are those that got there.
    pub in_scope: ShareView,
    /// Requests that belong nowhere; right are those that were sent onward.
    pub out_of_scope: ShareView,
    /// By the rung that decided.
    pub rungs: Vec<RungView>,
    /// The confusion matrix, cell by cell.
    pub matrix: Vec<ConfusionView>,
    /// Capabilities that are taken for each other, the worst first.
    pub overlaps: Vec<OverlapView>,
}

/// How many there were, and how many of them were right.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct ShareView {
    /// All of them.
    pub requests: u32,
    /// Those that were right.
    pub right: u32,
    /// The share that was right; 1 where there is nothing.
    pub accuracy: f64,
}

/// What one rung decided.
#[derive(Debug, Clone, Serialize)]
pub struct RungView {
    /// The rung.
    pub rung: String,
    /// How many, and how many of them rightly.
    #[serde(flatten)]
    pub share: ShareView,
}

/// One cell of the confusion matrix.
#[derive(Debug, Clone, Serialize)]
pub struct ConfusionView {
    /// The capability that was expected; `null` for a request that belongs nowhere.
    pub expected: Option<String>,
    /// The capability it went to; `null` if it was sent onward.
    pub decided: Option<String>,
    /// How often.
    pub count: u32,
}

/// Two capabilities that are taken for each other.
#[derive(Debug, Clone, Serialize)]
pub struct OverlapView {
    /// One of them.
    pub capability: String,
    /// The other.
    pub with: String,
    /// How many requests of both went to the wrong one of the two.
    pub mistaken: u32,
    /// How many requests both have together.
    pub requests: u32,
}

impl From<pb::RouteShare> for ShareView {
    fn from(share: pb::RouteShare) -> Self {
        let pb::RouteShare { requests, right } = share;
        let accuracy = if requests == 0 { 1.0 } else { f64::from(right) / f64::from(requests) };
        Self { requests, right, accuracy }
    }
}

impl From<pb::EvaluateRoutesResponse> for EvaluationView {
    fn from(response: pb::EvaluateRoutesResponse) -> Self {
        let share = |share: Option<pb::RouteShare>| ShareView::from(share.unwrap_or_default());
        let named = |name: String| (!name.is_empty()).then_some(name);
        let rungs =
            response.rungs.into_iter().map(|of| RungView { rung: rung(of.rung), share: share(of.share) });
        let matrix = response.matrix.into_iter().map(|cell| ConfusionView {
            expected: named(cell.expected),
            decided: named(cell.decided),
            count: cell.count,
        });
        let overlaps = response.overlaps.into_iter().map(|overlap| OverlapView {
            capability: overlap.capability,
            with: overlap.with,
            mistaken: overlap.mistaken,
            requests: overlap.requests,
        });
        let all = share(response.all);
        Self {
            accuracy: all.accuracy,
            all,
            in_scope: share(response.in_scope),
            out_of_scope: share(response.out_of_scope),
            rungs: rungs.collect(),
            matrix: matrix.collect(),
            overlaps: overlaps.collect(),
        }
    }
}
