//! The `mainstay-sidecar` command.
//!
//! It runs on one thread. A sidecar moves bytes between two sockets and waits; a second worker would only add a wake-up
//! to each call (the thread that reads is rarely the one that is woken), and its stacks and queues to what every agent on
//! the machine has to carry. Disk has its own thread in the store.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use mainstay_sidecar::{Options, Sidecar, SidecarArgs, host};
use tracing_subscriber::EnvFilter;

/// Exit code of a configuration that cannot be used (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;

/// Stands beside one agent: registers it, checks its health, and enforces its contract on every call.
#[derive(Debug, Parser)]
#[command(name = "mainstay-sidecar", version)]
struct Command {
    #[command(flatten)]
    sidecar: SidecarArgs,
}

#[expect(clippy::print_stderr, reason = "a command tells its mistakes to the person who typed it")]
fn main() -> ExitCode {
    let command = Command::parse();
    let filter = EnvFilter::try_from_env("MAINSTAY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Whoever logs must not panic because the log lies on a full disk, or its reader has gone.
    let logs = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    logs.with_writer(std::io::stderr).init();
    let options = match Options::try_from(command.sidecar) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<mainstay_sidecar::StartError>() => {
            eprintln!("{error}");
            ExitCode::from(EXIT_USAGE)
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        // Before anything is announced: whoever sees the sidecar listen may already want it to end.
        let shutdown = host::shutdown_signal().context("signals cannot be heard")?;
        let sidecar = Sidecar::bind(options).await?;
        sidecar.run(shutdown).await;
        Ok(())
    })
}
