//! Whole runs of steps whose way is found while they go on: plans, and requests that a routing document sends.

use serde_json::{Value, json};

use super::transcript;
use crate::effect::EffectClass;
use crate::outcome::{Began, Class};
use crate::run::tests::world::{Fate, Plan, failure, name, part, plan, text};
use crate::run::{Finding, Offered, Way};
use crate::workflow::Call;

fn offered(capability: &str, input: Value, output: Value) -> Offered {
    Offered {
        capability: name(capability),
        description: format!("does {capability}"),
        input_schema: (&input).into(),
        output_schema: (&output).into(),
        effect: EffectClass::ReadOnly,
    }
}

fn offers() -> Finding {
    let text = json!({ "type": "string" });
    let found = json!({ "type": "object", "properties": { "places": { "type": "array" } } });
    let rank = json!({
        "type": "object",
        "required": ["places"],
        "properties": { "places": { "type": "array" } },
        "additionalProperties": false,
    });
    Finding::Offers(vec![offered("search", text, found), offered("rank", rank, json!(true))])
}

fn planned(more: Value) -> Value {
    let mut plan = json!({ "by": { "capability": "planner" }, "capabilities": ["search", "rank"] });
    plan.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    plan
}

const GOOD: Fate = Fate::Answer(
    r#"{"steps":[{"id":"find","capability":"search","input":"${input.from}"},
        {"id":"sort","capability":"rank","after":["find"],"input":{"places":"${steps.find.output.places}"}}],
        "output":"${steps.sort.output}"}"#,
);

pub(in crate::run::tests) fn a_plan() -> Plan {
    plan(vec![
        part("first", &[]).fates(&[Fate::Answer("\"Rome\"")]),
        part("trip", &["first"])
            .does("plan", planned(json!({})))
            .finds(5, offers())
            .inside("1", &[GOOD])
            .inside("find", &[Fate::Answer(r#"{"places":["a","b"]}"#)])
            .inside("sort", &[Fate::Answer(r#"["b","a"]"#)]),
        part("last", &["trip"]),
    ])
}

pub(in crate::run::tests) fn a_plan_sent_back() -> Plan {
    let ghost = r#"{"steps":[{"id":"find","capability":"ghost"},{"id":"sort","capability":"rank","after":["sort"]}]}"#;
    let misfit = r#"{"steps":[{"id":"find","capability":"search","input":7},
        {"id":"sort","capability":"rank","after":["find"],"input":{"place":"${steps.find.output.cities}"}}]}"#;
    plan(vec![
        part("trip", &[])
            .input(&[("from", "\"Rome\"")])
            .does("plan", planned(json!({ "repairs": 2 })))
            .finds(0, offers())
            .inside("1", &[Fate::Answer(ghost)])
            .inside("2", &[Fate::Answer(misfit)])
            .inside("3", &[GOOD])
            .inside("find", &[Fate::Answer(r#"{"places":["a"]}"#)]),
    ])
}

pub(in crate::run::tests) fn a_plan_that_stays_bad() -> Plan {
    let long = r#"{"steps":[{"id":"a","capability":"search","input":"x"},{"id":"b","capability":"search","input":"x","after":["a"]}]}"#;
    plan(vec![
        part("trip", &[])
            .optional()
            .does("plan", planned(json!({ "repairs": 1, "max_depth": 1 })))
            .finds(0, offers())
            .inside("1", &[Fate::Answer(long)])
            .inside("2", &[Fate::Answer(r#"{"steps":[],"because":"no idea"}"#)]),
        part("last", &["trip"]),
    ])
}

pub(in crate::run::tests) fn a_plan_whose_step_fails() -> Plan {
    plan(vec![
        part("trip", &[])
            .input(&[("from", "\"Rome\"")])
            .does("plan", planned(json!({})))
            .finds(0, offers())
            .inside("1", &[GOOD])
            .inside("find", &[Fate::Fail(Class::AgentError, Began::Yes)])
            .tries(1),
    ])
}

pub(in crate::run::tests) fn a_plan_without_its_capabilities() -> Plan {
    let Finding::Offers(mut offers) = offers() else { panic!("offers") };
    offers.pop();
    plan(vec![
        part("first", &[]),
        part("trip", &["first"]).does("plan", planned(json!({}))).finds(0, Finding::Offers(offers)),
    ])
}

pub(in crate::run::tests) fn a_plan_out_of_time() -> Plan {
    plan(vec![
        part("trip", &[])
            .input(&[("from", "\"Rome\"")])
            .does("plan", planned(json!({ "within": "25ms" })))
            .finds(0, offers())
            .inside("1", &[GOOD])
            .inside("find", &[Fate::Answer(r#"{"places":[]}"#)]),
    ])
}

fn way(call: Option<&str>, response: Option<&str>) -> Finding {
    Finding::Way(Way {
        decision: "dec_1".to_owned(),
        rung: if call.is_some() { "rules" } else { "static" }.to_owned(),
        call: call.map(|capability| Call::of(name(capability))),
        response: response.map(text),
    })
}

fn routed(fallback: bool) -> Value {
    let mut route = json!({ "by": "front-door" });
    if fallback {
        route["fallback"] = json!({ "capability": "generalist" });
    }
    route
}

pub(in crate::run::tests) fn a_worker_is_found() -> Plan {
    plan(vec![
        part("first", &[]),
        part("answer", &["first"]).does("route", routed(false)).finds(5, way(Some("billing"), None)),
        part("last", &["answer"]),
    ])
}

pub(in crate::run::tests) fn the_fallback_answers() -> Plan {
    plan(vec![
        part("answer", &[])
            .does("route", routed(true))
            .finds(0, way(Some("billing"), None))
            .inside("worker", &[Fate::Fail(Class::AgentError, Began::Yes)])
            .tries(1),
        part("last", &["answer"]),
    ])
}

pub(in crate::run::tests) fn what_may_have_happened_is_not_done_again() -> Plan {
    plan(vec![
        part("answer", &[])
            .does("route", routed(true))
            .effect(EffectClass::SideEffecting)
            .finds(0, way(Some("billing"), None))
            .inside("worker", &[Fate::Fail(Class::Timeout, Began::Unknown)]),
    ])
}

pub(in crate::run::tests) fn the_document_answers_itself() -> Plan {
    plan(vec![
        part("first", &[]),
        part("answer", &["first"]).does("route", routed(true)).finds(3, way(None, Some("\"call us\""))),
    ])
}

pub(in crate::run::tests) fn no_way_can_be_found() -> Plan {
    let nothing = Finding::Nothing(failure(Class::Unavailable, Began::No));
    plan(vec![
        part("answer", &[]).optional().does("route", routed(true)).finds(3, nothing),
        part("last", &["answer"]),
    ])
}

pub(super) fn all() -> Vec<(&'static str, Plan)> {
    vec![
        ("a plan", a_plan()),
        ("a plan sent back", a_plan_sent_back()),
        ("a plan that stays bad", a_plan_that_stays_bad()),
        ("a plan whose step fails", a_plan_whose_step_fails()),
        ("a plan without its capabilities", a_plan_without_its_capabilities()),
        ("a plan out of time", a_plan_out_of_time()),
        ("a worker is found", a_worker_is_found()),
        ("the fallback answers", the_fallback_answers()),
        ("what may have happened", what_may_have_happened_is_not_done_again()),
        ("the document answers itself", the_document_answers_itself()),
        ("no way can be found", no_way_can_be_found()),
    ]
}

#[test]
fn a_plan_is_checked_written_down_and_carried_out() {
    insta::assert_snapshot!(transcript(a_plan()));
}

#[test]
fn a_plan_that_cannot_be_carried_out_goes_back_with_what_is_wrong() {
    insta::assert_snapshot!(transcript(a_plan_sent_back()));
}

#[test]
fn a_plan_that_stays_bad_fails_its_step_and_nothing_of_it_is_called() {
    insta::assert_snapshot!(transcript(a_plan_that_stays_bad()));
}

#[test]
fn a_step_of_a_plan_that_fails_fails_the_plan() {
    insta::assert_snapshot!(transcript(a_plan_whose_step_fails()));
}

#[test]
fn without_a_capability_that_plans_may_use_nobody_plans() {
    insta::assert_snapshot!(transcript(a_plan_without_its_capabilities()));
}

#[test]
fn a_plan_has_its_time() {
    insta::assert_snapshot!(transcript(a_plan_out_of_time()));
}

#[test]
fn the_worker_that_routing_finds_answers() {
    insta::assert_snapshot!(transcript(a_worker_is_found()));
}

#[test]
fn where_the_worker_fails_the_fallback_answers() {
    insta::assert_snapshot!(transcript(the_fallback_answers()));
}

#[test]
fn what_the_worker_may_have_done_the_fallback_does_not_do_again() {
    insta::assert_snapshot!(transcript(what_may_have_happened_is_not_done_again()));
}

#[test]
fn a_routing_document_may_answer_itself() {
    insta::assert_snapshot!(transcript(the_document_answers_itself()));
}

#[test]
fn where_no_way_can_be_found_the_step_fails() {
    insta::assert_snapshot!(transcript(no_way_can_be_found()));
}
