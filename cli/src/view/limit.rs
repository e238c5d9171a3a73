//! Declared rates.

use mainstay_proto::pb;
use serde::Serialize;

use super::value::{Span, When};

/// A rate that holds, or one that was cleared.
#[derive(Debug, Clone, Serialize)]
pub struct LimitView {
    /// Of what.
    pub target: String,
    /// Whose it is.
    pub tenant: String,
    /// Calls in a second, minute or hour, such as `10/s`.
    pub rate: String,
    /// Calls that may come at once.
    pub burst: u32,
    /// What the manifest declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared: Option<String>,
    /// An operator set it.
    pub set: bool,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who did it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<When>,
    /// How long a call that came now would wait.
    #[serde(skip_serializing_if = "Option::is_none", rename = "wait_ms")]
    pub wait: Option<Span>,
}

impl From<pb::Limit> for LimitView {
    fn from(limit: pb::Limit) -> Self {
        let rate = limit.rate.unwrap_or_default();
        Self {
            target: limit.target,
            tenant: limit.tenant,
            rate: rate.calls,
            burst: rate.burst.unwrap_or_default(),
            declared: limit.declared.map(|declared| declared.calls),
            set: limit.set,
            reason: limit.reason,
            by: limit.by,
            since: When::of(limit.since.as_ref()),
            wait: Span::of(limit.wait.as_ref()),
        }
    }
}
