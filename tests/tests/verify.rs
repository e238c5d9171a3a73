//! Answers that are verified before they count, by real agents, across kills of the control plane.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::pb;
use mainstay_tests::world::{World, spec};

const READ: &str = "effect: read-only, max_concurrency: 8";
const SIDE: &str = "effect: side-effecting, max_concurrency: 8";

/// The verifier says what its input tells it: a score that grows with the answer.
const CHECKED: &str = "
name: checked
version: 1
deadline: 10m
steps:
  - id: work
    call: { capability: work }
    timeout: 20s
    retry: { max_attempts: 1 }
    verify:
      that:
        - { holds: 'output.x > 0', because: 'nothing was found' }
      by:
        capability: check
        threshold: 0.8
        input:
          gate: 'go'
          verdict: { score: '${output.x >= 50 ? 0.9 : 0.3}', grounds: ['found ${output.x}, and 50 are wanted'] }
      repairs: 2
      repair_input: { x: '${given.x * 10}', grounds: '${grounds}' }
output: { found: '${steps.work.output.x}' }
";

fn step<'r>(run: &'r pb::Run, id: &str) -> &'r pb::Step {
    run.steps.iter().find(|step| step.id == id).unwrap_or_else(|| panic!("{id} in {run:?}"))
}

#[tokio::test]
async fn a_refused_answer_goes_back_and_whoever_did_it_never_verifies_it_whatever_is_killed_meanwhile() {
    let mut world = World::start().await;
    // The worker offers to verify as well, and so it would in half of the cases.
    let worker = world.agent("worker", &[("work", READ), ("check", READ)]).await;
    let checker = world.agent("checker", &[("check", READ)]).await;
    world.put(CHECKED).await;

    let id = world.submit(spec("checked", r#"{"x": 7}"#)).await.unwrap();
    checker.until_begun(1).await;
    world.kill();
    world.restart().await;
    checker.open("go").await;
    let run = world.until_ended(&id).await;

    assert_eq!(run.state(), pb::RunState::Completed, "{:?}", run.failure);
    assert_eq!(String::from_utf8_lossy(&run.output), r#"{"found":71}"#);
    let work = step(&run, "work");
    let told: Vec<_> =
        work.verdicts.iter().map(|it| (it.verdict.as_str(), it.score, it.by.as_str())).collect();
    assert_eq!(told, [("refused", Some(0.3), "checker"), ("passed", Some(0.9), "checker")]);
    assert_eq!(work.verdicts[0].grounds, ["found 8, and 50 are wanted"]);
    assert_eq!(work.warnings, ["it passed after 1 repair"]);

    // The worker worked twice, under a key of its own each, and the second time was told why.
    let rows: Vec<_> = worker.ledger().into_iter().filter(|row| row.output.is_none()).collect();
    assert_eq!(rows.iter().map(|row| row.step.as_str()).collect::<Vec<_>>(), ["work", "work/repair_1"]);
    assert_ne!(rows[0].key, rows[1].key);
    assert!(rows[1].body.contains("found 8, and 50 are wanted"), "{}", rows[1].body);
    let verifies = ["work/verify_1", "work/verify_2"];
    let asked: std::collections::BTreeSet<_> = checker.ledger().into_iter().map(|row| row.step).collect();
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), verifies);
    for id in verifies {
        assert_eq!(step(&run, id).attempts.last().unwrap().agent, "checker");
    }
}

#[tokio::test]
async fn where_nobody_else_offers_it_there_is_no_verdict_and_the_step_fails() {
    let world = World::start().await;
    let worker = world.agent("worker", &[("work", READ), ("check", READ)]).await;
    world.put(&CHECKED.replace("20s", "2s")).await;
    let id = world.submit(spec("checked", r#"{"x": 7}"#)).await.unwrap();
    let run = world.until_ended(&id).await;

    assert_eq!(run.state(), pb::RunState::Failed);
    let failure = step(&run, "work").failure.as_ref().unwrap();
    assert_eq!(failure.code, "VERIFIER_UNAVAILABLE");
    assert!(failure.message.contains("NO_OTHER_AGENT"), "{}", failure.message);
    assert_eq!(step(&run, "work").verdicts[0].verdict, "unavailable");
    assert_eq!(worker.begun(), 1, "the work, and nothing else");
}

#[tokio::test]
async fn what_the_world_noticed_is_not_done_again_because_it_was_refused() {
    let world = World::start().await;
    let worker = world.agent("worker", &[("work", SIDE)]).await;
    let checker = world.agent("checker", &[("check", READ)]).await;
    checker.open("go").await;
    world.put(CHECKED).await;
    let id = world.submit(spec("checked", r#"{"x": 7}"#)).await.unwrap();
    let run = world.until_ended(&id).await;

    assert_eq!(run.state(), pb::RunState::Failed);
    let failure = step(&run, "work").failure.as_ref().unwrap();
    assert_eq!(failure.code, "VERIFICATION_FAILED");
    assert!(failure.message.contains("refused by `checker` with a score of 0.30"), "{}", failure.message);
    assert_eq!((worker.begun(), checker.begun()), (1, 1));
}
