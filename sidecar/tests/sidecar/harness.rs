//! Starts a sidecar from the text of a manifest, and speaks to it as the control plane would.

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use mainstay_proto::pb;
use mainstay_proto::pb::agent_sidecar_client::AgentSidecarClient;
use mainstay_sidecar::{Manifest, Options, Sidecar};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Nothing listens there: port 1 is nobody's.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:1";
/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Running {
    pub(crate) client: AgentSidecarClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) address: String,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<()>,
}

pub(crate) fn options(manifest: &str) -> Options {
    let manifest = Manifest::parse(manifest, Path::new(".")).unwrap_or_else(|error| panic!("{error}"));
    Options {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        control_plane: Some(NOWHERE.to_owned()),
        ..Options::new(manifest)
    }
}

pub(crate) async fn start(manifest: &str) -> Running {
    start_with(options(manifest)).await
}

pub(crate) async fn start_with(options: Options) -> Running {
    let sidecar = Sidecar::bind(options).await.unwrap_or_else(|error| panic!("{error}"));
    let address = format!("http://{}", sidecar.local_addr());
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(async move {
        sidecar.run(async { drop(stopped.await) }).await;
    });
    let channel = Endpoint::from_shared(address.clone()).unwrap().connect().await.unwrap();
    Running { client: AgentSidecarClient::new(channel.clone()), channel, address, stop: Some(stop), ended }
}

impl Running {
    pub(crate) async fn invoke(&self, request: pb::AgentSidecarInvokeRequest) -> pb::Outcome {
        invoke(&self.client, Request::new(request)).await.unwrap()
    }

    pub(crate) async fn answer(&self, request: pb::AgentSidecarInvokeRequest) -> pb::Answer {
        match self.invoke(request).await.result.unwrap() {
            pb::outcome::Result::Answer(answer) => answer,
            pb::outcome::Result::Failure(failure) => panic!("{failure:?}"),
        }
    }

    pub(crate) async fn failure(&self, request: pb::AgentSidecarInvokeRequest) -> pb::Failure {
        match self.invoke(request).await.result.unwrap() {
            pb::outcome::Result::Answer(answer) => panic!("{answer:?}"),
            pb::outcome::Result::Failure(failure) => failure,
        }
    }

    pub(crate) async fn state(&self, id: &str) -> pb::outcome_response::State {
        let request = pb::OutcomeRequest { attempt_id: id.to_owned(), epoch: 0 };
        self.client.clone().outcome(request).await.unwrap().into_inner().state.unwrap()
    }

    pub(crate) async fn cancel(&self, id: &str) -> bool {
        let request = pb::CancelRequest { attempt_id: id.to_owned(), reason: "test".to_owned() };
        self.client.clone().cancel(request).await.unwrap().into_inner().was_running
    }

    pub(crate) async fn describe(&self) -> pb::DescribeResponse {
        self.client.clone().describe(pb::DescribeRequest {}).await.unwrap().into_inner()
    }

    pub(crate) fn begin_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn ended(self) {
        tokio::time::timeout(PATIENCE, self.ended).await.expect("it ends").unwrap();
    }

    pub(crate) async fn stop(mut self) {
        self.begin_stop();
        self.ended().await;
    }
}

/// One call, with whatever metadata the request has.
pub(crate) async fn invoke(
    client: &AgentSidecarClient<Channel>,
    request: Request<pb::AgentSidecarInvokeRequest>,
) -> Result<pb::Outcome, Status> {
    let mut stream = client.clone().invoke(request).await?.into_inner();
    let message = stream.message().await?.expect("a stream ends with an outcome");
    assert!(stream.message().await?.is_none(), "the outcome is the last message");
    match message.event {
        Some(pb::agent_sidecar_invoke_response::Event::Outcome(outcome)) => Ok(outcome),
        other => panic!("{other:?}"),
    }
}

/// An id that no other test uses.
pub(crate) fn fresh_id() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    format!("att_{:032x}", u128::from(NEXT.fetch_add(1, Ordering::Relaxed)) + 0xabc0_0000)
}

pub(crate) fn request(capability: &str, input: &str) -> pb::AgentSidecarInvokeRequest {
    pb::AgentSidecarInvokeRequest {
        attempt_id: fresh_id(),
        capability: capability.to_owned(),
        input: input.to_owned().into(),
        ..Default::default()
    }
}

/// Waits until `condition` holds, which it must before patience ends.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let waited = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while !condition().await {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}
