//! The checker finds every kind of broken history that is planted for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::pb;
use mainstay_tests::agent::Row;
use mainstay_tests::history::{Epoch, Found, History, Purse, Sent, Taken, Tally, Told, Wrote};
use mainstay_tests::mix::Mix;
use pb::run_event::{Event, RunEnded, RunStarted, StepCompleted, StepStarted};

/// Two steps, the second after the first, both done: a history without fault.
fn good() -> History {
    let step = |id: &str, after: &[&str]| pb::Step {
        id: id.into(),
        state: pb::StepState::Completed.into(),
        after: after.iter().map(|id| (*id).to_owned()).collect(),
        output: "{\"x\":2}".into(),
        attempts: vec![pb::Attempt {
            attempt_id: id.to_uppercase(),
            class: pb::OutcomeClass::Success.into(),
            usage: Some(cost(5)),
            ..Default::default()
        }],
        ..Default::default()
    };
    let run = pb::Run {
        run_id: "run_1".into(),
        state: pb::RunState::Completed.into(),
        idempotency_key: "k1".into(),
        steps: vec![step("a", &[]), step("b", &["a"])],
        workflow: "mixed".into(),
        input: "{\"x\":1}".into(),
        output: "{\"x\":7}".into(),
        usage: Some(cost(10)),
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
        failed: false,
        nano_usd: if output.is_some() { 5 } else { 0 },
    };
    let answer = Some("{\"x\":2}");
    History {
        told: [("k1".to_owned(), vec![Told::Acknowledged("run_1".into())])].into(),
        found: [(
            "run_1".to_owned(),
            Found {
                again: run.clone(),
                folded: Ok(run.clone()),
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
        mix: Some(Mix::pipelines()),
        purse: Some(Purse { spent: 10, reserved: 0, total: 10 }),
        ..History::default()
    }
}

fn cost(nano_usd: i64) -> pb::Usage {
    pb::Usage { cost_nano_usd: nano_usd, ..Default::default() }
}

/// A word to the run, as its sender knows it.
fn sent(to: &str, said: &str, taken: Taken) -> Sent {
    Sent { run: "run_1".into(), to: to.into(), said: said.into(), taken }
}

/// A signal that the run has on record.
fn hears(history: &mut History, value: &str) {
    let signal = Event::SignalReceived(pb::run_event::SignalReceived {
        signal: "go".into(),
        value: value.to_owned().into(),
    });
    put(history, signal);
}

/// A person's answer that the run has on record.
fn is_answered(history: &mut History, verdict: pb::Verdict) {
    let answer =
        pb::run_event::StepAnswered { step_id: "a".into(), verdict: verdict.into(), ..Default::default() };
    put(history, Event::StepAnswered(answer));
}

/// One more event, before the end.
fn put(history: &mut History, event: Event) {
    let mut events: Vec<_> = found(history).events.drain(..).map(|event| event.event.unwrap()).collect();
    events.insert(events.len() - 1, event);
    found(history).events = number(events);
}

/// What there is once one writer has written so many times; the first version is nobody's.
fn tally(times: u64) -> Tally {
    Tally { x: times, of: (times > 0).then_some((0, times)).into_iter().collect() }
}

fn wrote(times: u64, taken: Taken) -> Wrote {
    Wrote { writer: (times > 0).then_some(0), version: times + 1, tally: tally(times), taken }
}

/// What the run read of the shared context.
fn pin(history: &mut History, version: u64, times: u64) {
    let value = serde_json::to_vec(&tally(times)).unwrap().into();
    let found = found(history);
    found.run.context = vec![pb::ContextPin { version, value, ..Default::default() }];
    found.again = found.run.clone();
    found.folded = Ok(found.run.clone());
}

/// Lets all that shows the run show it so.
fn alter(history: &mut History, alter: impl Fn(&mut pb::Run)) {
    let found = found(history);
    alter(&mut found.run);
    found.again = found.run.clone();
    found.folded = Ok(found.run.clone());
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

type Plant = fn(&mut History);

fn must_find(plants: impl IntoIterator<Item = (&'static str, &'static str, Plant)>) {
    for (rule, what, plant) in plants {
        let mut history = good();
        plant(&mut history);
        let broken = history.check();
        assert!(broken.iter().any(|broken| broken.rule == rule), "{what}: {broken:?}");
    }
}

#[test]
fn what_was_said_and_written_once_passes_whether_or_not_its_sender_knows() {
    for taken in [Taken::Yes, Taken::Unknown] {
        let mut history = good();
        hears(&mut history, "1");
        is_answered(&mut history, pb::Verdict::Approved);
        history.words = vec![sent("go", "1", taken), sent("a", "VERDICT_APPROVED", taken)];
        history.words.push(sent("a", "VERDICT_REJECTED", Taken::No));
        history.writes = vec![wrote(0, Taken::Yes), wrote(1, taken), wrote(1, Taken::No)];
        history.kept = vec![(1, tally(0)), (2, tally(1))];
        pin(&mut history, 2, 1);
        history.epochs = vec![Epoch::Granted(1), Epoch::Read(1), Epoch::Granted(3), Epoch::Read(3)];
        assert_eq!(history.check(), []);
    }
}

#[test]
fn an_answer_that_was_lost_at_a_crash_is_no_fault() {
    let mut history = good();
    let again = Row { key: "C".into(), ..history.rows[0].clone() };
    history.rows.insert(0, Row { output: Some("{\"x\":2}".into()), nano_usd: 5, ..again.clone() });
    history.rows.insert(0, again);
    history.crashes = vec![2];
    assert_eq!(history.check(), []);
}

#[test]
fn every_planted_fault_of_words_and_money_is_found_under_its_rule() {
    must_find([
        (
            "R5",
            "a result that does not follow",
            (|h| alter(h, |run| run.output = "{\"x\":8}".into())) as Plant,
        ),
        ("R6", "an epoch granted twice", |h| h.epochs = vec![Epoch::Granted(1), Epoch::Granted(1)]),
        ("R7", "one try too many", |h| alter(h, |run| run.steps[0].attempts[0].number = 21)),
        ("R7", "a step too deep", |h| alter(h, |run| run.steps[1].id = "b/1/2/3/4/5/6/7".into())),
        ("R7", "a budget exceeded by more than a call", |h| {
            let over = pb::Allowance { limit: "usd".into(), most: 1, spent: 7, ..Default::default() };
            alter(h, |run| run.allowances = vec![over.clone()]);
        }),
        ("R7", "a budget that holds money for nothing", |h| {
            let held = pb::Allowance { limit: "usd".into(), most: 9, reserved: 1, ..Default::default() };
            alter(h, |run| run.allowances = vec![held.clone()]);
        }),
        ("R8", "a registration forgotten", |h| h.epochs = vec![Epoch::Granted(2), Epoch::Read(1)]),
        ("R9", "a journal that does not fold", |h| found(h).folded = Err("a gap".into())),
        ("R9", "a state that is not its journal's", |h| {
            found(h).folded.as_mut().unwrap().steps[0].output = "{\"x\":3}".into();
        }),
        ("R9", "an end that was another before a kill", |h| {
            let run = pb::Run { output: "{\"x\":9}".into(), ..found(h).run.clone() };
            h.read = [("run_1".to_owned(), run)].into();
        }),
        ("R10", "a kind of which no run ended well", |h| h.mix = Some(Mix::all())),
        ("money", "a cost that no agent asked", |h| h.rows[1].nano_usd = 6),
        ("money", "a member that was asked again under another key", |h| {
            let again = [h.rows[0].clone(), h.rows[1].clone()].map(|row| Row { key: "C".into(), ..row });
            h.rows.extend(again);
        }),
        ("money", "an answer on record that nobody gave", |h| {
            h.rows.remove(3);
        }),
        ("money", "a sum that is not its parts'", |h| alter(h, |run| run.usage = Some(cost(11)))),
        ("money", "a call counted twice after a kill", |h| h.purse.as_mut().unwrap().spent = 15),
        ("money", "a call held for ever after a kill", |h| h.purse.as_mut().unwrap().reserved = 5),
        ("money", "a day that forgot a call", |h| h.purse.as_mut().unwrap().total = 5),
        ("words", "a signal taken and lost", |h| h.words = vec![sent("go", "1", Taken::Yes)]),
        ("words", "a signal taken twice", |h| {
            h.words = vec![sent("go", "1", Taken::Yes), sent("go", "2", Taken::Yes)];
            hears(h, "1");
        }),
        ("words", "a signal that nobody sent", |h| hears(h, "1")),
        ("words", "a question answered twice", |h| {
            h.words = vec![sent("a", "VERDICT_APPROVED", Taken::Yes)];
            is_answered(h, pb::Verdict::Approved);
            is_answered(h, pb::Verdict::Approved);
        }),
        ("words", "an answer that was refused and counts", |h| {
            h.words = vec![sent("a", "VERDICT_REJECTED", Taken::No)];
            is_answered(h, pb::Verdict::Rejected);
        }),
        ("words", "a write acknowledged and lost", |h| {
            h.writes = vec![wrote(0, Taken::Yes), wrote(1, Taken::Yes)];
            h.kept = vec![(1, tally(0))];
        }),
        ("words", "a write that happened twice", |h| {
            h.writes = vec![wrote(0, Taken::Yes), wrote(1, Taken::Unknown)];
            h.kept = vec![(1, tally(0)), (2, tally(2))];
        }),
        ("words", "two writers of one version", |h| {
            h.writes = vec![wrote(1, Taken::Yes), wrote(1, Taken::Yes)]
        }),
        ("words", "a run that read what nobody wrote", |h| pin(h, 2, 1)),
        ("words", "a run that read what was old before it was asked for", |h| {
            h.writes = vec![wrote(0, Taken::Yes), wrote(1, Taken::Yes)];
            h.known = [("k1".to_owned(), 2)].into();
            pin(h, 1, 0);
        }),
    ]);
}

#[test]
fn every_planted_fault_is_found_under_its_rule() {
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
    must_find(plants);
}
