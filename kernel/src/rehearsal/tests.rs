//! Cases that pass, cases that do not, and what is said then.

use super::*;
use crate::workflow::Workflow;

const GREET: &str = "
name: greet
version: 1
deadline: 10m
input: { type: object, required: [name] }
steps:
  - id: words
    call: { capability: words }
    input: { name: '${input.name}' }
    timeout: 5s
    retry: { max_attempts: 3, initial: 1s, factor: 1, max: 1s }
  - id: check
    after: [words]
    approve: { ask: 'this?', within: 5m }
    input: '${steps.words.output}'
  - id: send
    after: [check]
    call: { capability: send }
    input: { text: '${steps.check.output.value}' }
output: { sent: '${steps.send.output.id}' }
";

fn verdict(case: &str) -> Verdict {
    let workflow = Linked::from(Arc::new(Workflow::parse(GREET).unwrap()));
    let rehearsal = Rehearsal::parse(&format!("workflow: greet.yaml\ntests:\n{case}")).unwrap();
    let verdicts = rehearsal.play(&workflow);
    assert_eq!(verdicts, rehearsal.play(&workflow), "the same document comes to the same verdict");
    verdicts.into_iter().next().unwrap()
}

const GOOD: &str = "
  - name: goes out once it was approved
    input: { name: Ada }
    effects: { send: side-effecting }
    agents:
      words: [{ fail: agent-error }, { output: hello Ada, after: 2s }]
      send: [{ output: { id: 7 } }]
    answers: { check: { verdict: approved, after: 1m } }
    expect:
      output: { sent: 7 }
      that: ['output.sent > 6', \"steps.words.output == 'hello Ada'\", \"input.name == 'Ada'\"]
      calls: [words, words, send]
      counts: { words: 2, send: 1 }
      never: [pay]
      steps: { words: { state: completed, attempts: 2 }, send: { input: { text: hello Ada } } }
      elapsed: { at_least: 62s, at_most: 64s }
";

#[test]
fn a_case_runs_to_its_end_in_its_own_time() {
    let verdict = verdict(GOOD);
    assert_eq!(verdict.misses, []);
    assert!(verdict.passed());
    assert_eq!(verdict.status, Some(EndState::Completed));
    assert_eq!(verdict.calls, ["words words", "words words", "send send"]);
}

#[test]
fn whatever_is_expected_and_does_not_happen_is_said_with_both_sides() {
    for (from, to, said) in [
        ("{ sent: 7 }", "{ sent: 8 }", "expect.output.sent: expected 8, got 7"),
        ("output.sent > 6", "output.sent > 7", "expect.that[0]: expected `output.sent > 7`, got false"),
        (
            "[words, words, send]",
            "[words, send]",
            "expect.calls: expected words, send, got words, words, send",
        ),
        ("words: 2, send: 1", "words: 1, send: 1", "expect.counts.words: expected 1, got 2"),
        ("never: [pay]", "never: [send]", "expect.never.send: expected no call, got called by send"),
        ("attempts: 2", "attempts: 3", "expect.steps.words.attempts: expected 3, got 2"),
        ("state: completed", "state: failed", "expect.steps.words.state: expected failed, got completed"),
        (
            "text: hello Ada }",
            "text: bye }",
            "expect.steps.send.input.text: expected \"bye\", got \"hello Ada\"",
        ),
        ("at_most: 64s", "at_most: 1m", "expect.elapsed.at_most: expected 1m, got"),
        ("expect:\n", "expect:\n      status: failed\n", "expect.status: expected failed, got completed"),
        ("expect:\n", "expect:\n      failure: X\n", "expect.failure: expected X, got none"),
        ("that: ['output.sent > 6'", "that: ['output.gone > 6'", "expect.that[0]: expected true, got"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let misses = verdict(&GOOD.replacen(from, to, 1)).misses;
        let [miss] = &*misses else { panic!("{from}: {misses:?}") };
        assert!(miss.to_string().starts_with(said), "{miss}");
    }
}

#[test]
fn a_call_that_nothing_is_written_for_fails_the_case_at_once() {
    let misses =
        verdict(&GOOD.replace("{ output: hello Ada, after: 2s }", "{ fail: timeout, times: 1 }")).misses;
    let [miss] = &*misses else { panic!("{misses:?}") };
    assert_eq!(miss.what, "agents.words");
    assert_eq!(miss.expected, "a reply for call 3, of step `words`");
    let misses = verdict(&GOOD.replace("      send: [{ output: { id: 7 } }]\n", "")).misses;
    assert_eq!(misses[0].got, "no agent of the case offers it");
}

#[test]
fn a_reply_that_takes_too_long_is_a_timeout_and_of_a_side_effect_an_unknown_one() {
    let slow = GOOD.replace("{ id: 7 } }", "{ id: 7 }, after: 1h }");
    let misses = verdict(&slow).misses;
    assert!(misses[0].got.contains("OUTCOME_UNKNOWN"), "{misses:?}");
}

#[test]
fn silence_of_people_is_what_the_workflow_says_it_is() {
    let silent = GOOD.replace("    answers: { check: { verdict: approved, after: 1m } }\n", "");
    let verdict = verdict(&silent);
    assert_eq!(verdict.status, Some(EndState::Failed));
    assert!(verdict.misses[0].got.contains("NOT_ANSWERED"), "{:?}", verdict.misses);
}

#[test]
fn a_word_that_the_run_does_not_take_is_a_miss() {
    let misses = verdict(&GOOD.replace("    answers:", "    signals: [{ name: go }]\n    answers:")).misses;
    assert_eq!(misses[0].what, "signals.go");
    let misses = verdict(&GOOD.replace("{ name: Ada }", "{ nom: Ada }")).misses;
    assert_eq!(misses[0].what, "input");
}

#[test]
fn replies_with_a_condition_are_for_the_calls_it_holds_of() {
    let by_input = GOOD.replace(
        "[{ fail: agent-error }, { output: hello Ada, after: 2s }]",
        "[{ when: \"input.name == 'Bo'\", output: no }, { fail: overload, retry_after: 1s }, { when: 'has(input.name)', output: hello Ada, after: 2s }]",
    );
    let verdict = verdict(&by_input);
    assert_eq!(verdict.calls.len(), 3);
    assert_eq!(verdict.misses, []);
}

#[test]
fn a_document_that_cannot_be_meant_names_its_field() {
    for (text, said) in [
        ("workflow: a\ntests: []", "tests: has 0 cases"),
        ("workflow: a\ntests: [{ name: x, agents: { a: [{}] } }]", "tests[0].agents.a[0]: needs either"),
        (
            "workflow: a\ntests: [{ name: x, agents: { a: [{ fail: success }] } }]",
            "tests[0].agents.a[0].fail",
        ),
        (
            "workflow: a\ntests: [{ name: x, agents: { a: [{ when: 'no(', output: 1 }] } }]",
            "tests[0].agents.a[0].when",
        ),
        ("workflow: a\ntests: [{ name: x, expect: { that: ['tenant == 1'] } }]", "tests[0].expect.that[0]"),
        ("workflow: a\ntests: [{ name: x, expekt: {} }]", "expekt"),
        ("workflow: a\ntests: [{ name: x, agents: { a: [{ output: 1, after: 5 }] } }]", "after"),
        ("workflow: a\ntests: [{ name: x, agents: { a: [{ output: 1, confidence: 2 }] } }]", "confidence"),
    ] {
        let error = Rehearsal::parse(text).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

/// A request that is routed, and then planned with.
const WAYS: &str = "
name: ways
version: 1
steps:
  - id: ask
    route: { by: desk }
  - id: trip
    after: [ask]
    plan: { by: { capability: planner }, capabilities: [search] }
    input: '${steps.ask.output}'
";

fn way(case: &str) -> Verdict {
    let workflow = Linked::from(Arc::new(Workflow::parse(WAYS).unwrap()));
    let rehearsal = Rehearsal::parse(&format!("workflow: ways.yaml\ntests:\n{case}")).unwrap();
    rehearsal.play(&workflow).into_iter().next().unwrap()
}

const PLANNED: &str = "
  - name: goes where the case says, and is planned with what there is
    ways: { ask: { capability: billing } }
    agents:
      billing: [{ output: Rome }]
      planner: [{ output: { steps: [{ id: find, capability: search }], output: '${steps.find.output}' } }]
      search: [{ output: found }]
    expect:
      output: { trip: found }
      calls: [billing, planner, search]
";

#[test]
fn a_case_says_where_a_request_goes_and_plans_may_use_every_capability() {
    assert_eq!(way(PLANNED).misses, []);
    let missing = way(&PLANNED.replace("    ways: { ask: { capability: billing } }\n", ""));
    assert_eq!(missing.misses[0].what, "ways.ask");
}
