//! Budgets, with real processes: what is spent on record is what the agents say they were paid, across kills.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::pb;
use mainstay_tests::agent::Row;
use mainstay_tests::process::mainstay;
use mainstay_tests::wait::until;
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

async fn cli(world: &World, args: &[&str]) -> Result<serde_json::Value, String> {
    let server = format!("http://{}", world.grpc);
    let mut command = tokio::process::Command::new(mainstay());
    command.args(["--server", &server, "--output", "json"]).args(args);
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(serde_json::from_str(&text).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

async fn warned(world: &World) -> Option<()> {
    let events = cli(world, &["events", "--kind", "limit.near"]).await.unwrap();
    events.to_string().contains("budget/workflow/quick/day").then_some(())
}

const QUICK: &str = "
name: NAME
version: 1
deadline: 1h
steps:
  - id: one
    call: { capability: work }
    input: '${input}'
  - id: two
    after: [one]
    call: { capability: work }
    input: '${input}'
";

#[tokio::test]
async fn a_workflow_has_its_day_across_a_kill_and_spend_is_what_the_agents_were_paid() {
    let mut world = World::start().await;
    let [ann, bob] =
        [world.agent("ann", &[("work", WORK)]).await, world.agent("bob", &[("work", WORK)]).await];
    world.put(&QUICK.replace("NAME", "quick")).await;
    world.put(&QUICK.replace("NAME", "other")).await;
    let set =
        ["budgets", "set", "workflow/quick", "day", "--usd", "0.2", "--reason", "a trial", "--by", "ops"];
    cli(&world, &set).await.unwrap();
    let input = r#"{"x":1,"cost_usd":"0.04","tokens":7}"#;
    // The second run of `quick` spends four fifths. A kill may take an event with it that was just told.
    let mut spend_is_near = false;
    for run in 0..3 {
        let run = if run == 2 { world.run("other", input).await } else { world.run("quick", input).await };
        assert_eq!(run.state(), pb::RunState::Completed);
        if run.workflow == "quick" && warned(&world).await.is_none() && spend_is_near {
            until("people to be warned", || warned(&world)).await;
        }
        spend_is_near = true;
        world.kill();
        world.restart().await;
        world.until_healthy("ann").await;
        world.until_healthy("bob").await;
    }
    // Of twenty cents sixteen are spent: one call fits, and then nothing.
    let run = world.run("quick", input).await;
    let failure = run.failure.as_ref().unwrap();
    assert_eq!(
        (run.state(), failure.code.as_str()),
        (pb::RunState::Failed, "BUDGET_EXHAUSTED"),
        "{failure:?}"
    );
    assert!(
        failure.message.contains("$0.20 of the $0.20 that workflow `quick` may use in a day"),
        "{failure:?}"
    );
    let refused = world.submit(spec("quick", input)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    let seen = mainstay_proto::fault::Seen::of(&refused);
    assert_eq!(seen.reason, "BUDGET_EXHAUSTED");
    assert!(seen.retry_after.is_some_and(|delay| delay.as_secs() <= 24 * 3600), "until midnight");
    assert_eq!(world.run("other", input).await.state(), pb::RunState::Completed, "others have theirs");

    let paid = [&ann, &bob].map(|agent| paid(&agent.ledger()));
    assert_eq!(paid.iter().sum::<u64>(), 9 * 40_000_000);
    let spent = |report: &serde_json::Value, name: &str| {
        let lines = report["lines"].as_array().unwrap();
        lines
            .iter()
            .filter(|line| line["name"] == name)
            .map(|line| line["nano_usd"].as_u64().unwrap())
            .sum::<u64>()
    };
    for killed in [false, true] {
        if killed {
            world.kill();
            world.restart().await;
        }
        let by_agent = cli(&world, &["spend"]).await.unwrap();
        assert_eq!([spent(&by_agent, "ann"), spent(&by_agent, "bob")], paid);
        assert_eq!(
            (by_agent["total"]["tokens_in"].as_u64(), by_agent["total"]["calls"].as_u64()),
            (Some(63), Some(9))
        );
        let by_workflow = cli(&world, &["spend", "--by", "workflow"]).await.unwrap();
        assert_eq!(spent(&by_workflow, "quick"), 200_000_000);
        let by_run = cli(&world, &["spend", "--by", "run"]).await.unwrap();
        assert_eq!(spent(&by_run, &run.run_id), 40_000_000);
        assert_eq!(by_run["total"]["nano_usd"], by_agent["total"]["nano_usd"]);
        let listed = cli(&world, &["budgets", "list"]).await.unwrap();
        assert_eq!(
            (listed[0]["by"].as_str(), listed[0]["spent"]["nano_usd"].as_u64()),
            (Some("ops"), Some(200_000_000))
        );
    }
    assert!(warned(&world).await.is_some());
    cli(&world, &["budgets", "lift", "workflow/quick", "day"]).await.unwrap();
    assert_eq!(world.run("quick", input).await.state(), pb::RunState::Completed);
    let refused = cli(&world, &["budgets", "lift", "workflow/quick", "day"]).await.unwrap_err();
    assert!(refused.contains("BUDGET_NOT_FOUND"), "{refused}");
}
