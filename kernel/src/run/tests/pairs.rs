//! Every pair of a state and an event that a run can come to is shown by a golden run.
//!
//! The table is what the golden runs show. It is complete if nothing that happens in random worlds is outside it, and if no
//! kind of event is missing from it; both are tested here, so a new event, or a new way to an old one, needs a golden run.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::golden;
use super::laws::any_plan;
use super::world::{Plan, RUN, World};
use crate::run::{EndState, Event, Input, Run, Transition};

/// An event, and what its step, or else its run, was before it.
type Pair = (String, &'static str);

/// Worlds that are looked at for a pair that no golden run shows.
const WORLDS: u32 = 10_000;

fn kind(event: &Event) -> String {
    let text = serde_json::to_value(event).unwrap();
    text.as_object().unwrap().keys().next().unwrap().clone()
}

fn state(run: &Run, event: &Event) -> &'static str {
    match event.step() {
        // A step that grows in this transition is not there before it.
        Some(step) => run.step(step.as_str()).map_or("absent", |(_, step)| step.state.as_str()),
        None if run.cancel.is_some() => "the run, being cancelled",
        None => "the run",
    }
}

/// The pairs in the order in which they happened, one event at a time.
fn pairs(world: &World) -> Vec<Pair> {
    let events = world.log.iter().flat_map(|t| t.events.iter().map(|event| (t.at, event)));
    let mut log = (1..).zip(events).map(|(first_event, (at, event))| Transition {
        first_event,
        at,
        events: vec![event.clone()],
    });
    let mut run = Run::begin(&log.next().unwrap(), world.plan.workflow(), RUN).unwrap();
    let mut pairs = vec![("run-started".to_owned(), "nothing")];
    for transition in log {
        let [event] = &transition.events[..] else { unreachable!("one by one") };
        pairs.push((kind(event), state(&run, event)));
        run.fold(&transition).unwrap();
    }
    pairs
}

fn of_golden_runs() -> BTreeSet<Pair> {
    golden::all().into_iter().flat_map(|(_, plan)| pairs(&World::new(plan).finish())).collect()
}

#[test]
fn the_golden_runs_show_every_pair_of_a_state_and_an_event() {
    let mut table = BTreeMap::<String, Vec<&str>>::new();
    for (event, state) in of_golden_runs() {
        table.entry(event).or_default().push(state);
    }
    let lines: Vec<String> =
        table.iter().map(|(event, states)| format!("{event:18} {}", states.join(", "))).collect();
    insta::assert_snapshot!(lines.join("\n"));
    let every = include_str!("journal.v1.jsonl").lines();
    let every = every.map(|line| serde_json::from_str::<Transition>(line).unwrap());
    let every: BTreeSet<String> = every.flat_map(|t| t.events.iter().map(kind).collect::<Vec<_>>()).collect();
    assert_eq!(table.into_keys().collect::<BTreeSet<_>>(), every, "kinds of events");
}

#[test]
fn a_cancel_ends_every_golden_run_at_once_after_every_event() {
    for (name, plan) in golden::all() {
        let whole = World::new(plan.clone()).finish();
        for until in 1..whole.log.len() {
            let log = whole.log[..until].to_vec();
            let mut world = World::recovered(Plan { cancel_at: None, ..plan.clone() }, log, BTreeMap::new());
            if world.run.cancel.is_some() || world.run.undoing.is_some() {
                continue;
            }
            world.tell(Input::Cancel { reason: "enough".to_owned() }).unwrap();
            // Whoever said so has what was done undone before that.
            let undoes = world.run.undoing.is_some();
            let world = if undoes { world.finish() } else { world };
            let end = world.run.end.as_ref();
            assert_eq!(end.map(|end| end.state), Some(EndState::Cancelled), "{name}, transition {until}");
        }
    }
}

/// So many worlds unless somebody asks for more or less.
fn worlds() -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    if asked { ProptestConfig::default() } else { ProptestConfig::with_cases(WORLDS) }
}

proptest! {
    #![proptest_config(worlds())]

    #[test]
    fn no_world_comes_to_a_pair_that_no_golden_run_shows(plan in any_plan()) {
        static SHOWN: std::sync::LazyLock<BTreeSet<Pair>> = std::sync::LazyLock::new(of_golden_runs);
        let world = World::new(plan).finish();
        for pair in pairs(&world) {
            prop_assert!(SHOWN.contains(&pair), "{pair:?} is shown by no golden run");
        }
    }
}
