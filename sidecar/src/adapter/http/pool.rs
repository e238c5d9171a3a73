//! Keep-alive connections to one agent, owned by the call that uses them.
//!
//! A connection is a pair: the half that takes requests and the half that does the I/O. Clients usually give the second
//! one to a task of its own. Here the call polls both itself, which buys three things: no hand-off between tasks in the
//! path of a call, dropping the call *is* closing its connection, and when a connection is taken from the shelf, one poll
//! tells whether the agent has closed it meanwhile.
//!
//! **No false unknowns.** Between that poll and the first byte, an agent may still close an idle connection; a request
//! lost there looks like one that was begun. So connections rest for a shorter time than common servers keep them, a
//! side-effecting call always opens a new one (50 µs on one machine, against an escalation to a person), and any other
//! call that loses a rested connection before the first byte of an answer is sent again, once, on a new one: the same
//! key, to an agent that declared the repetition harmless.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a connection rests before it is closed. Uvicorn and Node close theirs after 5 s, gunicorn after 2 s.
const MAX_REST: Duration = Duration::from_millis(1500);
/// Most resting connections. A busy agent uses one per call under way; more than this at rest is a burst that is over.
const MAX_RESTING: usize = 64;

/// Connections to one agent.
pub(super) struct Pool {
    address: String,
    max_body: usize,
    resting: Mutex<Vec<(Line, Instant)>>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// No answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// The agent has not seen the request.
    NotSent(String),
    /// It may have.
    Halfway(String),
    /// The answer exceeds the limit, in bytes.
    TooLarge(usize),
}

struct Line {
    requests: SendRequest<Full<Bytes>>,
    io: Connection<TokioIo<TcpStream>, Full<Bytes>>,
}

/// How one exchange on one line failed.
enum Fault {
    /// Not sent: the request is still ours.
    Unsent(String),
    /// Broke before the first byte of an answer.
    Unanswered(String),
    Broken(Broken),
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(address: String, max_body: usize) -> Self {
        Self { address, max_body, resting: Mutex::default() }
    }

    pub(super) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        side_effecting: bool,
    ) -> Result<Answered, Broken> {
        let rested = if side_effecting { None } else { self.take_rested() };
        if let Some(line) = rested {
            match self.exchange_on(line, request.clone()).await {
                Err(Fault::Unsent(_) | Fault::Unanswered(_)) => {}
                Err(Fault::Broken(broken)) => return Err(broken),
                Ok(answered) => return Ok(answered),
            }
        }
        let line = self.connect().await?;
        self.exchange_on(line, request).await.map_err(|fault| match fault {
            Fault::Unsent(text) => Broken::NotSent(text),
            Fault::Unanswered(text) => Broken::Halfway(text),
            Fault::Broken(broken) => broken,
        })
    }

    /// Closes connections that have rested for too long.
    pub(super) fn tidy(&self) {
        self.resting.lock().retain(|(_, since)| since.elapsed() < MAX_REST);
    }

    async fn connect(&self) -> Result<Line, Broken> {
        let not_sent = |error: &dyn fmt::Display| {
            Broken::NotSent(format!("no connection to the agent at {}: {error}", self.address))
        };
        let stream = TcpStream::connect(&self.address).await.map_err(|error| not_sent(&error))?;
        // Without it the kernel would hold back the last part of a request for up to 40 ms.
        stream.set_nodelay(true).map_err(|error| not_sent(&error))?;
        let (requests, io) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| not_sent(&error))?;
        Ok(Line { requests, io })
    }

    async fn exchange_on(&self, mut line: Line, request: Request<Full<Bytes>>) -> Result<Answered, Fault> {
        let (outcome, open) = {
            let mut io = Pin::new(&mut line.io);
            let mut exchange = pin!(converse(&mut line.requests, request, self.max_body));
            let mut open = true;
            let outcome = poll_fn(|context| {
                loop {
                    if let Poll::Ready(outcome) = exchange.as_mut().poll(context) {
                        return Poll::Ready(outcome);
                    }
                    // What the I/O half brings in goes to the exchange at once: its last act may be the whole answer.
                    if !open || io.as_mut().poll(context).is_pending() {
                        return exchange.as_mut().poll(context);
                    }
                    open = false;
                }
            })
            .await;
            (outcome, open)
        };
        if open && outcome.is_ok() {
            self.rest(line);
        }
        outcome
    }

    fn take_rested(&self) -> Option<Line> {
        loop {
            let (mut line, since) = self.resting.lock().pop()?;
            if since.elapsed() < MAX_REST && line.is_open() {
                return Some(line);
            }
        }
    }

    fn rest(&self, mut line: Line) {
        let mut resting = self.resting.lock();
        if resting.len() < MAX_RESTING && line.is_open() {
            resting.push((line, Instant::now()));
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Line {
    /// Lets the I/O half look at its socket: whether the agent has closed it, and whether it can take a request.
    fn is_open(&mut self) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        Pin::new(&mut self.io).poll(&mut context).is_pending() && self.requests.is_ready()
    }
}

async fn converse(
    requests: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    max_body: usize,
) -> Result<Answered, Fault> {
    let response = requests.try_send_request(request).await.map_err(|mut error| {
        let text = format!("the connection to the agent broke: {}", deepest(error.error()));
        if error.take_message().is_some() { Fault::Unsent(text) } else { Fault::Unanswered(text) }
    })?;
    let (head, body) = response.into_parts();
    if body.size_hint().lower() > max_body as u64 {
        return Err(Fault::Broken(Broken::TooLarge(max_body)));
    }
    match Limited::new(body, max_body).collect().await {
        Ok(body) => Ok(Answered { status: head.status, headers: head.headers, body: body.to_bytes() }),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Fault::Broken(Broken::TooLarge(max_body)))
        }
        Err(error) => {
            let text = format!("the agent's answer broke off: {}", deepest(error.as_ref()));
            Err(Fault::Broken(Broken::Halfway(text)))
        }
    }
}

/// The cause at the bottom, which is the one that says something.
fn deepest<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}
