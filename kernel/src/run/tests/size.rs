//! How much a run writes: so many bytes for each step, however many steps there are.

use serde_json::{Value, json};

use super::world::{List, Part, Plan, World, list, part, plan};

/// How much more a step of a long run may write than one of a short run, in percent: its numbers and names have more digits.
const MORE_DIGITS: usize = 10;

/// The bytes of all records of a run of these steps.
fn written(parts: Vec<Part>) -> usize {
    let plan = Plan { deadline_ms: 3_600_000, ..plan(parts) };
    let log = World::new(plan).finish().log;
    log.iter().map(|transition| serde_json::to_vec(transition).unwrap().len()).sum()
}

/// One step after the other.
fn chain(steps: usize) -> Vec<Part> {
    let name = |n: usize| format!("s{n}");
    let step = |n: usize| match n.checked_sub(1) {
        Some(before) => part(&name(n), &[&name(before)]),
        None => part(&name(n), &[]),
    };
    (0..steps).map(step).collect()
}

/// All steps beside each other.
fn beside(steps: usize) -> Vec<Part> {
    (0..steps).map(|n| part(&format!("s{n}"), &[])).collect()
}

/// A step for each item of a list.
fn fan_out(items: usize) -> Vec<Part> {
    let items: Vec<Value> = (0..items).map(|_| json!(1)).collect();
    let over = List { max_items: items.len(), parallel: 8, ..list(json!(items)) };
    vec![part("each", &[]).over(over)]
}

#[test]
fn a_journal_grows_by_so_much_a_step_and_not_by_more_the_longer_it_is() {
    for (shape, parts) in
        [("chain", chain as fn(usize) -> Vec<Part>), ("beside", beside), ("fan-out", fan_out)]
    {
        let a_step = |from: usize, to: usize| (written(parts(to)) - written(parts(from))) / (to - from);
        let (short, long) = (a_step(5, 20), a_step(100, 200));
        assert!(long * 100 <= short * (100 + MORE_DIGITS), "{shape}: {short} bytes a step, then {long}");
    }
}
