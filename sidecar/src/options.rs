//! What a sidecar is started with: flags first, then the environment, then the manifest.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::manifest::{Manifest, ManifestError};

/// Where a sidecar listens unless told otherwise.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7410);
/// Where the control plane is unless told otherwise.
pub const DEFAULT_CONTROL_PLANE: &str = "http://127.0.0.1:7400";

/// Flags and environment of `mainstay-sidecar` and `mainstay sidecar`. What is left out, the manifest says.
#[derive(Debug, Clone, Args)]
pub struct SidecarArgs {
    /// Manifest that says how to reach the agent and what it can do
    #[arg(short, long, value_name = "FILE", env = "MAINSTAY_MANIFEST")]
    pub manifest: PathBuf,
    /// Control plane to register with [default: http://127.0.0.1:7400]
    #[arg(long, value_name = "URL", env = "MAINSTAY_CONTROL_PLANE")]
    pub control_plane: Option<String>,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:7410]
    #[arg(long, value_name = "HOST:PORT", env = "MAINSTAY_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Address under which the control plane reaches this sidecar [default: the one it listens on]
    #[arg(long, value_name = "URL", env = "MAINSTAY_ADVERTISE")]
    pub advertise: Option<String>,
    /// Name of this instance, the same across restarts [default: from host and port]
    #[arg(long, value_name = "NAME", env = "MAINSTAY_INSTANCE")]
    pub instance: Option<String>,
    /// Folder of the ledger of side-effecting calls
    #[arg(long, value_name = "DIR", env = "MAINSTAY_DATA")]
    pub data: Option<PathBuf>,
    /// Listen on an address that is not loopback although nothing is encrypted
    #[arg(long, env = "MAINSTAY_INSECURE_LISTEN")]
    pub insecure_listen: bool,
}

/// A manifest, and what overrides it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The agent.
    pub manifest: Manifest,
    /// Control plane to register with, `http://HOST:PORT`.
    pub control_plane: Option<String>,
    /// Address to listen on.
    pub listen: Option<SocketAddr>,
    /// Address under which the control plane reaches this sidecar, `http://HOST:PORT`.
    pub advertise: Option<String>,
    /// Name of this instance.
    pub instance: Option<String>,
    /// Folder of the ledger of side-effecting calls.
    pub data: Option<PathBuf>,
    /// Allows an address that is not loopback.
    pub insecure_listen: bool,
}

// === impl Options ===

impl Options {
    /// Nothing beside the manifest.
    #[must_use]
    pub fn new(manifest: Manifest) -> Self {
        Self {
            manifest,
            control_plane: None,
            listen: None,
            advertise: None,
            instance: None,
            data: None,
            insecure_listen: false,
        }
    }
}

impl TryFrom<SidecarArgs> for Options {
    type Error = ManifestError;

    /// Loads the manifest that the flags name.
    fn try_from(args: SidecarArgs) -> Result<Self, ManifestError> {
        let SidecarArgs { manifest, control_plane, listen, advertise, instance, data, insecure_listen } =
            args;
        let manifest = Manifest::load(&manifest)?;
        Ok(Self { manifest, control_plane, listen, advertise, instance, data, insecure_listen })
    }
}
