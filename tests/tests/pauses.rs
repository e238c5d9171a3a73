//! Pause, drain and resume, by the command line and over the wire, with real sidecars.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::process::mainstay;
use mainstay_tests::world::{World, spec};
use serde_json::Value;
use tonic::Code;

const WORK: (&str, &str) = ("work", "effect: side-effecting, max_concurrency: 4");
const TWO: &str = "name: two\nversion: 1\nsteps:\n  - { id: a, call: { capability: work }, input: \"${input}\" }\n  \
                   - { id: b, after: [a], call: { capability: work }, input: { x: 5 } }\n";

/// Runs a command against the world, off the runtime's thread.
async fn cli(world: &World, args: &[&str]) -> Output {
    let server = format!("http://{}", world.grpc);
    let mut command = Command::new(mainstay());
    command.args(args).args(["--server", &server, "--output", "json"]).env("USER", "olga");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The JSON answer of a command that must succeed.
async fn ok(world: &World, args: &[&str]) -> Value {
    let output = cli(world, args).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn waiting(run: &pb::Run, step: usize) -> &str {
    &run.steps[step].waiting
}

#[tokio::test]
async fn a_run_waits_for_a_paused_agent_across_a_restart_and_goes_on_when_it_is_resumed() {
    let mut world = World::start().await;
    let agent = world.agent("writer", &[WORK]).await;
    world.put(TWO).await;
    let id = world.submit(spec("two", r#"{"x": 1, "gate": "go"}"#)).await.unwrap();
    agent.until_begun(1).await;
    let paused = ok(&world, &["pause", "agent/writer", "--reason", "new model"]).await;
    assert_eq!((&paused["by"], &paused["under_way"]), (&"olga".into(), &1.into()), "{paused}");

    // What is under way ends as it would; what would begin waits, and says for what.
    agent.open("go").await;
    let why = "paused: new model (agent/writer, by olga)";
    world.until_run(&id, "to wait", |run| waiting(run, 1) == why).await;
    assert_eq!(agent.begun(), 1);
    let shown = world.until_agent("writer", "to be paused", |agent| agent.pauses.len() == 1).await;
    assert_eq!((&*shown.pauses[0].target, &*shown.pauses[0].reason), ("agent/writer", "new model"));
    assert_eq!(ok(&world, &["trace", &id]).await["steps"][1]["waiting"], why);
    assert_eq!(ok(&world, &["agent", "writer"]).await["pauses"][0]["reason"], "new model");
    let (_, metrics) = world.get("/metrics").await.unwrap();
    assert!(metrics.contains("mainstay_paused{kind=\"agent\"} 1"), "{metrics}");

    world.kill();
    world.restart().await;
    world.until_healthy("writer").await;
    world.until_run(&id, "to wait again", |run| waiting(run, 1) == why).await;
    let again = ok(&world, &["pauses"]).await;
    assert_eq!((&again[0]["since"], &again[0]["reason"]), (&paused["since"], &paused["reason"]));
    assert_eq!(agent.begun(), 1);

    ok(&world, &["resume", "agent/writer"]).await;
    let run = world.until_ended(&id).await;
    assert_eq!(run.state(), pb::RunState::Completed, "{run:?}");
    let notes = run.steps[1].attempts[0].notes.join("; ");
    assert!(notes.contains(why), "the record says where it waited: {notes}");
    assert_eq!((agent.begun(), waiting(&run, 1)), (2, ""));
    assert_eq!(ok(&world, &["pauses"]).await, serde_json::json!([]));
}

#[tokio::test]
async fn a_drain_waits_for_what_is_under_way() {
    let world = World::start().await;
    let agent = world.agent("writer", &[WORK]).await;
    world.put(TWO).await;
    let id = world.submit(spec("two", r#"{"x": 1, "gate": "go"}"#)).await.unwrap();
    agent.until_begun(1).await;

    // Not over when the wait is: the answer and the exit code say so, and the pause stays.
    let output = cli(&world, &["drain", "instance/writer/one", "--reason", "move", "--wait", "100ms"]).await;
    assert_eq!(output.status.code(), Some(75));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["drained"], &answer["under_way"]), (&false.into(), &1.into()), "{answer}");

    let drained = async {
        let args = ["drain", "instance/writer/one", "--reason", "move", "--wait", "50s"];
        ok(&world, &args).await
    };
    let opened = async {
        let under_way = |agent: &pb::Agent| agent.instances[0].in_flight == 1 && agent.pauses.len() == 1;
        world.until_agent("writer", "to be at work", under_way).await;
        agent.open("go").await;
    };
    let (answer, ()) = tokio::join!(drained, opened);
    assert_eq!((&answer["drained"], &answer["under_way"]), (&true.into(), &0.into()), "{answer}");
    assert_eq!(agent.ledger().iter().filter(|row| row.output.is_some()).count(), 1, "it was not cut");
    ok(&world, &["resume", "instance/writer/one"]).await;
    assert_eq!(world.until_ended(&id).await.state(), pb::RunState::Completed);
}

#[tokio::test]
async fn direct_calls_and_new_runs_are_refused_by_name_of_what_is_paused() {
    let world = World::start().await;
    let agent = world.agent("writer", &[WORK]).await;
    world.put(TWO).await;
    for target in ["capability/work", "tenant/default"] {
        ok(&world, &["pause", target, "--reason", "audit"]).await;
        let status = world.invoke("work", r#"{"x": 1}"#).await.unwrap_err();
        assert_eq!((status.code(), &*Seen::of(&status).reason), (Code::Unavailable, "PAUSED"), "{target}");
        assert!(status.message().contains(&format!("paused: audit ({target}")), "{}", status.message());
        assert!(Seen::of(&status).retry_after.is_some());
        ok(&world, &["resume", target]).await;
    }
    for target in ["workflow/two", "tenant/default"] {
        ok(&world, &["pause", target, "--reason", "audit"]).await;
        let status = world.submit(spec("two", "{}")).await.unwrap_err();
        assert_eq!((status.code(), &*Seen::of(&status).reason), (Code::Unavailable, "PAUSED"), "{target}");
        assert_eq!(cli(&world, &["run", "two", "--input", "{}"]).await.status.code(), Some(75));
        ok(&world, &["resume", target]).await;
    }
    assert_eq!(agent.begun(), 0);
    assert_eq!(world.run("two", r#"{"x": 1}"#).await.state(), pb::RunState::Completed);
}

#[tokio::test]
async fn what_is_not_known_is_not_paused_and_what_is_not_paused_is_not_resumed() {
    let world = World::start().await;
    let _agent = world.agent("writer", &[WORK]).await;
    for (target, exit, code) in [
        ("agent/writre", 66, "AGENT_NOT_FOUND"),
        ("instance/writer/two", 66, "AGENT_NOT_FOUND"),
        ("capability/wrok", 66, "CAPABILITY_UNKNOWN"),
        ("workflow/none", 66, "WORKFLOW_NOT_FOUND"),
        ("writer", 65, "FIELD_INVALID"),
    ] {
        let output = cli(&world, &["pause", target, "--reason", "x"]).await;
        assert_eq!(output.status.code(), Some(exit), "{target}");
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["error"]["code"], code, "{target}");
    }
    let output = cli(&world, &["pause", "agent/writer", "--reason", " "]).await;
    assert_eq!(output.status.code(), Some(65), "a reason is asked for");
    let output = cli(&world, &["resume", "agent/writer"]).await;
    assert_eq!(output.status.code(), Some(66));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "PAUSE_NOT_FOUND");
    assert_eq!(ok(&world, &["pauses", "--all-tenants"]).await, serde_json::json!([]));
}
