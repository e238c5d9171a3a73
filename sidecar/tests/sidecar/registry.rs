//! A control plane of our own that can vanish, forget and refuse.

use std::net::SocketAddr;
use std::sync::Arc;

use mainstay_proto::fault::Fault;
use mainstay_proto::pb;
use mainstay_proto::pb::agent_registry_server::{AgentRegistry, AgentRegistryServer};
use mainstay_proto::reason::Reason;
use mainstay_sidecar::Options;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::harness::{options, start_with, until};

const ECHO: &str = "
name: echo
instance: left
labels: { zone: a }
adapter: { echo: {} }
capabilities: [ { name: echo, effect: read-only } ]
";

/// What the control plane heard, in order.
#[derive(Debug, Clone, PartialEq)]
enum Heard {
    Register(Box<pb::RegisterRequest>),
    Renew(String),
    Deregister(String),
}

#[derive(Clone, Default)]
struct Registry(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    heard: Vec<Heard>,
    refuse: Option<Reason>,
    lease: Option<String>,
    granted: u8,
}

struct ControlPlane {
    registry: Registry,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Registry {
    fn heard(&self) -> Vec<Heard> {
        self.0.lock().heard.clone()
    }

    fn count(&self, matches: impl Fn(&Heard) -> bool) -> usize {
        self.0.lock().heard.iter().filter(|heard| matches(heard)).count()
    }

    fn registrations(&self) -> usize {
        self.count(|heard| matches!(heard, Heard::Register(_)))
    }

    fn renewals(&self) -> usize {
        self.count(|heard| matches!(heard, Heard::Renew(_)))
    }

    fn refuse(&self, reason: Option<Reason>) {
        self.0.lock().refuse = reason;
    }

    /// As after a restart without its state.
    fn forget(&self) {
        self.0.lock().lease = None;
    }

    async fn serve(&self, address: &str) -> ControlPlane {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let service = AgentRegistryServer::new(self.clone());
        let ended = tokio::spawn(async move {
            let serving = Server::builder()
                .add_service(service)
                .serve_with_incoming_shutdown(TcpIncoming::from(listener), async { drop(stopped.await) });
            serving.await.unwrap();
        });
        ControlPlane { registry: self.clone(), address, stop, ended }
    }
}

impl ControlPlane {
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn stop(self) -> Registry {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap();
        self.registry
    }
}

#[tonic::async_trait]
impl AgentRegistry for Registry {
    type WatchAgentsStream = futures::stream::Pending<Result<pb::WatchAgentsResponse, Status>>;

    async fn register(
        &self,
        request: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        let mut book = self.0.lock();
        book.heard.push(Heard::Register(Box::new(request.into_inner())));
        if let Some(reason) = book.refuse {
            return Err(Fault::field(reason, "agent.capabilities[0].sla", "is not to our taste").into());
        }
        book.granted += 1;
        let lease_id = format!("lse_{:032x}", book.granted);
        book.lease = Some(lease_id.clone());
        Ok(Response::new(pb::RegisterResponse {
            instance_id: format!("ins_{:032x}", 1),
            lease_id,
            ttl: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            renew_every: Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 }),
            epoch: book.granted.into(),
        }))
    }

    async fn renew(&self, request: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        let mut book = self.0.lock();
        let lease = request.into_inner().lease_id;
        let known = book.lease.as_ref() == Some(&lease);
        book.heard.push(Heard::Renew(lease));
        if known {
            Ok(Response::new(pb::RenewResponse::default()))
        } else {
            Err(Fault::new(Reason::LeaseUnknown, "who are you?").into())
        }
    }

    async fn deregister(
        &self,
        request: Request<pb::DeregisterRequest>,
    ) -> Result<Response<pb::DeregisterResponse>, Status> {
        self.0.lock().heard.push(Heard::Deregister(request.into_inner().lease_id));
        Ok(Response::new(pb::DeregisterResponse {}))
    }

    async fn list_agents(
        &self,
        _: Request<pb::ListAgentsRequest>,
    ) -> Result<Response<pb::ListAgentsResponse>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    async fn resolve(&self, _: Request<pb::ResolveRequest>) -> Result<Response<pb::ResolveResponse>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    async fn get_agent(
        &self,
        _: Request<pb::GetAgentRequest>,
    ) -> Result<Response<pb::GetAgentResponse>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    async fn watch_agents(
        &self,
        _: Request<pb::WatchAgentsRequest>,
    ) -> Result<Response<Self::WatchAgentsStream>, Status> {
        Err(Status::unimplemented("not needed here"))
    }
}

fn registering_at(url: String) -> Options {
    Options { control_plane: Some(url), ..options(ECHO) }
}

fn lease(n: u8) -> String {
    format!("lse_{n:032x}")
}

#[tokio::test]
async fn registers_renews_and_gives_its_lease_back() {
    let control_plane = Registry::default().serve("127.0.0.1:0").await;
    let registry = control_plane.registry.clone();
    let sidecar = start_with(registering_at(control_plane.url())).await;
    let address = sidecar.address.clone();
    until("it renews", async || registry.renewals() >= 3).await;
    sidecar.stop().await;

    let heard = registry.heard();
    let Some(Heard::Register(request)) = heard.first() else { panic!("{heard:?}") };
    assert_eq!((request.instance.as_str(), request.address.as_str()), ("left", address.as_str()));
    let agent = request.agent.as_ref().unwrap();
    assert_eq!((agent.name.as_str(), agent.labels["zone"].as_str()), ("echo", "a"));
    assert_eq!(registry.registrations(), 1);
    assert_eq!(heard.last(), Some(&Heard::Deregister(lease(1))));
    assert!(heard[1..heard.len() - 1].iter().all(|heard| *heard == Heard::Renew(lease(1))));
}

#[tokio::test]
async fn a_control_plane_that_is_not_there_yet_is_waited_for() {
    let control_plane = Registry::default().serve("127.0.0.1:0").await;
    let (url, address) = (control_plane.url(), control_plane.address.to_string());
    let registry = control_plane.stop().await;
    let sidecar = start_with(registering_at(url)).await;
    let answer = sidecar.answer(crate::harness::request("echo", "1")).await;
    assert_eq!(answer.output, "1", "calls are served meanwhile");
    let control_plane = registry.serve(&address).await;
    until("it registers", async || registry.registrations() == 1).await;
    sidecar.stop().await;
    control_plane.stop().await;
}

#[tokio::test]
async fn after_an_outage_it_registers_again_with_the_lease_it_had() {
    let control_plane = Registry::default().serve("127.0.0.1:0").await;
    let (url, address) = (control_plane.url(), control_plane.address.to_string());
    let sidecar = start_with(registering_at(url)).await;
    let registry = control_plane.registry.clone();
    until("it registers", async || registry.renewals() >= 1).await;
    let registry = control_plane.stop().await;
    registry.forget();
    let control_plane = registry.serve(&address).await;
    until("it registers again", async || registry.registrations() == 2).await;
    let last = registry.heard().into_iter().rfind(|heard| matches!(heard, Heard::Register(_)));
    let Some(Heard::Register(request)) = last else { panic!("{last:?}") };
    assert_eq!(request.lease_id, lease(1));
    sidecar.stop().await;
    control_plane.stop().await;
}

#[tokio::test]
async fn a_lease_that_was_forgotten_is_taken_anew_at_once() {
    let control_plane = Registry::default().serve("127.0.0.1:0").await;
    let registry = control_plane.registry.clone();
    let sidecar = start_with(registering_at(control_plane.url())).await;
    until("it renews", async || registry.renewals() >= 1).await;
    registry.forget();
    until("it registers again", async || registry.registrations() == 2).await;
    let heard = registry.heard();
    let again = heard.iter().rposition(|heard| matches!(heard, Heard::Register(_))).unwrap();
    assert_eq!(heard[again - 1], Heard::Renew(lease(1)), "no wait between the refusal and the registration");
    sidecar.stop().await;
}

#[tokio::test]
async fn a_refused_registration_is_not_repeated_quickly() {
    let control_plane = Registry::default().serve("127.0.0.1:0").await;
    let registry = control_plane.registry.clone();
    registry.refuse(Some(Reason::AgentInvalid));
    let sidecar = start_with(registering_at(control_plane.url())).await;
    until("it is refused", async || registry.registrations() == 1).await;
    assert_eq!(sidecar.answer(crate::harness::request("echo", "1")).await.output, "1");
    sidecar.stop().await;
    assert_eq!(registry.registrations(), 1);
    assert!(
        !registry.heard().iter().any(|heard| matches!(heard, Heard::Deregister(_))),
        "there is no lease to give back"
    );
}
