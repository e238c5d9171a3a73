//! Whole runs of steps that several agents have a part in.

use std::collections::BTreeSet;

use serde_json::json;

use super::transcript;
use crate::outcome::{Began, Class};
use crate::run::tests::world::{Fate, Plan, World, part, plan};

const BROKEN: Fate = Fate::Fail(Class::AgentError, Began::Yes);

fn three() -> serde_json::Value {
    json!([{ "capability": "one" }, { "capability": "two" }, { "capability": "three", "agent": "it" }])
}

fn judged() -> serde_json::Value {
    json!({ "capability": "judge", "rubric": "The shortest answer wins." })
}

pub(in crate::run::tests) fn most_say_so() -> Plan {
    let fates = [Fate::Answer(r#"{"n":1}"#), Fate::Answer(r#"{ "n": 2 }"#), Fate::Answer(r#"{"n":2}"#)];
    plan(vec![
        part("vote", &[]).does("consensus", json!({ "of": three() })).fates(&fates),
        part("use", &["vote"]).input(&[("answer", "${steps.vote.output.answer}")]),
    ])
}

pub(in crate::run::tests) fn judged_without_names() -> Plan {
    let (good, bad) = (Fate::Answer("\"short\""), Fate::Answer("\"much longer\""));
    let verdict = Fate::Answer(r#"{"choice":"B","confidence":0.9,"grounds":"it is shorter"}"#);
    plan(vec![
        part("vote", &[])
            .does("consensus", json!({ "of": three(), "judge": judged() }))
            .fates(&[bad.clone(), good, bad])
            .inside("judge", &[verdict]),
    ])
}

pub(in crate::run::tests) fn one_member_out() -> Plan {
    let verdict = Fate::Answer(r#"{"choice":"A","confidence":0.9}"#);
    let consensus = json!({ "of": three(), "judge": judged(), "schema": { "type": "integer" } });
    plan(vec![
        part("vote", &[])
            .does("consensus", consensus)
            .fates(&[Fate::Answer("1"), Fate::Answer("\"no number\""), Fate::Answer("1")])
            .inside("judge", &[Fate::Answer(r#"{"choice":"a"}"#), verdict])
            .tries(2),
    ])
}

pub(in crate::run::tests) fn too_few_members() -> Plan {
    plan(vec![part("vote", &[]).does("consensus", json!({ "of": three() })).fates(&[
        BROKEN,
        BROKEN,
        Fate::Answer("1"),
    ])])
}

pub(in crate::run::tests) fn late_members_are_let_go_before_anybody_judges() -> Plan {
    let consensus = json!({ "of": three(), "judge": judged(), "within": "25ms" });
    let parts = vec![
        part("vote", &[])
            .does("consensus", consensus)
            .inside("judge", &[Fate::Answer(r#"{"choice":"B","confidence":0.5}"#)]),
    ];
    // Two at once, so the third begins when the others have answered and is still at it when the time is over.
    Plan { max_parallel: 2, ..plan(vec![parts.into_iter().next().unwrap().takes(15)]) }
}

pub(in crate::run::tests) fn a_judge_that_chooses_nothing() -> Plan {
    plan(vec![
        part("vote", &[])
            .optional()
            .does("consensus", json!({ "of": three(), "judge": judged() }))
            .inside("judge", &[Fate::Answer(r#"{"choice":"F"}"#)]),
        part("after", &["vote"]),
    ])
}

fn team(more: serde_json::Value) -> serde_json::Value {
    let mut team = json!({
        "by": { "capability": "lead" },
        "workers": [{ "capability": "search" }, { "capability": "read" }],
    });
    team.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    team
}

const TWO_TASKS: Fate =
    Fate::Answer(r#"{"tasks":[{"worker":"search","input":"a"},{"worker":"read","input":{"b":1.0}}]}"#);
const ONE_TASK: Fate = Fate::Answer(r#"{"tasks":[{"worker":"search","input":"c"}]}"#);
const DONE: Fate = Fate::Answer(r#"{"answer":{"report":"all of it"}}"#);

pub(in crate::run::tests) fn two_rounds() -> Plan {
    plan(vec![
        part("work", &[])
            .does("supervise", team(json!({})))
            .inside("1", &[TWO_TASKS])
            .inside("2", &[ONE_TASK])
            .inside("3", &[DONE])
            .fates(&[Fate::Answer("\"found\"")])
            .inside("2_0", &[Fate::Answer("\"more\"")]),
        part("use", &["work"]).input(&[("report", "${steps.work.output.answer.report}")]),
    ])
}

pub(in crate::run::tests) fn orders_that_cannot_be_carried_out() -> Plan {
    let wrong = r#"{"tasks":[{"worker":"ghost","input":1},{"worker":"search","input":"a"},{"worker":"search","input":"a"}]}"#;
    plan(vec![
        part("work", &[])
            .does("supervise", team(json!({ "rounds": 2 })))
            .inside("1", &[Fate::Answer("\"no orders\""), Fate::Answer(wrong)])
            .tries(2)
            .inside("2", &[DONE]),
    ])
}

pub(in crate::run::tests) fn the_same_over_and_over() -> Plan {
    plan(vec![
        part("work", &[])
            .does("supervise", team(json!({ "rounds": 9, "partial": true })))
            .inside("1", &[TWO_TASKS])
            .inside("2", &[TWO_TASKS]),
    ])
}

pub(in crate::run::tests) fn results_that_stop_changing() -> Plan {
    plan(vec![
        part("work", &[])
            .does("supervise", team(json!({ "rounds": 9 })))
            .inside("1", &[Fate::Answer(r#"{"tasks":[{"worker":"search","input":1}]}"#)])
            .inside("2", &[Fate::Answer(r#"{"tasks":[{"worker":"search","input":2}]}"#)]),
    ])
}

pub(in crate::run::tests) fn rounds_run_out_with_gaps() -> Plan {
    let more = json!({ "rounds": 1, "partial": true, "accept": "${item != 'poor'}" });
    plan(vec![
        part("work", &[])
            .does("supervise", team(more))
            .inside("1", &[Fate::Answer(
                r#"{"tasks":[{"worker":"search","input":1},{"worker":"search","input":2},{"worker":"read","input":3}]}"#,
            )])
            .inside("1_0", &[Fate::Answer("\"good\"")])
            .inside("1_1", &[Fate::Answer("\"poor\"")])
            .inside("1_2", &[BROKEN])
            .tries(1),
    ])
}

pub(in crate::run::tests) fn a_worker_fails() -> Plan {
    plan(vec![
        part("work", &[])
            .does("supervise", team(json!({})))
            .inside("1", &[TWO_TASKS])
            .inside("1_1", &[BROKEN])
            .takes(5),
    ])
}

pub(in crate::run::tests) fn time_runs_out_while_working() -> Plan {
    plan(vec![
        part("work", &[])
            .does("supervise", team(json!({ "within": "25ms", "partial": true, "parallel": 1 })))
            .inside("1", &[TWO_TASKS]),
    ])
}

pub(in crate::run::tests) fn a_worker_that_is_a_workflow() -> Plan {
    let inner = json!({
        "name": "deep-dive",
        "version": 1,
        "steps": [
            { "id": "dig", "call": { "capability": "dig" } },
            { "id": "write", "after": ["dig"], "call": { "capability": "write" }, "input": "${steps.dig.output}" },
        ],
        "output": "${steps.write.output}",
    });
    let more = json!({ "workers": [{ "capability": "search" }, { "workflow": "deep-dive" }] });
    let parts = vec![
        part("work", &[])
            .does("supervise", team(more))
            .inside("1", &[Fate::Answer(r#"{"tasks":[{"worker":"deep-dive","input":"the sea"}]}"#)])
            .inside("2", &[DONE]),
    ];
    Plan { subs: vec![inner], ..plan(parts) }
}

pub(super) fn all() -> Vec<(&'static str, Plan)> {
    vec![
        ("most say so", most_say_so()),
        ("judged without names", judged_without_names()),
        ("one member out", one_member_out()),
        ("too few members", too_few_members()),
        ("late members", late_members_are_let_go_before_anybody_judges()),
        ("a judge that chooses nothing", a_judge_that_chooses_nothing()),
        ("two rounds", two_rounds()),
        ("orders that cannot be carried out", orders_that_cannot_be_carried_out()),
        ("the same over and over", the_same_over_and_over()),
        ("results that stop changing", results_that_stop_changing()),
        ("rounds run out with gaps", rounds_run_out_with_gaps()),
        ("a worker fails", a_worker_fails()),
        ("time runs out while working", time_runs_out_while_working()),
        ("a worker that is a workflow", a_worker_that_is_a_workflow()),
    ]
}

#[test]
fn the_answer_given_most_often_is_taken_however_it_is_written() {
    insta::assert_snapshot!(transcript(most_say_so()));
}

#[test]
fn a_judge_sees_answers_without_names_in_an_order_of_dice() {
    insta::assert_snapshot!(transcript(judged_without_names()));
}

#[test]
fn a_member_that_breaks_the_schema_is_left_out_and_the_confidence_falls() {
    insta::assert_snapshot!(transcript(one_member_out()));
}

#[test]
fn too_few_answers_fail_the_step_as_soon_as_it_is_known() {
    insta::assert_snapshot!(transcript(too_few_members()));
}

#[test]
fn who_is_late_is_let_go_before_the_judge_is_asked() {
    insta::assert_snapshot!(transcript(late_members_are_let_go_before_anybody_judges()));
}

#[test]
fn a_judge_that_chooses_none_of_them_fails_the_step() {
    insta::assert_snapshot!(transcript(a_judge_that_chooses_nothing()));
}

#[test]
fn a_supervisor_hands_out_work_until_it_answers() {
    insta::assert_snapshot!(transcript(two_rounds()));
}

#[test]
fn orders_that_cannot_be_carried_out_are_handed_back() {
    insta::assert_snapshot!(transcript(orders_that_cannot_be_carried_out()));
}

#[test]
fn a_supervisor_that_asks_for_what_was_done_is_stopped() {
    insta::assert_snapshot!(transcript(the_same_over_and_over()));
}

#[test]
fn results_that_no_longer_change_end_the_rounds() {
    insta::assert_snapshot!(transcript(results_that_stop_changing()));
}

#[test]
fn when_the_rounds_run_out_the_results_go_on_with_their_gaps_named() {
    insta::assert_snapshot!(transcript(rounds_run_out_with_gaps()));
}

#[test]
fn a_worker_that_fails_fails_the_step_where_all_are_wanted() {
    insta::assert_snapshot!(transcript(a_worker_fails()));
}

#[test]
fn when_the_time_is_over_what_there_is_goes_on() {
    insta::assert_snapshot!(transcript(time_runs_out_while_working()));
}

#[test]
fn a_worker_may_be_a_workflow() {
    insta::assert_snapshot!(transcript(a_worker_that_is_a_workflow()));
}

#[test]
fn the_order_of_the_answers_is_another_for_another_step() {
    let order = |name: String| {
        let consensus = json!({ "of": three(), "judge": judged() });
        let verdict = Fate::Answer(r#"{"choice":"A"}"#);
        let part = part(&name, &[]).does("consensus", consensus).inside("judge", &[verdict]);
        let run = World::new(plan(vec![part])).finish().run;
        run.end.as_ref().unwrap().output.as_ref().unwrap().value()["result"]["order"].to_string()
    };
    let orders: BTreeSet<String> = (0..40).map(|n| order(format!("vote{n}"))).collect();
    assert_eq!(orders.len(), 6, "every order comes up: {orders:?}");
}
