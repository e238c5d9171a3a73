//! What a step may fall back on, and what contradicts itself.

use super::problems::of_steps;
use super::*;
use crate::run::EndState;

fn one(step: &str) -> Vec<String> {
    of_steps(&format!("  - {{ id: a, {step} }}\n"))
}

#[test]
fn remedies_are_read_in_their_order_one_or_a_list() {
    let read = |step: &str| {
        let text =
            format!("name: w\nversion: 1\nsteps:\n  - {{ id: a, call: {{ capability: c }}, {step} }}\n");
        let workflow = Workflow::parse(&text).unwrap();
        let names = workflow.steps()[0].recourse.remedies.iter().map(Remedy::as_str).collect::<Vec<_>>();
        (names.join(" "), workflow.steps()[0].recourse.confidence)
    };
    assert_eq!(read("timeout: 1s"), (String::new(), None));
    assert_eq!(read("on_failure: skip").0, "skip");
    assert_eq!(read("on_failure: retry").0, "", "the retry policy is there anyway");
    assert_eq!(
        read("on_failure: [retry, { fallback: { capability: d } }, { escalate: { ask: Now?, within: 1h } }, abort]").0,
        "fallback escalate abort"
    );
    assert_eq!(read("on_failure: { default: null }").0, "default");
    let (_, confidence) = read("confidence: { min: 0.75, below: accept }");
    assert_eq!(confidence, Some(Confidence { min_bp: 7_500, below: Below::Accept }));
}

#[test]
fn a_remedy_that_does_not_exist_says_which_there_are() {
    assert_eq!(
        one("call: { capability: c }, on_failure: [ignore, {}, 7]"),
        [
            "FIELD_RANGE steps[0].on_failure[0]: `ignore` is no remedy (give `retry`, `skip`, `abort`, `compensate`, or a map with `fallback`, `default` or `escalate`)",
            "FIELD_MISSING steps[0].on_failure[1]: names no remedy (give `retry`, `skip`, `abort`, `compensate`, or a map with `fallback`, `default` or `escalate`)",
            "FIELD_TYPE steps[0].on_failure[2]: expected a map, found a number (its fields are fallback, default, escalate)",
        ]
    );
    assert_eq!(
        one("call: { capability: c }, on_failure: []"),
        ["FIELD_RANGE steps[0].on_failure: has 0 remedies (give it 1 to 6)"]
    );
}

#[test]
fn what_is_never_reached_or_contradicts_the_step_is_refused() {
    let refused = |step: &str| {
        let found = one(step);
        assert!(found.iter().all(|line| line.starts_with("RECOURSE_INVALID ")), "{found:?}");
        found.into_iter().map(|line| line.replacen("RECOURSE_INVALID steps[0].", "", 1)).collect::<Vec<_>>()
    };
    let call = "call: { capability: c }";
    assert_eq!(
        refused(&format!("{call}, on_failure: [skip, {{ default: 1 }}]")),
        [
            "on_failure[1]: is never reached: `skip` before it has the last word (put it before that, or take it out)"
        ]
    );
    assert_eq!(
        refused(&format!("{call}, on_failure: [{{ escalate: {{ ask: Now?, within: 1h }} }}, skip]")),
        [
            "on_failure[1]: is never reached: `escalate` before it has the last word (put it before that, or take it out)"
        ]
    );
    assert_eq!(
        refused(&format!("{call}, on_failure: [{{ fallback: {{ capability: d }} }}, retry]")),
        [
            "on_failure[1]: tries are over before any remedy begins (put it first: `retry` says how often, and the rest begins after that)"
        ]
    );
    assert_eq!(
        refused(&format!("{call}, retry: {{ max_attempts: 1 }}, on_failure: retry")),
        ["on_failure: tries again, and `retry` allows one try (raise `retry.max_attempts`, or take it out)"]
    );
    assert_eq!(
        refused(&format!("{call}, on_failure: {{ fallback: {{ capability: c }} }}")),
        ["on_failure: asks again whom the step has asked in vain (name another capability or agent)"]
    );
    assert_eq!(
        refused(&format!("{call}, optional: true, on_failure: abort")),
        ["on_failure: fails the run for a step that is `optional` (take one of the two out)"]
    );
    assert_eq!(
        refused(&format!("{call}, output_schema: {{ type: object }}, on_failure: {{ default: 1 }}")),
        [
            "on_failure: breaks the step's `output_schema`: /: 1 is not of type \"object\" (give a value that holds to it)"
        ]
    );
    assert_eq!(
        refused(&format!(
            "{call}, output_schema: {{ type: object }}, on_failure: {{ escalate: {{ ask: Now?, within: 1h }} }}"
        )),
        [
            "on_failure: what goes on by approval breaks the step's `output_schema`: /: null is not of type \"object\" (give `value`, which is shown where there is no answer)"
        ]
    );
    assert_eq!(
        refused("wait: { for: 1s }, on_failure: { fallback: { capability: c } }"),
        [
            "on_failure: has no meaning for a step that waits: there is no input to hand on (give a signal a `default`, or call somebody in a step of its own)"
        ]
    );
    assert_eq!(
        refused("approve: { ask: Well?, within: 1h }, on_failure: { escalate: { ask: Now?, within: 1h } }"),
        ["on_failure: the step asks a person already (let another step ask the second person)"]
    );
    for (below, hint) in [
        (
            "escalate",
            "confidence.below: the step's `on_failure` has no `escalate` (add `escalate` to `on_failure`, or choose another rule)",
        ),
        (
            "fallback",
            "confidence.below: the step's `on_failure` has no `fallback` (add `fallback` to `on_failure`, or choose another rule)",
        ),
    ] {
        assert_eq!(refused(&format!("{call}, confidence: {{ min: 0.5, below: {below} }}")), [hint]);
    }
    assert_eq!(
        refused("wait: { for: 1s }, confidence: { min: 0.5, below: accept }"),
        [
            "confidence: is asked of the answer of one agent, and this step has none of its own (take it out, or make it a `call`)"
        ]
    );
    assert_eq!(
        one(&format!("{call}, confidence: {{ min: 7, below: ask }}")),
        [
            "FIELD_RANGE steps[0].confidence.min: is 7 (give a number from 0 to 1)",
            "FIELD_RANGE steps[0].confidence.below: is nothing that can be done with an answer (give `accept`, `retry`, `escalate` or `fallback`)",
        ]
    );
}

#[test]
fn a_question_about_a_failure_may_read_only_what_the_step_may() {
    assert_eq!(
        of_steps(
            "  - { id: a, call: { capability: c }, on_failure: { escalate: { ask: \"${steps.b.output}\", within: 1h } } }\n  - { id: b, call: { capability: c } }\n"
        ),
        [
            "STEP_NOT_UPSTREAM steps[0].on_failure: reads `b` without waiting for it (add `b` to `steps[0].after`)"
        ]
    );
}

#[test]
fn undoing_is_read_with_its_defaults_and_refused_where_nothing_can_be_undone() {
    let book = "  - { id: book, call: { capability: c }, compensate: { capability: undo } }\n";
    let workflow = Workflow::parse(&format!("name: w\nversion: 1\nsteps:\n{book}")).unwrap();
    let compensate = workflow.steps()[0].recourse.compensate.as_ref().unwrap();
    assert!(!compensate.when_unknown);
    assert!(compensate.input.references().steps.contains_key("book"), "it is given what the step answered");
    let compensation = workflow.compensation();
    assert!(compensation.applies(EndState::Failed) && compensation.applies(EndState::Cancelled));
    assert!(!compensation.applies(EndState::TimedOut) && !compensation.applies(EndState::Completed));

    let undoes = "undoes what was done, and no step says how (give the steps whose effect can be taken back a `compensate`)";
    assert_eq!(
        one("call: { capability: c }, on_failure: compensate"),
        [format!("RECOURSE_INVALID steps[0].on_failure: {undoes}")]
    );
    assert_eq!(
        one("wait: { for: 1s }, compensate: { capability: undo }"),
        [
            "RECOURSE_INVALID steps[0].compensate: takes back the effect of a step that calls nobody (take it out)"
        ]
    );
    let on = Workflow::parse(&format!("name: w\nversion: 1\ncompensation: {{ on: [done] }}\nsteps:\n{book}"));
    let on: Vec<String> =
        on.unwrap_err().iter().map(|p| format!("{} {}: {}", p.code, p.path, p.message)).collect();
    assert_eq!(on, ["FIELD_RANGE compensation.on[0]: `done` is no end that could be undone"]);
}
