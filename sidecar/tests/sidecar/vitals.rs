//! Health, as the control plane asks for it.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Running, request, start, until};

async fn status(sidecar: &Running, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    let mut client = HealthClient::new(sidecar.channel.clone());
    client.check(request).await.unwrap().into_inner().status()
}

fn manifest(url: &str, health: &str) -> String {
    format!(
        "
name: agent
control_plane: http://127.0.0.1:1
adapter: {{ http: {{ url: '{url}' }} }}
health: {{ {health} interval: 100ms, timeout: 1s, fall: 2 }}
capabilities: [ {{ name: work, effect: read-only }} ]
"
    )
}

#[tokio::test]
async fn an_agent_that_is_down_at_the_start_is_not_served_until_it_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let sidecar = start(&manifest(&format!("http://{address}"), "")).await;
    for service in ["", "agent", "mainstay.v1.AgentSidecar"] {
        assert_eq!(status(&sidecar, service).await, ServingStatus::NotServing, "{service:?}");
    }
    let _listener = TcpListener::bind(address).await.unwrap();
    until("it is served", async || status(&sidecar, "agent").await == ServingStatus::Serving).await;
    assert_eq!(status(&sidecar, "").await, ServingStatus::Serving);
    sidecar.stop().await;
}

#[tokio::test]
async fn an_agent_that_falls_ill_is_not_served_until_it_has_recovered() {
    let well = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&well);
    let health = get(move || async move {
        if state.load(Ordering::SeqCst) { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/health", health).route("/", post(|| async { "1" }));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    let sidecar = start(&manifest(&url, &format!("http: {{ url: '{url}/health' }},"))).await;
    until("it is served", async || status(&sidecar, "").await == ServingStatus::Serving).await;
    well.store(false, Ordering::SeqCst);
    until("it is not", async || status(&sidecar, "").await == ServingStatus::NotServing).await;
    assert_eq!(
        sidecar.answer(request("work", "1")).await.output,
        "1",
        "whoever calls all the same is served"
    );
    well.store(true, Ordering::SeqCst);
    until("it is again", async || status(&sidecar, "").await == ServingStatus::Serving).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn a_program_can_be_the_probe() {
    let folder = tempfile::tempdir().unwrap();
    let well = folder.path().join("well");
    let probe = format!("command: {{ program: test, args: [ '-e', {} ] }},", well.display());
    let sidecar = start(&manifest("http://127.0.0.1:1", &probe)).await;
    assert_eq!(status(&sidecar, "").await, ServingStatus::NotServing);
    std::fs::write(&well, "").unwrap();
    until("it is served", async || status(&sidecar, "").await == ServingStatus::Serving).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn an_agent_without_a_state_is_always_served() {
    let sidecar = start(
        "
name: agent
control_plane: http://127.0.0.1:1
adapter: { echo: {} }
capabilities: [ { name: work, effect: read-only } ]
",
    )
    .await;
    assert_eq!(status(&sidecar, "agent").await, ServingStatus::Serving);
    sidecar.stop().await;
}
