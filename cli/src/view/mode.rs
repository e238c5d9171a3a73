//! The operating mode.

use mainstay_proto::pb;
use serde::Serialize;

use super::value::{When, word};

/// The mode, and why it holds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ModeView {
    /// `full`, `degraded` or `emergency`.
    pub mode: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<When>,
    /// Why.
    pub reason: String,
    /// Who set it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// A person set it, and rules cannot change it.
    pub by_hand: bool,
    /// What the rules ask for.
    pub by_rules: String,
}

impl From<pb::ModeStatus> for ModeView {
    fn from(status: pb::ModeStatus) -> Self {
        let name = |mode: pb::OperatingMode| word(Some(mode.as_str_name()), "OPERATING_MODE_");
        Self {
            mode: name(status.mode()),
            by_rules: name(status.by_rules()),
            since: When::of(status.since.as_ref()),
            reason: status.reason,
            by: status.by,
            by_hand: status.by_hand,
        }
    }
}
