//! The stage: a control plane, four agents and four sidecars, each a process of its own, and one folder for all they keep.
//!
//! Nothing here knows more than a person with a shell would: manifests are files, addresses are flags, and whether an
//! agent is there is asked of the control plane. So what the demo shows is what everyone gets.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use futures::future::try_join_all;
use mainstay_proto::pb;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::timeout;

use super::agents;
use super::child::{Child, Nursery};
use super::material::Material;
use crate::client::Client;

/// How long agents may take from the start of their sidecars until the control plane calls them healthy.
const HEALTHY_WITHIN: Duration = Duration::from_secs(30);
/// Attempts to start a control plane again on its old address. In the moment it is away, a connection of somebody else
/// may be given its port.
const RESTARTS: u32 = 5;
/// What instances are called: the one of the demo, whatever port it got.
const INSTANCE: &str = "demo";
/// Free ports are asked for with this.
const ANY_PORT: &str = "127.0.0.1:0";

/// An agent of the demo.
#[derive(Debug)]
struct Role {
    name: &'static str,
    manifest: &'static str,
    /// The URL in its manifest, which the address it is given takes the place of; `None` if it is a program.
    url: Option<&'static str>,
    /// Where its sidecar listens if ports are to be the usual ones.
    port: u16,
}

const ROLES: [Role; 4] = [
    Role {
        name: "finder",
        manifest: include_str!("../../../examples/agents/finder.yaml"),
        url: Some("http://127.0.0.1:8101"),
        port: 7410,
    },
    Role {
        name: "extractor",
        manifest: include_str!("../../../examples/agents/extractor.yaml"),
        url: Some("http://127.0.0.1:8102"),
        port: 7411,
    },
    Role {
        name: "writer",
        manifest: include_str!("../../../examples/agents/writer.yaml"),
        url: Some("http://127.0.0.1:8103"),
        port: 7412,
    },
    Role {
        name: "reviewer",
        manifest: include_str!("../../../examples/agents/reviewer.yaml"),
        url: None,
        port: 7413,
    },
];
/// How the reviewer's manifest names this program.
const PROGRAM: &str = "program: mainstay,";

/// What a demo is started with, beside its material.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// Take the usual ports where they are free.
    pub(super) usual_ports: bool,
    /// Let the writer hold its answer until [`Stage::let_answer_go`].
    pub(super) hold_answer: bool,
}

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Stage {
    paths: Paths,
    nursery: Nursery,
    control_plane: Child,
    /// Where the control plane listens.
    pub(super) ready: Addresses,
    /// The agents that are servers, and all sidecars.
    agents: Vec<Child>,
    sidecars: Vec<Child>,
    /// Last, so that it is removed after everyone who writes into it has ended.
    folder: TempDir,
}

/// Where things are kept.
#[derive(Debug, Clone)]
struct Paths(PathBuf);

/// What the ready files of a control plane and of a sidecar say.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Addresses {
    pub(super) grpc: String,
    #[serde(default)]
    pub(super) admin: String,
}

// === impl Stage ===

impl Stage {
    /// Starts everyone and waits until all agents are healthy.
    ///
    /// # Errors
    /// If any of them cannot be started; what was started has ended then, too.
    pub(super) async fn build(material: &Material, setting: Setting) -> anyhow::Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("mainstay-demo-").tempdir().context("a temporary folder")?;
        let paths = Paths(folder.path().to_owned());
        let nursery = Nursery::new(paths.of("processes"))?;
        for room in ["effects", "outbox", "manifests", "documents"] {
            std::fs::create_dir(paths.of(room)).with_context(|| room.to_owned())?;
        }
        let documents = material.lay_out(&paths.of("documents"))?;
        let port = |usual| if setting.usual_ports { free_or_any(usual) } else { ANY_PORT.to_owned() };
        let (listen, admin) = (port(7400), port(7401));
        let mut control_plane = start_control_plane(&nursery, &paths, &listen, &admin)?;
        let agents = start_agents(&nursery, &paths, &documents, setting).await?;
        let ready: Addresses = control_plane.ready().await?;
        let mut stage =
            Self { paths, nursery, control_plane, ready, agents: Vec::new(), sidecars: Vec::new(), folder };
        for (role, (agent, url)) in ROLES.iter().zip(agents) {
            let sidecar = stage.start_sidecar(role, url.as_deref(), &port(role.port))?;
            stage.sidecars.push(sidecar);
            stage.agents.extend(agent);
        }
        try_join_all(stage.sidecars.iter_mut().map(Child::ready::<Addresses>)).await?;
        stage.agents_healthy().await?;
        Ok(stage)
    }

    /// How many processes there are beside this one.
    pub(super) fn processes(&self) -> usize {
        1 + self.agents.len() + self.sidecars.len()
    }

    /// The names of the agents.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        ROLES.iter().map(|role| role.name)
    }

    /// The URL of the control plane.
    pub(super) fn server(&self) -> String {
        format!("http://{}", self.ready.grpc)
    }

    /// The process id of the control plane.
    pub(super) fn control_plane_pid(&self) -> u32 {
        self.control_plane.pid().unwrap_or_default()
    }

    /// A connection to the control plane.
    ///
    /// # Errors
    /// If it does not answer.
    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        Client::connect(&self.server(), "").await.map_err(|failure| anyhow::anyhow!(failure.message))
    }

    /// What the agent `name` did.
    ///
    /// # Errors
    /// If its list cannot be read.
    pub(super) fn effects(&self, name: &str) -> anyhow::Result<Vec<agents::effects::Effect>> {
        agents::effects::read(&self.paths.effects(name))
    }

    /// How many drafts the writer filed.
    ///
    /// # Errors
    /// If the outbox cannot be read.
    pub(super) fn drafts(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(self.paths.of("outbox")).context("the outbox")?.count())
    }

    /// Where everything is kept.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// This program.
    pub(super) fn program(&self) -> &Path {
        self.nursery.program()
    }

    /// Kills the control plane as a crash would.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) async fn crash(&mut self) -> anyhow::Result<()> {
        self.control_plane.kill().await
    }

    /// Lets the writer give the answer it holds.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn let_answer_go(&self) -> anyhow::Result<()> {
        std::fs::write(self.paths.gate(), "").context("the writer's gate")
    }

    /// Starts the control plane again, on the same data and the same addresses.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) async fn restart(&mut self) -> anyhow::Result<()> {
        let mut attempt = 1;
        loop {
            let Addresses { grpc, admin } = &self.ready;
            self.control_plane = start_control_plane(&self.nursery, &self.paths, grpc, admin)?;
            match self.control_plane.ready::<Addresses>().await {
                Ok(ready) => {
                    self.ready = ready;
                    return Ok(());
                }
                Err(error) if attempt == RESTARTS => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    /// Ends everyone, in an order in which nobody misses anybody, and removes the folder.
    ///
    /// # Errors
    /// If one of them or the folder stays.
    pub(super) async fn strike(self) -> anyhow::Result<()> {
        let Self { control_plane, agents, sidecars, folder, .. } = self;
        try_join_all(sidecars.into_iter().map(Child::stop)).await?;
        try_join_all(agents.into_iter().map(Child::stop)).await?;
        control_plane.stop().await?;
        let path = folder.path().to_owned();
        folder.close().with_context(|| path.display().to_string())
    }

    fn start_sidecar(&self, role: &Role, url: Option<&str>, listen: &str) -> anyhow::Result<Child> {
        let path = self.paths.manifest(role.name);
        let manifest = role.manifest_for(url, self.nursery.program())?;
        std::fs::write(&path, manifest).with_context(|| path.display().to_string())?;
        let (path, server) = (path.display().to_string(), self.server());
        let arguments = [
            "sidecar",
            "--manifest",
            &path,
            "--control-plane",
            &server,
            "--listen",
            listen,
            "--instance",
            INSTANCE,
        ];
        let effects = self.paths.effects(role.name);
        self.nursery.start(
            &format!("{}-sidecar", role.name),
            &arguments,
            &[("MAINSTAY_DEMO_EFFECTS", &effects)],
        )
    }

    /// Waits until the control plane would call each of the agents.
    async fn agents_healthy(&self) -> anyhow::Result<()> {
        let client = self.client().await?;
        let watch = async {
            let request = pb::WatchAgentsRequest { tenant: client.tenant() };
            let mut changes = client.registry().watch_agents(request).await?.into_inner();
            let mut missing: Vec<&str> = Self::names().collect();
            while !missing.is_empty() {
                let change = changes.message().await?.context("the control plane ended the watch")?;
                if let Some(pb::watch_agents_response::Event::Agent(agent)) = change.event
                    && is_healthy(&agent)
                {
                    let name = agent.spec.unwrap_or_default().name;
                    missing.retain(|missing| *missing != name);
                }
            }
            Ok(())
        };
        match timeout(HEALTHY_WITHIN, watch).await {
            Ok(healthy) => healthy,
            Err(_) => bail!("the agents were not healthy within {HEALTHY_WITHIN:?}"),
        }
    }
}

// === impl Paths ===

impl Paths {
    fn of(&self, room: &str) -> PathBuf {
        self.0.join(room)
    }

    fn effects(&self, agent: &str) -> PathBuf {
        self.of("effects").join(agent)
    }

    fn manifest(&self, agent: &str) -> PathBuf {
        self.of("manifests").join(format!("{agent}.yaml"))
    }

    fn gate(&self) -> PathBuf {
        self.of("answer-may-go")
    }
}

// === impl Role ===

impl Role {
    /// The manifest of the examples, with the addresses of this stage.
    fn manifest_for(&self, url: Option<&str>, program: &Path) -> anyhow::Result<String> {
        Ok(match (self.url, url) {
            (Some(usual), Some(url)) => self.manifest.replace(usual, url),
            _ => {
                // JSON text is YAML, whatever is in the path.
                let program = serde_json::to_string(&program.display().to_string())?;
                self.manifest.replace(PROGRAM, &format!("program: {program},"))
            }
        })
    }
}

fn start_control_plane(nursery: &Nursery, paths: &Paths, listen: &str, admin: &str) -> anyhow::Result<Child> {
    let data = paths.of("control-plane").display().to_string();
    nursery.start("control-plane", &["serve", "--data", &data, "--listen", listen, "--admin", admin], &[])
}

/// Starts the agents that are servers. For each role: the process and its URL, or neither.
async fn start_agents(
    nursery: &Nursery,
    paths: &Paths,
    documents: &Path,
    setting: Setting,
) -> anyhow::Result<Vec<(Option<Child>, Option<String>)>> {
    let (documents, outbox) = (documents.display().to_string(), paths.of("outbox").display().to_string());
    let gate = paths.gate().display().to_string();
    let start = async |role: &Role| {
        if role.url.is_none() {
            return Ok((None, None));
        }
        let effects = paths.effects(role.name).display().to_string();
        let mut arguments = vec!["demo-agent", role.name, "--listen", ANY_PORT, "--effects", &effects];
        match role.name {
            "finder" => arguments.extend(["--docs", &documents]),
            "writer" => arguments.extend(["--outbox", &outbox]),
            _ => {}
        }
        if role.name == "writer" && setting.hold_answer {
            arguments.extend(["--hold-answer", &gate]);
        }
        let mut agent = nursery.start(role.name, &arguments, &[])?;
        let ready: agents::Ready = agent.ready().await?;
        anyhow::Ok((Some(agent), Some(format!("http://{}", ready.http))))
    };
    try_join_all(ROLES.iter().map(start)).await
}

fn is_healthy(agent: &pb::Agent) -> bool {
    let healthy = |instance: &pb::Instance| instance.leased && instance.health() == pb::HealthState::Healthy;
    agent.instances.iter().any(healthy)
}

/// The usual port if nobody has it. Somebody may take it in between: then whoever is started says so.
fn free_or_any(port: u16) -> String {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(address) {
        Ok(_) => address.to_string(),
        Err(_) => ANY_PORT.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use mainstay_sidecar::Manifest;

    use super::*;

    #[test]
    fn the_manifests_of_the_examples_fit_a_stage() {
        for role in &ROLES {
            let url = role.url.map(|_| "http://127.0.0.1:1");
            let text = role.manifest_for(url, Path::new("/a b/\"mainstay\"")).unwrap();
            let manifest = Manifest::parse(&text, Path::new("/")).unwrap();
            assert_eq!(manifest.agent.name.as_str(), role.name);
            assert!(!text.contains(role.url.unwrap_or(PROGRAM)), "{text}");
        }
    }
}
