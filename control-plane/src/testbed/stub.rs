//! A sidecar that does as it is told: answers, fails, lies, hangs, and remembers what it was asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use mainstay_kernel::outcome::{Began, Class, Failure};
use mainstay_proto::pb;
use mainstay_transport::deadline::Deadline;
use mainstay_transport::server::{Options, serve};
use parking_lot::Mutex;
use pb::agent_sidecar_invoke_response::Event;
use pb::agent_sidecar_server::{AgentSidecar, AgentSidecarServer};
use pb::outcome_response::{NeverSeen, State};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// What the stub does with a call.
#[derive(Clone)]
pub(crate) enum Act {
    /// Sends these events and ends the stream.
    Send(Vec<Option<Event>>),
    /// Ends the call with a status.
    Refuse(Status),
    /// Never answers.
    Hang,
    /// Answers once the test adds a permit.
    Wait(Arc<Semaphore>),
    /// Does something of its own, told whether the call bore the mark that forbids to repeat it, and is too busy if that fails.
    Ask(Arc<dyn Fn(bool) -> BoxFuture<'static, bool> + Send + Sync>),
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) key: String,
    pub(crate) epoch: u64,
    /// What was left of the deadline.
    pub(crate) time: Duration,
    /// Whether it bore the mark that forbids to repeat it.
    pub(crate) marked: bool,
}

type Script = Box<dyn Fn(usize) -> Act + Send>;

/// A running stub; it stops when dropped.
pub(crate) struct Stub {
    addr: SocketAddr,
    inner: Arc<Inner>,
    _stop: DropGuard,
}

struct Inner {
    script: Mutex<Script>,
    ledger: Mutex<HashMap<String, Option<State>>>,
    serving: Mutex<Option<ServingStatus>>,
    log: watch::Sender<Log>,
}

/// Everything the stub was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    pub(crate) calls: Vec<Seen>,
    pub(crate) cancelled: Vec<String>,
    /// Calls that ended because the caller hung up or was answered.
    pub(crate) over: usize,
    pub(crate) asked: Vec<String>,
    pub(crate) polls: usize,
}

/// An event that ends a call well.
pub(crate) fn answer(output: &str) -> Option<Event> {
    let answer = pb::Answer { output: output.as_bytes().to_vec().into(), ..pb::Answer::default() };
    Some(Event::Outcome(pb::Outcome { result: Some(pb::outcome::Result::Answer(answer)) }))
}

/// An event that ends a call with a failure.
pub(crate) fn failure(class: Class, began: Began) -> Option<Event> {
    let failure =
        Failure { class, code: "PLANTED".into(), message: "planted".into(), began, retry_after: None };
    Some(Event::Outcome(pb::Outcome { result: Some(pb::outcome::Result::Failure((&failure).into())) }))
}

impl Stub {
    /// One that answers `{}` to everything.
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            script: Mutex::new(Box::new(|_| Act::Send(vec![answer("{}")]))),
            ledger: Mutex::default(),
            serving: Mutex::new(Some(ServingStatus::Serving)),
            log: watch::Sender::new(Log::default()),
        });
        let routes = Routes::new(AgentSidecarServer::from_arc(Arc::clone(&inner)))
            .add_service(HealthServer::from_arc(Arc::clone(&inner)));
        let stop = CancellationToken::new();
        let options = Options { shutdown_grace: Duration::ZERO, ..Options::default() };
        tokio::spawn(serve(listener, routes.prepare(), options, stop.clone().cancelled_owned()));
        Self { addr, inner, _stop: stop.drop_guard() }
    }

    /// An address where nobody listens.
    pub(crate) async fn nowhere() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// From now on does this; the argument counts calls from 1.
    pub(crate) fn script(&self, script: impl Fn(usize) -> Act + Send + 'static) {
        *self.inner.script.lock() = Box::new(script);
    }

    pub(crate) fn always(&self, act: Act) {
        self.script(move |_| act.clone());
    }

    /// Makes calls wait for permits of the semaphore it returns.
    pub(crate) fn gate(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.always(Act::Wait(Arc::clone(&gate)));
        gate
    }

    /// What the ledger says of a key; `None` is no answer. Of other keys it says "never seen".
    pub(crate) fn ledger(&self, key: &str, state: Option<State>) {
        self.inner.ledger.lock().insert(key.to_owned(), state);
    }

    /// How health is answered; `None` is no answer.
    pub(crate) fn serving(&self, status: Option<ServingStatus>) {
        *self.inner.serving.lock() = status;
    }

    pub(crate) fn log(&self) -> Log {
        self.inner.log.borrow().clone()
    }

    /// Waits until what was asked so far satisfies `wanted`.
    pub(crate) async fn until(&self, wanted: impl FnMut(&Log) -> bool) -> Log {
        self.inner.log.subscribe().wait_for(wanted).await.unwrap().clone()
    }
}

/// Counts a call as over when it is dropped.
struct Over(watch::Sender<Log>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.send_modify(|log| log.over += 1);
    }
}

#[tonic::async_trait]
impl AgentSidecar for Inner {
    type InvokeStream = BoxStream<'static, Result<pb::AgentSidecarInvokeResponse, Status>>;

    async fn describe(
        &self,
        _: Request<pb::DescribeRequest>,
    ) -> Result<Response<pb::DescribeResponse>, Status> {
        Ok(Response::new(pb::DescribeResponse::default()))
    }

    async fn invoke(
        &self,
        request: Request<pb::AgentSidecarInvokeRequest>,
    ) -> Result<Response<Self::InvokeStream>, Status> {
        let time = Deadline::of(request.extensions()).map_or(Duration::MAX, Deadline::remaining);
        let marked = mainstay_transport::retry::is_forbidden(request.metadata());
        let request = request.into_inner();
        self.log.send_modify(|log| {
            log.calls.push(Seen { key: request.attempt_id, epoch: request.epoch, time, marked });
        });
        let number = self.log.borrow().calls.len();
        let _over = Over(self.log.clone());
        let act = (self.script.lock())(number);
        let events = match act {
            Act::Send(events) => events,
            Act::Refuse(status) => return Err(status),
            Act::Hang => std::future::pending().await,
            Act::Wait(gate) => {
                gate.acquire().await.map_err(|error| Status::internal(error.to_string()))?.forget();
                vec![answer("{}")]
            }
            Act::Ask(ask) if ask(marked).await => vec![answer("{}")],
            Act::Ask(_) => vec![failure(Class::Overload, Began::No)],
        };
        let messages = events.into_iter().map(|event| Ok(pb::AgentSidecarInvokeResponse { event }));
        Ok(Response::new(stream::iter(messages.collect::<Vec<_>>()).boxed()))
    }

    async fn outcome(
        &self,
        request: Request<pb::OutcomeRequest>,
    ) -> Result<Response<pb::OutcomeResponse>, Status> {
        let key = request.into_inner().attempt_id;
        let known = self.ledger.lock().get(&key).cloned();
        self.log.send_modify(|log| log.asked.push(key));
        let state = match known {
            Some(Some(state)) => state,
            Some(None) => std::future::pending().await,
            None => State::NeverSeen(NeverSeen {}),
        };
        Ok(Response::new(pb::OutcomeResponse { state: Some(state) }))
    }

    async fn cancel(
        &self,
        request: Request<pb::CancelRequest>,
    ) -> Result<Response<pb::CancelResponse>, Status> {
        let key = request.into_inner().attempt_id;
        self.log.send_modify(|log| log.cancelled.push(key));
        Ok(Response::new(pb::CancelResponse { was_running: true }))
    }
}

#[tonic::async_trait]
impl Health for Inner {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.log.send_modify(|log| log.polls += 1);
        let status = *self.serving.lock();
        match status {
            Some(status) => Ok(Response::new(HealthCheckResponse { status: status.into() })),
            None => std::future::pending().await,
        }
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("the poller does not watch"))
    }
}
