//! How a step's answer is verified, and what contradicts itself.

use super::problems::of_steps;
use super::*;

fn one(step: &str) -> Vec<String> {
    of_steps(&format!("  - {{ id: a, {step} }}\n"))
}

fn read(step: &str) -> Option<Arc<Verification>> {
    let text = format!("name: w\nversion: 1\nsteps:\n  - {{ id: a, {step} }}\n");
    Workflow::parse(&text).unwrap().steps()[0].verification.clone()
}

#[test]
fn conditions_and_verifiers_are_read_with_their_defaults() {
    assert!(read("call: { capability: c }").is_none());
    let alone = read("call: { capability: c }, verify: { that: output > given.x }").unwrap();
    assert_eq!((alone.that.len(), alone.that[0].source.as_str(), alone.repairs), (1, "output > given.x", 1));
    assert!(alone.that[0].because.is_none() && alone.by.is_none());
    let that = "[output.a == input.a, { holds: 'grounds.size() == 0', because: enough }]";
    let by = "{ capability: d, agent: e, threshold: 0.75, if_unavailable: accept, input: '${output}' }";
    let verify = format!("verify: {{ that: {that}, by: {by}, repairs: 4, repair_input: '${{given}}' }}");
    let whole = read(&format!("call: {{ capability: c }}, {verify}")).unwrap();
    assert_eq!((whole.repairs, whole.that[1].because.as_deref()), (4, Some("enough")));
    let by = whole.by.as_ref().unwrap();
    assert_eq!((by.threshold_bp, by.if_unavailable), (Some(7_500), IfUnavailable::Accept));
    assert!(by.input.is_some() && whole.repair_input.is_some());
    let list = read("map: { over: '${[1]}', call: { capability: c } }, verify: { that: ['true'] }").unwrap();
    assert_eq!(list.repairs, 0, "what several made is not asked for again as a whole");
}

#[test]
fn the_verifier_is_a_call_that_the_step_may_make() {
    let text = "name: w\nversion: 1\nsteps:\n  - { id: a, call: { capability: c }, verify: { by: { capability: d } } }\n";
    let workflow = Workflow::parse(text).unwrap();
    let names: Vec<&str> = workflow.steps()[0].calls().map(|call| call.capability.as_str()).collect();
    assert_eq!(names, ["c", "d"]);
}

#[test]
fn what_could_not_be_meant_is_refused() {
    let call = "call: { capability: c, agent: x }";
    assert_eq!(
        one("wait: { for: 1s }, verify: { that: ['true'] }"),
        [
            "VERIFY_INVALID steps[0].verify: has no meaning for a step that does `wait`: no agent answers (take it out)"
        ]
    );
    assert_eq!(
        one(&format!("{call}, verify: {{ by: {{ capability: d, agent: x }} }}")),
        [
            "VERIFY_INVALID steps[0].verify.by.agent: `x` would verify its own work (name another agent, or none)"
        ]
    );
    assert_eq!(
        one("map: { over: '${[1]}', call: { capability: c } }, verify: { that: ['true'], repairs: 1 }"),
        [
            "VERIFY_INVALID steps[0].verify.repairs: cannot be repaired: `map` is not asked again as a whole (take it out, or let `on_failure` say what follows a refusal)"
        ]
    );
    assert_eq!(
        one(&format!("{call}, verify: {{ that: ['true'], repairs: 0, repair_input: 1 }}")),
        [
            "VERIFY_INVALID steps[0].verify.repair_input: is given to nobody: there are no `repairs` (take it out)"
        ]
    );
}

#[test]
fn what_says_nothing_or_cannot_be_read_is_named_at_its_place() {
    let call = "call: { capability: c }";
    let lines = one(&format!("{call}, verify: {{}}"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("FIELD_MISSING steps[0].verify: says nothing that could be verified"));
    let lines = one(&format!(
        "{call}, verify: {{ that: ['${{output > 1}}', 'answer > 1', {{ because: x }}], repairs: 5 }}"
    ));
    let place = |line: &String| line.split(':').next().unwrap().to_owned();
    assert_eq!(
        lines.iter().map(place).collect::<Vec<_>>(),
        [
            "EXPRESSION_INVALID steps[0].verify.that[0]",
            "EXPRESSION_INVALID steps[0].verify.that[1]",
            "FIELD_MISSING steps[0].verify.that[2].holds",
            "FIELD_RANGE steps[0].verify.repairs",
        ],
        "{lines:#?}"
    );
    assert!(lines[0].ends_with("(write the expression without `${ }`)"), "{}", lines[0]);
    assert!(
        lines[1].contains("there are `output`, `given`, `grounds`, `input`, `steps`, `context` and `run`")
    );
    let upstream = of_steps(
        "  - { id: a, call: { capability: c }, verify: { that: [output == steps.b.output] } }\n  - { id: b, call: { capability: c } }\n",
    );
    assert!(upstream[0].starts_with("STEP_NOT_UPSTREAM steps[0].verify.that"), "{upstream:?}");
}
