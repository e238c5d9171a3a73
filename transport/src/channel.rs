//! A warm HTTP/2 connection to one checked address.
//!
//! Why not tonic's channel? Because of three things that routing needs. It *dials a name*, while an address from a stranger
//! must be resolved and checked once, and then that very IP be dialled. It passes every request through a buffer task,
//! and a wake-up is what costs on this path. And its errors do not tell *never sent* from *sent and lost*, which
//! decides whether a call with a side effect may go to the next instance or must be reported as unknown.
//!
//! How it works: the [`Channel`] is a slot behind a short lock. With a live connection in it, a call clones the connection's
//! handle and writes; no task lies between. Without one, the first caller starts the dial, on a task of its own so
//! that a caller who gives up does not abort it, and all others wait for the same dial. After a failed dial, and after a
//! connection that died before it answered anything, calls fail at once until a jittered, doubling pause is over. A peer
//! that restarts is found again by the next call: a request whose connection turned out to be gone before a byte of it
//! was written is dialled for once more, because it is certain that nobody saw it.
//!
//! **Invariant:** [`not_sent`] is true only if the peer cannot have begun: no connection, the request came back unwritten,
//! `REFUSED_STREAM`, or a GOAWAY that excludes it (RFC 9113 §6.8, §8.7). Everything else is unknown.
//!
//! What an idle channel costs: about 29 KiB (25 KiB at the server), nearly all of it fixed buffers of the `h2` crate, which no
//! option makes smaller; windows are promises and hold no memory until used. Ten thousand of them with keepalive take
//! about a hundredth of a core at each side.
//!
//! The channel sets no timeout on calls: the caller has a deadline and bounds the call with it
//! ([`Deadline::bound`](crate::deadline::Deadline::bound)). Dropping the call resets its stream at the peer.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::body::Body;
use tower::Service;

use crate::host;

mod backoff;
mod body;
mod connection;
mod error;
mod network;
#[cfg(test)]
mod tests;

pub use body::ResponseBody;
pub use error::{ChannelError, not_sent};
pub use network::{Dialling, Network, Wire};

use connection::{Failed, Sender};

/// How a channel dials and what it lets a peer send.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time to establish a connection. A second is ten times the slowest healthy round trip between data centres.
    pub connect_timeout: Duration,
    /// Pause after the first failed dial.
    pub backoff_min: Duration,
    /// Longest pause; also bounds how late a peer that came back is noticed.
    pub backoff_max: Duration,
    /// A silent connection is pinged after this time…
    pub keepalive_interval: Duration,
    /// …and given up if the ping is not answered within this one.
    pub keepalive_timeout: Duration,
    /// Whether a connection without calls is pinged as well. Costs two small packets per interval; turn it off where
    /// something else (a health probe) already uses the channel regularly.
    pub keepalive_while_idle: bool,
    /// Bytes of one response the peer may send ahead of its reader. A quarter of the largest payload (4 MiB): on a local
    /// network, window updates return long before it is used up.
    pub stream_window: u32,
    /// Bytes of all responses the peer may send ahead: two stalled readers do not stop the others.
    pub connection_window: u32,
    /// Largest response headers or trailers, in bytes as HTTP/2 counts them. Errors travel there.
    pub max_header_list: u32,
    /// Bytes of one request kept in memory ahead of the peer's window.
    pub send_buffer: usize,
    /// What it dials through; the operating system's TCP if none is given.
    pub network: Option<Arc<dyn Network>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
            keepalive_while_idle: true,
            stream_window: 1024 * 1024,
            connection_window: 2 * 1024 * 1024 + 64 * 1024,
            max_header_list: 16 * 1024,
            send_buffer: 256 * 1024,
            network: None,
        }
    }
}

/// A connection to one address, kept and renewed. Clones share it.
#[derive(Debug, Clone)]
pub struct Channel {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    addr: SocketAddr,
    authority: Authority,
    options: Options,
    state: Mutex<State>,
    /// Whether a dial failed or a connection ended since the last answer. Beside the state, so that healthy calls need
    /// no second lock.
    suspect: AtomicBool,
}

#[derive(Debug)]
struct State {
    slot: Slot,
    /// Failures in a row. An accepted connection alone does not end the row, an answer does: a port that accepts and
    /// hangs up must not be dialled at the rate of the calls.
    failures: u32,
}

#[derive(Debug)]
enum Slot {
    /// Nothing yet, or the connection has ended.
    Empty,
    /// A dial is under way.
    Dialling(Dial),
    /// A connection that was alive when last seen.
    Connected(Sender),
    /// No dial before then.
    Waiting { until: Instant, why: Arc<str> },
    /// Closed by its owner.
    Closed,
}

/// Where the outcome of a dial appears. Whoever waited takes it from here, even if the connection has died since:
/// looking into the slot again could mean waiting for dial after dial at a port that accepts and hangs up.
type Dial = watch::Receiver<Option<Result<Sender, Arc<str>>>>;

/// What a caller finds.
enum Found {
    Connection(Sender),
    Dialling(Dial),
}

impl Channel {
    /// A channel to `addr`, which is dialled by the first call or by [`connect`](Self::connect). `authority` is what the peer
    /// is told it is called as (the `:authority` of requests).
    #[must_use]
    pub fn new(addr: SocketAddr, authority: Authority, options: Options) -> Self {
        let state = Mutex::new(State { slot: Slot::Empty, failures: 0 });
        let suspect = AtomicBool::new(false);
        Self { inner: Arc::new(Inner { addr, authority, options, state, suspect }) }
    }

    /// A channel to `addr` that calls the peer by its address.
    #[must_use]
    pub fn to(addr: SocketAddr, options: Options) -> Self {
        // An address in its text form is an authority, so the other name is never used.
        let authority = addr.to_string().parse().unwrap_or_else(|_| Authority::from_static("localhost"));
        Self::new(addr, authority, options)
    }

    /// The address it dials.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.inner.addr
    }

    /// Dials now unless connected, so that the first call finds a warm connection.
    ///
    /// # Errors
    /// If the peer cannot be reached, a failed dial was too recent, or the channel is closed. Always [`not_sent`].
    pub async fn connect(&self) -> Result<(), ChannelError> {
        self.sender().await.map(drop)
    }

    /// Whether a connection is there now. A hint: it may be dying this moment.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(&self.inner.state.lock().slot, Slot::Connected(sender) if !sender.is_closed())
    }

    /// Takes no more calls. Those under way end normally, then the connection is closed.
    pub fn close(&self) {
        self.inner.state.lock().slot = Slot::Closed;
    }

    /// A connection: the live one, or the outcome of a dial.
    async fn sender(&self) -> Result<Sender, ChannelError> {
        let mut dial = match self.find()? {
            Found::Connection(sender) => return Ok(sender),
            Found::Dialling(dial) => dial,
        };
        let dialled = match dial.wait_for(Option::is_some).await {
            Ok(dialled) => dialled.clone(),
            // The runtime is going down and has taken the dial with it.
            Err(_) => None,
        };
        match dialled {
            Some(Ok(sender)) => Ok(sender),
            Some(Err(why)) => Err(self.inner.down(&why)),
            None => Err(self.inner.down("the dial was abandoned")),
        }
    }

    /// Looks into the slot once, and starts a dial if one is due.
    fn find(&self) -> Result<Found, ChannelError> {
        let mut state = self.inner.state.lock();
        if matches!(&state.slot, Slot::Connected(sender) if sender.is_closed()) {
            self.inner.ended(&mut state, "it accepts connections and ends them");
        }
        match &state.slot {
            Slot::Connected(sender) => return Ok(Found::Connection(sender.clone())),
            Slot::Dialling(dial) if dial.has_changed().is_ok() => return Ok(Found::Dialling(dial.clone())),
            Slot::Waiting { until, why } if Instant::now() < *until => return Err(self.inner.down(why)),
            Slot::Closed => return Err(ChannelError::not_sent("the channel is closed")),
            Slot::Empty | Slot::Dialling(_) | Slot::Waiting { .. } => {}
        }
        let (decide, dial) = watch::channel(None);
        state.slot = Slot::Dialling(dial.clone());
        drop(state);
        // On a task: the dial's outcome belongs to everyone who waits, and must not die with the caller who began it.
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            let dialled = connection::dial(inner.addr, &inner.options).await.map_err(Arc::from);
            inner.settle(&dialled);
            decide.send_replace(Some(dialled));
        });
        Ok(Found::Dialling(dial))
    }

    async fn send(self, mut request: Request<Body>) -> Result<Response<ResponseBody>, ChannelError> {
        self.inner.address(&mut request);
        let mut second = false;
        loop {
            let mut sender = self.sender().await?;
            let failed = match sender.send(request).await {
                Ok(response) => {
                    self.inner.prove();
                    return Ok(response.map(ResponseBody::new));
                }
                Err(failed) => failed,
            };
            self.inner.lost(&sender, &failed.error);
            match failed {
                // Nobody saw a byte of it: dial again, once.
                Failed { unsent: Some(again), .. } if !second => {
                    second = true;
                    request = *again;
                }
                Failed { unsent: Some(_), error } => return Err(ChannelError::not_sent(error)),
                Failed { unsent: None, error } => return Err(ChannelError::of(&error)),
            }
        }
    }
}

impl Inner {
    /// Completes the request's address: clients generated by tonic know the path alone.
    fn address(&self, request: &mut Request<Body>) {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        // All three parts are present and valid by their types, so the default is never taken.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = Version::HTTP_2;
    }

    /// Records how a dial ended. A channel that was closed meanwhile stays closed.
    fn settle(&self, dialled: &Result<Sender, Arc<str>>) {
        let mut state = self.state.lock();
        if matches!(state.slot, Slot::Closed) {
            return;
        }
        match dialled {
            Ok(sender) => state.slot = Slot::Connected(sender.clone()),
            Err(why) => self.wait(&mut state, Arc::clone(why)),
        }
    }

    /// Counts a failure and opens the pause that it calls for.
    fn wait(&self, state: &mut State, why: Arc<str>) {
        let options = &self.options;
        let roll = options.network.as_ref().map_or_else(host::roll, |network| network.roll());
        let pause = backoff::pause(state.failures, options.backoff_min, options.backoff_max, roll);
        state.failures = state.failures.saturating_add(1);
        state.slot = Slot::Waiting { until: Instant::now() + pause, why };
        self.suspect.store(true, Ordering::Relaxed);
    }

    /// The peer answered: whatever went wrong before is over.
    fn prove(&self) {
        if self.suspect.load(Ordering::Relaxed) {
            self.suspect.store(false, Ordering::Relaxed);
            self.state.lock().failures = 0;
        }
    }

    /// The connection in the slot has ended. The first time since an answer only raises a suspicion, so that a peer that
    /// restarted is dialled at once; the second time counts as a failed dial.
    fn ended(&self, state: &mut State, why: &str) {
        if self.suspect.swap(true, Ordering::Relaxed) {
            self.wait(state, why.into());
        } else {
            state.slot = Slot::Empty;
        }
    }

    /// After a failed request: if its connection is still the one in the slot and has ended, the slot learns of it.
    fn lost(&self, sender: &Sender, error: &hyper::Error) {
        let mut state = self.state.lock();
        if matches!(&state.slot, Slot::Connected(current) if current.same(sender) && current.is_closed()) {
            self.ended(&mut state, &error.to_string());
        }
    }

    fn down(&self, why: &str) -> ChannelError {
        ChannelError::not_sent(format_args!("{} is down: {why}", self.addr))
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<ResponseBody>;
    type Error = ChannelError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // HTTP/2 queues requests above the peer's stream limit by itself; how many may wait is the caller's bulkhead.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}
