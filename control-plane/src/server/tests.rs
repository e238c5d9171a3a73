use mainstay_transport::channel::{Channel, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::*;

fn config() -> Config {
    let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Config { listen: here, admin: here, ..Config::default() }
}

async fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_server_is_ready_after_recovery_and_ends_when_it_is_told() {
    let server = Server::bind(config()).await.unwrap();
    let (grpc, admin) = (server.grpc_addr().unwrap(), server.admin_addr().unwrap());
    let mut ready = server.core.engine.readiness();
    assert!(!*ready.borrow(), "not before it runs");
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone().cancelled_owned()));
    ready.wait_for(|ready| *ready).await.unwrap();

    assert!(get(admin, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(admin, "/readyz").await.ends_with("ready\n"));
    let metrics = get(admin, "/metrics").await;
    assert!(metrics.contains("application/openmetrics-text"), "{metrics}");
    assert!(metrics.contains("# TYPE mainstay_store_commits counter"), "{metrics}");
    assert!(metrics.contains("\nmainstay_store_commits_total "), "{metrics}");
    assert!(metrics.contains("mainstay_ready 1") && metrics.ends_with("# EOF\n"), "{metrics}");

    let mut health = HealthClient::new(Channel::to(grpc, Options::default()));
    for service in SERVICES {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut watch = health.watch(request).await.unwrap().into_inner();
        let serving = tonic_health::pb::health_check_response::ServingStatus::Serving;
        while watch.message().await.unwrap().unwrap().status() != serving {}
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(TcpStream::connect(grpc).await.is_err(), "nothing listens any more");
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test]
async fn a_server_that_loses_a_part_stops_and_says_so() {
    let mut server = Server::bind(config()).await.unwrap();
    let grpc = server.grpc_addr().unwrap();
    server.core.parts.push(Part::new("planted", async { panic!("planted") }));
    assert!(matches!(server.run(std::future::pending()).await, Err(Broken::Part)));
    assert!(TcpStream::connect(grpc).await.is_err(), "nothing listens any more");
}
