//! The other ends of calls, as processes of their own: this program, started again in another role.
//!
//! A helper writes where it listens into a file, one address a line, and ends when its standard input does.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use axum::serve::ListenerExt;
use mainstay_proto::pb;
use mainstay_transport::server;
use tokio::net::TcpListener;
use tonic::codegen::{BoxFuture, Service, StdError, http};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// First argument that makes this program a helper.
pub const HELPER: &str = "helper";

/// Listeners on one loopback address, so that tens of thousands do not use up the ports of one.
const LISTENERS_AN_ADDRESS: usize = 250;

/// How often the number of answered polls is written down.
const COUNT_EVERY: Duration = Duration::from_millis(100);

/// What a helper does, and where it says that it is ready.
#[derive(Debug, Clone)]
pub enum Role {
    /// Answers `Invoke` with its input: tonic's own server, as a newcomer would start it.
    Echo(PathBuf),
    /// An agent: answers each POST with its body, after so long.
    Agent(PathBuf, Duration),
    /// So many instances that are always well. How often they were asked is written beside the ready file.
    Instances(PathBuf, usize),
}

impl Role {
    /// The role in this program's arguments, if it is to be a helper.
    #[must_use]
    pub fn from_args() -> Option<anyhow::Result<Self>> {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match args[..] {
            [HELPER, "echo", ready] => Some(Ok(Self::Echo(ready.into()))),
            [HELPER, "agent", ready] => Some(Ok(Self::Agent(ready.into(), Duration::ZERO))),
            [HELPER, "agent", ready, millis] => Some(
                millis
                    .parse()
                    .context("milliseconds")
                    .map(|millis| Self::Agent(ready.into(), Duration::from_millis(millis))),
            ),
            [HELPER, "instances", ready, count] => {
                Some(count.parse().context("a count").map(|count| Self::Instances(ready.into(), count)))
            }
            _ => None,
        }
    }
}

/// The file in which instances count the polls they answered.
#[must_use]
pub fn polls_beside(ready: &Path) -> PathBuf {
    ready.with_extension("polls")
}

/// Plays a role until standard input ends.
///
/// # Errors
/// If it cannot listen.
pub fn serve(role: Role) -> anyhow::Result<()> {
    std::thread::spawn(|| {
        let mut nothing = [0; 64];
        while std::io::stdin().read(&mut nothing).is_ok_and(|read| read > 0) {}
        std::process::exit(0);
    });
    match role {
        // Both cores, as `#[tokio::main]` gives them.
        Role::Echo(ready) => tokio::runtime::Runtime::new()?.block_on(echo(&ready)),
        Role::Agent(ready, takes) => one_thread()?.block_on(agent(&ready, takes)),
        Role::Instances(ready, count) => one_thread()?.block_on(instances(&ready, count)),
    }
}

fn one_thread() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn announce(ready: &Path, addresses: &[SocketAddr]) -> std::io::Result<()> {
    let text: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    write_whole(ready, &text)
}

fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text)?;
    std::fs::rename(draft, path)
}

async fn echo(ready: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    announce(ready, &[listener.local_addr()?])?;
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder().add_service(Echo).serve_with_incoming(incoming).await?;
    Ok(())
}

/// `mainstay.v1.Orchestrator/Invoke` alone, with nothing behind it.
#[derive(Debug, Clone)]
struct Echo;

impl tonic::server::NamedService for Echo {
    const NAME: &'static str = pb::orchestrator_server::SERVICE_NAME;
}

impl tonic::server::UnaryService<pb::InvokeRequest> for Echo {
    type Response = pb::InvokeResponse;
    type Future = BoxFuture<Response<pb::InvokeResponse>, Status>;

    fn call(&mut self, request: Request<pb::InvokeRequest>) -> Self::Future {
        let answer = pb::Answer { output: request.into_inner().input, ..Default::default() };
        let response = pb::InvokeResponse { answer: Some(answer), attempts: 1, ..Default::default() };
        Box::pin(std::future::ready(Ok(Response::new(response))))
    }
}

impl<B> Service<http::Request<B>> for Echo
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<StdError> + Send,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        Box::pin(async move {
            let codec = tonic_prost::ProstCodec::default();
            Ok(tonic::server::Grpc::new(codec).unary(Self, request).await)
        })
    }
}

async fn agent(ready: &Path, takes: Duration) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    announce(ready, &[listener.local_addr()?])?;
    let listener = listener.tap_io(|stream| {
        // A connection that refuses the option is dying anyway.
        stream.set_nodelay(true).ok();
    });
    let answer = move |body: bytes::Bytes| async move {
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        body
    };
    let routes = axum::Router::new().route("/", axum::routing::post(answer));
    axum::serve(listener, routes).await?;
    Ok(())
}

async fn instances(ready: &Path, count: usize) -> anyhow::Result<()> {
    let well = AlwaysWell::default();
    let polls = Arc::clone(&well.0);
    let routes = tonic::service::Routes::new(HealthServer::new(well));
    let mut addresses = Vec::with_capacity(count);
    for number in 0..count {
        let block = u32::try_from(number / LISTENERS_AN_ADDRESS)? + u32::from(std::process::id() as u16) * 64;
        // 127.64.0.0/10, a part of the loopback network that nothing else uses.
        let host = Ipv4Addr::from((u32::from(Ipv4Addr::new(127, 64, 0, 0))) + 1 + block);
        let listener = TcpListener::bind((host, 0)).await?;
        addresses.push(listener.local_addr()?);
        let options = server::Options::default();
        tokio::spawn(server::serve(listener, routes.clone(), options, std::future::pending()));
    }
    announce(ready, &addresses)?;
    let mut ticks = tokio::time::interval(COUNT_EVERY);
    loop {
        ticks.tick().await;
        write_whole(&polls_beside(ready), &polls.load(Ordering::Relaxed).to_string())?;
    }
}

/// A health service that always says "serving", and counts.
#[derive(Debug, Default)]
struct AlwaysWell(Arc<AtomicU64>);

#[tonic::async_trait]
impl Health for AlwaysWell {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    type WatchStream = futures::stream::Pending<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(futures::stream::pending()))
    }
}
