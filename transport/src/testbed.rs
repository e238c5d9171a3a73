//! A server with a handler for every mishap, and a client for it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tonic::body::Body;
use tonic_prost::ProstCodec;

use crate::channel::{Channel, Options as ChannelOptions};
use crate::server::{Options, Report, serve};

pub(crate) type Codec = ProstCodec<String, String>;

/// What the handlers tell the test.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    /// A call to `hang` has begun.
    pub(crate) begun: Arc<Notify>,
    /// A call to `hang` was dropped.
    pub(crate) dropped: CancellationToken,
    /// Lets calls to `wait` end.
    pub(crate) go: Arc<Notify>,
}

pub(crate) struct Testbed {
    pub(crate) addr: SocketAddr,
    pub(crate) signals: Signals,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<Report>,
}

impl Testbed {
    pub(crate) async fn start(options: Options) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), options).await
    }

    pub(crate) async fn start_at(addr: SocketAddr, options: Options) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let signals = Signals::default();
        let stop = CancellationToken::new();
        let service = {
            let signals = signals.clone();
            tower::service_fn(move |request| handle(signals.clone(), request))
        };
        let served = tokio::spawn(serve(listener, service, options, stop.clone().cancelled_owned()));
        Self { addr, signals, stop, served }
    }

    pub(crate) fn channel(&self) -> Channel {
        Channel::to(self.addr, ChannelOptions::default())
    }

    /// Shuts down and returns what the server counted.
    pub(crate) async fn end(self) -> Report {
        self.stop.cancel();
        self.served.await.unwrap()
    }
}

/// One unary call.
pub(crate) async fn call(channel: &Channel, path: &'static str, text: &str) -> Result<String, Status> {
    call_with(channel, path, tonic::Request::new(text.to_owned())).await
}

pub(crate) async fn call_with(
    channel: &Channel,
    path: &'static str,
    request: tonic::Request<String>,
) -> Result<String, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await?;
    let path = http::uri::PathAndQuery::from_static(path);
    grpc.unary(request, path, Codec::default()).await.map(tonic::Response::into_inner)
}

/// One call whose answer is a stream.
pub(crate) async fn watch(
    channel: &Channel,
    path: &'static str,
    request: tonic::Request<String>,
) -> Result<tonic::Streaming<String>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await?;
    let path = http::uri::PathAndQuery::from_static(path);
    grpc.server_streaming(request, path, Codec::default()).await.map(tonic::Response::into_inner)
}

async fn handle(signals: Signals, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut grpc = tonic::server::Grpc::new(Codec::default());
    Ok(match request.uri().path() {
        "/test/hourly" => grpc.server_streaming(tower::service_fn(hourly), request).await,
        "/test/panic-later" => grpc.server_streaming(tower::service_fn(panic_later), request).await,
        "/test/bad-details" => bad_details(),
        path => {
            let path = path.to_owned();
            let unary = tower::service_fn(move |request| unary(path.clone(), signals.clone(), request));
            grpc.unary(unary, request).await
        }
    })
}

async fn unary(
    path: String,
    signals: Signals,
    request: tonic::Request<String>,
) -> Result<tonic::Response<String>, Status> {
    match path.as_str() {
        "/test/echo" => Ok(tonic::Response::new(request.into_inner())),
        "/test/peer" => Ok(tonic::Response::new(request.remote_addr().unwrap().ip().to_string())),
        "/test/panic" => panic!("a planted panic"),
        "/test/wait" => {
            signals.begun.notify_one();
            signals.go.notified().await;
            Ok(tonic::Response::new("done".to_owned()))
        }
        "/test/hang" => {
            let _guard: DropGuard = signals.dropped.clone().drop_guard();
            signals.begun.notify_one();
            std::future::pending().await
        }
        _ => Err(Status::unimplemented("")),
    }
}

type Stream = futures::stream::BoxStream<'static, Result<String, Status>>;

/// A message every hour, for ever.
async fn hourly(_: tonic::Request<String>) -> Result<tonic::Response<Stream>, Status> {
    let stream = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Some((Ok("tick".to_owned()), ()))
    });
    Ok(tonic::Response::new(stream.boxed()))
}

async fn panic_later(_: tonic::Request<String>) -> Result<tonic::Response<Stream>, Status> {
    let stream = futures::stream::iter(0..2).then(|n| async move {
        // The first message is sent before the panic: tonic gathers what is ready into one frame.
        tokio::task::yield_now().await;
        assert_eq!(n, 0, "a planted panic");
        Ok("first".to_owned())
    });
    Ok(tonic::Response::new(stream.boxed()))
}

/// An answer that would make tonic's client panic.
fn bad_details() -> Response<Body> {
    Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", "3")
        .header("grpc-status-details-bin", "!!!")
        .body(Body::empty())
        .unwrap()
}

/// A raw gRPC request for `echo` with `body`.
pub(crate) fn raw<B>(content_type: &str, body: B) -> Request<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tower::BoxError>,
{
    Request::post("/test/echo").header("content-type", content_type).body(Body::new(body)).unwrap()
}
