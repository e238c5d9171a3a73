//! One rollout in force: its machine behind a lock, what every call reads beside it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use mainstay_kernel::id::AttemptId;
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::Class;
use mainstay_kernel::rollout::machine::Machine;
use mainstay_kernel::rollout::split::{Caller, Pick, Split};
use mainstay_kernel::rollout::tally::Tally;
use mainstay_kernel::rollout::{Change, Phase, Reason, Rollout, Side, Status};
use mainstay_kernel::share::Human as Share;
use mainstay_kernel::time::text::Human as Span;
use mainstay_kernel::time::{Mono, Now, Wall};
use parking_lot::Mutex;

use super::MAX_CHANGES;
use crate::records::rollout::StoredChange;

/// A rollout in force.
#[derive(Debug)]
pub struct Trial {
    /// Whose it is.
    pub tenant: Name,
    /// The document.
    pub rollout: Arc<Rollout>,
    /// Copies that were sent, and what came of them.
    pub shadowed: Shadowed,
    split: Split,
    /// The weight, where every call can read it without a lock.
    weight_bp: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    machine: Machine,
    /// Since when it is on its step, as people see it.
    since: Wall,
    /// Oldest first; never empty.
    history: VecDeque<StoredChange>,
}

/// How a call went whose key chose its version.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// The version.
    pub side: Side,
    /// How it ended.
    pub class: Class,
    /// How long it took.
    pub latency: Duration,
}

/// Copies of the stable version's calls that went to the candidate too, since the start.
#[derive(Debug, Default)]
pub struct Shadowed {
    /// Sent.
    pub sent: AtomicU64,
    /// Answered like the stable version did.
    pub same: AtomicU64,
    /// Answered otherwise.
    pub different: AtomicU64,
    /// Failed, where the stable version's call did not.
    pub failed: AtomicU64,
    /// Not sent, because the candidate had better things to do.
    pub skipped: AtomicU64,
}

impl Trial {
    /// A rollout whose document is being put, in place of `before`.
    pub(super) fn begin(tenant: Name, rollout: Rollout, before: Option<&Self>, by: &str, now: Now) -> Self {
        let machine = Machine::new(&rollout, now.mono);
        let mut history = before.map(|before| before.state.lock().history.clone()).unwrap_or_default();
        history.push_back(StoredChange {
            number: history.back().map_or(1, |newest| newest.number + 1),
            at: now.wall,
            version: rollout.version(),
            to: machine.status(),
            since: now.wall,
            reason: Reason::Put { version: rollout.version() },
            by: by.to_owned(),
        });
        Self::with(tenant, Arc::new(rollout), State { machine, since: now.wall, history })
    }

    /// A rollout that was in force before a restart. Its step begins anew: of what it had seen, nothing is known any more.
    pub(super) fn resume(
        tenant: Name,
        rollout: Arc<Rollout>,
        history: VecDeque<StoredChange>,
        now: Mono,
    ) -> Self {
        // It is never empty; were it, nothing is what a candidate of whom nothing is known gets.
        let unknown = (Status { phase: Phase::Held, step: 0, weight_bp: 0 }, Wall::default());
        let (status, since) = history.back().map_or(unknown, |newest| (newest.to, newest.since));
        let machine = Machine::resume(&rollout, status, now);
        Self::with(tenant, rollout, State { machine, since, history })
    }

    fn with(tenant: Name, rollout: Arc<Rollout>, state: State) -> Self {
        Self {
            tenant,
            split: Split::of(&rollout),
            rollout,
            shadowed: Shadowed::default(),
            weight_bp: AtomicU32::new(state.machine.status().weight_bp),
            state: Mutex::new(state),
        }
    }

    /// Which version a call belongs to now.
    #[must_use]
    pub fn pick(&self, caller: Caller<'_>) -> Pick {
        self.split.pick(&self.rollout, caller, self.weight_bp())
    }

    /// Whether a call of the stable version is to be copied to the candidate.
    #[must_use]
    pub fn copies(&self, call: AttemptId) -> bool {
        self.split.is_shadowed(call, self.rollout.shadow_bp()) && !self.status().phase.is_over()
    }

    /// The candidate's share of calls now, in basis points.
    #[must_use]
    pub fn weight_bp(&self) -> u32 {
        self.weight_bp.load(Ordering::Relaxed)
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.state.lock().machine.status()
    }

    /// Since when it is on its step.
    #[must_use]
    pub fn since(&self) -> Wall {
        self.state.lock().since
    }

    /// What the calls of a version came to on this step.
    #[must_use]
    pub fn tally(&self, side: Side) -> Tally {
        self.state.lock().machine.tally(side).clone()
    }

    /// Its changes, oldest first; the newest few hundred are kept.
    #[must_use]
    pub fn history(&self) -> Vec<StoredChange> {
        self.state.lock().history.iter().cloned().collect()
    }

    /// What its step still waits for, in words; empty if it does not rise by itself.
    #[must_use]
    pub fn awaited(&self, now: Mono) -> String {
        let Some(awaited) = self.state.lock().machine.awaited(now) else { return String::new() };
        let mut parts = Vec::new();
        if awaited.samples > 0 {
            parts.push(format!("{} more calls of {}", awaited.samples, self.rollout.of(Side::Candidate)));
        }
        if awaited.stable_samples > 0 {
            parts.push(format!("{} more calls of {}", awaited.stable_samples, self.rollout.of(Side::Stable)));
        }
        if !awaited.time.is_zero() {
            // Whole seconds: nobody counts the rest.
            parts.push(Span(Duration::from_secs(awaited.time.as_secs() + 1)).to_string());
        }
        parts.join(", ")
    }

    /// What events call it.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("rollout/{}/{}", self.rollout.name(), self.rollout.agent())
    }

    /// Why an instance of this version got a call that belongs to `pick`'s, for the record.
    #[must_use]
    pub fn words(&self, pick: Pick, version: &str) -> String {
        let (name, rollout) = (self.rollout.name(), &self.rollout);
        match rollout.side(version) {
            Some(side) if side == pick.side => {
                format!("rollout {name}: {version} ({}): {}", side.as_str(), pick.why)
            }
            Some(side) => format!(
                "rollout {name}: {version} ({}), because no instance of {} could take it",
                side.as_str(),
                rollout.of(pick.side)
            ),
            None => {
                format!("rollout {name}: {version}, which it does not name, because no other could take it")
            }
        }
    }

    /// Its newest change.
    #[must_use]
    pub fn newest(&self) -> StoredChange {
        let state = self.state.lock();
        // It is never empty: the first entry is made with the trial.
        state.history.back().cloned().unwrap_or_else(|| StoredChange {
            number: 1,
            at: state.since,
            version: self.rollout.version(),
            to: state.machine.status(),
            since: state.since,
            reason: Reason::Put { version: self.rollout.version() },
            by: String::new(),
        })
    }

    pub(super) fn observe(&self, seen: Seen, now: Now, tell: impl FnOnce(&Change, &StoredChange)) {
        let Seen { side, class, latency } = seen;
        self.settle(now, "", |machine| machine.observe(side, class, latency, now.mono), tell);
    }

    pub(super) fn breaker_opened(
        &self,
        breaker: String,
        now: Now,
        tell: impl FnOnce(&Change, &StoredChange),
    ) {
        self.settle(now, "", |machine| machine.breaker_opened(breaker, now.mono), tell);
    }

    pub(super) fn tick(&self, now: Now, tell: impl FnOnce(&Change, &StoredChange)) {
        self.settle(now, "", |machine| machine.tick(now.mono), tell);
    }

    /// A person's change.
    pub(super) fn change<E>(
        &self,
        (now, by): (Now, &str),
        turn: impl FnOnce(&mut Machine) -> Result<Change, E>,
        tell: impl FnOnce(&Change, &StoredChange),
    ) -> Result<(), E> {
        let mut refused = None;
        self.settle(now, by, |machine| turn(machine).map_err(|error| refused = Some(error)).ok(), tell);
        refused.map_or(Ok(()), Err)
    }

    /// Lets the machine decide. A change takes effect and is told while it is locked, so that they are told in order.
    fn settle(
        &self,
        now: Now,
        by: &str,
        decide: impl FnOnce(&mut Machine) -> Option<Change>,
        tell: impl FnOnce(&Change, &StoredChange),
    ) {
        let mut state = self.state.lock();
        let Some(change) = decide(&mut state.machine) else { return };
        self.weight_bp.store(change.to.weight_bp, Ordering::Relaxed);
        if change.to.step != change.from.step || change.to.phase.is_over() {
            state.since = now.wall;
        }
        let entry = StoredChange {
            number: state.history.back().map_or(1, |newest| newest.number + 1),
            at: now.wall,
            version: self.rollout.version(),
            to: change.to,
            since: state.since,
            reason: change.reason.clone(),
            by: by.to_owned(),
        };
        tell(&change, &entry);
        state.history.push_back(entry);
        if state.history.len() as u64 > MAX_CHANGES {
            state.history.pop_front();
        }
    }
}

impl std::fmt::Display for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.rollout.of(Side::Candidate), Share(self.weight_bp()))
    }
}
