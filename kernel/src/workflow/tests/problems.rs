//! Every mistake is reported, with its code, place and way out.

use proptest::prelude::*;

use super::*;

fn problems(text: &str) -> Vec<Problem> {
    Workflow::parse(text).map_or_else(|problems| problems, |workflow| panic!("{workflow} was accepted"))
}

/// The problems of a workflow with these steps, without their places.
pub(super) fn of_steps(steps: &str) -> Vec<String> {
    let text = format!("name: w\nversion: 1\nsteps:\n{steps}");
    let shown = |p: Problem| format!("{} {}: {} ({})", p.code, p.path, p.message, p.hint);
    problems(&text).into_iter().map(shown).collect()
}

#[test]
fn all_problems_of_a_document_are_reported_at_once_in_the_order_of_the_text() {
    let text = r#"name: Trip
version: 0
deadline: 90
max_parallel: 65
inputs: {}
steps:
  - id: first-draft
    call: { capability: c, agnet: x }
    timout: 3s
  - id: b
    after: [a, c]
    call: { capability: "" }
    input: { x: "${steps.b.output}", y: "${1 +}", z: "${steps.nope.output}" }
    retry: { max_attempts: 99 }
  - id: b
    optional: maybe
output: "${steps.bb.output}"
"#;
    let found: Vec<_> =
        problems(text).iter().map(|p| (p.code.as_str(), p.path.clone(), p.place.line)).collect();
    let expected = [
        ("NAME_INVALID", "name", 1),
        ("FIELD_RANGE", "version", 2),
        ("DURATION_INVALID", "deadline", 3),
        ("FIELD_RANGE", "max_parallel", 4),
        ("FIELD_UNKNOWN", "inputs", 5),
        ("STEP_ID_INVALID", "steps[0].id", 7),
        ("FIELD_UNKNOWN", "steps[0].call.agnet", 8),
        ("FIELD_UNKNOWN", "steps[0].timout", 9),
        ("STEP_UNKNOWN_DEPENDENCY", "steps[1].after[0]", 11),
        ("STEP_UNKNOWN_DEPENDENCY", "steps[1].after[1]", 11),
        ("NAME_INVALID", "steps[1].call.capability", 12),
        ("EXPRESSION_INVALID", "steps[1].input.y", 13),
        ("RETRY_INVALID", "steps[1].retry", 14),
        ("STEP_KIND_MISSING", "steps[2]", 15),
        ("STEP_DUPLICATE", "steps[2].id", 15),
        ("FIELD_TYPE", "steps[2].optional", 16),
        ("STEP_UNKNOWN", "output", 17),
    ];
    let expected: Vec<_> = expected.map(|(code, path, line)| (code, path.to_owned(), line)).to_vec();
    assert_eq!(found, expected);
}

#[test]
fn a_problem_says_what_to_do() {
    let all = problems("name: w\nversion: 1\ndeadlin: 3s\nsteps: []\n");
    assert_eq!(
        all[0].to_string(),
        "3:1: FIELD_UNKNOWN: deadlin: there is no such field (did you mean `deadline`?)"
    );
    assert_eq!(all[1].to_string(), "4:8: STEP_COUNT: steps: has 0 steps (give it 1 to 500)");
    assert_eq!((all[0].line(), all[0].column()), (Some(3), Some(1)));
    let codes: Vec<_> = problems("{}").iter().map(|p| (p.code.as_str(), p.path.clone())).collect();
    let missing = |field: &str| ("FIELD_MISSING", field.to_owned());
    assert_eq!(codes, [missing("name"), missing("version"), missing("steps")]);
}

#[test]
fn only_an_optional_step_is_left_out_and_only_in_a_mode_that_leaves_something_out() {
    let step = |fields: &str| of_steps(&format!("  - {{id: a, call: {{capability: c}}, {fields}}}\n"));
    assert_eq!(
        step("drop_in: degraded"),
        [
            "FIELD_RANGE steps[0].drop_in: leaves out a step that the run cannot do without (add `optional: true`, or let \
             the step run in every mode)"
        ]
    );
    for mode in ["full", "panic"] {
        assert_eq!(
            step(&format!("optional: true, drop_in: {mode}")),
            [
                "FIELD_RANGE steps[0].drop_in: is no mode that leaves anything out (give `degraded` or `emergency`)"
            ]
        );
    }
    let codes: Vec<_> =
        problems("name: w\nversion: 1\ndrop_in: full\nsteps:\n  - {id: a, call: {capability: c}}\n")
            .iter()
            .map(|p| (p.code, p.path.clone()))
            .collect();
    assert_eq!(codes, [(Code::FieldRange, "drop_in".to_owned())]);
}

#[test]
fn a_circle_is_named() {
    let steps = "  - {id: a, after: [b], call: {capability: c}}\n  - {id: b, after: [c], call: {capability: c}}\n  - {id: c, after: [a, free], call: {capability: c}}\n  - {id: free, call: {capability: c}}\n  - {id: behind, after: [a], call: {capability: c}}\n  - {id: self, after: [self], call: {capability: c}}\n";
    assert_eq!(
        of_steps(steps),
        [
            "STEP_CYCLE steps[0].after: steps wait for each other in a circle: a → b → c → a (take one of them out of `after`)",
            "STEP_CYCLE steps[5].after: steps wait for each other in a circle: self → self (take one of them out of `after`)",
        ]
    );
}

#[test]
fn a_step_may_read_only_what_it_waits_for() {
    let step = |id: &str, after: &str, reads: &str| {
        format!(
            "  - {{id: {id}, after: [{after}], call: {{capability: c}}, input: {{x: \"${{steps.{reads}.output}}\"}}}}\n"
        )
    };
    let steps = format!(
        "  - {{id: a, call: {{capability: c}}}}\n{}{}{}",
        step("b", "a", "a"),
        step("c", "b", "a"),
        step("d", "", "a")
    );
    assert_eq!(
        of_steps(&steps),
        [
            "STEP_NOT_UPSTREAM steps[3].input.x: reads `a` without waiting for it (add `a` to `steps[3].after`)"
        ],
        "near or far upstream is fine"
    );
    let steps = format!(
        "  - {{id: a, call: {{capability: c}}, input: \"${{steps.b.ok}}\"}}\n{}",
        step("b", "a", "b")
    );
    assert_eq!(
        of_steps(&steps),
        [
            "STEP_NOT_UPSTREAM steps[0].input: reads `b` without waiting for it (`b` itself waits for this step)",
            "STEP_NOT_UPSTREAM steps[1].input.x: reads `b` without waiting for it (a step has no output before it has run)",
        ]
    );
}

#[test]
fn a_schema_that_is_refused_says_why_under_its_own_code() {
    let text = "name: w\nversion: 1\ninput: { $ref: 'http://x/y' }\nsteps:\n  - {id: a, call: {capability: c}, output_schema: {type: strin}}\n";
    let codes: Vec<_> = problems(text).iter().map(|p| (p.code, p.path.clone())).collect();
    assert_eq!(
        codes,
        [
            (Code::SchemaRemoteRef, "input".to_owned()),
            (Code::SchemaInvalid, "steps[0].output_schema".to_owned())
        ]
    );
}

#[test]
fn bounds_hold_to_the_unit() {
    let steps = |n: usize| {
        let steps: String = (0..n).map(|at| format!("- {{id: s{at}, call: {{capability: c}}}}\n")).collect();
        format!("name: w\nversion: 1\nsteps:\n{steps}")
    };
    assert_eq!(parse(&steps(MAX_STEPS)).steps().len(), MAX_STEPS);
    assert_eq!(problems(&steps(MAX_STEPS + 1))[0].code, Code::StepCount);

    let waits = |n: usize| {
        let after: Vec<String> = (0..n).map(|at| format!("s{at}")).collect();
        format!("{}- {{id: last, after: [{}], call: {{capability: c}}}}\n", steps(n), after.join(", "))
    };
    assert!(Workflow::parse(&waits(MAX_DEPENDENCIES)).is_ok());
    assert_eq!(problems(&waits(MAX_DEPENDENCIES + 1))[0].code, Code::FieldRange);

    let deadline = |text: &str| Workflow::parse(&format!("deadline: {text}\n{}", steps(1)));
    assert_eq!(deadline("30d").unwrap().deadline(), MAX_DEADLINE);
    assert_eq!(deadline("1500ms").unwrap().deadline(), Duration::from_millis(1500));
    for bad in ["30d1ms", "0s"] {
        assert_eq!(deadline(bad).unwrap_err()[0].code, Code::FieldRange, "{bad}");
    }
}

#[test]
fn a_text_that_is_no_document_is_one_problem_with_its_place() {
    let found = problems("name: w\nname: v\n");
    assert_eq!((found.len(), found[0].code, found[0].line()), (1, Code::DocumentInvalid, Some(2)));
    assert_eq!(problems("- a\n")[0].code, Code::FieldType);
    assert_eq!(problems("")[0].code, Code::FieldType);
}

#[test]
fn the_list_of_problems_has_an_end() {
    let fields: String = (0..1_000).map(|at| format!("f{at}: 1\n")).collect();
    assert_eq!(problems(&fields).len(), 200);
}

proptest! {
    #[test]
    fn any_text_is_a_workflow_or_has_problems(text in "\\PC{0,80}") {
        prop_assert!(Workflow::parse(&text).is_ok() || Workflow::parse(&text).is_err_and(|p| !p.is_empty()));
    }

    /// Damage to a good document: a stretch of it replaced by another.
    #[test]
    fn a_damaged_document_is_a_workflow_or_has_problems(
        from in any::<prop::sample::Index>(),
        len in 0_usize..40,
        put in "[-\\[\\]{}:,&*!\"'#$ a-c0-9\\n]{0,10}",
    ) {
        let text: Vec<char> = TRIP_QUOTE.chars().collect();
        let from = from.index(text.len());
        let to = (from + len).min(text.len());
        let damaged: String = text[..from].iter().chain(put.chars().collect::<Vec<_>>().iter()).chain(&text[to..]).collect();
        let outcome = Workflow::parse(&damaged);
        prop_assert!(outcome.is_ok() || outcome.is_err_and(|problems| !problems.is_empty()));
    }
}

#[test]
fn each_kind_of_step_says_what_it_lacks_and_what_has_no_meaning_in_it() {
    let one = |step: &str| of_steps(&format!("  - {{ id: a, {step} }}\n"));
    assert_eq!(
        one("choose: [{ value: 1 }, { when: '${true}', value: 2, call: { capability: c } }]"),
        [
            "FIELD_MISSING steps[0].choose[0].when: hides the branches that follow (say `when`, or put it last)",
            "STEP_KIND_TWICE steps[0].choose[1].value: the branch has a `call` already (take one out)",
        ]
    );
    assert_eq!(
        one("choose: [{ when: '${true}' }]"),
        [
            "STEP_KIND_MISSING steps[0].choose[0]: does not say what the branch does (give it a `call` or a `value`)"
        ]
    );
    assert_eq!(one("choose: []"), ["FIELD_RANGE steps[0].choose: has 0 branches (give it 1 to 32)"]);
    assert_eq!(
        one("wait: {}"),
        ["FIELD_MISSING steps[0].wait: does not say what is waited for (say `for: 10m`, or `signal: NAME`)"]
    );
    assert_eq!(
        one("wait: { for: 1s, within: 2s }, timeout: 3s"),
        [
            "FIELD_UNKNOWN steps[0].wait.within: belongs to a `signal` (take it out)",
            "FIELD_UNKNOWN steps[0].timeout: has no meaning for a step that does `wait` (take it out)",
        ]
    );
    assert_eq!(
        one("wait: { signal: paid, default: 1 }"),
        [
            "FIELD_MISSING steps[0].wait.within: is missing beside `default` (say how long the signal is waited for)"
        ]
    );
    assert_eq!(
        one("approve: { ask: 7, default: maybe }"),
        [
            "FIELD_MISSING steps[0].approve.within: is missing (add `within`)",
            "FIELD_TYPE steps[0].approve.ask: expected text, found a number ()",
            "FIELD_RANGE steps[0].approve.default: is no answer (give `approve` or `reject`)",
        ]
    );
}

#[test]
fn a_condition_reads_only_steps_upstream() {
    let steps = "  - { id: b, call: { capability: c } }\n  - id: a\n    choose:\n      - { when: '${steps.b.ok}', value: '${steps.x.output}' }\n";
    assert_eq!(
        of_steps(steps),
        [
            "STEP_NOT_UPSTREAM steps[1].choose[0].when: reads `b` without waiting for it (add `b` to `steps[1].after`)",
            "STEP_UNKNOWN steps[1].choose[0].value: reads `x`, and there is no such step ()",
        ]
    );
}

#[test]
fn a_budget_says_what_it_limits_within_reason_and_only_where_something_is_used_up() {
    let steps = "  - {id: a, call: {capability: c}, budget: {usd: 1e3, tokens: 0, on_exhausted: partial}}\n  - {id: b, wait: {for: 1s}, budget: {calls: 1}}\n  - {id: c, call: {capability: c}, budget: {}}\n";
    assert_eq!(
        of_steps(steps),
        [
            "FIELD_RANGE steps[0].budget.usd: is 1e3 (give US dollars, more than 0 and at most $1000000.00, such as `0.50`)",
            "FIELD_RANGE steps[0].budget.tokens: is 0 (give a whole number from 1 to 4294967295)",
            "FIELD_UNKNOWN steps[0].budget.on_exhausted: there is no such field (there are usd, tokens, calls, time)",
            "FIELD_UNKNOWN steps[1].budget: has no meaning for a step that does `wait` (take it out)",
            "FIELD_MISSING steps[2].budget: limits nothing (give one of `usd`, `tokens`, `calls` and `time`, or take it out)",
        ]
    );
    let text = "name: w\nversion: 1\nbudget: {usd: \"0.5\", time: 31d, on_exhausted: stop}\nsteps: [{id: a, call: {capability: c}}]";
    let found: Vec<_> = problems(text).iter().map(|p| format!("{} {}", p.code, p.path)).collect();
    assert_eq!(
        found,
        ["FIELD_TYPE budget.usd", "FIELD_RANGE budget.time", "FIELD_RANGE budget.on_exhausted"]
    );
}
