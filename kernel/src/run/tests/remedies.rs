//! What a step falls back on: whole runs as texts, and what no remedy may do.

use serde_json::json;

use super::golden::transcript;
use super::rules::say;
use super::world::{Fate, Plan, World, answer, at, failure, id, list, part, plan, ruling, text};
use crate::effect::EffectClass;
use crate::outcome::{Began, Class};
use crate::run::{EndState, Event, FoldError, Ignored, Input, Ruling, StepState, Verdict, asked};

const FAILS: [Fate; 1] = [Fate::Fail(Class::AgentError, Began::Yes)];
const UNKNOWN: [Fate; 1] = [Fate::Fail(Class::Timeout, Began::Unknown)];

fn fallback() -> serde_json::Value {
    json!({ "fallback": { "capability": "do.cheaper", "agent": "other" } })
}

fn question() -> serde_json::Value {
    json!({ "escalate": { "ask": "What now?", "within": "2s", "form": { "type": "integer" }, "value": 0 } })
}

fn someone_else_answers() -> Plan {
    let first = part("quote", &[]).input(&[("q", "${input.question}")]).tries(2);
    let first =
        first.fates(&[Fate::Fail(Class::Timeout, Began::Unknown)]).on_failure(json!(["retry", fallback()]));
    plan(vec![first.instead(&[Fate::Answer("7")]), part("send", &["quote"])])
}

fn everyone_fails_and_a_default_stands_in() -> Plan {
    let first = part("quote", &[]).on_failure(
        json!([fallback(), { "fallback": { "capability": "c" } }, { "default": { "price": 0 } }]),
    );
    let fates = [FAILS[0].clone(), Fate::Fail(Class::Unavailable, Began::No)];
    plan(vec![first.fates(&FAILS).instead(&fates), part("send", &["quote"])])
}

fn skipped() -> Plan {
    let send = part("send", &["nice"]).input(&[("had", "${steps.nice.ok}")]);
    plan(vec![part("nice", &[]).fates(&FAILS).on_failure(json!("skip")), send])
}

fn not_sure_enough_for_anybody() -> Plan {
    let quote = part("quote", &[]).fates(&[Fate::Unsure("1", 5_000)]).instead(&[Fate::Unsure("2", 6_000)]);
    let quote = quote.confidence(0.7, "fallback").on_failure(json!([fallback(), question()]));
    plan(vec![quote.says(500, ruling(Verdict::Approved)), part("send", &["quote"])])
}

fn not_sure_and_tried_again() -> Plan {
    let fates = [Fate::Unsure("1", 0), Fate::Unsure("2", 7_000)];
    plan(vec![part("quote", &[]).tries(2).fates(&fates).confidence(0.7, "retry")])
}

fn not_sure_and_a_person_corrects() -> Plan {
    let quote = part("quote", &[]).effect(EffectClass::SideEffecting).fates(&[Fate::Unsure("1", 2_500)]);
    let quote = quote.confidence(0.7, "escalate").on_failure(json!([fallback(), question()]));
    let says =
        Ruling { value: Some(text("42")), comment: "looked it up".to_owned(), ..ruling(Verdict::Corrected) };
    plan(vec![quote.says(500, says), part("send", &["quote"])])
}

fn not_sure_and_taken_all_the_same() -> Plan {
    let quote = part("quote", &[]).fates(&[Fate::Unsure("1", 2_500)]).confidence(0.7, "accept");
    plan(vec![quote, part("other", &["quote"]).confidence(0.7, "accept")])
}

fn a_side_effect_nobody_can_tell_of() -> Plan {
    let book = part("book", &[]).effect(EffectClass::SideEffecting).tries(3).fates(&UNKNOWN);
    let book = book.on_failure(json!([fallback(), question()]));
    plan(vec![book.says(500, ruling(Verdict::Rejected)), part("send", &["book"])])
}

fn nobody_says_what_now() -> Plan {
    plan(vec![part("quote", &[]).fates(&FAILS).on_failure(question()), part("send", &["quote"])])
}

fn a_list_falls_back_as_a_whole() -> Plan {
    let each = part("each", &[]).over(list(json!([1, 2]))).fates(&FAILS).on_failure(fallback());
    plan(vec![each.instead(&[Fate::Answer("[3,4]")])])
}

fn no_input_to_hand_on() -> Plan {
    let quote = part("quote", &[]).input(&[("x", "${input.missing}")]);
    plan(vec![quote.on_failure(json!([fallback(), { "default": 3 }]))])
}

fn cancelled_while_someone_else_is_asked() -> Plan {
    let quote = part("quote", &[]).fates(&FAILS).on_failure(fallback()).takes(100);
    Plan { cancel_at: Some(150), ..plan(vec![quote.instead(&[Fate::Answer("7")])]) }
}

pub(super) fn all() -> Vec<(&'static str, Plan)> {
    vec![
        ("someone else answers", someone_else_answers()),
        ("a default stands in", everyone_fails_and_a_default_stands_in()),
        ("skipped", skipped()),
        ("not sure enough for anybody", not_sure_enough_for_anybody()),
        ("not sure and tried again", not_sure_and_tried_again()),
        ("not sure and corrected", not_sure_and_a_person_corrects()),
        ("not sure and accepted", not_sure_and_taken_all_the_same()),
        ("a side effect nobody can tell of", a_side_effect_nobody_can_tell_of()),
        ("nobody says what now", nobody_says_what_now()),
        ("a list falls back", a_list_falls_back_as_a_whole()),
        ("no input to hand on", no_input_to_hand_on()),
        ("cancelled while someone else is asked", cancelled_while_someone_else_is_asked()),
    ]
}

/// A remedy's beginning, as a transcript tells it.
pub(super) fn told(event: &Event) -> String {
    let Event::RemedyBegun { step, remedy, failure, reason, answer, until, .. } = event else {
        unreachable!()
    };
    let answer = answer.as_ref().map_or(String::new(), |answer| format!(", for {}", answer.output));
    let until = until.map_or(String::new(), |until| format!(", until {until:?}"));
    format!("{step} remedy {remedy}{answer}{until}: {}: {} ({reason})", failure.code, failure.message)
}

#[test]
fn whoever_is_asked_instead_is_given_the_same_and_the_record_shows_both() {
    insta::assert_snapshot!(transcript(someone_else_answers()));
}

#[test]
fn remedies_are_taken_in_their_order_and_a_default_says_what_it_stands_in_for() {
    insta::assert_snapshot!(transcript(everyone_fails_and_a_default_stands_in()));
}

#[test]
fn a_step_that_may_be_skipped_leaves_null_behind() {
    insta::assert_snapshot!(transcript(skipped()));
}

#[test]
fn whoever_is_asked_instead_must_be_as_sure_and_a_person_sees_the_first_answer_that_came() {
    insta::assert_snapshot!(transcript(not_sure_enough_for_anybody()));
}

#[test]
fn an_answer_that_is_not_sure_enough_is_asked_for_again() {
    insta::assert_snapshot!(transcript(not_sure_and_tried_again()));
}

#[test]
fn what_was_done_is_not_handed_to_another_and_a_person_corrects_the_answer() {
    insta::assert_snapshot!(transcript(not_sure_and_a_person_corrects()));
}

#[test]
fn an_answer_that_is_taken_though_not_sure_enough_carries_a_warning() {
    insta::assert_snapshot!(transcript(not_sure_and_taken_all_the_same()));
}

#[test]
fn a_side_effect_nobody_can_tell_of_goes_to_a_person_and_a_no_is_the_last_word() {
    insta::assert_snapshot!(transcript(a_side_effect_nobody_can_tell_of()));
}

#[test]
fn silence_about_a_failure_fails_the_step() {
    insta::assert_snapshot!(transcript(nobody_says_what_now()));
}

#[test]
fn a_list_that_fails_is_handed_on_as_a_whole() {
    insta::assert_snapshot!(transcript(a_list_falls_back_as_a_whole()));
}

#[test]
fn without_an_input_nobody_else_is_asked() {
    insta::assert_snapshot!(transcript(no_input_to_hand_on()));
}

#[test]
fn a_cancel_reaches_whoever_was_asked_instead() {
    insta::assert_snapshot!(transcript(cancelled_while_someone_else_is_asked()));
}

#[test]
fn nothing_stands_in_for_a_side_effect_nobody_can_tell_of() {
    let book = part("book", &[]).effect(EffectClass::SideEffecting).fates(&UNKNOWN);
    let remedies = json!([fallback(), { "default": 1 }]);
    let end = World::new(plan(vec![book.on_failure(remedies)])).finish().run.end.clone().unwrap();
    assert_eq!(end.state, EndState::Failed);
    assert!(end.failure.unwrap().message.contains("OUTCOME_UNKNOWN"));
}

#[test]
fn an_unknown_outcome_inside_a_fallback_is_not_passed_on_either() {
    let book = part("book", &[]).effect(EffectClass::SideEffecting).fates(&FAILS).instead(&UNKNOWN);
    let again = json!({ "fallback": { "capability": "third" } });
    let remedies = json!([fallback(), again, { "default": 1 }]);
    let world = World::new(plan(vec![book.on_failure(remedies)])).finish();
    assert_eq!(world.run.end.as_ref().unwrap().state, EndState::Failed);
    assert!(world.run.step("book/fallback_2").is_none(), "nobody else is asked");
}

#[test]
fn a_question_about_a_failure_names_it_and_takes_only_what_the_answer_could_have_been() {
    let quote = part("quote", &[]).fates(&FAILS).on_failure(question()).output_schema(r#"{"minimum":0}"#);
    let mut world = World::new(plan(vec![quote]));
    world.go_until(at(20));
    let [asked] = &asked(&world.run)[..] else { panic!("one question") };
    assert_eq!(asked.question, "What now? [AGENT_AGENT_ERROR: as the plan says]");
    assert_eq!(asked.shown, text("0"));
    let says = |value: &str| Input::Answer {
        step: id("quote"),
        ruling: Ruling { value: Some(text(value)), ..ruling(Verdict::Corrected) },
    };
    assert!(matches!(world.tell(says("\"no number\"")), Err(Ignored::AnswerBreaks(_))));
    assert!(matches!(world.tell(says("-1")), Err(Ignored::AnswerBreaks(_))));
    world.tell(says("5")).unwrap();
    assert_eq!(world.run.step("quote").unwrap().1.output, Some(text("5")));
    assert_eq!(world.run.end.as_ref().unwrap().state, EndState::Completed);
}

#[test]
fn the_journal_takes_each_remedy_once_in_its_order_and_no_other() {
    let begins = |remedy| Event::RemedyBegun {
        step: id("quote"),
        remedy,
        failure: failure(Class::Timeout, Began::No),
        reason: String::new(),
        answer: None,
        until: None,
        attempts: Vec::new(),
    };
    let remedies = json!([fallback(), { "fallback": { "capability": "third" } }, "abort"]);
    let mut run = World::new(plan(vec![part("quote", &[]).on_failure(remedies), part("plain", &[])])).run;
    let none_left = Err(FoldError::Remedy { step: id("quote") });
    assert_eq!(say(&mut run, vec![begins(2)]), none_left, "the run's failure is no remedy");
    assert_eq!(say(&mut run, vec![begins(3)]), none_left);
    say(&mut run, vec![begins(1)]).unwrap();
    assert!(matches!(run.step("quote").unwrap().1.state, StepState::Gathering { until: None }));
    for again in [0, 1] {
        assert_eq!(say(&mut run, vec![begins(again)]), none_left);
    }
    let done = Event::StepCompleted { step: id("quote"), answer: answer("1").into(), attempts: Vec::new() };
    say(&mut run, vec![done]).unwrap();
}
