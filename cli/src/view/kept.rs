//! Backups, and what is damaged.

use mainstay_proto::pb;
use serde::Serialize;

/// A backup that was taken or restored.
#[derive(Debug, Clone, Serialize)]
pub struct BackupView {
    /// The file.
    pub file: String,
    /// The data folder that was made of it; absent if it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Bytes of the file.
    pub bytes: u64,
    /// Records, and later changes of them.
    pub records: u64,
    /// Documents beside them.
    pub documents: u64,
    /// Damaged records and documents that are not in it.
    pub left_out: u64,
    /// Records in it that cannot be used, the first hundred.
    pub unusable: Vec<DamagedView>,
}

/// What an examination found.
#[derive(Debug, Clone, Serialize)]
pub struct ExaminationView {
    /// Sound records.
    pub sound: u64,
    /// Records that cannot be used.
    pub damaged: u64,
    /// Those, in the order of their keys.
    pub records: Vec<DamagedView>,
}

/// A record that cannot be used.
#[derive(Debug, Clone, Serialize)]
pub struct DamagedView {
    /// Its key, in hexadecimal.
    pub key: String,
    /// The kind of record.
    pub kind: String,
    /// What it describes.
    pub subject: String,
    /// What is wrong with it; empty if nothing is.
    pub problem: String,
    /// What is lost with it.
    pub loss: String,
    /// Where an unreadable range ends.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub until: String,
}

/// A record, looked at closely.
#[derive(Debug, Clone, Serialize)]
pub struct InspectedView {
    /// What it is.
    #[serde(flatten)]
    pub record: DamagedView,
    /// Whether nothing is wrong with it.
    pub sound: bool,
    /// What it says, decoded as far as possible.
    pub content: String,
    /// Its bytes as far as they can be reached, in hexadecimal.
    pub bytes: String,
}

/// What was exported.
#[derive(Debug, Clone, Serialize)]
pub struct ExportView {
    /// The file: one JSON object a line.
    pub file: String,
    /// Records in it.
    pub records: u64,
}

/// What was dropped, or would be.
#[derive(Debug, Clone, Serialize)]
pub struct DroppedView {
    /// The record.
    #[serde(flatten)]
    pub record: DamagedView,
    /// Whether it is gone.
    pub dropped: bool,
}

impl From<pb::DamagedRecord> for DamagedView {
    fn from(record: pb::DamagedRecord) -> Self {
        let pb::DamagedRecord { key, kind, subject, loss, problem, until } = record;
        Self { key, kind, subject, problem, loss, until }
    }
}

impl From<pb::InspectRecordResponse> for InspectedView {
    fn from(answer: pb::InspectRecordResponse) -> Self {
        let record = DamagedView::from(answer.record.unwrap_or_default());
        let sound = record.problem.is_empty();
        let bytes = answer.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { record, sound, content: answer.content, bytes }
    }
}
