//! The manifest: what a person writes so that an agent, in any language and without an SDK, becomes part of the system.
//!
//! Ten lines must be enough, so everything has a default that is safe, with one exception: the **effect** of a capability
//! must be said. Whether a call may be repeated after a crash follows from it, and no default can be right: taken too
//! lightly it doubles a payment, taken too seriously it escalates every lost answer of a search.
//!
//! A mistake is reported with its line and field, and all mistakes of a manifest are reported together: people correct
//! files in rounds, and a round should not cost one error each. Unknown fields are mistakes too: `max_concurency: 64`
//! that is silently ignored is found in production. What the control plane would refuse is found here by the very code the
//! control plane runs, so that `mainstay sidecar` fails at the desk and not at registration.
//!
//! Every field, with its default:
//! ```yaml
#![doc = include_str!("../reference.yaml")]
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::agent::{AgentSpec, CapabilitySpec};
use mainstay_kernel::name::Name;
use mainstay_kernel::schema::Schema;
use mainstay_kernel::yaml::{self, DocumentError};
use mainstay_proto::{fault, pb};

mod agent;
mod fields;
mod reach;
#[cfg(test)]
mod tests;

use self::fields::{Complaints, Fields};
pub(crate) use self::reach::host_port;
pub use self::reach::{AdapterConfig, CommandConfig, HttpConfig, ProbeConfig, ProbeTarget, UsageFields};

/// How long calls under way may take to end at shutdown, unless the manifest says otherwise: longer than most answers of
/// a model take, shorter than the patience of a container runtime that was told about it.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(30);
/// The longest drain: a deployment that waits longer looks stuck to everyone.
const MAX_DRAIN: Duration = Duration::from_secs(3600);
/// Largest payload a manifest may allow: with its record around it, it fits into one document of the ledger.
const MAX_PAYLOAD: usize = 15 * 1024 * 1024;

/// A checked manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// What the agent says of itself, as it is registered.
    pub agent: AgentSpec,
    /// Tenant the agent belongs to; `None` means the default tenant.
    pub tenant: Option<Name>,
    /// Name of this instance; `None` means: derived from host and port.
    pub instance: Option<Name>,
    /// Where the control plane is, `http://HOST:PORT`; `None` means the default address.
    pub control_plane: Option<String>,
    /// Where to listen; `None` means the default address.
    pub listen: Option<SocketAddr>,
    /// Under which address others reach this sidecar, if not the one it listens on.
    pub advertise: Option<String>,
    /// Allows to listen on an address that is not loopback although nothing is encrypted.
    pub insecure_listen: bool,
    /// Folder of the durable ledger.
    pub data: Option<PathBuf>,
    /// How to reach the agent.
    pub adapter: AdapterConfig,
    /// How to tell whether the agent is well; `None` means it always is.
    pub probe: Option<ProbeConfig>,
    /// Bounds on what is accepted and passed on.
    pub limits: Limits,
    /// How long calls under way may take to end at shutdown.
    pub drain: Duration,
    /// What each capability needs beside its registration, by name.
    pub contracts: BTreeMap<Name, Contract>,
}

/// Bounds on what is accepted and passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest input and largest output in bytes.
    pub payload: usize,
}

/// A capability as the sidecar enforces it.
#[derive(Debug, Clone)]
pub struct Contract {
    /// What was declared.
    pub spec: Arc<CapabilitySpec>,
    /// What the input must hold to.
    pub input: Schema,
    /// What the output must hold to.
    pub output: Schema,
    /// Appended to the agent's URL for this capability; empty where there is none.
    pub path: String,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It has mistakes: all that were found.
    #[error("{}", list(.0))]
    Mistakes(Vec<DocumentError>),
}

// === impl Manifest ===

impl Manifest {
    /// Reads and checks a manifest file. `file:` references in it are relative to its folder.
    ///
    /// # Errors
    /// [`ManifestError`]; mistakes name line and field.
    pub fn load(path: &Path) -> Result<Self, ManifestError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ManifestError::Unreadable { path: path.to_owned(), error })?;
        Self::parse(&text, path.parent().unwrap_or(Path::new(".")))
    }

    /// Checks the text of a manifest. `file:` references in it are relative to `folder`.
    ///
    /// # Errors
    /// [`ManifestError::Mistakes`], with line and field.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ManifestError> {
        let root = yaml::parse(text).map_err(|error| ManifestError::Mistakes(vec![error]))?;
        let complaints = Complaints::default();
        let manifest = Fields::of(&root, yaml::Path::default(), &complaints)
            .and_then(|fields| read(fields, folder))
            .inspect(|manifest| check_registration(manifest, &root, &complaints));
        let mistakes = complaints.into_sorted();
        match manifest {
            Some(manifest) if mistakes.is_empty() => Ok(manifest),
            _ => Err(ManifestError::Mistakes(mistakes)),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { payload: mainstay_kernel::json::Limits::DEFAULT_MAX_BYTES }
    }
}

/// Reads every field before it gives up on any, so that all mistakes are found.
fn read(mut fields: Fields<'_>, folder: &Path) -> Option<Manifest> {
    let agent = agent::read(&mut fields, folder);
    let tenant = fields.name("tenant");
    let instance = fields.name("instance");
    let control_plane = fields.http_url("control_plane").map(|url| url.to_string());
    let listen = fields.parsed("listen", "an address like 127.0.0.1:7410");
    let advertise = fields.http_url("advertise").map(|url| url.to_string());
    let insecure_listen = fields.boolean("insecure_listen").unwrap_or(false);
    let data = fields.text("data").map(|path| folder.join(path));
    let adapter = reach::adapter(&mut fields, folder);
    let probe = reach::probe(&mut fields, folder, adapter.as_ref());
    let limits = fields.section("limits").map(limits).unwrap_or_default();
    let drain = fields.duration("drain", Duration::ZERO..=MAX_DRAIN).unwrap_or(DEFAULT_DRAIN);
    fields.finish();
    let (agent, contracts) = agent?;
    Some(Manifest {
        agent,
        tenant,
        instance,
        control_plane,
        listen,
        advertise,
        insecure_listen,
        data,
        adapter: adapter?,
        probe,
        limits,
        drain,
        contracts,
    })
}

fn limits(mut fields: Fields<'_>) -> Limits {
    let payload = fields.size("payload", 1024..=MAX_PAYLOAD);
    fields.finish();
    payload.map_or_else(Limits::default, |payload| Limits { payload })
}

/// Lets the check of the wire see the registration: its complaints are placed where the manifest says the same thing.
fn check_registration(manifest: &Manifest, root: &yaml::Node, complaints: &Complaints) {
    if !complaints.is_empty() {
        return;
    }
    let Err(fault) = AgentSpec::try_from(pb::AgentSpec::from(&manifest.agent)) else { return };
    for (field, message) in fault::Seen::of(&fault.into()).violations {
        complaints.add_at_field(root, &field, message);
    }
}

fn list(mistakes: &[DocumentError]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
