//! Whole runs as texts: what happened, and what was owed after each transition.

use std::fmt::Write;

use serde_json::json;

use super::world::{Fate, List, Plan, World, list, part, plan};
use crate::effect::EffectClass;
use crate::outcome::{Began, Class};
use crate::run::{Event, Run, Transition, outstanding};

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

pub(super) fn over_a_list() -> Plan {
    let fates = [Fate::Answer("\"a\""), Fate::Answer("\"b\""), Fate::Answer("\"c\"")];
    plan(vec![
        part("find", &[]).fates(&[Fate::Answer(r#"[12345678901234567890.5,{"x":"${input}"},null]"#)]),
        part("each", &["find"]).over(list(json!("${steps.find.output}"))).fates(&fates),
        part("sum", &["each"]),
    ])
}

pub(super) fn over_a_list_with_gaps() -> Plan {
    let fates = [Fate::Answer("1"), Fate::Fail(Class::AgentError, Began::Yes), Fate::Answer("3")];
    let list = List { partial: true, ..list(json!(["one", "two", "three"])) };
    plan(vec![part("each", &[]).over(list).tries(2).fates(&fates)])
}

pub(super) fn over_a_list_that_fails() -> Plan {
    let fates = [Fate::Answer("1"), Fate::Fail(Class::AgentError, Began::Yes), Fate::Answer("3")];
    plan(vec![
        part("each", &[]).over(List { parallel: 3, ..list(json!([1, 2, 3, 4, 5])) }).fates(&fates),
        part("after", &["each"]),
    ])
}

pub(super) fn over_a_list_out_of_time() -> Plan {
    let list = List { partial: true, parallel: 1, within_ms: Some(25), ..list(json!([1, 2, 3, 4])) };
    plan(vec![part("each", &[]).over(list)])
}

pub(super) fn over_nothing() -> Plan {
    plan(vec![part("each", &[]).over(list(json!([]))), part("after", &["each"])])
}

pub(super) fn over_too_much() -> Plan {
    plan(vec![
        part("each", &[]).optional().over(List { max_items: 2, ..list(json!([1, 2, 3])) }),
        part("after", &["each"]),
    ])
}

pub(super) fn over_a_list_cancelled() -> Plan {
    Plan { cancel_at: Some(15), ..over_a_list() }
}

/// Every golden run, for those who crash each of them everywhere.
pub(super) fn all() -> Vec<(&'static str, Plan)> {
    vec![
        ("pipeline", pipeline()),
        ("diamond", diamond()),
        ("diamond, one at a time", Plan { max_parallel: 1, ..diamond() }),
        ("retry then success", retry_then_success()),
        ("optional fails", optional_fails()),
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
    ]
}

fn transcript(plan: Plan) -> String {
    let world = World::new(plan).finish();
    let mut text = String::new();
    let mut run: Option<Run> = None;
    for transition in &world.log {
        write_events(&mut text, transition);
        match &mut run {
            Some(run) => run.fold(transition).unwrap(),
            None => run = Some(Run::begin(transition, world.plan.workflow(), world.run.id).unwrap()),
        }
        let owed = outstanding(run.as_ref().unwrap());
        let calls: Vec<String> = owed
            .calls
            .iter()
            .map(|call| format!("{} #{} {}", call.step, call.attempt.number, call.input))
            .collect();
        let wake = owed.wake_at.map_or("never".to_owned(), |at| format!("{at:?}"));
        writeln!(text, "          owed: [{}], wake {wake}", calls.join(", ")).unwrap();
    }
    let usage = world.run.usage;
    writeln!(text, "used: {} + {} tokens, {} n$", usage.tokens_in, usage.tokens_out, usage.cost_nano_usd)
        .unwrap();
    text
}

fn write_events(text: &mut String, transition: &Transition) {
    for (number, event) in (transition.first_event..).zip(&transition.events) {
        let line = match event {
            Event::RunStarted { workflow, input, intent, deadline, .. } => {
                format!(
                    "run started: {} version {}, {input}, {intent:?}, until {deadline:?}",
                    workflow.name, workflow.version
                )
            }
            Event::StepStarted { step, attempt, input } => {
                let input = input.as_ref().map_or("same input".to_owned(), ToString::to_string);
                format!("{step} started: #{} {input}", attempt.number)
            }
            Event::StepOpened { step, input, until } => {
                let until = until.map_or(String::new(), |until| format!(", until {until:?}"));
                format!("{step} opened: {input}{until}")
            }
            Event::StepsGrafted { step, grafts } => {
                let grafts = grafts.iter().map(|graft| format!("{} {}", graft.id, graft.input));
                format!("{step} grew: {}", grafts.collect::<Vec<_>>().join(", "))
            }
            Event::AttemptFailed { step, failure, next, retry_at, reason, .. } => {
                format!("{step} delayed: {}; {reason}; #{} at {retry_at:?}", failure.code, next.number)
            }
            Event::StepCompleted { step, answer, .. } => {
                let warnings: Vec<String> = answer.warnings.iter().map(|text| format!(" ({text})")).collect();
                format!("{step} completed: {}{}", answer.output, warnings.concat())
            }
            Event::StepFailed { step, failure, reason, .. } => {
                format!("{step} failed: {}: {} ({reason})", failure.code, failure.message)
            }
            Event::StepSkipped { step, reason } => format!("{step} skipped: {}", reason.as_str()),
            Event::StepCancelled { step } => format!("{step} cancelled"),
            Event::CancelRequested { reason } => format!("cancel requested: {reason}"),
            Event::RunEnded { state, output, failure, step } => {
                let output = output.as_ref().map_or(String::new(), |output| format!(": {output}"));
                let failure =
                    failure.as_ref().map_or(String::new(), |f| format!(": {}: {}", f.code, f.message));
                let step = step.as_ref().map_or(String::new(), |step| format!(" [{step}]"));
                format!("run {}{output}{failure}{step}", state.as_str())
            }
        };
        writeln!(text, "{:>8} {number:>2}. {line}", format!("{:?}", transition.at)).unwrap();
    }
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
