//! How a control plane does.

use mainstay_proto::pb;
use serde::Serialize;

use super::mode::ModeView;
use super::run::ParkingView;
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
    /// Open runs that nobody drives because they broke what drove them.
    pub parked: Vec<ParkedView>,
    /// Damaged records that are kept aside.
    pub quarantined: Vec<QuarantinedView>,
    /// Which finished runs are kept.
    pub retention: RetentionView,
    /// Limits that a busy server may meet.
    pub limits: Vec<LimitView>,
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

/// Which finished runs are kept.
#[derive(Debug, Clone, Serialize)]
pub struct RetentionView {
    /// How many there are; absent until they are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_runs: Option<u64>,
    /// How long one is kept.
    #[serde(skip_serializing_if = "Option::is_none", rename = "keep_for_ms")]
    pub keep_for: Option<Span>,
    /// How many are kept.
    pub keep: u64,
    /// When the oldest one that is kept ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<When>,
    /// Removed since the start.
    pub removed: u64,
}

/// A limit, and how much of it is used.
#[derive(Debug, Clone, Serialize)]
pub struct LimitView {
    /// The setting.
    pub limit: String,
    /// What is counted.
    pub what: String,
    /// How much there is.
    pub used: u64,
    /// How much there may be.
    pub most: u64,
    /// It is nearly met.
    pub near: bool,
    /// What happens when it is met.
    pub then: String,
}

/// A run that nobody drives.
#[derive(Debug, Clone, Serialize)]
pub struct ParkedView {
    /// Its tenant.
    pub tenant: String,
    /// The run.
    pub run_id: String,
    /// Why.
    #[serde(flatten)]
    pub parking: ParkingView,
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
            parked: info.parked.into_iter().map(Into::into).collect(),
            quarantined: quarantined
                .map(|record| QuarantinedView { key: record.key, reason: record.reason })
                .collect(),
            retention: info.retention.unwrap_or_default().into(),
            limits: info.limits.into_iter().map(LimitView::from).collect(),
        }
    }
}

impl From<pb::ParkedRun> for ParkedView {
    fn from(run: pb::ParkedRun) -> Self {
        let parking = run.parking.unwrap_or_default().into();
        Self { tenant: run.tenant, run_id: run.run_id, parking }
    }
}

impl From<pb::RetentionStatus> for RetentionView {
    fn from(status: pb::RetentionStatus) -> Self {
        Self {
            finished_runs: status.finished_runs,
            keep_for: Span::of(status.keep_for.as_ref()),
            keep: status.keep,
            oldest: When::of(status.oldest.as_ref()),
            removed: status.removed,
        }
    }
}

impl From<pb::LimitUse> for LimitView {
    fn from(limit: pb::LimitUse) -> Self {
        let pb::LimitUse { limit, what, used, most, near, then } = limit;
        Self { limit, what, used, most, near, then }
    }
}
