//! A world to test in: a control plane on disk, agents behind sidecars, clients. Everything in it is a real process.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mainstay_proto::pb;
use pb::agent_registry_client::AgentRegistryClient;
use pb::drills_client::DrillsClient;
use pb::operations_client::OperationsClient;
use pb::orchestrator_client::OrchestratorClient;
use pb::workflows_client::WorkflowsClient;
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;

use crate::history::Found;
use crate::process::{Process, free_port, mainstay};
use crate::refold::Shelf;
use crate::wait::until;

mod agent;

use agent::Identity;
pub use agent::{Agent, Capability};

/// A control plane and its folder.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
    flags: Vec<String>,
    control_plane: Process,
    /// Where gRPC is served; the same after a restart.
    pub grpc: String,
    /// Where admin HTTP is served; the same after a restart.
    pub admin: String,
    channel: Channel,
}

impl World {
    /// Starts a control plane and waits until it is ready.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// As [`World::start`], with more flags for `serve`.
    pub async fn start_with(flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let [grpc, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let control_plane = launch(folder.path(), &grpc, &admin, &flags);
        let ready = ready_file(&folder.path().join("control-plane.ready")).await;
        let (grpc, admin) = (text(&ready, "grpc"), text(&ready, "admin"));
        let channel = Channel::from_shared(format!("http://{grpc}")).expect("an address").connect_lazy();
        let world = Self { folder, flags, control_plane, grpc, admin, channel };
        world.until_ready().await;
        world
    }

    /// Kills the control plane with SIGKILL.
    pub fn kill(&mut self) {
        self.control_plane.kill();
    }

    /// Starts it again on the same data and addresses, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.relaunch().await;
        self.until_ready().await;
    }

    /// Starts it again on the same data and addresses, and waits until it listens.
    pub async fn relaunch(&mut self) {
        let ready = self.folder.path().join("control-plane.ready");
        std::fs::remove_file(&ready).ok();
        self.control_plane = launch(self.folder.path(), &self.grpc, &self.admin, &self.flags);
        ready_file(&ready).await;
    }

    /// The control plane's process.
    pub fn control_plane(&mut self) -> &mut Process {
        &mut self.control_plane
    }

    /// A folder that goes with this world.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until the admin address says that it is ready.
    pub async fn until_ready(&self) {
        until("the control plane to be ready", || async {
            let info = self.operations().get_server_info(pb::GetServerInfoRequest {}).await;
            (info.is_ok() && self.get("/readyz").await.is_some_and(|(status, _)| status == 200)).then_some(())
        })
        .await;
    }

    /// A GET on the admin address: status and body.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        http_get(&self.admin, path).await
    }

    /// Calls and runs.
    #[must_use]
    pub fn orchestrator(&self) -> OrchestratorClient<Channel> {
        OrchestratorClient::new(self.channel.clone()).max_decoding_message_size(16 << 20)
    }

    /// Agents.
    #[must_use]
    pub fn registry(&self) -> AgentRegistryClient<Channel> {
        AgentRegistryClient::new(self.channel.clone())
    }

    /// Workflows.
    #[must_use]
    pub fn workflows(&self) -> WorkflowsClient<Channel> {
        WorkflowsClient::new(self.channel.clone())
    }

    /// The server itself.
    #[must_use]
    pub fn operations(&self) -> OperationsClient<Channel> {
        OperationsClient::new(self.channel.clone())
    }

    /// Drills.
    #[must_use]
    pub fn drills(&self) -> DrillsClient<Channel> {
        DrillsClient::new(self.channel.clone())
    }

    /// The connection under all clients.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Starts an agent behind a sidecar and waits until it is healthy.
    pub async fn agent(&self, name: &str, capabilities: &[Capability<'_>]) -> Agent {
        let agent = self.agent_starting(name, capabilities).await;
        self.until_healthy(name).await;
        agent
    }

    /// Starts an agent behind a sidecar.
    pub async fn agent_starting(&self, name: &str, capabilities: &[Capability<'_>]) -> Agent {
        Agent::start(&self.grpc, self.folder.path().join(name), Identity::of(name), capabilities).await
    }

    /// Starts an instance of one version of an agent behind a sidecar.
    pub async fn version(&self, name: &str, version: &str, capabilities: &[Capability<'_>]) -> Agent {
        let folder = format!("{name}-{version}");
        let identity = Identity { name, instance: &format!("v{version}"), version };
        Agent::start(&self.grpc, self.folder.path().join(folder), identity, capabilities).await
    }

    /// Waits until every instance of an agent is healthy.
    pub async fn until_healthy(&self, name: &str) {
        self.until_agent(name, "to be healthy", |agent| {
            agent.instances.iter().all(|i| i.leased && i.health() == pb::HealthState::Healthy)
        })
        .await;
    }

    /// Waits until an agent is as `condition` wants it.
    pub async fn until_agent(
        &self,
        name: &str,
        what: &str,
        condition: impl Fn(&pb::Agent) -> bool,
    ) -> pb::Agent {
        let condition = &condition;
        until(&format!("{name} {what}"), || async move {
            let request = pb::GetAgentRequest { name: name.to_owned(), ..Default::default() };
            let agent = self.registry().get_agent(request).await.ok()?.into_inner().agent?;
            condition(&agent).then_some(agent)
        })
        .await
    }

    /// Stores a workflow.
    pub async fn put(&self, document: &str) {
        let request = pb::PutWorkflowRequest { document: document.to_owned(), ..Default::default() };
        self.workflows().put_workflow(request).await.expect("a good workflow");
    }

    /// Runs a workflow to its end.
    pub async fn run(&self, workflow: &str, input: &str) -> pb::Run {
        let request = pb::OrchestrateRequest { run: Some(spec(workflow, input)) };
        self.orchestrator().orchestrate(request).await.expect("an end").into_inner().run.expect("a run")
    }

    /// Starts a run.
    pub async fn submit(&self, spec: pb::RunSpec) -> Result<String, Status> {
        let request = pb::SubmitRequest { run: Some(spec) };
        Ok(self.orchestrator().submit(request).await?.into_inner().run_id)
    }

    /// Reads a run.
    pub async fn get_run(&self, id: &str) -> Result<pb::Run, Status> {
        let request = pb::GetRunRequest { run_id: id.to_owned(), ..Default::default() };
        Ok(self.orchestrator().get_run(request).await?.into_inner().run.expect("a run"))
    }

    /// Waits until a run is as `condition` wants it.
    pub async fn until_run(&self, id: &str, what: &str, condition: impl Fn(&pb::Run) -> bool) -> pb::Run {
        let condition = &condition;
        until(
            &format!("{id} {what}"),
            || async move { self.get_run(id).await.ok().filter(|run| condition(run)) },
        )
        .await
    }

    /// Waits until a run has ended.
    pub async fn until_ended(&self, id: &str) -> pb::Run {
        self.until_run(id, "to end", |run| run.state() != pb::RunState::Running).await
    }

    /// One direct call.
    pub async fn invoke(&self, capability: &str, input: &str) -> Result<pb::InvokeResponse, Status> {
        let mut request = tonic::Request::new(pb::InvokeRequest {
            capability: capability.to_owned(),
            input: input.to_owned().into(),
            ..Default::default()
        });
        request.set_timeout(Duration::from_secs(20));
        Ok(self.orchestrator().invoke(request).await?.into_inner())
    }

    /// Every run there is, once it has ended: read twice, listed, with its events, and folded from its journal. The runs are
    /// of these workflows.
    ///
    /// # Panics
    /// If one cannot be read.
    pub async fn found<'d>(&self, workflows: impl IntoIterator<Item = &'d str>) -> BTreeMap<String, Found> {
        let shelf = Shelf::of(workflows);
        let mut found = BTreeMap::new();
        for listed in self.listed().await {
            let id = listed.run_id;
            let run = self.until_ended(&id).await;
            let events = self.events(&id, 1).await;
            let folded = shelf.fold(&id, &self.journal(&id).await);
            let again = self.get_run(&id).await.expect("a run");
            found.insert(id, Found { run, again, listed: pb::RunState::Unspecified, events, folded });
        }
        // Listed once more, now that all have ended.
        for run in self.listed().await {
            found.get_mut(&run.run_id).expect("no run more than before").listed = run.state();
        }
        found
    }

    /// The listing of runs, page after page.
    async fn listed(&self) -> Vec<pb::Run> {
        let mut runs = Vec::new();
        let mut request = pb::ListRunsRequest { page_size: 500, ..Default::default() };
        loop {
            let page = self.orchestrator().list_runs(request.clone()).await.expect("runs").into_inner();
            runs.extend(page.runs);
            if page.next_page_token.is_empty() {
                return runs;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The events of a run from number `from` to its end.
    ///
    /// # Panics
    /// If they cannot be read.
    pub async fn events(&self, id: &str, from: u64) -> Vec<pb::RunEvent> {
        let request = pb::WatchRunRequest { run_id: id.to_owned(), from_event: from, ..Default::default() };
        let mut stream = self.orchestrator().watch_run(request).await.expect("a watch").into_inner();
        let mut events = Vec::new();
        while let Some(answer) = stream.message().await.expect("an event") {
            events.push(answer.event.expect("an event"));
        }
        events
    }

    /// The records of a run, page by page.
    ///
    /// # Panics
    /// If they cannot be read.
    pub async fn journal(&self, id: &str) -> Vec<bytes::Bytes> {
        let (mut records, mut after) = (Vec::new(), 0);
        loop {
            let request = pb::ReadJournalRequest { run_id: id.to_owned(), after, ..Default::default() };
            let page = self.orchestrator().read_journal(request).await.expect("a journal").into_inner();
            records.extend(page.transitions);
            if page.next <= after {
                return records;
            }
            after = page.next;
        }
    }

    /// Everything a client can list, for comparing before and after.
    pub async fn everything(&self) -> (Vec<String>, Vec<String>, Vec<String>) {
        let agents = self.registry().list_agents(pb::ListAgentsRequest::default()).await.expect("agents");
        let workflows =
            self.workflows().list_workflows(pb::ListWorkflowsRequest::default()).await.expect("workflows");
        let runs = self.orchestrator().list_runs(pb::ListRunsRequest::default()).await.expect("runs");
        let lease = |i: &pb::Instance| format!("{} {} {} {}", i.instance_id, i.address, i.epoch, i.leased);
        (
            agents.into_inner().agents.iter().flat_map(|agent| agent.instances.iter().map(lease)).collect(),
            workflows
                .into_inner()
                .workflows
                .iter()
                .map(|w| format!("{} {} {}", w.name, w.version, w.hash))
                .collect(),
            runs.into_inner().runs.iter().map(|run| run.run_id.clone()).collect(),
        )
    }
}

/// A run of the newest version of a workflow.
#[must_use]
pub fn spec(workflow: &str, input: &str) -> pb::RunSpec {
    pb::RunSpec { workflow: workflow.to_owned(), input: input.to_owned().into(), ..Default::default() }
}

fn launch(folder: &Path, grpc: &str, admin: &str, flags: &[String]) -> Process {
    // A file that may not grow sends a signal first, which a full disk does not: ignored, it is an error of the write.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(mainstay());
    command.current_dir(folder).args(["serve", "--data", "data", "--listen", grpc, "--admin", admin]);
    command.args(["--ready-file", "control-plane.ready", "--until-stdin-closes"]).args(flags);
    Process::start("control-plane", command, folder)
}

async fn ready_file(path: &Path) -> serde_json::Value {
    until("the control plane to listen", || async {
        serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
    })
    .await
}

fn text(value: &serde_json::Value, field: &str) -> String {
    value[field].as_str().expect("an address").to_owned()
}

async fn http_get(address: &str, path: &str) -> Option<(u16, String)> {
    let stream = tokio::net::TcpStream::connect(address).await.ok()?;
    let answer =
        exchange(stream, &format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

async fn exchange(mut stream: tokio::net::TcpStream, request: &str) -> Option<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}
