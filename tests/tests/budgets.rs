//! Budgets, with real processes: what is spent on record is what the agents say they were paid, across kills.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::pb;
use mainstay_tests::agent::Row;
use mainstay_tests::world::{World, spec};

const WORK: &str = "effect: side-effecting, max_concurrency: 64, cost_usd: 0.01";

fn workflow(name: &str, budget: &str) -> String {
    format!(
        "
name: {name}
version: 1
deadline: 1h
budget: {budget}
steps:
  - id: first
    call: {{ capability: work }}
    input: '${{input}}'
  - id: second
    after: [first]
    call: {{ capability: work }}
    input: '${{input}}'
  - id: third
    after: [second]
    call: {{ capability: work }}
    input: '${{input}}'
output: {{ second: '${{steps.second.output}}', third: '${{steps.third.ok}}' }}
"
    )
}

/// What the agent was paid by its own ledger, in hundredths of a cent: each answer cost what its input says.
fn paid(ledger: &[Row]) -> u64 {
    let answered = ledger.iter().filter(|row| row.output.is_some());
    answered.filter(|row| row.body.contains(r#""cost_usd":"0.04""#)).count() as u64 * 40_000_000
}

fn spent(run: &pb::Run) -> u64 {
    run.allowances.iter().find(|it| it.step_id.is_empty() && it.limit == "usd").unwrap().spent
}

#[tokio::test]
async fn a_budget_holds_across_kills_and_is_what_the_agent_was_paid() {
    let mut world = World::start().await;
    let agent = world.agent("worker", &[("work", WORK)]).await;
    world.put(&workflow("within-means", "{ usd: 0.1, on_exhausted: partial }")).await;
    let input = r#"{"x":1,"cost_usd":"0.04","gate":"pay"}"#;
    let id = world.submit(spec("within-means", input)).await.unwrap();

    let held = |run: &pb::Run| run.allowances.iter().any(|it| it.reserved == 10_000_000);
    world.until_run(&id, "what it declares to be set aside", held).await;
    world.kill();
    world.restart().await;
    let run = world.until_run(&id, "the same to be set aside again", held).await;
    assert_eq!(spent(&run), 0);
    agent.open("pay").await;

    let run = world.until_ended(&id).await;
    let output = String::from_utf8_lossy(&run.output).into_owned();
    assert_eq!(
        (run.state(), output.as_str()),
        (pb::RunState::Completed, r#"{"second":{"x":2},"third":false}"#)
    );
    let gap =
        "step `third` is missing: the run's budget of $0.10 has $0.02 left, and the next call may take $0.04";
    assert_eq!(run.gaps, [gap]);
    assert_eq!((spent(&run), paid(&agent.ledger())), (80_000_000, 80_000_000));
    let notes: Vec<_> = run.steps[1].attempts.iter().flat_map(|attempt| &attempt.notes).collect();
    assert!(notes.iter().any(|note| **note == "$0.08 of the run's budget of $0.10 are spent"), "{notes:?}");

    world.kill();
    world.restart().await;
    let again = world.get_run(&id).await.unwrap();
    assert_eq!((again.gaps, again.allowances), (run.gaps, run.allowances), "they follow from the journal");
}

#[tokio::test]
async fn a_run_that_may_not_be_partial_fails_with_the_limit_and_what_was_left() {
    let world = World::start().await;
    let agent = world.agent("worker", &[("work", WORK)]).await;
    world.put(&workflow("short", "{ tokens: 100, time: 1h }")).await;
    let run = world.run("short", r#"{"x":1,"tokens":60}"#).await;
    let failure = run.failure.as_ref().unwrap();
    assert_eq!((run.state(), failure.class()), (pb::RunState::Failed, pb::OutcomeClass::OverBudget));
    assert_eq!(failure.code, "BUDGET_EXHAUSTED");
    assert_eq!(
        failure.message,
        "step `second`: the run's budget of 100 tokens has 40 tokens left, and the next call may take 60 tokens"
    );
    assert_eq!(agent.begun(), 1);
}

#[tokio::test]
async fn what_is_under_way_when_the_time_is_used_up_is_given_up() {
    let world = World::start().await;
    let agent = world.agent("worker", &[("work", WORK)]).await;
    world.put(&workflow("slow", "{ time: 300ms }")).await;
    let run = world.run("slow", r#"{"x":1,"gate":"never"}"#).await;
    let failure = run.failure.as_ref().unwrap();
    assert_eq!((run.state(), failure.code.as_str()), (pb::RunState::Failed, "BUDGET_EXHAUSTED"));
    assert_eq!(failure.message, "step `first`: the run's time budget of 300ms is used up");
    assert_eq!(agent.begun(), 1);
}
