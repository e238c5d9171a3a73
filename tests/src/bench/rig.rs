//! The processes under measurement: a control plane on disk, sidecars, helpers. All of them are gone when it is dropped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use mainstay_proto::pb;
use pb::agent_registry_client::AgentRegistryClient;
use pb::orchestrator_client::OrchestratorClient;
use pb::workflows_client::WorkflowsClient;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::Channel;

use super::helper::HELPER;
use super::host;
use crate::process::{Process, mainstay};
use crate::wait::until;

/// How often something that is measured in milliseconds is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// Open files of processes that serve thousands of connections.
const OPEN_FILES: u32 = 20_000;

/// A control plane, what stands around it, and their folder. Fields are dropped in this order.
#[derive(Debug)]
pub struct Rig {
    processes: Vec<(String, Process)>,
    /// The control plane, if it was started.
    pub control_plane: Option<Process>,
    grpc: String,
    folder: TempDir,
}

/// Who offers what on a rig.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// Name of the agent.
    pub name: &'a str,
    /// The one thing it does.
    pub capability: &'a str,
    /// The manifest's adapter.
    pub adapter: &'a str,
    /// `read-only`, `idempotent` or `side-effecting`.
    pub effect: &'a str,
    /// Calls that it takes at once.
    pub max_concurrency: u32,
}

impl<'a> Offer<'a> {
    /// Reading only, named like what it does, with more places than most benches take.
    #[must_use]
    pub const fn new(name: &'a str, adapter: &'a str) -> Self {
        Self { name, capability: name, adapter, effect: "read-only", max_concurrency: 256 }
    }
}

impl Rig {
    /// A folder beside this program, on whatever disk holds cargo's target directory.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let beside = program.parent().context("the folder of this program")?;
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(beside)?;
        Ok(Self { processes: Vec::new(), control_plane: None, grpc: String::new(), folder })
    }

    /// A folder with a running control plane.
    ///
    /// # Errors
    /// If something cannot be started.
    pub async fn with_control_plane() -> anyhow::Result<Self> {
        let mut rig = Self::new()?;
        rig.start_control_plane().await?;
        Ok(rig)
    }

    /// Where everything lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data of the control plane.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// Starts the control plane on its data, after killing the one before, and waits until it takes runs; says how long
    /// that took.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_control_plane(&mut self) -> anyhow::Result<Duration> {
        // The one before must have let go of its data.
        self.control_plane = None;
        let ready = self.folder().join("control-plane.ready");
        std::fs::remove_file(&ready).ok();
        let mut command = many_files(mainstay());
        command.args(["serve", "--data", "data", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(["--ready-file", "control-plane.ready", "--until-stdin-closes"]);
        command.current_dir(self.folder());
        let started = host::now();
        self.control_plane = Some(Process::start("control-plane", command, self.folder()));
        let addresses = json_in(&ready).await;
        let text = |field: &str| addresses[field].as_str().map(str::to_owned).context("an address");
        let (grpc, admin) = (text("grpc")?, text("admin")?);
        let mut looks = tokio::time::interval(LOOK);
        while !is_ready(&admin).await {
            looks.tick().await;
        }
        let took = started.elapsed();
        self.grpc = grpc;
        Ok(took)
    }

    /// Starts this program in another role; says where it listens.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn helper(&mut self, role: &str, name: &str, more: &[&str]) -> anyhow::Result<Vec<String>> {
        let ready = self.folder().join(format!("{name}.ready"));
        let mut command = many_files(&std::env::current_exe()?);
        command.args([HELPER, role]).arg(&ready).args(more);
        self.processes.push((name.to_owned(), Process::start(name, command, self.folder())));
        let text = until("a helper to listen", || async { std::fs::read_to_string(&ready).ok() }).await;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Starts a sidecar and waits until calls reach its agent; says its process id.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn sidecar(&mut self, offer: Offer<'_>) -> anyhow::Result<u32> {
        let Offer { name, capability, adapter, effect, max_concurrency } = offer;
        let manifest = format!(
            "name: {name}\ninstance: one\ncontrol_plane: http://{}\nlisten: 127.0.0.1:0\ndata: {name}-ledger\n\
             adapter: {adapter}\n\
             capabilities:\n  - {{ name: {capability}, effect: {effect}, input: true, output: true, \
             max_concurrency: {max_concurrency} }}\n",
            self.grpc
        );
        let file = format!("{name}.yaml");
        std::fs::write(self.folder().join(&file), manifest)?;
        let mut command = Command::new(mainstay());
        command.args(["sidecar", "--manifest", &file, "--until-stdin-closes"]).current_dir(self.folder());
        let process = Process::start(name, command, self.folder());
        let pid = process.id();
        self.processes.push((name.to_owned(), process));
        let registry = self.registry().await?;
        until("an agent to be healthy", || async {
            let request = pb::GetAgentRequest { name: name.to_owned(), ..Default::default() };
            let agent = registry.clone().get_agent(request).await.ok()?.into_inner().agent?;
            agent.instances.iter().all(|i| i.health() == pb::HealthState::Healthy).then_some(())
        })
        .await;
        Ok(pid)
    }

    /// Starts the trivial HTTP agent behind a sidecar.
    ///
    /// # Errors
    /// If something does not start.
    pub async fn http_agent(&mut self, name: &str, effect: &str) -> anyhow::Result<()> {
        let at = self.helper("agent", &format!("{name}-agent"), &[]).await?;
        let adapter = http(at.first().context("an address")?);
        self.sidecar(Offer { effect, ..Offer::new(name, &adapter) }).await?;
        Ok(())
    }

    /// The sidecar of that name, or the helper; the agent of `http_agent` has `-agent` after its name.
    #[must_use]
    pub fn process(&self, name: &str) -> Option<&Process> {
        self.processes.iter().find(|(of, _)| of == name).map(|(_, process)| process)
    }

    /// A connection to the control plane.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn channel(&self) -> anyhow::Result<Channel> {
        connect(&self.grpc).await
    }

    /// Calls and runs.
    ///
    /// # Errors
    /// If the control plane cannot be reached.
    pub async fn orchestrator(&self) -> anyhow::Result<OrchestratorClient<Channel>> {
        Ok(OrchestratorClient::new(self.channel().await?))
    }

    /// Agents.
    ///
    /// # Errors
    /// If the control plane cannot be reached.
    pub async fn registry(&self) -> anyhow::Result<AgentRegistryClient<Channel>> {
        Ok(AgentRegistryClient::new(self.channel().await?))
    }

    /// Stores a workflow.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn put(&self, document: &str) -> anyhow::Result<()> {
        let request = pb::PutWorkflowRequest { document: document.to_owned(), ..Default::default() };
        WorkflowsClient::new(self.channel().await?).put_workflow(request).await?;
        Ok(())
    }
}

/// A warm connection.
///
/// # Errors
/// If nobody listens.
pub async fn connect(address: &str) -> anyhow::Result<Channel> {
    Ok(Channel::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?)
}

/// Calls a capability once, and checks that the answer is what was sent.
///
/// # Errors
/// If the call fails.
pub async fn invoke(
    mut client: OrchestratorClient<Channel>,
    capability: &str,
    payload: &bytes::Bytes,
) -> anyhow::Result<()> {
    let request =
        pb::InvokeRequest { capability: capability.to_owned(), input: payload.clone(), ..Default::default() };
    let answer = client.invoke(request).await?.into_inner().answer;
    anyhow::ensure!(answer.is_some_and(|answer| answer.output == payload), "another answer");
    Ok(())
}

/// The adapter of an agent that listens there.
#[must_use]
pub fn http(address: &str) -> String {
    format!("{{ http: {{ url: \"http://{address}/\" }} }}")
}

/// A JSON object of so many bytes.
#[must_use]
pub fn payload(bytes: usize) -> bytes::Bytes {
    let (head, tail) = ("{\"text\":\"", "\"}");
    format!("{head}{}{tail}", "x".repeat(bytes.saturating_sub(head.len() + tail.len()))).into()
}

/// The command, with leave to open as many files as thousands of connections need.
fn many_files(program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {OPEN_FILES} && exec \"$0\" \"$@\"")]).arg(program);
    command
}

async fn json_in(path: &Path) -> serde_json::Value {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if let Ok(value) = serde_json::from_str(&text) {
            return value;
        }
    }
}

/// Whether `/readyz` says yes.
async fn is_ready(admin: &str) -> bool {
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(admin).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    ask.await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
