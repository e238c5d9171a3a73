//! A process of the demo: this same binary under another command, that cannot outlive the demo.
//!
//! Each child reads from a pipe whose other end only the demo holds, and ends when it closes. The system closes it for
//! whoever dies, so even a demo that is killed leaves nobody behind. Each has a process group of its own: Ctrl-C reaches
//! the demo alone, which then ends the others in their order.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use tokio::process::{ChildStdin, Command};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long a child may take to be ready: a debug build on a busy machine takes a second.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a child may take to end by itself before it is killed: longer than the drain its manifest allows.
const END_WITHIN: Duration = Duration::from_secs(8);
/// How often a condition outside this process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How much of a child's log is shown when it fails.
const LOG_LINES: usize = 12;

/// Where the children of a demo keep what belongs to them.
#[derive(Debug, Clone)]
pub(super) struct Nursery {
    folder: PathBuf,
    program: PathBuf,
}

/// A process that ends with this one.
#[derive(Debug)]
pub(super) struct Child {
    name: String,
    process: tokio::process::Child,
    /// Open for as long as the child is to live.
    stdin: Option<ChildStdin>,
    ready: PathBuf,
    log: PathBuf,
}

impl Nursery {
    /// Children keep their logs and ready files in `folder`.
    ///
    /// # Errors
    /// If the folder cannot be made, or this program cannot be found.
    pub(super) fn new(folder: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let program = std::env::current_exe().context("this program cannot find itself")?;
        Ok(Self { folder, program })
    }

    /// The program that children are.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Starts a child called `name`, with `arguments` and, beside the environment of this process, `variables`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start(
        &self,
        name: &str,
        arguments: &[&str],
        variables: &[(&str, &Path)],
    ) -> anyhow::Result<Child> {
        let (ready, log) =
            (self.folder.join(format!("{name}.json")), self.folder.join(format!("{name}.log")));
        // A child of the same name may have been here before; what it announced no longer holds.
        if let Err(error) = std::fs::remove_file(&ready)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error).with_context(|| ready.display().to_string());
        }
        let output = File::options().append(true).create(true).open(&log);
        let output = output.with_context(|| log.display().to_string())?;
        let mut command = Command::new(&self.program);
        // What is set for the user's own Mainstay is not meant for this one; only what is logged may be.
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if name.starts_with("MAINSTAY_") && name != "MAINSTAY_LOG" {
                command.env_remove(&variable);
            }
        }
        let mut process = command
            .args(arguments)
            .arg("--until-stdin-closes")
            .arg("--ready-file")
            .arg(&ready)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(output.try_clone().context("the log")?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let stdin = process.stdin.take();
        Ok(Child { name: name.to_owned(), process, stdin, ready, log })
    }
}

impl Child {
    /// Its process id, while it lives.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// What it announces once it is ready.
    ///
    /// # Errors
    /// If it ends instead, or takes too long; with the end of its log.
    pub(super) async fn ready<R: DeserializeOwned>(&mut self) -> anyhow::Result<R> {
        let mut looks = looks();
        let announced = async {
            while !self.ready.exists() {
                if let Some(status) = self.process.try_wait()? {
                    bail!("{} ended with {status} instead of starting{}", self.name, self.last_words());
                }
                looks.tick().await;
            }
            Ok(())
        };
        match timeout(READY_WITHIN, announced).await {
            Ok(announced) => announced?,
            Err(_) => bail!("{} was not ready within {READY_WITHIN:?}{}", self.name, self.last_words()),
        }
        let text = std::fs::read_to_string(&self.ready).with_context(|| self.ready.display().to_string())?;
        serde_json::from_str(&text).with_context(|| format!("what {} announced", self.name))
    }

    /// Kills it on the spot, as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().await.with_context(|| format!("killing {}", self.name))
    }

    /// Lets it end by itself; kills it if it does not.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.stdin.take());
        match timeout(END_WITHIN, self.process.wait()).await {
            Ok(ended) => ended.map(drop).with_context(|| format!("waiting for {}", self.name)),
            Err(_) => self.kill().await,
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
        if tail.is_empty() { String::new() } else { format!("; its log ends with\n{}", tail.join("\n")) }
    }
}

/// Ticks for looking at a condition that nobody announces.
pub(super) fn looks() -> tokio::time::Interval {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}
