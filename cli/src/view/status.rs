//! How a control plane does.

use mainstay_proto::pb;
use serde::Serialize;

use super::mode::ModeView;
use super::value::{Span, When};

/// What `status` answers.
#[derive(Debug, Clone, Serialize)]
pub struct StatusView {
    /// The server's version.
    pub version: String,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<When>,
    /// How much it does.
    pub mode: ModeView,
    /// Its store.
    pub store: StoreView,
    /// Instances with a live lease.
    pub instances: u32,
    /// Runs that have not ended.
    pub open_runs: u32,
    /// Damaged records that are kept aside.
    pub quarantined: Vec<QuarantinedView>,
}

/// How the store does.
#[derive(Debug, Clone, Serialize)]
pub struct StoreView {
    /// `sled` or `memory`.
    pub backend: String,
    /// False while the disk refuses writes.
    pub writable: bool,
    /// Why it is read-only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How long it has been so.
    #[serde(skip_serializing_if = "Option::is_none", rename = "for_ms")]
    pub for_: Option<Span>,
}

/// A damaged record.
#[derive(Debug, Clone, Serialize)]
pub struct QuarantinedView {
    /// Its key, in hexadecimal.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl From<pb::GetServerInfoResponse> for StatusView {
    fn from(info: pb::GetServerInfoResponse) -> Self {
        let store = info.store.unwrap_or_default();
        let quarantined = info.quarantined.into_iter();
        Self {
            version: info.version,
            started_at: When::of(info.started_at.as_ref()),
            mode: info.mode.unwrap_or_default().into(),
            store: StoreView {
                backend: store.backend,
                writable: store.writable,
                reason: store.reason,
                for_: Span::of(store.r#for.as_ref()),
            },
            instances: info.instances,
            open_runs: info.open_runs,
            quarantined: quarantined
                .map(|record| QuarantinedView { key: record.key, reason: record.reason })
                .collect(),
        }
    }
}
