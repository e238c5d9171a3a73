//! Replays with a changed workflow.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::effect::EffectClass;
use crate::json::{Json, Limits};
use crate::outcome::{Answer, Usage};
use crate::play::{Play, Reply, Turn, World};
use crate::retry::budget::Leave;
use crate::run::{Call, EndState, Input, asked};
use crate::workflow::Workflow;

const ID: RunId = RunId::from_bytes([3; 16]);

const TRIP: &str = "
name: trip
version: 1
deadline: 1h
steps:
  - id: find
    call: { capability: find }
    input: { of: '${input.city}' }
  - id: rate
    after: [find]
    call: { capability: rate }
    input: { what: '${steps.find.output}' }
  - id: book
    after: [rate]
    call: { capability: book }
    input: { what: '${steps.rate.output}' }
output: { booked: '${steps.book.output}' }
";

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn workflow(text: &str) -> Linked {
    Linked::from(Arc::new(Workflow::parse(text).unwrap_or_else(|problems| panic!("{problems:#?}"))))
}

/// Agents that answer with their capability, and people who approve.
struct Echo;

impl World for Echo {
    fn reply(&mut self, _: &Run, call: &Call, now: Wall) -> Option<Reply> {
        let output = json(&format!("\"{}d\"", call.capability));
        let answer = Answer { output, usage: Usage::default(), confidence_bp: None, warnings: Vec::new() };
        Some(Reply {
            at: now + Duration::from_secs(2),
            effect: EffectClass::ReadOnly,
            result: Ok(answer),
            attempts: Vec::new(),
            leave: Leave::Refused,
        })
    }
    fn word(&mut self, run: &Run) -> Option<(Wall, Input)> {
        let asked =
            asked(run).into_iter().find(|asked| run.step(asked.step.as_str()).unwrap().1.ruling.is_none())?;
        let ruling = serde_json::from_str(r#"{"verdict":"approved"}"#).unwrap();
        Some((asked.since + Duration::from_secs(60), Input::Answer { step: asked.step, ruling }))
    }
    fn said(&mut self) {}
}

fn record(workflow: &Linked) -> Vec<Transition> {
    let start = Start::of(ID, Name::new("default").unwrap(), workflow.clone(), json(r#"{"city":"Rome"}"#));
    let mut play = Play::start(start, Wall::from_millis(1_000), Echo).unwrap();
    while play.turn() == Turn::Went {}
    assert!(play.run().end.is_some());
    play.log().to_vec()
}

fn changed(from: &str, to: &str) -> Replay {
    let pinned = workflow(TRIP);
    assert!(TRIP.contains(from), "{from}");
    let changed = workflow(&TRIP.replace("version: 1", "version: 2").replacen(from, to, 1));
    replay(ID, &record(&pinned), &pinned, Some(&changed)).unwrap()
}

#[test]
fn a_change_that_changes_nothing_is_the_same() {
    assert_eq!(changed("name: trip", "name: trip\ndescription: a trip").difference, None);
}

#[test]
fn another_input_is_named_with_both_sides_and_the_call_that_nobody_answered() {
    let replay = changed("{ what: '${steps.rate.output}' }", "{ what: '${steps.rate.output}', seats: 2 }");
    let difference = replay.difference.unwrap();
    let field = difference.field.unwrap();
    assert_eq!((difference.event, field.path.as_str()), (6, "input.seats"));
    assert_eq!((field.recorded, field.now), (None, Some(serde_json::json!(2))));
    assert_eq!(difference.step.unwrap().as_str(), "book");
    let beyond = replay.beyond.unwrap();
    let [Would::Call { step, capability, input }] = &*beyond.would else { panic!("{beyond:?}") };
    assert_eq!((step.as_str(), capability.as_str()), ("book", "book"));
    assert_eq!(*input, json(r#"{"seats":2,"what":"rated"}"#));
    assert_eq!(beyond.end, None, "what depends on it is not known");
    assert_eq!(beyond.unused.len(), 1);
}

#[test]
fn a_step_left_out_lets_the_others_take_the_answers_that_still_fit() {
    let replay = changed(
        "
  - id: rate
    after: [find]
    call: { capability: rate }
    input: { what: '${steps.find.output}' }
  - id: book
    after: [rate]
    call: { capability: book }
    input: { what: '${steps.rate.output}' }",
        "
  - id: book
    after: [find]
    call: { capability: book }
    input: { what: rated }",
    );
    assert_eq!(replay.difference.unwrap().event, 4);
    let beyond = replay.beyond.unwrap();
    assert_eq!(beyond.would, []);
    assert_eq!(beyond.end, Some(EndState::Completed));
    assert_eq!(beyond.output, Some(json(r#"{"booked":"bookd"}"#)));
    assert_eq!(beyond.unused.iter().map(StepId::as_str).collect::<Vec<_>>(), ["rate"]);
}

#[test]
fn a_call_that_goes_elsewhere_is_a_difference_although_its_event_is_the_same() {
    let replay = changed("call: { capability: rate }", "call: { capability: judge }");
    let difference = replay.difference.unwrap();
    assert_eq!(difference.event, 4);
    let Side::Call { capability, .. } = difference.now else { panic!() };
    assert_eq!(capability.as_str(), "judge");
    let beyond = replay.beyond.unwrap();
    let [Would::Call { capability, .. }] = &*beyond.would else { panic!("{beyond:?}") };
    assert_eq!(capability.as_str(), "judge");
}

#[test]
fn a_question_that_was_added_is_asked_and_not_answered() {
    let replay = changed(
        "
  - id: book
    after: [rate]",
        "
  - id: sure
    after: [rate]
    approve: { ask: 'sure?', within: 10m }
    input: '${steps.rate.output}'
  - id: book
    after: [sure]",
    );
    let beyond = replay.beyond.unwrap();
    let [Would::Ask { step, question }] = &*beyond.would else { panic!("{beyond:?}") };
    assert_eq!((step.as_str(), question.as_str()), ("sure", "sure?"));
    assert_eq!(beyond.end, None);
}

#[test]
fn a_deadline_that_would_have_cut_the_run_is_the_first_difference() {
    let replay = changed("deadline: 1h", "deadline: 3s");
    let difference = replay.difference.unwrap();
    assert_eq!(difference.at, Wall::from_millis(4_000));
    assert_eq!(replay.beyond.unwrap().end, Some(EndState::TimedOut));
}

#[test]
fn an_input_that_the_changed_workflow_refuses_is_the_first_difference() {
    let replay = changed("deadline: 1h", "deadline: 1h\ninput: { type: object, required: [country] }");
    let difference = replay.difference.unwrap();
    assert_eq!(difference.event, 1);
    let Side::Nothing(why) = difference.now else { panic!() };
    assert!(why.contains("country"), "{why}");
}
