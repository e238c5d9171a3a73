//! One HTTP/2 connection: how it is dialled, and how a request goes into it.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::body::Body;

use super::{Options, Wire, body};

/// Largest HTTP/2 frame the peer may send, the protocol's minimum: a big response is interleaved with small ones, and the
/// read buffer of an idle connection stays small.
const MAX_FRAME: u32 = 16 * 1024;

/// The handle of a connection. Clones send into the same one.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    http: http2::SendRequest<Body>,
    /// Tells connections apart.
    identity: Arc<()>,
}

/// A request that got no response.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: hyper::Error,
    /// The request itself, if not a byte of it was written.
    pub(super) unsent: Option<Box<Request<Body>>>,
}

impl Sender {
    pub(super) fn is_closed(&self) -> bool {
        self.http.is_closed()
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.identity, &other.identity)
    }

    pub(super) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, Failed> {
        match self.http.try_send_request(request).await {
            Ok(mut response) => {
                body::sanitize(response.headers_mut());
                Ok(response)
            }
            Err(mut failed) => {
                let unsent = failed.take_message().map(Box::new);
                Err(Failed { error: failed.into_error(), unsent })
            }
        }
    }
}

/// Dials `addr`; the error says why not, for people.
pub(super) async fn dial(addr: SocketAddr, options: &Options) -> Result<Sender, String> {
    let within = options.connect_timeout;
    timeout(within, handshake(addr, options)).await.map_err(|_| format!("no connection within {within:?}"))?
}

async fn handshake(addr: SocketAddr, options: &Options) -> Result<Sender, String> {
    if let Some(network) = &options.network {
        let wire = network.dial(addr).await.map_err(|error| error.to_string())?;
        return speak(addr, wire, options).await;
    }
    let stream = TcpStream::connect(addr).await.map_err(|error| error.to_string())?;
    // Calls are small and somebody waits for each: never hold one back to fill a packet.
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    speak(addr, stream, options).await
}

async fn speak(addr: SocketAddr, stream: impl Wire, options: &Options) -> Result<Sender, String> {
    let (http, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(options.max_header_list)
        .max_send_buf_size(options.send_buffer)
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .keep_alive_while_idle(options.keepalive_while_idle)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%addr, %error, "connection ended");
        }
    });
    Ok(Sender { http, identity: Arc::new(()) })
}
