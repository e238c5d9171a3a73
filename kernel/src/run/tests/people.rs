//! Rules of what comes from outside.

use serde_json::json;

use super::world::{Plan, World, at, id, name, part, plan, ruling, text};
use crate::run::{FoldError, Ignored, Input, Ruling, StepState, Transition, Verdict, asked};

fn waits() -> World {
    let signal = json!({ "signal": "paid", "schema": { "type": "object", "required": ["amount"] } });
    World::new(plan(vec![part("paid", &[]).does("wait", signal), part("after", &["paid"]).takes(50)]))
}

fn asks() -> World {
    let form = json!({ "type": "object", "required": ["text"] });
    let ask =
        json!({ "ask": "Send it to ${input.question}?", "form": form, "assignee": "sales", "within": "10s" });
    World::new(plan(vec![part("ok", &[]).does("approve", ask), part("after", &["ok"]).takes(50)]))
}

fn signal(of: &str, value: &str) -> Input {
    Input::Signal { name: name(of), value: text(value) }
}

fn says(step: &str, ruling: Ruling) -> Input {
    Input::Answer { step: id(step), ruling }
}

#[test]
fn a_signal_that_nobody_waits_for_is_refused_by_name() {
    let mut world = waits();
    let refused = world.tell(signal("payed", "{}")).unwrap_err();
    assert_eq!(refused, Ignored::NoSuchSignal { known: vec!["paid".to_owned()] });
    assert_eq!(refused.to_string(), "is no signal that a step of the workflow waits for; it waits for paid");
    let none = World::new(plan(vec![part("a", &[])])).tell(signal("paid", "1")).unwrap_err();
    assert_eq!(none.to_string(), "is no signal that a step of the workflow waits for; it waits for none");
}

#[test]
fn a_signal_holds_to_its_schema_and_counts_once() {
    let mut world = waits();
    let breaks = world.tell(signal("paid", "{}")).unwrap_err();
    assert!(matches!(&breaks, Ignored::SignalBreaks(violations) if violations.len() == 1), "{breaks}");
    assert!(world.run.signals.is_empty(), "a refusal changes nothing");
    world.tell(signal("paid", r#"{"amount":1}"#)).unwrap();
    assert_eq!(world.run.step("paid").unwrap().1.output, Some(text(r#"{"amount":1}"#)));
    assert_eq!(world.tell(signal("paid", r#"{"amount":1}"#)), Err(Ignored::Repeated));
    assert_eq!(world.tell(signal("paid", r#"{"amount":2}"#)), Err(Ignored::SignalCame));
}

#[test]
fn a_question_shows_what_it_is_about_whose_it_is_and_when_its_default_holds() {
    let mut world = asks();
    let [asked_now] = &asked(&world.run)[..] else { panic!("one question") };
    assert_eq!((asked_now.step.as_str(), asked_now.question.as_str()), ("ok", "Send it to why?"));
    assert_eq!((asked_now.shown.as_str(), asked_now.assignee.as_deref()), ("{}", Some("sales")));
    assert_eq!((asked_now.since, asked_now.until), (at(0), at(10_000)));
    world.tell(says("ok", ruling(Verdict::Approved))).unwrap();
    assert!(asked(&world.run).is_empty(), "it was answered");
}

#[test]
fn no_question_waits_longer_than_its_run() {
    let ask = json!({ "ask": "Well?", "within": "1h" });
    let world = World::new(Plan { deadline_ms: 1_000, ..plan(vec![part("ok", &[]).does("approve", ask)]) });
    assert_eq!(asked(&world.run)[0].until, at(1_000));
}

#[test]
fn a_correction_holds_to_the_form_and_nothing_else_carries_a_value() {
    let mut world = asks();
    let with = |verdict, value: Option<&str>| Ruling { value: value.map(text), ..ruling(verdict) };
    let mut refused = |ruling| world.tell(says("ok", ruling)).unwrap_err();
    assert!(matches!(refused(with(Verdict::Corrected, Some("{}"))), Ignored::AnswerBreaks(_)));
    assert_eq!(refused(with(Verdict::Corrected, None)), Ignored::CorrectionMissing);
    for verdict in [Verdict::Approved, Verdict::Rejected, Verdict::Clarified] {
        assert_eq!(refused(with(verdict, Some("1"))), Ignored::CorrectionUnasked);
    }
    assert_eq!(asked(&world.run).len(), 1, "the question stands");
    world.tell(says("ok", with(Verdict::Corrected, Some(r#"{"text":"x"}"#)))).unwrap();
}

#[test]
fn the_first_answer_counts() {
    let mut world = asks();
    world.tell(says("ok", ruling(Verdict::Clarified))).unwrap();
    assert_eq!(world.tell(says("ok", ruling(Verdict::Clarified))), Err(Ignored::Repeated));
    assert_eq!(world.tell(says("ok", ruling(Verdict::Rejected))), Err(Ignored::Answered { step: id("ok") }));
    assert_eq!(world.run.step("ok").unwrap().1.state, StepState::Completed);
}

#[test]
fn only_a_step_that_asks_is_answered() {
    let mut world = asks();
    for step in ["after", "nobody"] {
        let refused = world.tell(says(step, ruling(Verdict::Approved)));
        assert_eq!(refused, Err(Ignored::NotAsked { step: id(step) }));
    }
    let behind = json!({ "ask": "Well?", "within": "1s" });
    let later = part("ok", &["first"]).does("approve", behind);
    let mut world = World::new(plan(vec![part("first", &[]), later]));
    let refused = world.tell(says("ok", ruling(Verdict::Approved)));
    assert_eq!(refused, Err(Ignored::NotAsked { step: id("ok") }), "its turn has not come");
}

#[test]
fn the_journal_takes_no_second_signal_and_no_answer_where_nobody_was_asked() {
    let mut world = waits();
    world.tell(signal("paid", r#"{"amount":1}"#)).unwrap();
    let again = world.log[1].events[0].clone();
    let first_event = world.run.last_event + 1;
    let fold = |world: &mut World, event| {
        let first_event = world.run.last_event + 1;
        world.run.fold(&Transition { first_event, at: at(1), events: vec![event] })
    };
    assert_eq!(fold(&mut world, again), Err(FoldError::Signal { name: name("paid") }));
    let answer =
        crate::run::Event::StepAnswered { step: id("after"), answer: ruling(Verdict::Approved).into() };
    assert_eq!(fold(&mut world, answer), Err(FoldError::NotAsked { step: id("after") }));
    assert_eq!(world.run.last_event + 1, first_event, "a refusal changes nothing");
}
