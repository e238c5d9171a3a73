//! Schedules: when a workflow is run by the clock, and what happens to the times at which it could not be.
//!
//! A schedule names a workflow and its times: a cron expression or an interval, both in UTC. Each time is an *occurrence*, and
//! each occurrence comes to exactly one thing that stands in the schedule's history: a run, or the reason why there is none.
//! The run's idempotency key is made of the schedule's name and the occurrence ([`Schedule::key`]), so however often a
//! crash or a second clock lets it be started, it is one run.
//!
//! # Missed and overlapping
//! An occurrence is *missed* if it is older than the newest due one, or due for longer than [`GRACE`]: nobody was there. What is
//! done then, [`Missed`] says. It *overlaps* if a run of an earlier one has not ended; [`Overlap`] says what is done then.
//!
//! # Two steps
//! [`decide()`] looks at the schedule, where it [stands](Standing) and the time, and says what is to be started, cancelled and
//! noted. The shell writes that down before it starts anything, and once more when it has: what stands in
//! [`Standing::starting`] is started again after a crash, whatever a policy would say by then.
//!
//! Times are counted in UTC and nothing else: in a zone with summer time some times of day come twice a year and some never,
//! and a job that moves money should not depend on it. Cron libraries bring a clock along; the calendar here is forty lines
//! ([`calendar`]).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::document::DocumentHash;
use crate::json::Json;
use crate::name::Name;
use crate::time::Wall;

pub mod calendar;
mod cron;
mod decide;
mod document;
#[cfg(test)]
mod tests;

pub use self::cron::{Cron, CronError};
pub use self::decide::{Decided, Firing, Note, Reason, Standing, decide};

/// How long after its time an occurrence still counts as on time: longer than a server takes to restart.
pub const GRACE: Duration = Duration::from_secs(60);
/// Shortest interval: what is wanted more often is a loop inside an agent, and each run costs the disk a few commits.
pub const MIN_EVERY: Duration = Duration::from_secs(1);
/// Longest interval: a year.
pub const MAX_EVERY: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Most occurrences caught up with, queued, or running at once: with that many lines a look fits into one commit, and what is
/// further behind does not come after.
pub const MOST: u32 = 32;
/// How many are caught up with where the document does not say.
const DEFAULT_CATCH_UP: u32 = 10;
/// How many run at once where overlapping is allowed and the document does not say.
const DEFAULT_RUNNING: u32 = 4;

/// A schedule, checked.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Its name.
    pub name: Name,
    /// What it is for, in words.
    pub description: String,
    /// What it runs.
    pub workflow: Name,
    /// Which version; the newest at each time if none is named.
    pub version: Option<u32>,
    /// What each run is given.
    pub input: Json,
    /// What it is wanted for, in words; handed to every agent.
    pub intent: String,
    /// Labels of each run.
    pub labels: BTreeMap<String, String>,
    /// When.
    pub times: Times,
    /// What becomes of what was missed.
    pub missed: Missed,
    /// What becomes of what overlaps.
    pub overlap: Overlap,
    /// What identifies its content; layout and comments do not count.
    pub hash: DocumentHash,
}

/// When a workflow is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Times {
    /// By the calendar.
    Cron(Cron),
    /// Each time so much has passed, counted from the beginning of 1970: `1h` is on the hour.
    Every(Duration),
}

/// What becomes of occurrences at which nobody was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// None of them runs.
    Skip,
    /// The newest runs, unless a later one is on time.
    RunOnce,
    /// So many of them run, the newest, in their order.
    CatchUp(u32),
}

/// What becomes of an occurrence while a run of an earlier one goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// It does not run.
    Skip,
    /// It runs when that one has ended. At most so many wait; what comes on top does not run.
    Queue(u32),
    /// It runs beside it. At most so many run at once; what comes on top does not run.
    Allow(u32),
    /// That one is cancelled, and it runs.
    CancelPrevious,
}

impl Schedule {
    /// The idempotency key of the run of the occurrence at `at`.
    #[must_use]
    pub fn key(&self, at: Wall) -> String {
        format!("schedule/{}/{}", self.name, calendar::Rfc3339(at))
    }
}

impl Times {
    /// The first occurrence after `after`; nothing if there is none any more.
    #[must_use]
    pub fn next(&self, after: Wall) -> Option<Wall> {
        match self {
            Self::Cron(cron) => cron.next(after),
            Self::Every(every) => {
                let every = i64::try_from(every.as_millis()).ok()?;
                let count = after.as_millis().div_euclid(every).checked_add(1)?;
                count.checked_mul(every).map(Wall::from_millis)
            }
        }
    }
}
