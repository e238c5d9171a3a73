//! Undoing what a run did, across kills of the control plane.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::pb;
use mainstay_tests::world::{World, spec};

const WORK: &str = "effect: side-effecting, max_concurrency: 8";
const TRIP: &str = "
name: trip
version: 1
deadline: 1h
steps:
  - id: flight
    call: { capability: work }
    input: { x: 1 }
    compensate: { capability: back, input: { x: '${steps.flight.output.x}', gate: go } }
  - id: room
    after: [flight]
    call: { capability: work }
    input: { x: 10 }
    compensate: { capability: back }
  - id: pay
    after: [room]
    call: { capability: work }
    input: { fail: no money }
    retry: { max_attempts: 1 }
";

#[tokio::test]
async fn what_was_booked_is_given_back_once_whatever_is_killed_meanwhile() {
    let mut world = World::start().await;
    let worker = world.agent("worker", &[("work", WORK)]).await;
    let giver = world.agent("giver", &[("back", WORK)]).await;
    world.put(TRIP).await;

    let id = world.submit(spec("trip", "{}")).await.unwrap();
    giver.until_begun(2).await;
    world.kill();
    world.restart().await;
    let run = world
        .until_run(&id, "the last undo to be under way again", |run| {
            run.steps.iter().any(|step| step.id == "flight/undo" && step.state() == pb::StepState::Running)
        })
        .await;
    assert_eq!(run.state(), pb::RunState::Running, "it ends once it is undone");
    giver.open("go").await;

    let run = world.until_ended(&id).await;
    assert_eq!(run.state(), pb::RunState::Failed);
    assert!(run.failure.as_ref().unwrap().message.starts_with("step `pay` failed"));
    let undoing = run.undoing.as_ref().unwrap();
    assert!(undoing.not_undone.is_empty(), "{undoing:?}");
    let given: Vec<String> =
        giver.ledger().into_iter().filter(|row| row.output.is_none()).map(|row| row.body).collect();
    assert_eq!(given, [r#"{"x":11}"#, r#"{"gate":"go","x":2}"#], "the last one first, each once");
    assert_eq!(worker.begun(), 3);
}

#[tokio::test]
async fn a_cancel_is_answered_at_once_and_the_run_ends_when_it_is_undone() {
    let world = World::start().await;
    let _worker = world.agent("worker", &[("work", WORK)]).await;
    let giver = world.agent("giver", &[("back", WORK)]).await;
    world.put(&TRIP.replace("fail: no money", "gate: never")).await;
    let id = world.submit(spec("trip", "{}")).await.unwrap();
    world
        .until_run(&id, "the payment to be under way", |run| {
            run.steps.iter().any(|step| step.id == "pay" && step.state() == pb::StepState::Running)
        })
        .await;
    for _ in 0..2 {
        let request = pb::CancelRunRequest { run_id: id.clone(), ..Default::default() };
        let answer = world.orchestrator().cancel_run(request).await.unwrap().into_inner();
        assert_eq!(answer.state(), pb::RunState::Running, "it undoes first, and again changes nothing");
    }
    giver.until_begun(2).await;
    giver.open("go").await;
    let run = world.until_ended(&id).await;
    assert_eq!(run.state(), pb::RunState::Cancelled);
    assert!(run.undoing.unwrap().not_undone.is_empty());
}
