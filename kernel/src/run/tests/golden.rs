//! Whole runs as texts: what happened, and what was owed after each transition.

use serde_json::json;

use super::world::{Fate, Plan, part, plan, ruling, text};
use crate::effect::EffectClass;
use crate::mode::Mode;
use crate::outcome::{Began, Class};
use crate::run::{Ruling, Verdict};

mod inside;
mod teams;
mod transcript;
mod ways;

use self::inside::*;
pub(super) use self::transcript::transcript;

pub(super) fn pipeline() -> Plan {
    plan(vec![
        part("find", &[]).input(&[("query", "${input.question}")]).fates(&[Fate::Answer(r#"["p1","p2"]"#)]),
        part("draft", &["find"]),
        part("review", &["draft"]).fates(&[Fate::Answer(r#"{"verdict":"good"}"#)]),
    ])
}

pub(super) fn diamond() -> Plan {
    plan(vec![
        part("split", &[]),
        part("left", &["split"]).takes(30),
        part("right", &["split"]).takes(20).fates(&[Fate::Answer("2")]),
        part("join", &["left", "right"])
            .input(&[("l", "${steps.left.output}"), ("r", "${steps.right.output}")]),
    ])
}

pub(super) fn retry_then_success() -> Plan {
    let unreachable = Fate::Fail(Class::Transport, Began::No);
    let slow = Fate::Fail(Class::Timeout, Began::Unknown);
    plan(vec![part("quote", &[]).tries(3).fates(&[unreachable, slow, Fate::Answer("42")])])
}

pub(super) fn optional_fails() -> Plan {
    plan(vec![
        part("nice", &[]).optional().fates(&[Fate::Fail(Class::AgentError, Began::Yes)]),
        part("needed", &["nice"]),
    ])
}

pub(super) fn left_out_by_the_mode() -> Plan {
    let parts = vec![
        part("draft", &[]),
        part("review", &["draft"]).drop_in(Mode::Degraded),
        part("photos", &["draft"]).drop_in(Mode::Emergency),
        part("send", &["review", "photos"]).input(&[("reviewed", "${steps.review.ok}")]),
    ];
    Plan { mode: Mode::Degraded, max_parallel: 1, ..plan(parts) }
}

pub(super) fn critical_fails() -> Plan {
    plan(vec![
        part("book", &[])
            .effect(EffectClass::SideEffecting)
            .tries(3)
            .fates(&[Fate::Fail(Class::Timeout, Began::Unknown)]),
        part("beside", &[]).takes(100),
        part("waiting", &[]).tries(3).takes(5).fates(&[Fate::Fail(Class::Transport, Began::No)]),
        part("never", &["book", "beside"]).input(&[]),
    ])
}

pub(super) fn cancel_while_backing_off() -> Plan {
    let parts = vec![
        part("quote", &[]).tries(3).fates(&[Fate::Fail(Class::Overload, Began::No)]),
        part("later", &["quote"]),
    ];
    Plan { cancel_at: Some(12), ..plan(parts) }
}

pub(super) fn deadline() -> Plan {
    let parts = vec![part("quick", &[]), part("slow", &[]).takes(5_000), part("after", &["slow"])];
    Plan { deadline_ms: 1_000, ..plan(parts) }
}

pub(super) fn output_cannot_be_made() -> Plan {
    let output = vec![("price", "${steps.quote.output.price}".to_owned())];
    Plan { output, ..plan(vec![part("quote", &[]).fates(&[Fate::Answer("{}")])]) }
}

pub(super) fn bad_answer_then_a_good_one() -> Plan {
    plan(vec![
        part("extract", &[])
            .tries(2)
            .output_schema(r#"{"type":"object","required":["facts"]}"#)
            .fates(&[Fate::Answer(r#"{"fact":1}"#), Fate::Answer(r#"{"facts":[]}"#)]),
    ])
}

pub(super) fn one_of_several_ways() -> Plan {
    let branches = json!([
        { "when": "${steps.triage.output == 'billing'}", "call": { "capability": "do.it" } },
        { "when": "${steps.triage.output == 'greeting'}", "value": "hello" },
        { "call": { "capability": "do.it" } },
    ]);
    let fates = [Fate::Answer("\"billed\""), Fate::Answer("1"), Fate::Answer("\"helped\"")];
    plan(vec![
        part("triage", &[]).fates(&[Fate::Answer("\"refund\"")]),
        part("answer", &["triage"]).does("choose", branches).fates(&fates),
        part("after", &["answer"]),
    ])
}

pub(super) fn a_way_that_fails() -> Plan {
    let branches = json!([
        { "when": "${false}", "value": 1 },
        { "when": "${run.intent == 'to know why'}", "call": { "capability": "do.it" } },
    ]);
    let fates = [Fate::Answer("1"), Fate::Fail(Class::AgentError, Began::Yes)];
    plan(vec![part("answer", &[]).does("choose", branches).tries(2).fates(&fates)])
}

pub(super) fn no_way() -> Plan {
    let branches = json!([{ "when": "${input.question == 'how'}", "value": 1 }]);
    plan(vec![part("answer", &[]).does("choose", branches), part("after", &["answer"])])
}

pub(super) fn timer() -> Plan {
    plan(vec![part("cool", &[]).does("wait", json!({ "for": "3s" })), part("after", &["cool"])])
}

/// One signal comes before it is waited for, one in time, one never.
pub(super) fn signals() -> Plan {
    let late = json!({ "signal": "never", "within": "90ms", "default": { "ok": false } });
    let parts = vec![
        part("first", &[]).takes(20),
        part("early", &["first"]).does("wait", json!({ "signal": "early" })),
        part("paid", &["early"]).does("wait", json!({ "signal": "paid", "within": "1m" })),
        part("never", &["paid"]).does("wait", late),
        part("sum", &["early", "paid", "never"]).input(&[
            ("e", "${steps.early.output}"),
            ("p", "${steps.paid.output}"),
            ("n", "${steps.never.output}"),
        ]),
    ];
    Plan { signals: vec![(5, "early", "1.0"), (70, "paid", "{\"amount\":12}")], ..plan(parts) }
}

pub(super) fn a_signal_that_does_not_come() -> Plan {
    plan(vec![
        part("paid", &[]).does("wait", json!({ "signal": "paid", "within": "1s" })),
        part("after", &["paid"]),
    ])
}

fn question() -> serde_json::Value {
    let form = json!({ "type": "object", "required": ["text"] });
    json!({ "ask": "Send it to ${input.question}?", "form": form, "within": "10s" })
}

pub(super) fn approved() -> Plan {
    plan(vec![
        part("draft", &[]).fates(&[Fate::Answer(r#"{"text":"dear 1.0","n":1.0}"#)]),
        part("ok", &["draft"])
            .input(&[("draft", "${steps.draft.output}")])
            .does("approve", question())
            .says(2_000, ruling(Verdict::Approved)),
        part("send", &["ok"]).effect(EffectClass::SideEffecting),
    ])
}

pub(super) fn corrected() -> Plan {
    let instead = Ruling { value: Some(text(r#"{"text":"Dear Ann"}"#)), ..ruling(Verdict::Corrected) };
    plan(vec![part("ok", &[]).does("approve", question()).says(5, instead), part("send", &["ok"])])
}

pub(super) fn rejected() -> Plan {
    let no = Ruling { comment: "too dear".to_owned(), ..ruling(Verdict::Rejected) };
    plan(vec![part("ok", &[]).does("approve", question()).says(5, no), part("send", &["ok"])])
}

pub(super) fn silence() -> Plan {
    let yes = json!({ "ask": "Well?", "within": "1s", "default": "approve" });
    plan(vec![
        part("yes", &[]).input(&[]).does("approve", yes),
        part("no", &["yes"]).does("approve", question()).optional(),
        part("after", &["no"]),
    ])
}

pub(super) fn cancelled_while_asking() -> Plan {
    Plan { cancel_at: Some(1_000), ..approved() }
}

/// Another workflow, of two steps; `inner` is its input.
/// Every golden run, for those who crash each of them everywhere.
pub(super) fn all() -> Vec<(&'static str, Plan)> {
    let mut all = vec![
        ("pipeline", pipeline()),
        ("diamond", diamond()),
        ("diamond, one at a time", Plan { max_parallel: 1, ..diamond() }),
        ("retry then success", retry_then_success()),
        ("optional fails", optional_fails()),
        ("left out by the mode", left_out_by_the_mode()),
        ("critical fails", critical_fails()),
        ("cancel while backing off", cancel_while_backing_off()),
        ("deadline", deadline()),
        ("output cannot be made", output_cannot_be_made()),
        ("bad answer, then a good one", bad_answer_then_a_good_one()),
        ("over a list", over_a_list()),
        ("over a list with gaps", over_a_list_with_gaps()),
        ("over a list that fails", over_a_list_that_fails()),
        ("over a list out of time", over_a_list_out_of_time()),
        ("over nothing", over_nothing()),
        ("over too much", over_too_much()),
        ("over a list, cancelled", over_a_list_cancelled()),
        ("one of several ways", one_of_several_ways()),
        ("a way that fails", a_way_that_fails()),
        ("no way", no_way()),
        ("timer", timer()),
        ("signals", signals()),
        ("a signal that does not come", a_signal_that_does_not_come()),
        ("approved", approved()),
        ("corrected", corrected()),
        ("rejected", rejected()),
        ("silence", silence()),
        ("cancelled while asking", cancelled_while_asking()),
        ("a workflow inside", a_workflow_inside()),
        ("workflows in each other", workflows_in_each_other()),
        ("a workflow inside fails", a_workflow_inside_fails()),
        ("a workflow inside refuses", a_workflow_inside_refuses()),
        ("a workflow inside is late", a_workflow_inside_is_late()),
        ("a signal for a workflow inside", a_signal_for_a_workflow_inside()),
    ];
    all.extend(teams::all());
    all.extend(ways::all());
    all.extend(super::budgets::all());
    all.extend(super::remedies::all());
    all.extend(super::undos::all());
    all.extend(super::verifications::all());
    all.extend(super::resumes::all());
    all
}

#[test]
fn a_pipeline_hands_each_answer_to_the_next_step() {
    insta::assert_snapshot!(transcript(pipeline()));
}

#[test]
fn a_diamond_runs_its_sides_together_and_joins_them() {
    insta::assert_snapshot!(transcript(diamond()));
}

#[test]
fn a_step_that_fails_is_tried_again_later() {
    insta::assert_snapshot!(transcript(retry_then_success()));
}

#[test]
fn an_optional_step_that_fails_leaves_null_behind() {
    insta::assert_snapshot!(transcript(optional_fails()));
}

#[test]
fn what_the_mode_leaves_out_is_on_record_and_who_waited_for_it_goes_on() {
    insta::assert_snapshot!(transcript(left_out_by_the_mode()));
}

#[test]
fn a_critical_step_that_fails_brings_the_run_down() {
    insta::assert_snapshot!(transcript(critical_fails()));
}

#[test]
fn a_cancel_takes_effect_at_once_even_while_a_step_backs_off() {
    insta::assert_snapshot!(transcript(cancel_while_backing_off()));
}

#[test]
fn a_run_is_cut_at_its_deadline() {
    insta::assert_snapshot!(transcript(deadline()));
}

#[test]
fn an_output_that_cannot_be_made_fails_the_run() {
    insta::assert_snapshot!(transcript(output_cannot_be_made()));
}

#[test]
fn an_answer_that_breaks_its_schema_is_not_passed_on() {
    insta::assert_snapshot!(transcript(bad_answer_then_a_good_one()));
}

#[test]
fn a_call_for_each_item_of_a_list_gives_the_list_of_answers() {
    insta::assert_snapshot!(transcript(over_a_list()));
}

#[test]
fn an_item_that_fails_is_a_gap_with_a_name_where_gaps_are_allowed() {
    insta::assert_snapshot!(transcript(over_a_list_with_gaps()));
}

#[test]
fn an_item_that_fails_fails_the_step_where_they_are_not_and_the_others_are_let_go() {
    insta::assert_snapshot!(transcript(over_a_list_that_fails()));
}

#[test]
fn a_list_that_is_out_of_time_goes_on_with_what_it_has() {
    insta::assert_snapshot!(transcript(over_a_list_out_of_time()));
}

#[test]
fn an_empty_list_is_done_at_once() {
    insta::assert_snapshot!(transcript(over_nothing()));
}

#[test]
fn a_list_that_is_too_long_fails_before_anything_is_called() {
    insta::assert_snapshot!(transcript(over_too_much()));
}

#[test]
fn a_cancel_reaches_what_has_grown() {
    insta::assert_snapshot!(transcript(over_a_list_cancelled()));
}

#[test]
fn the_first_way_whose_condition_holds_is_taken() {
    insta::assert_snapshot!(transcript(one_of_several_ways()));
}

#[test]
fn a_way_that_fails_fails_its_step() {
    insta::assert_snapshot!(transcript(a_way_that_fails()));
}

#[test]
fn where_no_condition_holds_the_answer_is_null_and_says_so() {
    insta::assert_snapshot!(transcript(no_way()));
}

#[test]
fn a_timer_holds_back_what_comes_after_it() {
    insta::assert_snapshot!(transcript(timer()));
}

#[test]
fn a_signal_is_found_whenever_it_came_and_a_default_stands_in_for_one_that_did_not() {
    insta::assert_snapshot!(transcript(signals()));
}

#[test]
fn a_signal_that_does_not_come_in_time_fails_its_step() {
    insta::assert_snapshot!(transcript(a_signal_that_does_not_come()));
}

#[test]
fn what_a_person_approves_goes_on_as_it_was_shown() {
    insta::assert_snapshot!(transcript(approved()));
}

#[test]
fn what_a_person_corrects_goes_on_as_they_wrote_it() {
    insta::assert_snapshot!(transcript(corrected()));
}

#[test]
fn what_a_person_rejects_does_not_go_on() {
    insta::assert_snapshot!(transcript(rejected()));
}

#[test]
fn silence_is_what_the_document_says() {
    insta::assert_snapshot!(transcript(silence()));
}

#[test]
fn a_cancel_does_not_wait_for_a_person() {
    insta::assert_snapshot!(transcript(cancelled_while_asking()));
}

#[test]
fn a_workflow_inside_a_step_sees_its_own_input_and_its_own_steps() {
    insta::assert_snapshot!(transcript(a_workflow_inside()));
}

#[test]
fn workflows_lie_in_each_other_and_lists_in_them() {
    insta::assert_snapshot!(transcript(workflows_in_each_other()));
}

#[test]
fn a_workflow_inside_that_fails_fails_its_step_alone() {
    insta::assert_snapshot!(transcript(a_workflow_inside_fails()));
}

#[test]
fn a_workflow_inside_takes_only_what_its_schema_allows() {
    insta::assert_snapshot!(transcript(a_workflow_inside_refuses()));
}

#[test]
fn a_workflow_inside_keeps_its_own_deadline() {
    insta::assert_snapshot!(transcript(a_workflow_inside_is_late()));
}

#[test]
fn a_signal_reaches_a_workflow_that_begins_later() {
    insta::assert_snapshot!(transcript(a_signal_for_a_workflow_inside()));
}
