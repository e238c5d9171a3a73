//! Budgets: what is set aside, what is given up, what is said of it.

use std::time::Duration;

use serde_json::json;

use super::golden::transcript;
use super::rules::say;
use super::world::{Fate, List, Plan, RUN, World, at, id, list, part, plan, ruling};
use crate::budget::{Exhausted, Limit, Scope};
use crate::outcome::{Began, Class};
use crate::run::{Attempt, EndState, Event, FoldError, SkipReason, StepState, Verdict, outstanding};

const CENT: i64 = 10_000_000;

/// Three steps of 4 cents one after the other, and 10 cents.
fn over_money() -> Plan {
    let parts = vec![
        part("find", &[]).costs(4 * CENT, 0),
        part("draft", &["find"]).costs(4 * CENT, 0),
        part("review", &["draft"]).costs(4 * CENT, 0),
    ];
    Plan { budget: json!({ "usd": 0.10 }), estimates: vec![("do.it", 40_000_000)], ..plan(parts) }
}

fn best_so_far() -> Plan {
    let output = vec![
        ("draft", "${steps.draft.output}".to_owned()),
        ("review", "${steps.review.ok ? steps.review.output : 'not reviewed'}".to_owned()),
    ];
    Plan { budget: json!({ "usd": 0.10, "on_exhausted": "partial" }), output, ..over_money() }
}

/// Nobody knows what a call costs: the first goes alone, then as many as fit.
fn learning() -> Plan {
    let each = part("each", &[]).over(List { partial: true, parallel: 4, ..list(json!([1, 2, 3, 4, 5])) });
    let each = each.costs(0, 300).budget(json!({ "tokens": 1_000 })).fates(&[Fate::Answer("1")]);
    Plan { budget: json!({ "tokens": 5_000, "calls": 100 }), max_parallel: 8, ..plan(vec![each]) }
}

fn out_of_time() -> Plan {
    let parts = vec![part("slow", &[]).takes(700), part("slower", &[]).takes(900), part("after", &["slow"])];
    Plan { budget: json!({ "time": "800ms" }), ..plan(parts) }
}

fn out_of_time_while_backing_off() -> Plan {
    let slow = part("quote", &[]).tries(3).takes(150).fates(&[Fate::Fail(Class::Overload, Began::No)]);
    let parts = vec![slow.optional().budget(json!({ "time": "200ms" })), part("after", &["quote"])];
    plan(parts)
}

/// A person takes ten minutes; the budget is a second.
fn people_cost_nothing() -> Plan {
    let question = json!({ "ask": "Well?", "within": "20m" });
    let parts = vec![
        part("draft", &[]).takes(400),
        part("ok", &["draft"]).does("approve", question).says(600_000, ruling(Verdict::Approved)),
        part("send", &["ok"]).takes(500),
    ];
    Plan { budget: json!({ "time": "1s" }), deadline_ms: 3_600_000, ..plan(parts) }
}

fn no_money_to_try_again() -> Plan {
    let failing = part("quote", &[]).tries(3).costs(6 * CENT, 0);
    let failing = failing.fates(&[Fate::Fail(Class::Transport, Began::No)]);
    plan(vec![failing.budget(json!({ "usd": 0.1 })), part("after", &["quote"])])
}

/// Two side by side, of which one takes more than was set aside for it.
fn overshoot() -> Plan {
    let parts = vec![
        part("one", &[]).costs(9 * CENT, 0).takes(5),
        part("two", &[]).costs(4 * CENT, 0).takes(20),
        part("three", &[]).costs(4 * CENT, 0),
    ];
    Plan { budget: json!({ "usd": 0.10 }), estimates: vec![("do.it", 50_000_000)], ..plan(parts) }
}

/// A workflow inside a step brings its own budget, and does without what that has no room for.
fn inside_a_step() -> Plan {
    let quote = json!({
        "name": "quote",
        "version": 1,
        "budget": { "calls": 2, "on_exhausted": "partial" },
        "steps": [
            { "id": "a", "call": { "capability": "do.it" } },
            { "id": "b", "after": ["a"], "call": { "capability": "do.it" } },
            { "id": "c", "after": ["b"], "call": { "capability": "do.it" } },
        ],
        "output": { "c": "${steps.c.ok}" },
    });
    let parts = vec![part("trip", &[]).does("sub", json!({ "workflow": "quote" })), part("after", &["trip"])];
    Plan { subs: vec![quote], ..plan(parts) }
}

pub(super) fn all() -> Vec<(&'static str, Plan)> {
    vec![
        ("over money", over_money()),
        ("best so far", best_so_far()),
        ("learning", learning()),
        ("out of time", out_of_time()),
        ("out of time while backing off", out_of_time_while_backing_off()),
        ("people cost nothing", people_cost_nothing()),
        ("no money to try again", no_money_to_try_again()),
        ("overshoot", overshoot()),
        ("a budget inside a step", inside_a_step()),
    ]
}

fn spent(world: &World, limit: Limit) -> u64 {
    world.run.allowances().into_iter().find(|a| a.step.is_none() && a.limit == limit).unwrap().spent
}

#[test]
fn what_does_not_fit_fails_at_once_and_says_which_limit_and_what_was_left() {
    insta::assert_snapshot!(transcript(over_money()));
}

#[test]
fn a_run_that_may_be_partial_goes_on_without_what_it_cannot_pay_for() {
    insta::assert_snapshot!(transcript(best_so_far()));
    let world = World::new(best_so_far()).finish();
    assert_eq!(world.run.end.clone().unwrap().state, EndState::Completed);
    let gap = "step `review` is missing: the run's budget of $0.10 has $0.02 left, and the next call may take $0.04";
    assert_eq!(world.run.gaps(), [gap]);
}

#[test]
fn where_nobody_knows_what_a_call_uses_the_first_goes_alone_and_shows_it() {
    insta::assert_snapshot!(transcript(learning()));
}

#[test]
fn what_is_under_way_is_given_up_when_the_time_is_used_up() {
    insta::assert_snapshot!(transcript(out_of_time()));
}

#[test]
fn a_step_that_backs_off_is_given_up_when_its_time_is_used_up() {
    insta::assert_snapshot!(transcript(out_of_time_while_backing_off()));
}

#[test]
fn waiting_for_people_is_not_charged() {
    let world = World::new(people_cost_nothing()).finish();
    assert_eq!(world.run.end.clone().unwrap().state, EndState::Completed);
    assert_eq!(spent(&world, Limit::Time), 900);
    assert!(world.now.saturating_since(at(0)) > Duration::from_secs(600));
}

#[test]
fn a_try_that_used_up_the_budget_is_not_followed_by_another() {
    insta::assert_snapshot!(transcript(no_money_to_try_again()));
}

#[test]
fn an_answer_that_cost_too_much_is_taken_and_its_excess_is_on_record() {
    let world = World::new(overshoot()).finish();
    let one = world.run.step("one").unwrap().1;
    assert_eq!(one.state, StepState::Completed);
    assert_eq!(one.attempts[0].notes, ["$0.09 of the run's budget of $0.10 are spent"]);
    let two = world.run.step("two").unwrap().1;
    assert_eq!(two.attempts.len(), 0, "cut off by the end of the run");
    let end = world.run.end.clone().unwrap();
    assert_eq!((end.state, end.step), (EndState::Failed, Some(id("three"))));
    let failure = end.failure.unwrap();
    assert_eq!((failure.class, failure.code.as_str()), (Class::OverBudget, "BUDGET_EXHAUSTED"));

    let one = vec![part("one", &[]).costs(13 * CENT, 0)];
    let alone = World::new(Plan { parts: one, output: Vec::new(), ..overshoot() }).finish();
    assert_eq!(
        alone.run.step("one").unwrap().1.attempts[0].notes,
        ["$0.03 beyond the run's budget of $0.10"]
    );
    assert_eq!(spent(&alone, Limit::Usd), 130_000_000);
    assert_eq!(alone.run.end.clone().unwrap().state, EndState::Completed);
}

#[test]
fn what_is_set_aside_for_others_is_waited_for_and_what_is_spent_is_not() {
    let mut world = World::new(overshoot());
    let under_way = |world: &World| outstanding(&world.run).calls.len();
    assert_eq!(under_way(&world), 2, "two of 5 cents fit into 10");
    world.go_until(at(4));
    assert_eq!(under_way(&world), 2, "the third waits");
    let cheap =
        Plan { parts: vec![part("a", &[]).costs(CENT, 0), part("b", &[]), part("c", &[])], ..overshoot() };
    let cheap = World::new(Plan { output: Vec::new(), ..cheap }).finish();
    assert_eq!(cheap.run.end.clone().unwrap().state, EndState::Completed, "and goes when they cost less");
}

#[test]
fn a_liars_numbers_exhaust_a_budget_and_never_wrap_around() {
    let liar = |nano| part("a", &[]).costs(nano, u64::MAX);
    let parts = vec![liar(i64::MAX), part("b", &["a"]).costs(1, 1)];
    let world = World::new(Plan { budget: json!({ "tokens": 9 }), ..plan(parts) }).finish();
    assert_eq!(world.run.end.clone().unwrap().failure.unwrap().code, "BUDGET_EXHAUSTED");
    let world =
        World::new(Plan { budget: json!({ "usd": 9 }), ..plan(vec![liar(-5), part("b", &["a"])]) }).finish();
    assert_eq!(spent(&world, Limit::Usd), 5, "a negative cost is none");
}

#[test]
fn a_workflow_inside_a_step_keeps_its_own_budget() {
    let world = World::new(inside_a_step()).finish();
    assert_eq!(world.run.end.clone().unwrap().state, EndState::Completed);
    assert_eq!(world.run.step("trip").unwrap().1.output.clone().unwrap().as_str(), r#"{"c":false}"#);
    assert_eq!(world.run.gaps(), ["step `trip/c` is missing: the step's budget of 2 calls is used up"]);
}

#[test]
fn fold_refuses_a_call_that_no_budget_has_room_for_and_a_step_left_out_without_need() {
    let mut run = World::new(best_so_far()).run;
    let over = Exhausted { scope: Scope::Run, limit: Limit::Usd, most: 100_000_000, left: 0, wanted: 1 };
    let skipped = Event::StepSkipped { step: id("draft"), reason: SkipReason::Budget(over) };
    assert_eq!(say(&mut run, vec![skipped]), Err(FoldError::TooEarly { step: id("draft") }));
    let dear = Plan { budget: json!({ "usd": 0.01, "on_exhausted": "partial" }), ..over_money() };
    let mut run = World::new(Plan { output: Vec::new(), ..dear }).run;
    assert!(run.end.is_some(), "nothing can be paid for: {:?}", run.gaps());
    assert_eq!(run.gaps().len(), 3);
    let attempt = Attempt::first(RUN, "find");
    let started = Event::StepStarted { step: id("find"), attempt, input: None };
    assert_eq!(say(&mut run, vec![started]), Err(FoldError::AfterEnd));
}
