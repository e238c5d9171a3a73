//! Crashes: the log is cut after every event, and the run arrives where it would have arrived anyway.

use proptest::prelude::*;

use super::golden;
use super::laws::any_plan;
use super::world::{Plan, World};
use crate::run::{Event, Transition};

/// What is left of `log` if only its first `events` events reached the disk.
fn cut(log: &[Transition], events: usize) -> Vec<Transition> {
    let mut left = events;
    let mut kept = Vec::new();
    for transition in log {
        let events: Vec<Event> = transition.events.iter().take(left).cloned().collect();
        if events.is_empty() {
            break;
        }
        left -= events.len();
        kept.push(Transition { events, ..*transition });
    }
    kept
}

/// Cuts the log after `events` events, recovers, goes on, and compares with what happens without the crash. Agents go on
/// during the crash and answer from their ledgers, so not even the times differ.
fn crash(plan: &Plan, whole: &World, events: usize) {
    let kept = cut(&whole.log, events);
    let until = kept.last().unwrap().at;
    // The agents know of what was asked of them before the crash, and of nothing later.
    let begun =
        whole.begun.iter().filter(|&(_, at)| *at <= until).map(|(&attempt, &at)| (attempt, at)).collect();
    let recovered = World::recovered(plan.clone(), kept, begun).finish();
    assert_eq!(recovered.history(), whole.history(), "cut after event {events}");
    assert_eq!(format!("{:?}", recovered.run), format!("{:?}", whole.run), "cut after event {events}");
}

#[test]
fn every_golden_run_survives_a_crash_after_every_event() {
    for (name, plan) in golden::all() {
        let whole = World::new(plan.clone()).finish();
        let events = whole.history().len();
        assert!(events > 3, "{name} has something to crash in");
        for cut_after in 1..=events {
            if cut_after < events {
                crash(&plan, &whole, cut_after);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_run_survives_a_crash_anywhere(plan in any_plan(), place in 0.0..1.0_f64) {
        let whole = World::new(plan.clone()).finish();
        let events = whole.history().len();
        let cut_after = 1 + (place * (events - 1) as f64) as usize;
        if cut_after < events {
            crash(&plan, &whole, cut_after);
        }
    }
}
