//! For programs that start this one: learn its addresses, and never leave it behind.
//!
//! A parent that binds port 0 cannot know the port before the child does, and a parent that is killed cannot stop its
//! children. The ready file answers the first, standard input the second: the parent holds the other end of the pipe,
//! and the kernel closes it for whoever dies.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::host;

/// Hidden flags of `serve` and `sidecar`.
#[derive(Debug, Clone, Default, Args)]
pub struct HarnessArgs {
    /// Write the bound addresses here as JSON, once bound
    #[arg(long, value_name = "PATH", hide = true)]
    pub ready_file: Option<PathBuf>,
    /// End gracefully when standard input reaches its end
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,
}

/// What the ready file says.
#[derive(Debug, Clone, Serialize)]
pub struct Ready {
    /// Where gRPC is served, `HOST:PORT`.
    pub grpc: String,
    /// Where admin HTTP is served, `HOST:PORT`; a sidecar has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
}

impl HarnessArgs {
    /// Announces the bound addresses.
    ///
    /// # Errors
    /// If the ready file cannot be written.
    pub fn announce(&self, ready: &Ready) -> Result<(), Failure> {
        let Some(path) = &self.ready_file else { return Ok(()) };
        let text = serde_json::to_string(ready).unwrap_or_default();
        host::write_atomically(path, &text).map_err(|error| {
            Failure::new(Exit::Config, format!("`--ready-file` {}: {error}", path.display()))
        })
    }

    /// Resolves when the process should end: at `signal`, or at the end of standard input if that was asked for.
    pub async fn until(&self, signal: impl Future<Output = ()>) {
        if !self.until_stdin_closes {
            return signal.await;
        }
        let closed = host::stdin_closed();
        tokio::select! {
            () = signal => {}
            // The sender is dropped only after it has sent, or with its thread: either way the input is gone.
            _ = closed => {}
        }
    }
}
