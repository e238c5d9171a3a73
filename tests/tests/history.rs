//! The checker finds every kind of broken history that is planted for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::pb;
use mainstay_tests::agent::Row;
use mainstay_tests::history::{Found, History, Told};
use pb::run_event::{Event, RunEnded, RunStarted, StepCompleted, StepStarted};

/// Two steps, the second after the first, both done: a history without fault.
fn good() -> History {
    let step = |id: &str, after: &[&str]| pb::Step {
        id: id.into(),
        state: pb::StepState::Completed.into(),
        after: after.iter().map(|id| (*id).to_owned()).collect(),
        output: "{\"x\":2}".into(),
        attempts: vec![pb::Attempt { attempt_id: id.to_uppercase(), ..Default::default() }],
        ..Default::default()
    };
    let run = pb::Run {
        run_id: "run_1".into(),
        state: pb::RunState::Completed.into(),
        idempotency_key: "k1".into(),
        steps: vec![step("a", &[]), step("b", &["a"])],
        ..Default::default()
    };
    let started = |id: &str| Event::StepStarted(StepStarted { step_id: id.into(), ..Default::default() });
    let completed =
        |id: &str| Event::StepCompleted(StepCompleted { step_id: id.into(), ..Default::default() });
    let events = [
        Event::RunStarted(RunStarted::default()),
        started("a"),
        completed("a"),
        started("b"),
        completed("b"),
        Event::RunEnded(RunEnded { state: pb::RunState::Completed.into(), ..Default::default() }),
    ];
    let row = |key: &str, step: &str, output: Option<&str>| Row {
        key: key.into(),
        run: "run_1".into(),
        step: step.into(),
        body: "{}".into(),
        output: output.map(Into::into),
    };
    let answer = Some("{\"x\":2}");
    History {
        told: [("k1".to_owned(), vec![Told::Acknowledged("run_1".into())])].into(),
        found: [(
            "run_1".to_owned(),
            Found {
                again: run.clone(),
                run,
                listed: pb::RunState::Completed,
                events: number(events.to_vec()),
            },
        )]
        .into(),
        rows: vec![row("A", "a", None), row("A", "a", answer), row("B", "b", None), row("B", "b", answer)],
        faults: 1,
        faults_wanted: 1,
        shown: vec![("run_1".to_owned(), pb::RunState::Completed)],
        ..History::default()
    }
}

fn number(events: Vec<Event>) -> Vec<pb::RunEvent> {
    let number =
        |(at, event)| pb::RunEvent { number: at as u64 + 1, event: Some(event), ..Default::default() };
    events.into_iter().enumerate().map(number).collect()
}

fn found(history: &mut History) -> &mut Found {
    history.found.get_mut("run_1").expect("the run")
}

#[test]
fn a_history_without_fault_passes() {
    assert_eq!(good().check(), []);
}

#[test]
fn what_may_be_repeated_may_be_begun_twice() {
    let mut history = good();
    history.rows.push(history.rows[0].clone());
    history.repeatable = true;
    assert_eq!(history.check(), []);
}

#[test]
fn every_planted_fault_is_found_under_its_rule() {
    type Plant = fn(&mut History);
    let plants: [(&str, &str, Plant); 24] = [
        ("R1", "a lost run", |h| h.found.clear()),
        ("R1", "a run without end", |h| {
            found(h).run.state = pb::RunState::Running.into();
            found(h).again.state = pb::RunState::Running.into();
        }),
        ("R2", "two ends", |h| {
            let end = found(h).events.last().unwrap().event.clone().unwrap();
            let mut events: Vec<_> = found(h).events.drain(..).map(|e| e.event.unwrap()).collect();
            events.push(end);
            found(h).events = number(events);
        }),
        ("R2", "an event after the end", |h| {
            found(h).events.swap(4, 5);
            for (at, event) in found(h).events.iter_mut().enumerate() {
                event.number = at as u64 + 1;
            }
        }),
        ("R2", "a gap", |h| found(h).events[2].number = 9),
        ("R2", "another answer the second time", |h| found(h).again.output = "1".into()),
        ("R3", "a refused start that exists", |h| {
            h.told.insert("k1".into(), vec![Told::Refused]);
        }),
        ("R3", "two runs for one key", |h| {
            let twin = found(h).clone();
            h.found.insert("run_2".into(), twin);
        }),
        ("R4", "work done twice", |h| h.rows.push(h.rows[0].clone())),
        ("R5", "a step that no agent did", |h| h.rows.retain(|row| row.step != "b")),
        ("R5", "a step before the one it waits for", |h| {
            let events = &mut found(h).events;
            events.swap(1, 3);
            for (at, event) in events.iter_mut().enumerate() {
                event.number = at as u64 + 1;
            }
        }),
        ("R10", "faults that never happened", |h| h.faults = 0),
        ("R10", "faults that met no work", |h| h.idle_faults = 1),
        ("R10", "a history without a run", |h| *h = History::default()),
        ("R1", "an acknowledgement of another's run", |h| {
            h.told.insert("k2".into(), vec![Told::Acknowledged("run_1".into())]);
        }),
        ("R2", "an end that clients were not shown", |h| h.shown[0].1 = pb::RunState::Failed),
        ("R2", "a listing that says something else", |h| found(h).listed = pb::RunState::Running),
        ("R2", "a state that its end does not say", |h| {
            let end = RunEnded { state: pb::RunState::Failed.into(), ..Default::default() };
            found(h).events.last_mut().unwrap().event = Some(Event::RunEnded(end));
        }),
        ("R3", "a run that nobody asked for", |h| h.told.clear()),
        ("R3", "work for a run that does not exist", |h| {
            h.rows.push(Row { run: "run_9".into(), key: "9".into(), ..h.rows[0].clone() });
        }),
        ("R4", "a key with two bodies", |h| {
            h.repeatable = true;
            h.rows.push(Row { body: "[]".into(), ..h.rows[0].clone() });
        }),
        ("R4", "a key for two steps", |h| {
            h.repeatable = true;
            h.rows.push(Row { step: "b".into(), ..h.rows[0].clone() });
        }),
        ("R5", "an output that no agent gave", |h| found(h).run.steps[0].output = "{}".into()),
        ("R5", "an output under a key that is none of its attempts'", |h| {
            found(h).run.steps[0].attempts.clear()
        }),
    ];
    for (rule, what, plant) in plants {
        let mut history = good();
        plant(&mut history);
        let broken = history.check();
        assert!(broken.iter().any(|broken| broken.rule == rule), "{what}: {broken:?}");
    }
}
