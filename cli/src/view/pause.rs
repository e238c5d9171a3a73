//! What is paused.

use mainstay_proto::pb;
use serde::Serialize;

use super::value::When;

/// One entry.
#[derive(Debug, Clone, Serialize)]
pub struct PauseView {
    /// What is paused.
    pub target: String,
    /// Whose it is.
    pub tenant: String,
    /// Why.
    pub reason: String,
    /// Who did it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<When>,
    /// Calls under way there now, for a workflow runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under_way: Option<u32>,
}

/// What `drain` answers.
#[derive(Debug, Clone, Serialize)]
pub struct DrainView {
    /// The entry.
    #[serde(flatten)]
    pub pause: PauseView,
    /// Nothing is under way any more.
    pub drained: bool,
}

impl From<pb::Pause> for PauseView {
    fn from(pause: pb::Pause) -> Self {
        Self {
            target: pause.target,
            tenant: pause.tenant,
            reason: pause.reason,
            by: pause.by,
            since: When::of(pause.since.as_ref()),
            under_way: pause.under_way,
        }
    }
}

impl From<pb::DrainResponse> for DrainView {
    fn from(answer: pb::DrainResponse) -> Self {
        Self { pause: answer.pause.unwrap_or_default().into(), drained: answer.drained }
    }
}
