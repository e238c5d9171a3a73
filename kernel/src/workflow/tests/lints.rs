//! What is accepted with a word of warning.

use super::*;

fn lints(head: &str, steps: &str) -> Vec<String> {
    let workflow = parse(&format!("name: w\nversion: 1\n{head}\nsteps:\n{steps}"));
    workflow.lint().iter().map(|p| format!("{} {}: {} ({})", p.code, p.path, p.message, p.hint)).collect()
}

const A: &str = "  - {id: a, call: {capability: c}, timeout: 20s}\n";

#[test]
fn an_output_nobody_reads_is_pointed_out() {
    let b = "  - {id: b, after: [a], call: {capability: c}, timeout: 20s}\n";
    let found = lints("", &format!("{A}{b}"));
    assert_eq!(found.len(), 1, "the last step's output is the run's: {found:?}");
    assert!(found[0].starts_with("OUTPUT_UNUSED steps[0].id: nobody reads the output of `a`"), "{found:?}");
    assert_eq!(lints("output: fixed", A).len(), 1, "unless the document says what the run's output is");
    let reads = b.replace("timeout", "input: \"${steps.a.ok}\", timeout");
    assert_eq!(lints("", &format!("{A}{reads}")), [""; 0]);
}

#[test]
fn times_that_cannot_be_kept_are_pointed_out() {
    assert_eq!(
        lints("deadline: 10s", A),
        ["TIMEOUT_BEYOND_DEADLINE steps[0].timeout: is 20s, and the whole run has 10s ()"]
    );
    let chain = format!(
        "{A}  - {{id: b, after: [a], call: {{capability: c}}, input: \"${{steps.a.output}}\"}}\n  - {{id: side, call: {{capability: c}}}}\n"
    );
    assert_eq!(
        lints("deadline: 49s", &chain),
        [
            "PATH_BEYOND_DEADLINE deadline: a → b may take 50s without a single retry, and the whole run has 49s ()"
        ]
    );
    assert_eq!(lints("deadline: 50s", &chain), [""; 0]);
}

#[test]
fn reading_into_an_optional_output_without_asking_is_pointed_out() {
    let steps = |reads: &str, optional: bool| {
        format!(
            "  - {{id: a, optional: {optional}, call: {{capability: c}}, timeout: 5s}}\n  - {{id: b, after: [a], call: {{capability: c}}, timeout: 5s, input: {{x: \"${{{reads}}}\"}}}}\n"
        )
    };
    let found = lints("", &steps("steps.a.output.f", true));
    assert_eq!(
        found,
        [
            "OPTIONAL_UNGUARDED steps[1].input.x: `a` is optional: its output is null when it was skipped or failed (ask first: `steps.a.ok ? … : …`)"
        ]
    );
    for fine in ["steps.a.output", "steps.a.ok ? steps.a.output.f : 0", "has(steps.a.output.f)"] {
        assert_eq!(lints("", &steps(fine, true)), [""; 0], "{fine}");
    }
    assert_eq!(lints("", &steps("steps.a.output.f", false)), [""; 0], "a critical step has its output");
}

#[test]
fn what_a_partial_run_may_lack_is_to_be_read_with_care() {
    let b = "  - {id: b, after: [a], call: {capability: c}, input: \"${steps.a.output.text}\"}\n";
    assert_eq!(lints("", &format!("{A}{b}")), [""; 0]);
    let found = lints("budget: {usd: 1, on_exhausted: partial}", &format!("{A}{b}"));
    assert_eq!(
        found,
        [
            "OPTIONAL_UNGUARDED steps[1].input: the output of `a` is null when the budget did not reach for it (ask first: `steps.a.ok ? … : …`)"
        ]
    );
}
