//! The task that watches one drill: it looks, the kernel's machine says what that means, and what it says is told, logged,
//! carried out and kept.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::drill;
use mainstay_kernel::drill::{Drill, Ended, Event, Look, Phase, Tally};
use mainstay_kernel::event::Kind;
use mainstay_kernel::time::Wall;
use mainstay_store::Stats;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::runs::{Found, Runs};
use super::{Handle, subject};
use crate::faults::Watched;

/// How often a drill looks. What turns says itself since when, so this only bounds how late it is told; a look costs a lock
/// for each breaker of the target.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A drill that is watched.
pub(super) struct Watch {
    pub(super) handle: Handle,
    pub(super) place: Place,
    pub(super) drill: Drill,
    pub(super) watched: Arc<Watched>,
    pub(super) runs: Runs,
    /// What was counted when it began.
    pub(super) baseline: Baseline,
    pub(super) tell: mpsc::Sender<(Wall, Event)>,
    pub(super) stopped: mpsc::Receiver<Ended>,
}

/// Counters of the server as a whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Baseline {
    /// The store's.
    pub(super) store: Stats,
    /// Requests that were not let in.
    pub(super) shed: u64,
}

/// The one place for a drill. However its holder ends, no fault outlives it.
#[derive(Debug)]
pub(super) struct Place(pub(super) Handle);

impl Drop for Place {
    fn drop(&mut self) {
        let shared = &self.0.0;
        shared.parts.faults.end();
        shared.parts.metrics.drill(false);
        *shared.active.lock() = None;
    }
}

impl Watch {
    /// Watches to the scorecard.
    pub(super) async fn run(mut self) {
        self.happened(vec![Event::Began]);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let clock = self.handle.0.parts.clock.clone();
        while self.drill.phase() != Phase::Over {
            let acts = self.drill.phase() == Phase::Underway;
            let timeout = clock.sleep_until_some(self.drill.poll_timeout());
            let ended = tokio::select! {
                _ = looks.tick() => None,
                () = timeout => None,
                Some(why) = self.stopped.recv(), if acts => Some(why),
                () = self.tell.closed(), if acts => Some(Ended::ClientGone),
            };
            let look = self.look().await;
            let now = clock.mono();
            let mut events = self.drill.observe(&look, now);
            events.extend(ended.and_then(|why| self.drill.stop(why, now)));
            self.happened(events);
        }
        self.keep().await;
    }

    async fn look(&mut self) -> Look {
        self.runs.accepted(self.watched.traffic.take_runs());
        let now = self.handle.0.parts.clock.mono();
        let found = match self.drill.phase() {
            // While the fault acts, runs may well be nowhere: what counts is where they are in the end.
            Phase::Underway => Found { unsure: 0, lost: 0 },
            Phase::Recovering | Phase::Over => self.runs.look(&self.handle.0.parts.engine, now).await,
        };
        let parts = &self.handle.0.parts;
        let plan = self.drill.plan();
        let mut calls = self.watched.traffic.tally(now);
        calls.under_way += found.unsure;
        calls.lost += found.lost;
        let tally = match plan.kind {
            drill::Kind::StoreReadOnly => {
                let Tally { sent, struck, flowed, .. } = parts.writes(self.baseline.store);
                Tally { sent, struck, flowed, ..calls }
            }
            drill::Kind::EmergencyMode => {
                let shed = parts.metrics.shed_so_far().saturating_sub(self.baseline.shed);
                let flowed = calls.outside.ended.saturating_sub(calls.outside.failed);
                Tally { sent: shed + calls.outside.ended, flowed, ..calls }
            }
            drill::Kind::SlowAgent
            | drill::Kind::FailingAgent
            | drill::Kind::DeadAgent
            | drill::Kind::Overload
            | drill::Kind::LyingRouter => calls,
        };
        Look { tally, ..parts.look(plan) }
    }

    /// Carries out, logs, remembers and tells what happened.
    fn happened(&mut self, events: Vec<Event>) {
        let shared = &self.handle.0;
        for event in events {
            if matches!(event, Event::Ended { .. }) {
                shared.parts.faults.lift();
                shared.parts.metrics.drill(false);
            }
            log(&self.drill, &event);
            self.announce(&event);
            let at = shared.parts.clock.wall();
            if let Some(active) = &mut *shared.active.lock() {
                active.drill.events.push((at, event.clone()));
                active.phase = self.drill.phase();
            }
            // A client that left, or does not read, finds it in the history.
            self.tell.try_send((at, event)).ok();
        }
    }

    /// Tells it among the decisions of the control plane.
    fn announce(&self, event: &Event) {
        let plan = self.drill.plan();
        let (kind, reason) = match event {
            Event::Began => {
                let share = f64::from(plan.share_bp) / 100.0;
                (
                    Kind::DrillBegan,
                    format!("{}: for {:?} at most, {share}% of what is sent", plan.id, plan.lasts),
                )
            }
            Event::Detected(it) => (
                Kind::DrillDetected,
                format!("{}: after {:?}: {}, {}", plan.id, it.after, it.part, it.reason),
            ),
            Event::Ended { lasted, why } => {
                (Kind::DrillEnded, format!("{}: after {lasted:?} ({})", plan.id, why.as_str()))
            }
            Event::Recovered { after } => {
                (Kind::DrillRecovered, format!("{}: {after:?} after the fault", plan.id))
            }
            Event::Judged(card) if card.passed => {
                (Kind::DrillPassed, format!("{}: every rule held", plan.id))
            }
            Event::Judged(card) => {
                let broken = card.findings.iter().find(|finding| !finding.held);
                let broken = broken.map(|it| it.found.as_str()).unwrap_or_default();
                (Kind::DrillFailed, format!("{}: {broken}", plan.id))
            }
        };
        let events = &self.handle.0.parts.events;
        events.tell_by(&plan.by, &plan.tenant, kind, subject(plan), reason);
    }

    /// Puts the whole of it on record, and makes the place free.
    async fn keep(self) {
        let Self { handle, place, tell, .. } = self;
        let drill = handle.0.active.lock().as_ref().map(|active| active.drill.clone());
        if let Some(drill) = drill
            && let Err(error) = handle.keep(drill).await
        {
            tracing::warn!(%error, "the scorecard of a drill is not on record");
        }
        drop(place);
        // The stream ends when the next drill may begin.
        drop(tell);
    }
}

fn log(drill: &Drill, event: &Event) {
    let (id, kind) = (drill.plan().id, drill.plan().kind);
    match event {
        // Logged where it was ordered, with all it was ordered with.
        Event::Began => {}
        Event::Detected(detected) => {
            tracing::info!(drill = %id, %kind, part = detected.part, reason = detected.reason, after = ?detected.after, "a drill is detected");
        }
        Event::Ended { lasted, why } => {
            tracing::warn!(drill = %id, %kind, ?lasted, why = why.as_str(), "a drill ends");
        }
        Event::Recovered { after } => tracing::info!(drill = %id, %kind, ?after, "a drill is overcome"),
        Event::Judged(card) => {
            let failed: Vec<_> = card.findings.iter().filter(|finding| !finding.held).collect();
            let failed: Vec<_> = failed.iter().map(|finding| finding.rule.as_str()).collect();
            tracing::warn!(drill = %id, %kind, passed = card.passed, failed = failed.join(","), lost = card.lost, "a drill is judged");
        }
    }
}
