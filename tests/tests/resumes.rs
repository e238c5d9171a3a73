//! Going on from runs that failed, across a kill of the control plane.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Output;

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::process::mainstay;
use mainstay_tests::world::{World, spec};
use serde_json::Value;

const WORK: &str = "effect: side-effecting, max_concurrency: 8";
const STAGES: &str = "
name: stages
version: 1
deadline: 1h
steps:
  - id: first
    call: { capability: work }
    input: { x: '${input.x}' }
  - id: second
    after: [first]
    call: { capability: shaky }
    input: { x: '${steps.first.output.x}' }
    retry: { max_attempts: 1 }
  - id: third
    after: [second]
    call: { capability: work }
    input: { x: '${steps.second.output.x}', gate: go }
output: { x: '${steps.third.output.x}' }
";

fn resume(run: &str, accept: &[&str]) -> pb::ResumeRunRequest {
    let accept_unknown = accept.iter().map(|&step| step.to_owned()).collect();
    pb::ResumeRunRequest { run_id: run.to_owned(), accept_unknown, ..Default::default() }
}

#[tokio::test]
async fn a_pipeline_goes_on_at_the_stage_that_failed_whatever_is_killed_meanwhile() {
    let mut world = World::start().await;
    let worker = world.agent("worker", &[("work", WORK)]).await;
    let shaky = world.agent("shaky", &[("shaky", WORK)]).await;
    world.put(STAGES).await;
    shaky.fail(100).await;
    let failed = world.run("stages", r#"{"x": 1}"#).await;
    assert_eq!(failed.state(), pb::RunState::Failed);
    assert_eq!((worker.begun(), shaky.begun()), (1, 1));

    shaky.fail(0).await;
    let request = resume(&failed.run_id, &[]);
    let answer = world.orchestrator().resume_run(request.clone()).await.unwrap().into_inner();
    assert!(answer.created);
    world.kill();
    world.restart().await;
    let again = world.orchestrator().resume_run(request).await.unwrap().into_inner();
    assert_eq!((again.run_id.as_str(), again.created), (answer.run_id.as_str(), false), "it is one run");
    worker.open("go").await;
    let run = world.until_ended(&answer.run_id).await;
    assert_eq!(run.state(), pb::RunState::Completed, "{:?}", run.failure);
    assert_eq!(&run.output[..], br#"{"x":4}"#);
    assert_eq!((worker.begun(), shaky.begun()), (2, 2), "the stage that had finished is not called again");
    assert_eq!(run.resumed_from, failed.run_id);
    assert_eq!(world.get_run(&failed.run_id).await.unwrap().resumed_as, run.run_id);
    let carried: Vec<(&str, usize)> = (run.steps.iter().filter(|step| step.carried))
        .map(|step| (step.id.as_str(), step.attempts.len()))
        .collect();
    assert_eq!(carried, [("first", 0)]);

    let server = format!("http://{}", world.grpc);
    let cli = |args: &[&str]| -> Output {
        std::process::Command::new(mainstay()).args([&["--server", &server], args].concat()).output().unwrap()
    };
    let replay = cli(&["replay", &run.run_id, "--output", "json"]);
    let replay: Value = serde_json::from_slice(&replay.stdout).unwrap();
    assert_eq!(replay["same"], true, "{replay}");
    let shown = cli(&["resume", &failed.run_id, "--output", "json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["resumed_from"], failed.run_id, "{shown}");
    let trace = String::from_utf8(cli(&["trace", &run.run_id]).stdout).unwrap();
    assert!(trace.contains("completed before, and carried over"), "{trace}");
}

#[tokio::test]
async fn what_may_have_been_done_is_called_again_only_if_somebody_says_so() {
    let world = World::start().await;
    let worker = world.agent("worker", &[("work", WORK)]).await;
    let _shaky = world.agent("shaky", &[("shaky", WORK)]).await;
    world.put(STAGES).await;
    let id = world.submit(spec("stages", r#"{"x": 1}"#)).await.unwrap();
    let refused = async |run: &str, accept: &[&str]| {
        Seen::of(&world.orchestrator().resume_run(resume(run, accept)).await.unwrap_err()).reason
    };
    worker.until_begun(2).await;
    assert_eq!(refused(&id, &[]).await, "RUN_NOT_RESUMABLE", "it goes on by itself");
    let request = pb::CancelRunRequest { run_id: id.clone(), ..Default::default() };
    world.orchestrator().cancel_run(request).await.unwrap();
    assert_eq!(refused(&id, &[]).await, "RESUME_UNCERTAIN", "the third stage was under way");
    assert_eq!(refused(&id, &["fourth"]).await, "FIELD_INVALID");
    let accepted = world.orchestrator().resume_run(resume(&id, &["third"])).await.unwrap().into_inner();
    worker.open("go").await;
    let run = world.until_ended(&accepted.run_id).await;
    assert_eq!(run.state(), pb::RunState::Completed);
    assert_eq!(worker.begun(), 3);
    assert_eq!(refused(&accepted.run_id, &[]).await, "RUN_NOT_RESUMABLE", "nothing is left to do");
}
