//! An agent behind its sidecar: two processes, and a ledger of what the agent did.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::exchange;
use crate::agent::{self, Row};
use crate::process::{Process, fake_agent, free_port, mainstay};
use crate::wait::until;

/// An agent behind its sidecar.
#[derive(Debug)]
pub struct Agent {
    name: String,
    folder: PathBuf,
    /// The agent's process.
    pub agent: Process,
    /// Its sidecar's.
    pub sidecar: Process,
    /// Where the agent listens.
    pub http: String,
}

/// A capability in a manifest: the fields behind its name, in YAML's flow style.
pub type Capability<'a> = (&'a str, &'a str);

/// What an agent's sidecar registers it as.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity<'a> {
    pub(super) name: &'a str,
    pub(super) instance: &'a str,
    pub(super) version: &'a str,
}

impl<'a> Identity<'a> {
    /// The only instance of the first version.
    pub(super) const fn of(name: &'a str) -> Self {
        Self { name, instance: "one", version: "1" }
    }
}

impl Agent {
    /// Starts an agent in `folder`, and behind it a sidecar that registers it at the control plane at `grpc`.
    pub(super) async fn start(
        grpc: &str,
        folder: PathBuf,
        Identity { name, instance, version }: Identity<'_>,
        capabilities: &[Capability<'_>],
    ) -> Self {
        std::fs::create_dir_all(&folder).expect("a folder");
        let process = start_agent(name, &folder, free_port());
        let http = listening(&folder).await;
        let capabilities: String =
            capabilities.iter().map(|(name, fields)| format!("  - {{ name: {name}, {fields} }}\n")).collect();
        let manifest = format!(
            "name: {name}\ninstance: {instance}\nversion: '{version}'\ncontrol_plane: http://{grpc}\nlisten: 127.0.0.1:0\ndata: ledger\n\
             adapter: {{ http: {{ url: \"http://{http}/\" }} }}\n\
             health: {{ http: {{ url: \"http://{http}/health\" }}, interval: 200ms, rise: 1, fall: 2 }}\n\
             capabilities:\n{capabilities}"
        );
        std::fs::write(folder.join("agent.yaml"), manifest).expect("a manifest");
        let sidecar = start_sidecar(name, &folder);
        Self { name: name.to_owned(), folder, agent: process, sidecar, http }
    }

    /// What the agent did.
    #[must_use]
    pub fn ledger(&self) -> Vec<Row> {
        agent::ledger(&self.folder.join("ledger.jsonl"))
    }

    /// What the agent did, with what failed.
    #[must_use]
    pub fn whole_ledger(&self) -> Vec<Row> {
        agent::whole_ledger(&self.folder.join("ledger.jsonl"))
    }

    /// Starts the agent again where it was.
    pub async fn restart_agent(&mut self) {
        let port = self.http.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        std::fs::remove_file(self.folder.join("agent.ready")).ok();
        self.agent = start_agent(&self.name, &self.folder, port);
        listening(&self.folder).await;
    }

    /// Starts the sidecar again.
    pub fn restart_sidecar(&mut self) {
        self.sidecar = start_sidecar(&self.name, &self.folder);
    }

    /// Makes the agent's health probe fail or pass.
    pub async fn set_well(&self, well: bool) {
        self.post(if well { "/well" } else { "/sick" }).await;
    }

    /// Makes this many of a hundred works fail, whatever their input, evenly spread.
    pub async fn fail(&self, percent: u32) {
        self.post(&format!("/fail/{percent}")).await;
    }

    /// Makes every answer cost so many 10⁻⁹ US dollars for each byte it is asked with.
    pub async fn price(&self, nano_usd: u32) {
        self.post(&format!("/price/{nano_usd}")).await;
    }

    /// How many bytes it has written about what it did.
    #[must_use]
    pub fn written(&self) -> u64 {
        std::fs::metadata(self.folder.join("ledger.jsonl")).map_or(0, |file| file.len())
    }

    /// Lets the work go on that waits at this gate.
    pub async fn open(&self, gate: &str) {
        self.post(&format!("/open/{gate}")).await;
    }

    /// Waits until work has begun so many times in all.
    pub async fn until_begun(&self, times: usize) {
        until(&format!("work to begin {times} times"), || async { (self.begun() >= times).then_some(()) })
            .await;
    }

    /// How often work began.
    #[must_use]
    pub fn begun(&self) -> usize {
        self.ledger().iter().filter(|row| row.output.is_none()).count()
    }

    async fn post(&self, path: &str) {
        let stream = tokio::net::TcpStream::connect(&self.http).await.expect("the agent");
        let request =
            format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        exchange(stream, &request).await.expect("an answer");
    }
}

fn start_agent(name: &str, folder: &Path, port: u16) -> Process {
    let mut command = Command::new(fake_agent());
    command.current_dir(folder).args(["ledger.jsonl", "agent.ready", &port.to_string()]);
    Process::start(&format!("{name}-agent"), command, folder)
}

fn start_sidecar(name: &str, folder: &Path) -> Process {
    let mut command = Command::new(mainstay());
    command.current_dir(folder).args(["sidecar", "--manifest", "agent.yaml", "--until-stdin-closes"]);
    Process::start(&format!("{name}-sidecar"), command, folder)
}

/// Waits until the agent in `folder` says where it listens.
async fn listening(folder: &Path) -> String {
    until("the agent to listen", || async { std::fs::read_to_string(folder.join("agent.ready")).ok() }).await
}
