//! One look at a schedule: what has ended, what is owed, what is due, and what follows.

use mainstay_kernel::chain::Chain;
use mainstay_kernel::event::Kind;
use mainstay_kernel::name::Name;
use mainstay_kernel::priority::Priority;
use mainstay_kernel::retry::Retries;
use mainstay_kernel::run::Input;
use mainstay_kernel::schedule::calendar::Rfc3339;
use mainstay_kernel::schedule::{Decided, Firing, Note, Reason, Schedule, Standing, decide};
use mainstay_kernel::time::Wall;
use mainstay_store::CommitError;

use super::{Entry, Handle, Known, POLL, RETRY, WriteError};
use crate::documents::CatalogError;
use crate::engine::{AppendError, LoadError, StartError, StartRequest};
use crate::records::schedule::{Line, Outcome, StoredSchedule};

/// What a start came to.
enum Start {
    /// It is settled.
    Done(Outcome),
    /// Not now, and perhaps soon.
    NotNow,
}

impl Handle {
    /// Looks at a schedule and does what follows; the caller holds its turn. When to look again.
    pub(super) async fn settle(&self, entry: &Entry) -> Option<Wall> {
        let known = entry.known();
        if !known.there {
            return None;
        }
        let now = || self.0.parts.clock.wall();
        match self.advance(entry).await {
            Ok(true) => {}
            Ok(false) => return Some(now() + RETRY),
            Err(error) => {
                tracing::warn!(schedule = %entry.name, %error, "a schedule is looked at again soon");
                return Some(now() + RETRY);
            }
        }
        let known = entry.known();
        let polled = (!known.stored.standing.queued.is_empty()).then(|| now() + POLL);
        super::earliest(known.next(), polled)
    }

    /// Does everything there is to do; false if something could not be started now.
    async fn advance(&self, entry: &Entry) -> Result<bool, WriteError> {
        // What stands to be started comes first, whatever a policy would say by now: it may have been started.
        if !self.start_all(entry).await? {
            return Ok(false);
        }
        let known = entry.known();
        let now = self.0.parts.clock.wall();
        let due = known.schedule.times.next(known.stored.standing.until).is_some_and(|at| at <= now);
        if !due && known.stored.standing.queued.is_empty() {
            return Ok(true);
        }
        let standing = self.without_ended(&entry.tenant, &known.stored.standing).await;
        let decided = decide(&known.schedule, &standing, known.stored.paused.is_some(), now);
        let Decided { standing, notes, cancel } = decided;
        if notes.is_empty() && standing.starting.is_empty() && !due {
            // It waits on.
            return Ok(true);
        }
        let lines = notes.iter().map(|note| left_out(note, now)).collect();
        let stored = StoredSchedule { standing, ..known.stored.clone() };
        self.keep(entry, Known { stored, ..(*known).clone() }, lines).await?;
        for note in &notes {
            self.tell_left_out(entry, &known, note);
        }
        for run in cancel {
            let reason = format!("schedule {} has come again", entry.name);
            // One that has ended meanwhile needs no cancel.
            self.0.parts.engine.tell(&entry.tenant, run, Input::Cancel { reason }).await.ok();
        }
        self.start_all(entry).await
    }

    /// Starts what stands to be started; false if something is left.
    async fn start_all(&self, entry: &Entry) -> Result<bool, WriteError> {
        let known = entry.known();
        let mut standing = known.stored.standing.clone();
        if standing.starting.is_empty() {
            return Ok(true);
        }
        let (now, mut lines, mut left) = (self.0.parts.clock.wall(), Vec::new(), Vec::new());
        for at in std::mem::take(&mut standing.starting) {
            match self.start(&entry.tenant, &known.schedule, at).await {
                Start::NotNow => left.push(at),
                Start::Done(outcome) => {
                    match &outcome {
                        Outcome::Started { run } => standing.running.push(Firing { at, run: *run }),
                        // Told of once, for as long as it goes on.
                        Outcome::Refused { .. }
                            if known.newest.as_ref().is_some_and(|it| it.outcome == outcome) => {}
                        Outcome::Refused { why } => {
                            let words = format_args!("{}: {why}", Rfc3339(at));
                            self.0.parts.events.tell_of(
                                &entry.tenant,
                                Kind::ScheduleRefused,
                                entry.subject(),
                                words,
                            );
                        }
                        Outcome::LeftOut { .. } => {}
                    }
                    lines.push(Line { from: at, to: at, count: 1, at: now, outcome });
                }
            }
        }
        let all = left.is_empty();
        standing.starting = left;
        if !lines.is_empty() {
            let stored = StoredSchedule { standing, ..known.stored.clone() };
            self.keep(entry, Known { stored, ..(*known).clone() }, lines).await?;
        }
        Ok(all)
    }

    /// Starts the run of an occurrence, or finds the one that was started.
    async fn start(&self, tenant: &Name, schedule: &Schedule, at: Wall) -> Start {
        let mut labels = schedule.labels.clone();
        labels.insert("schedule".to_owned(), schedule.name.to_string());
        labels.insert("scheduled-at".to_owned(), Rfc3339(at).to_string());
        let request = StartRequest {
            tenant: tenant.clone(),
            workflow: schedule.workflow.clone(),
            version: schedule.version,
            input: schedule.input.clone(),
            idempotency_key: Some(schedule.key(at)),
            intent: schedule.intent.clone(),
            deadline: None,
            labels,
            retries: Retries::Allowed,
            chain: Chain::default(),
            priority: Priority::default(),
        };
        match self.0.parts.engine.start(request).await {
            Ok(started) => Start::Done(Outcome::Started { run: started.id }),
            Err(error) => refused(&error),
        }
    }

    /// Where a schedule stands without the runs that have ended. One that cannot be read now is taken for open.
    async fn without_ended(&self, tenant: &Name, standing: &Standing) -> Standing {
        let mut open = Vec::new();
        for firing in &standing.running {
            let engine = &self.0.parts.engine;
            let ended = !engine.drives(firing.run)
                && match engine.get(tenant, firing.run).await {
                    Ok(run) => run.end.is_some(),
                    Err(LoadError::Unavailable(_)) => false,
                    // Removed, or damaged: it runs no more.
                    Err(_) => true,
                };
            if !ended {
                open.push(*firing);
            }
        }
        Standing { running: open, ..standing.clone() }
    }

    /// Tells of what comes to no run, once for as long as it goes on.
    fn tell_left_out(&self, entry: &Entry, known: &Known, note: &Note) {
        let goes_on = known.newest.as_ref().is_some_and(
            |newest| matches!(newest.outcome, Outcome::LeftOut { reason } if reason == note.reason),
        );
        let kind = match note.reason {
            Reason::Missed => Kind::ScheduleMissed,
            Reason::Overlap => Kind::ScheduleOverlapped,
            // The pause was told of.
            Reason::Paused => return,
        };
        if !goes_on {
            let words =
                format_args!("{} left out, from {} to {}", note.count, Rfc3339(note.from), Rfc3339(note.to));
            self.0.parts.events.tell_of(&entry.tenant, kind, entry.subject(), words);
        }
    }
}

fn left_out(note: &Note, now: Wall) -> Line {
    let Note { from, to, count, reason } = *note;
    Line { from, to, count, at: now, outcome: Outcome::LeftOut { reason } }
}

/// What a start that failed means for its occurrence: what will pass is waited for, anything else is its end.
#[allow(clippy::wildcard_enum_match_arm, reason = "whatever else there is, waiting does not help against it")]
fn refused(error: &StartError) -> Start {
    match error {
        StartError::NotReady
        | StartError::TooManyOpen { .. }
        | StartError::Append(AppendError::Commit(
            CommitError::ReadOnly { .. }
            | CommitError::Busy
            | CommitError::Unknown { .. }
            | CommitError::Closed
            | CommitError::Conflict { .. },
        ))
        | StartError::Load(_)
        | StartError::Workflow(CatalogError::Unavailable(_)) => Start::NotNow,
        // It was started by the document that was there before.
        StartError::KeyReused { run } => Start::Done(Outcome::Started { run: *run }),
        error => Start::Done(Outcome::Refused { why: error.to_string() }),
    }
}

impl Line {
    /// This line and the next one as one, if they say the same of occurrences that come to no run.
    pub(super) fn and(&self, next: &Self) -> Option<Self> {
        match (&self.outcome, &next.outcome) {
            (Outcome::LeftOut { reason }, Outcome::LeftOut { reason: other }) if reason == other => {
                Some(Self {
                    to: next.to,
                    count: self.count.saturating_add(next.count),
                    at: next.at,
                    ..self.clone()
                })
            }
            (Outcome::Refused { why }, Outcome::Refused { why: other }) if why == other => Some(Self {
                to: next.to,
                count: self.count.saturating_add(next.count),
                at: next.at,
                ..self.clone()
            }),
            _ => None,
        }
    }
}
