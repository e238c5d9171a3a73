//! Running it: readiness, health, reflection, metrics, stopping.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

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
