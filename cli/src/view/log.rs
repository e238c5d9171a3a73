//! What the control plane decided lately.

use mainstay_proto::pb;
use serde::Serialize;

use super::value::When;

/// The newest decisions, newest first.
#[derive(Debug, Clone, Serialize)]
pub struct LogView {
    /// The decisions.
    pub events: Vec<LoggedView>,
    /// There are older ones.
    pub more: bool,
}

/// One decision.
#[derive(Debug, Clone, Serialize)]
pub struct LoggedView {
    /// Its place in the order of all.
    pub number: u64,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<When>,
    /// What happened, as `area.what`.
    pub kind: String,
    /// Whose it is; absent if it is the whole server's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// What it happened to.
    pub subject: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who did it, if a person did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Whether it outlives a restart of the control plane.
    pub on_record: bool,
}

impl From<pb::Event> for LoggedView {
    fn from(event: pb::Event) -> Self {
        Self {
            number: event.number,
            at: When::of(event.at.as_ref()),
            kind: event.kind,
            tenant: event.tenant,
            subject: event.subject,
            reason: event.reason,
            by: event.by,
            on_record: event.on_record,
        }
    }
}
