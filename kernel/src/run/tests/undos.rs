//! Undoing: whole runs as texts, and what the journal does not take.

use std::sync::Arc;

use serde_json::{Value, json};

use super::golden::transcript;
use super::rules::say;
use super::world::{Fate, List, Part, Plan, World, at, failure, id, list, part, plan, text};
use crate::effect::EffectClass;
use crate::outcome::{Began, Class};
use crate::run::{EndState, Event, FoldError, Input, Left, StepState, Undo, outstanding};
use crate::workflow::StepId;

const FAILS: [Fate; 1] = [Fate::Fail(Class::AgentError, Began::Yes)];
const UNKNOWN: [Fate; 1] = [Fate::Fail(Class::Timeout, Began::Unknown)];

/// A step that books something, and what gives it back.
fn books(name: &str, after: &[&str]) -> Part {
    part(name, after).effect(EffectClass::SideEffecting).undone_by(json!({ "capability": "give.back" }))
}

fn pays(fates: &[Fate]) -> Part {
    part("pay", &["flight", "room"]).effect(EffectClass::SideEffecting).input(&[]).fates(fates)
}

fn the_last_effect_first() -> Plan {
    let room = books("room", &[]).takes(20).fates(&[Fate::Answer(r#"{"booking":7}"#)]);
    let undo = json!({
        "capability": "give.back",
        "agent": "hotel",
        "input": { "booking": "${steps.room.output.booking}", "for": "${input.question}" },
    });
    let room = Part { recourse: vec![("compensate", undo)], ..room };
    plan(vec![books("flight", &[]).takes(30), room, pays(&FAILS)])
}

fn what_cannot_be_undone_is_named() -> Plan {
    let flight = books("flight", &[]).takes(30).inside("undo", &UNKNOWN);
    let room =
        books("room", &[]).inside("undo", &[Fate::Fail(Class::Transport, Began::No), Fate::Answer("null")]);
    let car = books("car", &[])
        .takes(20)
        .undone_by(json!({ "capability": "give.back", "input": { "x": "${steps.car.output.x}" } }));
    let car = Part { recourse: car.recourse[1..].to_vec(), ..car };
    plan(vec![flight, room, car, pays(&FAILS)])
}

fn what_nobody_can_tell_of() -> Plan {
    let when_unknown =
        json!({ "capability": "give.back", "input": { "x": "${steps.flight.ok}" }, "when_unknown": true });
    let flight = Part { recourse: vec![("compensate", when_unknown)], ..books("flight", &[]) };
    plan(vec![flight.fates(&UNKNOWN), books("room", &[]).takes(500)])
}

fn cancelled_twice() -> Plan {
    let flight = books("flight", &[]).inside("undo", &[Fate::Answer("1")]).takes(30);
    Plan { cancel_at: Some(50), ..plan(vec![flight, part("slow", &[]).takes(900)]) }
}

/// Word that comes while a cancelled run undoes what it did.
fn told_while_undoing() -> Plan {
    let waits = part("wait", &[]).does("wait", json!({ "signal": "go" }));
    let flight = books("flight", &[]).inside("undo", &[Fate::Answer("1")]).takes(30);
    let signals = vec![(55, "go", "1")];
    Plan { cancel_at: Some(50), signals, ..plan(vec![flight, waits]) }
}

fn out_of_time(on: Value) -> Plan {
    let compensation = Some(json!({ "on": on, "within": "20ms" }));
    let parts = vec![books("flight", &[]).takes(30), books("room", &[]), part("slow", &[]).takes(5_000)];
    Plan { deadline_ms: 1_000, compensation, ..plan(parts) }
}

fn whatever_the_workflow_says() -> Plan {
    let pay = pays(&FAILS).on_failure(json!("compensate"));
    let pay = Part { after: vec!["flight".to_owned()], ..pay };
    let compensation = Some(json!({ "on": [] }));
    Plan { compensation, ..plan(vec![books("flight", &[]), pay]) }
}

/// A workflow of two bookings that runs inside a step.
fn both(second_by: Value) -> Value {
    let gives_back = json!({ "capability": "give.back" });
    json!({
        "name": "both",
        "version": 1,
        "input": true,
        "steps": [
            { "id": "flight", "call": { "capability": "do.it" }, "compensate": gives_back },
            { "id": "room", "after": ["flight"], "call": { "capability": "do.it" }, "compensate": second_by },
        ],
        "output": { "flight": "${steps.flight.output}" },
    })
}

fn runs_both(name: &str) -> Part {
    part(name, &[]).effect(EffectClass::SideEffecting).does("sub", json!({ "workflow": "both" }))
}

fn in_a_workflow_inside() -> Plan {
    let trip = runs_both("trip").inside("flight", &[Fate::Answer("\"seat\"")]);
    let trip = trip.inside("room", &[Fate::Answer("\"bed\"")]);
    let room =
        json!({ "capability": "give.back", "input": ["${steps.flight.output}", "${steps.room.output}"] });
    let pay = part("pay", &["trip"]).input(&[]).effect(EffectClass::SideEffecting).fates(&FAILS);
    Plan { subs: vec![both(room)], ..plan(vec![trip, pay]) }
}

fn half_of_what_lies_inside() -> Plan {
    // Of this one each part knows how, and its own undo is not needed; of the list nobody does but the whole.
    let trip = runs_both("trip").undone_by(json!({ "capability": "give.back" })).inside("room", &FAILS);
    let cars = books("cars", &[]).takes(5).over(List { parallel: 1, ..list(json!([1, 2])) });
    let cars = cars.fates(&[Fate::Answer("1"), FAILS[0].clone()]).optional();
    Plan { subs: vec![both(json!({ "capability": "give.back" }))], ..plan(vec![trip, cars]) }
}

fn one_undo_for_all_inside() -> Plan {
    let trip = runs_both("trip").undone_by(json!({ "capability": "cancel.trip" }));
    let pay = part("pay", &["trip"]).input(&[]).effect(EffectClass::SideEffecting).fates(&FAILS);
    Plan { subs: vec![both(json!({ "capability": "give.back" }))], ..plan(vec![trip, pay]) }
}

fn nothing_left_to_spend() -> Plan {
    let flight =
        books("flight", &[]).inside("undo", &[Fate::Fail(Class::Transport, Began::No), Fate::Answer("1")]);
    let parts = vec![flight, books("room", &["flight"]), part("pay", &["room"])];
    Plan { budget: json!({ "calls": 2 }), ..plan(parts) }
}

pub(super) fn all() -> Vec<(&'static str, Plan)> {
    vec![
        ("the last effect first", the_last_effect_first()),
        ("what cannot be undone", what_cannot_be_undone_is_named()),
        ("what nobody can tell of", what_nobody_can_tell_of()),
        ("cancelled twice", cancelled_twice()),
        ("told while undoing", told_while_undoing()),
        ("out of time", out_of_time(json!(["timed-out"]))),
        ("whatever the workflow says", whatever_the_workflow_says()),
        ("undoing in a workflow inside", in_a_workflow_inside()),
        ("half of what lies inside", half_of_what_lies_inside()),
        ("one undo for all inside", one_undo_for_all_inside()),
        ("nothing left to spend on undoing", nothing_left_to_spend()),
    ]
}

/// An undoing's beginning, as a transcript tells it.
pub(super) fn told(event: &Event) -> String {
    let Event::UndoBegun { state, until, undos, left, .. } = event else { unreachable!() };
    let undos: Vec<String> = undos.iter().map(|undo| format!("{} {}", undo.id, undo.input)).collect();
    let left: Vec<String> = left.iter().map(ToString::to_string).collect();
    format!(
        "{} to be, undoing until {until:?}: [{}], left [{}]",
        state.as_str(),
        undos.join(", "),
        left.join(", ")
    )
}

#[test]
fn what_was_done_is_undone_one_after_another_the_last_effect_first() {
    insta::assert_snapshot!(transcript(the_last_effect_first()));
}

#[test]
fn what_cannot_be_undone_is_left_and_named_and_the_rest_goes_on() {
    insta::assert_snapshot!(transcript(what_cannot_be_undone_is_named()));
}

#[test]
fn an_effect_nobody_can_tell_of_is_undone_only_where_the_step_says_so() {
    insta::assert_snapshot!(transcript(what_nobody_can_tell_of()));
}

#[test]
fn a_cancel_undoes_and_a_run_that_is_undoing_is_past_cancelling() {
    let mut world = World::new(cancelled_twice());
    world.go_until(at(60));
    assert!(matches!(world.run.step("flight/undo").unwrap().1.state, StepState::Running { .. }));
    assert!(world.tell(Input::Cancel { reason: "now!".to_owned() }).is_err(), "nothing stops it");
    assert_eq!(outstanding(&world.run).calls[0].deadline, world.run.cut_at());
    insta::assert_snapshot!(transcript(cancelled_twice()));
}

#[test]
fn undoing_has_a_time_of_its_own_and_is_cut_when_that_is_over() {
    insta::assert_snapshot!(transcript(out_of_time(json!(["timed-out"]))));
    let world = World::new(out_of_time(json!(["failed"]))).finish();
    assert!(world.run.undoing.is_none(), "this workflow does not undo for lack of time");
}

#[test]
fn a_step_may_want_undone_what_the_workflow_would_keep() {
    insta::assert_snapshot!(transcript(whatever_the_workflow_says()));
    let mut plan = whatever_the_workflow_says();
    plan.parts[1].recourse.clear();
    assert!(World::new(plan).finish().run.undoing.is_none());
}

#[test]
fn what_the_steps_of_a_workflow_inside_did_is_undone_in_there() {
    insta::assert_snapshot!(transcript(in_a_workflow_inside()));
}

#[test]
fn of_a_step_that_did_not_complete_its_parts_are_undone_if_they_say_how_and_else_it_is_named() {
    insta::assert_snapshot!(transcript(half_of_what_lies_inside()));
}

#[test]
fn a_step_that_is_undone_speaks_for_all_that_lies_in_it() {
    insta::assert_snapshot!(transcript(one_undo_for_all_inside()));
}

#[test]
fn a_budget_that_is_spent_keeps_nothing_from_being_undone() {
    insta::assert_snapshot!(transcript(nothing_left_to_spend()));
}

#[test]
fn a_step_that_a_default_stands_in_for_did_nothing() {
    let flight = books("flight", &[]).fates(&FAILS).on_failure(json!({ "default": 0 }));
    let room = books("room", &[]);
    let world = World::new(plan(vec![flight, room, pays(&FAILS)])).finish();
    let undone: Vec<&str> = world.run.grafted.iter().map(|grown| grown.step.id.as_str()).collect();
    assert_eq!(undone, ["room/undo"]);
}

#[test]
fn a_run_that_completes_undoes_nothing() {
    let world = World::new(plan(vec![books("flight", &[]), books("room", &[])])).finish();
    assert_eq!(world.run.end.as_ref().unwrap().state, EndState::Completed);
    assert!(world.run.undoing.is_none());
}

#[test]
fn the_journal_takes_no_undo_twice_too_early_or_out_of_its_turn() {
    let undo =
        |step: &str| Arc::new(Undo { id: StepId::path(&format!("{step}/undo")).unwrap(), input: text("1") });
    let begins = |steps: &[&str]| Event::UndoBegun {
        state: EndState::Failed,
        failure: Some(failure(Class::AgentError, Began::Yes)),
        step: None,
        until: at(900),
        undos: steps.iter().map(|step| undo(step)).collect(),
        left: vec![Left { step: id("pay"), why: "not that one".to_owned() }],
    };
    let mut world =
        World::new(plan(vec![books("flight", &[]).takes(30), books("room", &[]).takes(20), pays(&FAILS)]));
    assert_eq!(say(&mut world.run, vec![begins(&["flight", "room"])]), Err(FoldError::Undoing), "too early");
    world.go_until(at(30));
    let mut run = world.run.clone();
    let failed = Event::StepFailed {
        step: id("pay"),
        failure: failure(Class::AgentError, Began::Yes),
        reason: String::new(),
        attempts: Vec::new(),
        effect_stands: false,
    };
    say(&mut run, vec![failed]).unwrap();
    for wrong in [&["room", "flight"][..], &["flight", "flight"], &["flight", "pay"], &["ghost"]] {
        let told = say(&mut run.clone(), vec![begins(wrong)]);
        assert!(matches!(told, Err(FoldError::Undo { .. })), "{wrong:?}: {told:?}");
    }
    say(&mut run, vec![begins(&["flight", "room"])]).unwrap();
    assert_eq!(say(&mut run, vec![begins(&[])]), Err(FoldError::Undoing), "once");
    let ends = |state| Event::RunEnded { state, output: None, failure: None, step: None };
    assert_eq!(
        say(&mut run, vec![ends(EndState::Failed)]),
        Err(FoldError::OpenSteps),
        "not before it is undone"
    );
    let first = crate::run::Attempt::first(run.id, "room/undo");
    let early = Event::StepStarted { step: undo("room").id.clone(), attempt: first, input: None };
    assert!(matches!(say(&mut run, vec![early]), Err(FoldError::TooEarly { .. })), "one after another");
}
