//! Schedules, and what their times came to.

use mainstay_proto::pb;
use serde::Serialize;

use super::value::{When, word};

/// A schedule.
#[derive(Debug, Clone, Serialize)]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it runs.
    pub workflow: String,
    /// Which version; 0 means the newest at each time.
    pub version: u32,
    /// `cron 0 3 * * *` or `every 15m`, in UTC.
    pub times: String,
    /// What becomes of what was missed.
    pub missed: String,
    /// What becomes of what overlaps.
    pub overlap: String,
    /// When it fires next; nothing while it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<When>,
    /// Why it is paused, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<PausedView>,
    /// Its runs that have not ended, as far as was looked.
    pub running: Vec<String>,
    /// How many occurrences wait for a run to end.
    pub queued: u32,
    /// When this document was put.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<When>,
    /// By whom, as they said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Hash of the document's content.
    pub hash: String,
}

/// A pause of a schedule.
#[derive(Debug, Clone, Serialize)]
pub struct PausedView {
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<When>,
    /// Why.
    pub reason: String,
    /// By whom, as they said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// What a time came to, or several in a row.
#[derive(Debug, Clone, Serialize)]
pub struct FiringView {
    /// Its place in the history.
    pub number: u64,
    /// Its time; the first of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<When>,
    /// The last of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<When>,
    /// How many.
    pub count: u64,
    /// When that was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<When>,
    /// `started`, `refused`, `missed`, `overlap` or `paused`.
    pub outcome: String,
    /// The run that was started.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub run_id: String,
    /// Why none could be.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What `schedules show` answers.
#[derive(Debug, Clone, Serialize)]
pub struct ShowView {
    /// The schedule.
    #[serde(flatten)]
    pub schedule: ScheduleView,
    /// The document, as it was put.
    pub document: String,
    /// Newest first.
    pub history: Vec<FiringView>,
}

/// What `schedules put` answers.
#[derive(Debug, Clone, Serialize)]
pub struct PutView {
    /// The schedule.
    pub schedule: ScheduleView,
    /// False if this very document was there already.
    pub created: bool,
}

/// What `schedules delete` answers.
#[derive(Debug, Clone, Serialize)]
pub struct DeletedView {
    /// The schedule.
    pub name: String,
    /// That it is gone.
    pub deleted: bool,
}

impl From<pb::Schedule> for ScheduleView {
    fn from(it: pb::Schedule) -> Self {
        Self {
            next: When::of(it.next.as_ref()),
            changed_at: When::of(it.changed_at.as_ref()),
            paused: it.paused.map(|paused| PausedView {
                since: When::of(paused.since.as_ref()),
                reason: paused.reason,
                by: paused.by,
            }),
            name: it.name,
            description: it.description,
            workflow: it.workflow,
            version: it.version,
            times: it.times,
            missed: it.missed,
            overlap: it.overlap,
            running: it.running,
            queued: it.queued,
            by: it.by,
            hash: it.hash,
        }
    }
}

impl From<pb::ScheduleFiring> for FiringView {
    fn from(it: pb::ScheduleFiring) -> Self {
        let outcome = pb::FiringOutcome::try_from(it.outcome).ok().map(|outcome| outcome.as_str_name());
        Self {
            number: it.number,
            scheduled_at: When::of(it.scheduled_at.as_ref()),
            until: When::of(it.until.as_ref()).filter(|_| it.count > 1),
            count: it.count,
            decided_at: When::of(it.decided_at.as_ref()),
            outcome: word(outcome, "FIRING_OUTCOME_"),
            run_id: it.run_id,
            reason: it.reason,
        }
    }
}

impl From<pb::GetScheduleResponse> for ShowView {
    fn from(it: pb::GetScheduleResponse) -> Self {
        Self {
            schedule: it.schedule.unwrap_or_default().into(),
            document: it.document,
            history: it.history.into_iter().map(Into::into).collect(),
        }
    }
}
