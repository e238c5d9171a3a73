//! What a step that several agents have a part in may say.

use crate::document::Code;
use crate::workflow::Workflow;

fn problems(step: &str) -> Vec<(Code, String)> {
    let text = format!("name: w\nversion: 1\nsteps:\n- id: s\n  {step}\n");
    let problems = Workflow::parse(&text).err().unwrap_or_default();
    problems.into_iter().map(|problem| (problem.code, problem.path.to_string())).collect()
}

fn refused(step: &str, code: Code, path: &str) {
    assert_eq!(problems(step), [(code, path.to_owned())], "{step}");
}

#[test]
fn a_consensus_has_two_to_nine_members_and_a_quorum_of_them() {
    let of = |n: usize| format!("consensus: {{of: [{}]}}", vec!["{capability: c}"; n].join(", "));
    assert!(problems(&of(2)).is_empty() && problems(&of(9)).is_empty());
    refused(&of(1), Code::FieldRange, "steps[0].consensus.of");
    refused(&of(10), Code::FieldRange, "steps[0].consensus.of");
    let quorum = |n| format!("consensus: {{of: [{{capability: a}}, {{capability: b}}], quorum: {n}}}");
    assert!(problems(&quorum(2)).is_empty());
    refused(&quorum(3), Code::FieldRange, "steps[0].consensus.quorum");
    let judge = |rubric| {
        format!("consensus: {{of: [{{capability: a}}, {{capability: b}}], judge: {{capability: j{rubric}}}}}")
    };
    assert!(problems(&judge(", rubric: short")).is_empty());
    refused(&judge(""), Code::FieldMissing, "steps[0].consensus.judge.rubric");
    refused(&judge(", rubric: ' '"), Code::FieldRange, "steps[0].consensus.judge.rubric");
}

#[test]
fn a_supervisor_has_workers_each_named_once_and_bounded_rounds() {
    let of = |workers: &str, more: &str| {
        format!("supervise: {{by: {{capability: l}}, workers: [{workers}]{more}}}")
    };
    assert!(problems(&of("{capability: a}, {workflow: b, version: 2}", "")).is_empty());
    refused(&of("", ""), Code::FieldRange, "steps[0].supervise.workers");
    refused(&of("{capability: a}, {workflow: a}", ""), Code::StepDuplicate, "steps[0].supervise.workers[1]");
    refused(&of("{capability: a}", ", rounds: 11"), Code::FieldRange, "steps[0].supervise.rounds");
    refused(&of("{capability: a}", ", tasks: 65"), Code::FieldRange, "steps[0].supervise.tasks");
    refused(
        &of("{capability: a}", ", accept: '${itm.ok}'"),
        Code::ExpressionInvalid,
        "steps[0].supervise.accept",
    );
    refused("supervise: {workers: [{capability: a}]}", Code::FieldMissing, "steps[0].supervise.by");
}

#[test]
fn a_plan_has_capabilities_to_plan_with_and_bounds() {
    let of = |more: &str| format!("plan: {{by: {{capability: p}}, capabilities: [a, b]{more}}}");
    assert!(problems(&of("")).is_empty());
    refused(&of(", max_steps: 101"), Code::FieldRange, "steps[0].plan.max_steps");
    refused(&of(", repairs: 6"), Code::FieldRange, "steps[0].plan.repairs");
    refused("plan: {by: {capability: p}, capabilities: []}", Code::FieldRange, "steps[0].plan.capabilities");
    refused("plan: {by: {capability: p}}", Code::FieldMissing, "steps[0].plan.capabilities");
}

#[test]
fn a_route_names_its_document() {
    assert!(problems("route: {by: door, version: 2, fallback: {capability: g}}").is_empty());
    refused("route: {fallback: {capability: g}}", Code::FieldMissing, "steps[0].route.by");
    refused("route: {by: door, fallback: {}}", Code::FieldMissing, "steps[0].route.fallback.capability");
}

#[test]
fn what_a_workflow_inside_says_itself_a_step_does_not_say_for_it() {
    assert!(problems("sub: {workflow: other}").is_empty());
    refused("sub: {workflow: other}\n  timeout: 5s", Code::FieldUnknown, "steps[0].timeout");
    refused("sub: {}", Code::FieldMissing, "steps[0].sub.workflow");
}
