//! Serves gRPC on a listener, and bounds what any peer can make it hold.
//!
//! Why an accept loop of our own? tonic's server advertises no limit of streams, switches off HTTP/2's guard against
//! floods of resets, keeps a silent connection for ever, and waits without end for the last connection when it
//! shuts down. hyper's builder has the settings; the loop around it is short. From the outside in:
//!
//! - [`admission`]: how many connections there may be, in all and from one peer.
//! - [`preface`]: whoever connects must begin to speak HTTP/2 within a few seconds.
//! - hyper: streams, headers, windows, resets and silence are bounded by [`Options`].
//! - [`guard`]: around every request: content type, deadline, panics, and error codes as we promise them.
//!
//! **Invariant:** nothing that a peer sends, and no panic in a handler, ends the server. A panic is caught around the very
//! request that raised it and answered with `INTERNAL`. Catching per connection would punish the other calls of the same
//! peer, and one peer is one control plane with hundreds of them. After a panic the request's future is never polled again, only
//! dropped, and the locks in use here do not poison; so unwinding cannot show anyone a half-made state through it.
//!
//! Shutting down: the listener is closed, peers are told to go away (GOAWAY), and calls under way have
//! [`Options::shutdown_grace`] to end. Then connections are dropped, and with them the calls. Streams that never end
//! by themselves should end when the same shutdown reaches their handlers; otherwise they use up the grace.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::transport::server::Connected;
use tower::{BoxError, Service};

mod admission;
mod guard;
mod preface;
mod reply;
mod report;
#[cfg(test)]
mod tests;

pub use admission::Caps;
pub use report::Report;

use admission::{Admission, Permit};
use guard::Guard;
use report::Counters;

/// What a server allows its peers.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many connections.
    pub caps: Caps,
    /// Time for a new connection to send HTTP/2's 24-byte preface. Honest clients send it with their first packet; this
    /// allows for a lost one or two.
    pub preface_timeout: Duration,
    /// Calls under way on one connection; more wait at the peer. Enough for a busy control plane, while a connection's
    /// memory stays bounded.
    pub max_concurrent_streams: u32,
    /// Largest request headers, in bytes as HTTP/2 counts them. Ours are below 1 KiB; tokens need the rest.
    pub max_header_list: u32,
    /// Bytes of one request a peer may send ahead of its reader. A quarter of the largest payload (4 MiB).
    pub stream_window: u32,
    /// Bytes of all requests on one connection ahead of their readers: what a connection can hold that nobody reads.
    pub connection_window: u32,
    /// Bytes of one response kept in memory ahead of the peer's window.
    pub send_buffer: usize,
    /// A silent connection is pinged after this time…
    pub keepalive_interval: Duration,
    /// …and given up if the ping is not answered within this one.
    pub keepalive_timeout: Duration,
    /// How long calls under way may go on after shutdown began.
    pub shutdown_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            caps: Caps::default(),
            preface_timeout: Duration::from_secs(5),
            max_concurrent_streams: 128,
            max_header_list: 16 * 1024,
            stream_window: 1024 * 1024,
            connection_window: 2 * 1024 * 1024 + 64 * 1024,
            send_buffer: 256 * 1024,
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

/// Resets we may be made to send on one connection by malformed streams before it is ended. Hyper's own default, written
/// down because tonic switches it off.
const MAX_LOCAL_ERROR_RESETS: usize = 1024;

/// Streams a peer may open and reset before we even saw them ("rapid reset", CVE-2023-44487).
const MAX_PENDING_ACCEPT_RESETS: usize = 20;

/// Pause after `accept` failed, mostly for want of file descriptors: connections must end before it can go better.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `service` on `listener` until `shutdown` completes, and then at most [`Options::shutdown_grace`] longer.
///
/// `service` is usually `tonic::service::Routes`, perhaps under tower layers. Requests carry tonic's `TcpConnectInfo` and, if their
/// caller sent one, a [`Deadline`](crate::deadline::Deadline) as extensions. An error of the service becomes the status
/// that tonic finds in it.
pub async fn serve<S>(
    listener: TcpListener,
    service: S,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> Report
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let server = Server {
        service,
        http: builder(&options),
        counters: Arc::default(),
        stop: CancellationToken::new(),
        kill: CancellationToken::new(),
        preface_timeout: options.preface_timeout,
    };
    let admission = Admission::new(options.caps.clone());
    let connections = TaskTracker::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections for the moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        match admission.admit(peer.ip()) {
            Some(permit) => {
                server.counters.accepted();
                connections.spawn(server.clone().connection(stream, peer, permit));
            }
            // Dropped at once: a peer learns quickly, and we hold nothing for it.
            None => {
                server.counters.refused();
                tracing::debug!(%peer, "connection refused: too many");
            }
        }
    }
    drop(listener);
    connections.close();
    server.stop.cancel();
    if tokio::time::timeout(options.shutdown_grace, connections.wait()).await.is_err() {
        server.counters.dropped(connections.len());
        server.kill.cancel();
        connections.wait().await;
    }
    server.counters.report()
}

fn builder(options: &Options) -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_local_error_reset_streams(MAX_LOCAL_ERROR_RESETS)
        .max_pending_accept_reset_streams(MAX_PENDING_ACCEPT_RESETS)
        .max_header_list_size(options.max_header_list)
        .initial_stream_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .max_send_buf_size(options.send_buffer)
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        // Nobody reads it, and it costs bytes in every answer.
        .auto_date_header(false);
    http
}

/// What every connection needs.
#[derive(Clone)]
struct Server<S> {
    service: S,
    http: http2::Builder<TokioExecutor>,
    counters: Arc<Counters>,
    /// Take no more calls.
    stop: CancellationToken,
    /// Drop what is left.
    kill: CancellationToken,
    preface_timeout: Duration,
}

impl<S> Server<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    async fn connection(self, stream: TcpStream, peer: SocketAddr, _permit: Permit) {
        let (stop, kill) = (self.stop.clone(), self.kill.clone());
        tokio::select! {
            biased;
            () = kill.cancelled() => {}
            () = self.converse(stream, peer, stop) => {}
        }
    }

    async fn converse(self, mut stream: TcpStream, peer: SocketAddr, stop: CancellationToken) {
        let spoken = tokio::select! {
            // Nothing is lost with a connection that has not begun to speak.
            () = stop.cancelled() => return,
            spoken = tokio::time::timeout(self.preface_timeout, preface::read(&mut stream)) => spoken,
        };
        if !matches!(spoken, Ok(Ok(()))) {
            self.counters.silent();
            tracing::debug!(%peer, "connection closed: it did not begin to speak HTTP/2");
            return;
        }
        // Answers are small and somebody waits for each. A connection that refuses the option is dying anyway.
        drop(stream.set_nodelay(true));
        let info = stream.connect_info();
        let guard = Guard::new(self.service, info, self.counters);
        let io = TokioIo::new(preface::Replayed::new(stream));
        let mut connection = pin!(self.http.serve_connection(io, guard));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }
}
