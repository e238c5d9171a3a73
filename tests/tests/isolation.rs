//! Agents that call others while they carry out a call: whom they may, never in a circle, and across a run that they start.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use mainstay_proto::{chain, pb};
use mainstay_tests::process::{Process, mainstay};
use mainstay_tests::world::{World, spec};
use tonic::{Request, Status};

const READ: &str = "effect: read-only";

/// An agent whose work is the command line's: to have another capability carried out with the input it is given.
async fn caller(world: &World, capability: &str, callee: &str, fields: &str) -> Process {
    let folder = world.folder().join(capability);
    std::fs::create_dir_all(&folder).unwrap();
    let (server, program) = (format!("http://{}", world.grpc), mainstay().display());
    let manifest = format!(
        "name: {capability}-agent\nversion: '1'\ncontrol_plane: {server}\nlisten: 127.0.0.1:0\ndata: ledger\n\
         adapter: {{ command: {{ program: '{program}', args: [--output, json, --server, '{server}', invoke, {callee}, --input, '-'] }} }}\n\
         capabilities:\n  - {{ name: {capability}, {READ}, {fields} }}\n"
    );
    std::fs::write(folder.join("agent.yaml"), manifest).unwrap();
    let mut command = Command::new(mainstay());
    command.current_dir(&folder).args(["sidecar", "--manifest", "agent.yaml", "--until-stdin-closes"]);
    let sidecar = Process::start(&format!("{capability}-sidecar"), command, &folder);
    world.until_healthy(&format!("{capability}-agent")).await;
    sidecar
}

fn told(status: &Status) -> &str {
    status.message()
}

#[tokio::test]
async fn a_worker_calls_nobody_unless_its_manifest_names_whom() {
    let world = World::start().await;
    let finder = world.agent("finder", &[("find", READ)]).await;
    let _alone = caller(&world, "alone", "find", "sla: 20s").await;
    let _leader = caller(&world, "lead", "find", "sla: 20s, may_call: [find]").await;

    let refused = world.invoke("alone", r#"{"x": 1}"#).await.unwrap_err();
    assert!(told(&refused).contains("CALL_NOT_ALLOWED"), "{refused:?}");
    assert!(told(&refused).contains("alone-agent may not have find carried out by others"), "{refused:?}");
    assert_eq!(finder.begun(), 0, "nobody was called");

    let answer = world.invoke("lead", r#"{"x": 1}"#).await.unwrap();
    assert_eq!((answer.agent.as_str(), finder.begun()), ("lead-agent", 1));
    assert!(world.invoke("find", r#"{"x": 2}"#).await.is_ok(), "a client's own call is nobody's");
}

#[tokio::test]
async fn calls_that_come_back_to_where_they_began_are_cut_and_say_how() {
    let world = World::start().await;
    let _first = caller(&world, "first", "second", "sla: 20s, may_call: ['*']").await;
    let _second = caller(&world, "second", "first", "sla: 20s, may_call: ['*']").await;
    let cut = world.invoke("first", r#"{"x": 1}"#).await.unwrap_err();
    assert!(told(&cut).contains("CALL_CHAIN_CUT"), "{cut:?}");
    assert!(told(&cut).contains("first-agent/first, second-agent/second"), "{cut:?}");
}

#[tokio::test]
async fn a_run_that_a_worker_starts_calls_whom_the_worker_may_also_after_a_kill() {
    let mut world = World::start().await;
    let finder = world.agent("finder", &[("find", READ), ("other", READ)]).await;
    let _leader = caller(&world, "lead", "find", "sla: 20s, may_call: [find]").await;
    world
        .put(
            "name: two\nversion: 1\nsteps:\n  - { id: one, call: { capability: find }, input: '${input}' }\n  \
             - { id: two, after: [one], call: { capability: other }, input: {} }\n",
        )
        .await;
    let mut request = Request::new(pb::SubmitRequest { run: Some(spec("two", r#"{"x": 1, "gate": "go"}"#)) });
    request.metadata_mut().insert(chain::HEADER, "lead-agent/lead".parse().unwrap());
    let id = world.orchestrator().submit(request).await.unwrap().into_inner().run_id;
    finder.until_begun(1).await;
    world.kill();
    world.restart().await;
    finder.open("go").await;
    let run = world.until_ended(&id).await;
    let failure = run.failure.clone().unwrap();
    assert!(failure.message.starts_with("step `two` failed: CALL_NOT_ALLOWED"), "{failure:?}");
    assert_eq!(run.steps[0].state(), pb::StepState::Completed, "{run:?}");

    let mut request = Request::new(pb::SubmitRequest { run: Some(spec("two", "{}")) });
    request.metadata_mut().insert(chain::HEADER, "no chain".parse().unwrap());
    let refused = world.orchestrator().submit(request).await.unwrap_err();
    assert!(told(&refused).contains(chain::HEADER), "{refused:?}");
}
