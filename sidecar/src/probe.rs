//! One look at the agent: a GET, a connection, or a program.

use std::fmt;
use std::pin::pin;

use bytes::Bytes;
use futures::future::{Either, select};
use http::header::HOST;
use http::{Request, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mainstay_kernel::health::PollFailure;
use tokio::net::TcpStream;

use crate::adapter;
use crate::manifest::{CommandConfig, ProbeTarget, host_port};

/// Why the agent does not look well.
#[derive(Debug)]
pub(crate) struct Unwell {
    pub(crate) kind: PollFailure,
    text: String,
}

/// Asks once. Drop the future to give up: nothing is left behind.
pub(crate) async fn ask(target: &ProbeTarget) -> Result<(), Unwell> {
    match target {
        ProbeTarget::Tcp(address) => connect(address).await.map(drop),
        ProbeTarget::Http(url) => get(url).await,
        ProbeTarget::Command(command) => run(command).await,
    }
}

async fn connect(address: &str) -> Result<TcpStream, Unwell> {
    TcpStream::connect(address).await.map_err(|error| Unwell::unreachable(format_args!("{address}: {error}")))
}

async fn get(url: &Uri) -> Result<(), Unwell> {
    let broken = |error: &dyn fmt::Display| Unwell::unreachable(format_args!("{url}: {error}"));
    let stream = connect(&host_port(url).unwrap_or_default()).await?;
    let (mut requests, io) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(path).header(HOST, authority).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| broken(&error))?;
    // Both halves are dropped with this future, and with them the connection. The I/O half may end first: with the answer.
    let response = match select(pin!(requests.send_request(request)), io).await {
        Either::Left((response, _)) => response,
        Either::Right((_, response)) => response.await,
    };
    let status = response.map_err(|error| broken(&error))?.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(Unwell::not_serving(format_args!("{url} answered {status}")))
    }
}

async fn run(command: &CommandConfig) -> Result<(), Unwell> {
    let program = command.program.display();
    let broken = |error: std::io::Error| Unwell::unreachable(format_args!("{program}: {error}"));
    let (mut child, group) = adapter::spawn_command(command, &[], false).map_err(broken)?;
    let status = child.wait().await.map_err(broken)?;
    group.disarm();
    if status.success() {
        Ok(())
    } else {
        Err(Unwell::not_serving(format_args!("{program} ended with {status}")))
    }
}

// === impl Unwell ===

impl Unwell {
    fn unreachable(text: impl fmt::Display) -> Self {
        Self { kind: PollFailure::Unreachable, text: text.to_string() }
    }

    fn not_serving(text: impl fmt::Display) -> Self {
        Self { kind: PollFailure::NotServing, text: text.to_string() }
    }
}

impl fmt::Display for Unwell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
