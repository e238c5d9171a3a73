//! Running it: readiness, health, reflection, metrics, stopping, a full disk.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::wait::until;
use mainstay_tests::world::{World, spec};
use rustix::process::Signal;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const ONE: &str =
    "name: one\nversion: 1\nsteps:\n  - { id: a, call: { capability: work }, retry: { max_attempts: 20 } }\n";
const WORK: (&str, &str) = ("work", "effect: idempotent, max_concurrency: 64");

#[tokio::test]
async fn the_admin_address_tells_life_readiness_and_metrics() {
    let world = World::start().await;
    let _agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    world.run("one", r#"{"x":1}"#).await;
    assert_eq!(world.get("/healthz").await.unwrap(), (200, "ok\n".into()));
    assert_eq!(world.get("/readyz").await.unwrap(), (200, "ready\n".into()));
    let (status, metrics) = world.get("/metrics").await.unwrap();
    assert_eq!(status, 200);
    for line in [
        "mainstay_ready 1",
        "mainstay_instances 1",
        "mainstay_runs_started_total 1",
        "mainstay_runs_ended_total{state=\"completed\"} 1",
        "mainstay_attempts_total{class=\"success\"} 1",
        "mainstay_store_writable 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_standard_health_service_tells_of_every_service() {
    let world = World::start().await;
    let mut health = HealthClient::new(world.channel());
    for service in ["", "mainstay.v1.Orchestrator", "mainstay.v1.AgentRegistry"] {
        let answer = until("the server to serve", || {
            let mut health = health.clone();
            let request = HealthCheckRequest { service: service.into() };
            async move {
                health.check(request).await.ok().filter(|a| a.get_ref().status() == ServingStatus::Serving)
            }
        })
        .await;
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    let unknown = HealthCheckRequest { service: "nobody".into() };
    assert_eq!(health.check(unknown.clone()).await.unwrap_err().code(), Code::NotFound);
    let first = health.watch(unknown).await.unwrap().into_inner().message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
}

#[tokio::test]
async fn reflection_is_served_in_both_versions() {
    use tonic_reflection::pb::{v1, v1alpha};
    let world = World::start().await;
    let request = v1::ServerReflectionRequest {
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(world.channel());
    let answer = client.server_reflection_info(futures::stream::iter([request])).await.unwrap();
    let answer = answer.into_inner().message().await.unwrap().unwrap();
    assert!(format!("{answer:?}").contains("mainstay.v1.Orchestrator"));
    let request = v1alpha::ServerReflectionRequest {
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
        ..Default::default()
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(world.channel());
    let answer = client.server_reflection_info(futures::stream::iter([request])).await.unwrap();
    assert!(format!("{:?}", answer.into_inner().message().await.unwrap()).contains("mainstay.v1.Workflows"));
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_finishes_its_answers_and_leaves_runs_to_the_next() {
    let mut world = World::start().await;
    let agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    let short = tokio::spawn({
        let mut client = world.orchestrator();
        let run = Some(spec("one", r#"{"x":1,"sleep_ms":500}"#));
        async move { client.orchestrate(pb::OrchestrateRequest { run }).await }
    });
    let long = world.submit(spec("one", r#"{"x":5,"sleep_ms":15000}"#)).await.unwrap();
    until("both to begin", || async { (agent.ledger().len() >= 2).then_some(()) }).await;
    world.control_plane().signal(Signal::TERM);
    assert_eq!(short.await.unwrap().unwrap().into_inner().run.unwrap().state(), pb::RunState::Completed);
    until("the server to end", || std::future::ready(world.control_plane().exit_code())).await;
    world.restart().await;
    assert_eq!(world.until_ended(&long).await.state(), pb::RunState::Completed);
    assert_eq!(agent.ledger().iter().filter(|row| row.output.is_none()).count(), 2, "nothing was done twice");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_serves_reads_and_heals_by_itself() {
    let mut world = World::start().await;
    let _agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    let done = world.run("one", r#"{"x":1}"#).await.run_id;
    fill_disk(&mut world);
    // A large input goes into a file of its own, a small one into the store.
    for input in [format!("{{\"x\":1,\"pad\":\"{}\"}}", "p".repeat(20_000)), r#"{"x":1}"#.to_owned()] {
        let status = until("a write to be refused", || async {
            world.submit(spec("one", &input)).await.err().filter(|s| s.code() == Code::ResourceExhausted)
        })
        .await;
        assert_eq!(Seen::of(&status).reason, "STORE_READ_ONLY");
        assert!(Seen::of(&status).retry_after.is_some());
    }
    assert_eq!(world.get_run(&done).await.unwrap().state(), pb::RunState::Completed, "reads are served");
    assert_eq!(world.get("/readyz").await.unwrap().0, 503);
    assert_eq!(world.get("/healthz").await.unwrap().0, 200);
    empty_disk(&mut world);
    world.until_ready().await;
    let run = world.run("one", r#"{"x":1}"#).await;
    assert_eq!(run.state(), pb::RunState::Completed);
}

#[tokio::test]
async fn who_waits_for_a_run_is_told_when_the_disk_is_full_and_the_run_ends_once_when_it_is_not() {
    let mut world = World::start().await;
    let agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    let gated = r#"{"x":1,"gate":"go"}"#;
    let waiting = tokio::spawn({
        let mut client = world.orchestrator();
        let run = Some(spec("one", gated));
        async move { client.orchestrate(pb::OrchestrateRequest { run }).await }
    });
    agent.until_begun(1).await;
    let listed = world.orchestrator().list_runs(pb::ListRunsRequest::default()).await.unwrap().into_inner();
    let id = listed.runs[0].run_id.clone();
    let watch = pb::WatchRunRequest { run_id: id.clone(), ..Default::default() };
    let mut watched = world.orchestrator().watch_run(watch).await.unwrap().into_inner();
    fill_disk(&mut world);
    until("the store to refuse writes", || async {
        world.submit(spec("one", r#"{"x":2}"#)).await.err().filter(|s| s.code() == Code::ResourceExhausted)
    })
    .await;
    let told = waiting.await.unwrap().unwrap_err();
    assert_eq!((told.code(), &*Seen::of(&told).reason), (Code::Unavailable, "SERVER_NOT_READY"), "{told:?}");
    assert!(told.message().contains(&id), "{told:?}");
    assert_eq!(Seen::of(&told).retry_after, None, "asking again without a key would start another run");
    empty_disk(&mut world);
    world.until_ready().await;
    agent.open("go").await;
    assert_eq!(world.until_ended(&id).await.state(), pb::RunState::Completed);
    let mut ends = 0;
    while let Some(event) = watched.message().await.unwrap() {
        let event = event.event.unwrap().event;
        ends += usize::from(matches!(event, Some(pb::run_event::Event::RunEnded(_))));
    }
    assert_eq!(ends, 1, "the watch goes on to the end");
    let done = agent.ledger().iter().filter(|row| row.run == id && row.output.is_none()).count();
    assert_eq!(done, 1, "the work was begun once");
}

/// No file may grow beyond what the store's has grown to: the next write that needs room fails as on a full disk.
fn fill_disk(world: &mut World) {
    limit_files(world, "4096:unlimited");
}

fn empty_disk(world: &mut World) {
    limit_files(world, "unlimited:unlimited");
}

fn limit_files(world: &mut World, bytes: &str) {
    let pid = world.control_plane().id().to_string();
    let limited =
        Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}")]).status().unwrap();
    assert!(limited.success());
}
