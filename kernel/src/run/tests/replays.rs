//! Replays: what is on record comes out again, whatever the run met, and a record that was changed does not.

use proptest::prelude::*;

use super::golden;
use super::laws::any_plan;
use super::world::{Plan, RUN, World, text};
use crate::replay::{Replay, Side, replay};
use crate::run::{Event, Transition};

/// A journal as it comes back from disk.
fn on_disk(world: &World) -> Vec<Transition> {
    let disk: Vec<String> = world.log.iter().map(|t| serde_json::to_string(t).unwrap()).collect();
    disk.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

fn again(plan: &Plan, log: &[Transition]) -> Replay {
    replay(RUN, log, &plan.workflow(), None).unwrap()
}

#[test]
fn every_golden_run_comes_out_again() {
    for (name, plan) in golden::all() {
        let world = World::new(plan.clone()).finish();
        let replay = again(&plan, &on_disk(&world));
        assert_eq!(replay.difference, None, "{name}");
        assert_eq!(replay.events, world.run.last_event, "{name}");
    }
}

#[test]
fn every_golden_run_comes_out_again_under_its_own_workflow_given_as_a_changed_one() {
    for (name, plan) in golden::all() {
        let world = World::new(plan.clone()).finish();
        let replay = replay(RUN, &on_disk(&world), &plan.workflow(), Some(&plan.workflow())).unwrap();
        assert_eq!(replay.difference, None, "{name}");
    }
}

#[test]
fn an_answer_on_record_that_was_changed_is_found_where_it_was_used() {
    for (name, plan) in golden::all() {
        let world = World::new(plan.clone()).finish();
        let mut log = on_disk(&world);
        // The record of what a step was given no longer follows from what came before.
        let given = log.iter_mut().flat_map(|t| &mut t.events).find_map(|event| {
            let Event::StepStarted { input: Some(input), step, .. } = event else { return None };
            Some((step.clone(), input))
        });
        let Some((step, input)) = given else { continue };
        *input = text(r#"{"other":true}"#);
        let difference = again(&plan, &log).difference.unwrap_or_else(|| panic!("{name}: nothing found"));
        assert_eq!(difference.step, Some(step), "{name}");
        assert!(difference.field.unwrap().path.starts_with("input"), "{name}");
        assert!(matches!(difference.now, Side::Event(_)), "{name}");
    }
}

proptest! {
    #[test]
    fn any_run_comes_out_again(plan in any_plan()) {
        let world = World::new(plan.clone()).finish();
        prop_assert_eq!(again(&plan, &on_disk(&world)).difference, None);
    }

    #[test]
    fn an_event_that_is_missing_at_the_end_is_missed(plan in any_plan()) {
        let world = World::new(plan.clone()).finish();
        let mut log = on_disk(&world);
        let last = log.last_mut().unwrap();
        let kept = last.events.len() - 1;
        last.events.truncate(kept);
        if kept > 0 {
            let difference = again(&plan, &log).difference.unwrap();
            prop_assert_eq!(difference.event, world.run.last_event);
            prop_assert_eq!(difference.recorded, Side::Nothing("nothing".to_owned()));
            let ended = matches!(&difference.now, Side::Event(now) if matches!(**now, Event::RunEnded { .. }));
            prop_assert!(ended);
        }
    }
}

#[test]
fn a_journal_of_another_workflow_is_no_journal_of_this_one() {
    let plans = golden::all();
    let (one, other) = (&plans[0].1, plans[1].1.workflow());
    let world = World::new(one.clone()).finish();
    assert!(replay(RUN, &on_disk(&world), &other, None).is_err());
    assert!(replay(RUN, &[], &other, None).is_err());
}
