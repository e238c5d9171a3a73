//! Health, beyond the simple cases: frozen agents, late agents, and steps that wait for the sick.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::pb;
use mainstay_tests::wait::until;
use mainstay_tests::world::{World, spec};

const WORK: (&str, &str) = ("work", "effect: read-only, max_concurrency: 64");

fn unhealthy(agent: &pb::Agent) -> bool {
    agent.instances[0].health() == pb::HealthState::Unhealthy
}

#[tokio::test]
async fn a_frozen_agent_is_found_out_by_its_sidecar_and_taken_back_when_it_thaws() {
    let world = World::start().await;
    let frozen = world.agent("frozen", &[WORK]).await;
    let _other = world.agent("other", &[WORK]).await;
    let frost = frozen.agent.freeze();
    let found = world.until_agent("frozen", "to be found out", unhealthy).await;
    assert!(found.instances[0].leased, "its sidecar lives and keeps the lease");
    assert!(!found.instances[0].health_reason.is_empty());
    for _ in 0..10 {
        assert_eq!(world.invoke("work", r#"{"x": 1}"#).await.unwrap().agent, "other");
    }
    drop(frost);
    world.until_healthy("frozen").await;
    until("the thawed one to be called", || async {
        (world.invoke("work", r#"{"x": 1}"#).await.ok()?.agent == "frozen").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_step_waits_for_a_sick_agent_and_the_record_says_for_whom() {
    let world = World::start().await;
    let agent = world.agent("worker", &[WORK]).await;
    world
        .put("name: one\nversion: 1\nsteps:\n  - { id: a, call: { capability: work }, timeout: 55s }\n")
        .await;
    agent.set_well(false).await;
    world.until_agent("worker", "to be sick", unhealthy).await;
    let id = world.submit(spec("one", r#"{"x": 1}"#)).await.unwrap();
    world.until_run(&id, "to wait", |run| run.steps[0].state() == pb::StepState::Running).await;
    assert_eq!(agent.begun(), 0, "the sick are left alone");
    agent.set_well(true).await;
    let run = world.until_ended(&id).await;
    assert_eq!(run.state(), pb::RunState::Completed, "{run:?}");
    let attempt = &run.steps[0].attempts[0];
    assert!(attempt.waited.is_some_and(|waited| waited.seconds > 0 || waited.nanos > 0), "{attempt:?}");
    assert!(attempt.notes.iter().any(|note| note.contains("not healthy")), "{:?}", attempt.notes);
}

#[tokio::test]
async fn a_sidecar_that_is_there_first_registers_once_there_is_a_control_plane() {
    let mut world = World::start().await;
    world.kill();
    let _agent = world.agent_starting("early", &[WORK]).await;
    world.restart().await;
    world.until_healthy("early").await;
    assert_eq!(world.invoke("work", r#"{"x": 1}"#).await.unwrap().agent, "early");
}

#[tokio::test]
async fn a_slow_agent_slows_nobody_but_those_who_call_it() {
    let world = World::start().await;
    let slow = world.agent("slow", &[("slow", "effect: read-only, max_concurrency: 4")]).await;
    let _quick = world.agent("quick", &[WORK]).await;
    let stuck: Vec<_> = (0..16)
        .map(|_| {
            let mut client = world.orchestrator();
            let input = r#"{"x": 1, "gate": "go"}"#.into();
            let request = pb::InvokeRequest { capability: "slow".into(), input, ..Default::default() };
            tokio::spawn(async move { client.invoke(request).await })
        })
        .collect();
    slow.until_begun(4).await;
    // Everything else goes on while all its places are taken and a queue has formed before it.
    for x in 0..50 {
        assert_eq!(world.invoke("work", &format!("{{\"x\": {x}}}")).await.unwrap().agent, "quick");
    }
    assert_eq!(slow.begun(), 4, "no more than it takes at once");
    slow.open("go").await;
    for call in stuck {
        call.await.unwrap().unwrap();
    }
}
