//! `mainstay sidecar`: stands beside one agent. The same as the command `mainstay-sidecar`.

use clap::Args;
use mainstay_sidecar::{Options, Sidecar, SidecarArgs, host};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::harness::{HarnessArgs, Ready};

/// Flags of `sidecar`.
#[derive(Debug, Args)]
pub struct Sidecars {
    #[command(flatten)]
    sidecar: SidecarArgs,
    #[command(flatten)]
    harness: HarnessArgs,
}

pub(crate) async fn run(args: Sidecars) -> Result<(), Failure> {
    let Sidecars { sidecar, harness } = args;
    let config = |error: &dyn std::fmt::Display| Failure::new(Exit::Config, error.to_string());
    let options = Options::try_from(sidecar).map_err(|error| config(&error))?;
    // Before anything is announced: whoever sees the sidecar listen may already want it to end.
    let signal = host::shutdown_signal()
        .map_err(|error| Failure::new(Exit::Internal, format!("signals cannot be heard: {error}")))?;
    let sidecar = Sidecar::bind(options).await.map_err(|error| config(&error))?;
    harness.announce(&Ready { grpc: sidecar.local_addr().to_string(), admin: None })?;
    sidecar.run(harness.until(signal)).await;
    Ok(())
}
