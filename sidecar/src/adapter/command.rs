//! A program per call: input on stdin, output on stdout, exit code 0 means that it is an answer.
//!
//! Every call runs in a process group of its own, and it is the group that is killed: a shell script that is cut must not
//! leave the model it started behind. The order of the ending makes that safe. The leader is waited for only after its
//! output is read to the end, so as long as anything may have to be killed the leader is not reaped, and its number
//! cannot have become somebody else's.

use std::process::Stdio;

use bytes::Bytes;
use mainstay_kernel::outcome::{Began, Failure};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};

use super::{Body, Call, Reply};
use crate::failure;
use crate::manifest::CommandConfig;

/// How much of stderr is kept for the message: the end of a traceback says what happened.
const STDERR_TAIL: usize = 4096;
/// Read at a time from a pipe; a pipe holds 64 KiB.
const CHUNK: usize = 16 * 1024;

/// An agent that is a program.
#[derive(Debug)]
pub(crate) struct Command {
    config: CommandConfig,
    max_output: usize,
}

/// A process group; dropped before [`Group::disarm`], it is killed.
#[derive(Debug)]
pub(crate) struct Group(Option<Pid>);

// === impl Command ===

impl Command {
    pub(super) fn new(config: CommandConfig, max_output: usize) -> Self {
        Self { config, max_output }
    }

    pub(super) async fn call(&self, call: &Call) -> Result<Reply, Failure> {
        let deadline = call.deadline_ms().to_string();
        let chain = call.chain.to_string();
        let variables = [
            ("MAINSTAY_IDEMPOTENCY_KEY", call.key.as_str()),
            ("MAINSTAY_DEADLINE_MS", &deadline),
            ("MAINSTAY_RUN", &call.run),
            ("MAINSTAY_STEP", &call.step),
            ("MAINSTAY_INTENT", &call.intent),
            ("MAINSTAY_RETRY", call.retry()),
            ("MAINSTAY_PRIORITY", call.priority.as_str()),
            ("MAINSTAY_CHAIN", &chain),
        ];
        let (mut child, group) = spawn(&self.config, &variables, true).map_err(|error| {
            let program = self.config.program.display();
            failure::unreachable(Began::No, format_args!("{program} cannot be started: {error}"))
        })?;
        let io = |error: std::io::Error| {
            failure::unreachable(Began::Unknown, format_args!("talking to the program failed: {error}"))
        };
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let limit = self.max_output;
        let (_, output, complaint) = tokio::try_join!(
            async { feed(stdin, call.input.as_str().as_bytes()).await.map_err(io) },
            async { read_limited(stdout, limit).await.map_err(io)?.ok_or_else(|| too_large(limit)) },
            async { read_tail(stderr).await.map_err(io) },
        )?;
        let status = child.wait().await.map_err(io)?;
        group.disarm();
        if status.success() {
            return Ok(Reply::of(Body::Raw(output)));
        }
        let complaint = complaint.trim();
        let separator = if complaint.is_empty() { "" } else { ": " };
        Err(failure::agent_failed(format_args!("the program ended with {status}{separator}{complaint}")))
    }
}

// === impl Group ===

impl Group {
    /// The group has ended by itself.
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0
            && let Err(error) = kill_process_group(leader, Signal::KILL)
            && error != rustix::io::Errno::SRCH
        {
            tracing::error!(%leader, %error, "a cut program could not be killed");
        }
    }
}

/// Starts a program in a process group of its own. `piped` connects its three streams; otherwise they lead nowhere.
pub(crate) fn spawn(
    config: &CommandConfig,
    variables: &[(&str, &str)],
    piped: bool,
) -> std::io::Result<(Child, Group)> {
    let stream = || if piped { Stdio::piped() } else { Stdio::null() };
    let child = tokio::process::Command::new(&config.program)
        .args(&config.args)
        .envs(&config.env)
        // A NUL cannot be in a variable; in a person's words it means nothing.
        .envs(variables.iter().map(|(name, value)| (name, value.replace('\0', " "))))
        .current_dir(&config.cwd)
        .stdin(stream())
        .stdout(stream())
        .stderr(stream())
        .process_group(0)
        // The group is killed by its guard. This leaves the leader to the runtime, which reaps it: no zombies.
        .kill_on_drop(true)
        .spawn()?;
    let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    Ok((child, Group(leader)))
}

fn too_large(limit: usize) -> Failure {
    failure::breach(format_args!(
        "the output is larger than {limit} bytes; raise `limits.payload` of the manifest or answer less"
    ))
}

/// Writes the input. A program need not read it: what it does not take is its own affair.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) -> std::io::Result<()> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    match stdin.write_all(input).await {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Everything a pipe gives; `None` once it is more than `limit` bytes.
async fn read_limited(pipe: Option<impl AsyncRead + Unpin>, limit: usize) -> std::io::Result<Option<Bytes>> {
    let Some(pipe) = pipe else { return Ok(Some(Bytes::new())) };
    let mut output = Vec::new();
    pipe.take(limit as u64 + 1).read_to_end(&mut output).await?;
    Ok((output.len() <= limit).then(|| output.into()))
}

/// The end of what a pipe gives.
async fn read_tail(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let Some(mut pipe) = pipe else { return Ok(String::new()) };
    let (mut tail, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    loop {
        let count = pipe.read(&mut chunk).await?;
        if count == 0 {
            return Ok(String::from_utf8_lossy(&tail).into_owned());
        }
        tail.extend_from_slice(&chunk[..count]);
        let excess = tail.len().saturating_sub(STDERR_TAIL);
        tail.drain(..excess);
    }
}
