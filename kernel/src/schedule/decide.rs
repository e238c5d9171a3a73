//! What is due of a schedule, and what becomes of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{GRACE, MOST, Missed, Overlap, Schedule};
use crate::id::RunId;
use crate::time::Wall;

/// How far back it is looked for what was missed: what nobody came for in a year nobody waits for.
const LONGEST_LOOK: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Where a schedule stands. What it says is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Everything up to here has been decided.
    pub until: Wall,
    /// Occurrences whose runs are to be started, or may have been.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starting: Vec<Wall>,
    /// Occurrences that wait for runs to end, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queued: Vec<Wall>,
    /// Runs that have not ended, as far as is known, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running: Vec<Firing>,
}

/// An occurrence and its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// The occurrence.
    pub at: Wall,
    /// The run.
    pub run: RunId,
}

/// Occurrences that come to no run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The first.
    pub from: Wall,
    /// The last; the same if it is one.
    pub to: Wall,
    /// How many.
    pub count: u64,
    /// Why.
    pub reason: Reason,
}

/// Why an occurrence comes to no run, or to none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nobody was there, and the policy leaves it out.
    Missed,
    /// A run of an earlier one goes on, and the policy leaves it out.
    Overlap,
    /// The schedule was paused.
    Paused,
}

/// What follows from a look at a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what was decided must be written down and done"]
pub struct Decided {
    /// Where it stands then.
    pub standing: Standing,
    /// What comes to no run.
    pub notes: Vec<Note>,
    /// Runs to be cancelled before anything is started.
    pub cancel: Vec<RunId>,
}

/// What follows for `schedule` at `now`, `paused` or not, from where it stands. Runs that have ended are no longer in
/// `standing`.
pub fn decide(schedule: &Schedule, standing: &Standing, paused: bool, now: Wall) -> Decided {
    let mut decided = Decided { standing: standing.clone(), notes: Vec::new(), cancel: Vec::new() };
    let due = Due::of(schedule, standing.until, now);
    decided.standing.until = now.max(standing.until);
    if paused {
        decided.leave_out(due.all(), Reason::Paused);
        return decided;
    }
    // Those who wait come before those who come now.
    decided.take_from_queue(schedule.overlap);
    let (left_out, wanted) = due.split(schedule.missed, now);
    decided.leave_out(left_out, Reason::Missed);
    for at in wanted {
        decided.fire(at, schedule.overlap);
    }
    decided
}

impl Standing {
    /// A schedule that begins at `now`.
    #[must_use]
    pub const fn beginning(now: Wall) -> Self {
        Self { until: now, starting: Vec::new(), queued: Vec::new(), running: Vec::new() }
    }

    /// Its runs that have not ended, those included that are about to begin.
    fn busy(&self) -> usize {
        self.running.len() + self.starting.len()
    }
}

impl Decided {
    fn take_from_queue(&mut self, overlap: Overlap) {
        let room = match overlap {
            Overlap::Allow(most) => most as usize,
            Overlap::Skip | Overlap::Queue(_) | Overlap::CancelPrevious => 1,
        };
        while self.standing.busy() < room && !self.standing.queued.is_empty() {
            let at = self.standing.queued.remove(0);
            self.standing.starting.push(at);
        }
    }

    fn fire(&mut self, at: Wall, overlap: Overlap) {
        let busy = self.standing.busy();
        let standing = &mut self.standing;
        match overlap {
            Overlap::CancelPrevious => {
                self.cancel.extend(standing.running.drain(..).map(|firing| firing.run));
                let before = std::mem::replace(&mut standing.starting, vec![at]);
                for at in before {
                    self.leave_out(Span::one(at), Reason::Overlap);
                }
            }
            Overlap::Queue(most) if busy > 0 && standing.queued.len() < most as usize => {
                standing.queued.push(at)
            }
            Overlap::Allow(most) if busy < most as usize => standing.starting.push(at),
            Overlap::Skip | Overlap::Queue(_) if busy == 0 => standing.starting.push(at),
            Overlap::Skip | Overlap::Queue(_) | Overlap::Allow(_) => {
                self.leave_out(Span::one(at), Reason::Overlap);
            }
        }
    }

    fn leave_out(&mut self, span: Span, reason: Reason) {
        if let Span { first: Some((from, to)), count } = span {
            self.notes.push(Note { from, to, count, reason });
        }
    }
}

/// Occurrences in a row.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    first: Option<(Wall, Wall)>,
    count: u64,
}

impl Span {
    const fn one(at: Wall) -> Self {
        Self { first: Some((at, at)), count: 1 }
    }

    fn and(self, at: Wall) -> Self {
        let from = self.first.map_or(at, |(from, _)| from);
        Self { first: Some((from, at)), count: self.count.saturating_add(1) }
    }
}

/// The occurrences of a time: the newest one by one, those before them together.
struct Due {
    older: Span,
    /// At most [`MOST`] and one, oldest first.
    newest: Vec<Wall>,
}

impl Due {
    /// What is after `after` and not after `now`.
    fn of(schedule: &Schedule, after: Wall, now: Wall) -> Self {
        let mut due = Self { older: Span::default(), newest: Vec::new() };
        let back = i64::try_from(LONGEST_LOOK.as_millis()).unwrap_or(i64::MAX);
        let mut after = after.max(Wall::from_millis(now.as_millis().saturating_sub(back)));
        while let Some(at) = schedule.times.next(after).filter(|at| *at <= now) {
            if due.newest.len() > MOST as usize {
                due.older = due.older.and(due.newest.remove(0));
            }
            due.newest.push(at);
            after = at;
        }
        due
    }

    fn all(self) -> Span {
        self.newest.into_iter().fold(self.older, Span::and)
    }

    /// What is left out by the policy, and what is wanted, oldest first.
    fn split(mut self, missed: Missed, now: Wall) -> (Span, Vec<Wall>) {
        let on_time = self.newest.pop_if(|at| now.saturating_since(*at) <= GRACE);
        let late = match (missed, on_time) {
            (Missed::Skip, _) | (Missed::RunOnce, Some(_)) => 0,
            (Missed::RunOnce, None) => 1,
            (Missed::CatchUp(most), _) => most as usize,
        };
        let caught_up = self.newest.split_off(self.newest.len().saturating_sub(late));
        let wanted = caught_up.into_iter().chain(on_time).collect();
        (self.all(), wanted)
    }
}
