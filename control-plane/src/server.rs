//! A whole control plane: opened, served, and stopped in an order that loses nothing.
//!
//! Stopping: the listener closes and readiness turns off; clients that wait have the grace to get their answers; then the
//! engine lets go of its runs without a word to the sidecars, because the work is still owed and the next start asks for it
//! again under the same keys. A disk that hangs does not hold up the end: what is not on it was never promised.
//!
//! A part of the server that ends by itself would leave the rest running with leases that never lapse or polls that never
//! happen. So its end is the end of the server, whose supervisor starts it whole again.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use mainstay_kernel::event::Kind;
use mainstay_store::sled::DiskFault;
use mainstay_store::{Blobs, MemoryStore, SledOptions, SledStore, Store};
use mainstay_transport::channel;
use mainstay_transport::health::HealthReporter;
use mainstay_transport::server as transport;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic_health::ServingStatus;

use crate::config::{Config, ConfigErrors};
use crate::faults::{Disk, Faults};
use crate::host::Clock;
use crate::{backup, engine, events};

mod assembly;
mod restored;

pub use assembly::{Core, Ground};

/// How long runs have to leave once calls have ended. They wait for nothing but commits on their way to the disk.
const STOP: Duration = Duration::from_secs(2);

/// Memory for the store's page cache. Small, because the working set is: open runs are in memory anyway.
const CACHE: u64 = 16 * 1024 * 1024;

/// Names under which the health service tells of this server; the empty one is all of it.
const SERVICES: [&str; 8] = [
    "",
    "mainstay.v1.Orchestrator",
    "mainstay.v1.AgentRegistry",
    "mainstay.v1.Workflows",
    "mainstay.v1.Routes",
    "mainstay.v1.Rollouts",
    "mainstay.v1.Operations",
    "mainstay.v1.Drills",
];

/// A control plane that has its addresses and its store, and is ready to run.
#[derive(Debug)]
pub struct Server {
    grpc: TcpListener,
    admin: TcpListener,
    core: Core,
}

/// What runs beside the servers.
struct Part {
    name: &'static str,
    work: BoxFuture<'static, ()>,
}

/// Why a control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The store could not be opened.
    #[error("the store in {}: {detail}", path.display())]
    Store {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// An address could not be bound.
    #[error("`{setting}` {address}: {source}; give another address or stop what uses it")]
    Bind {
        /// The setting.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// What was registered could not be read back.
    #[error("the registry: {0}")]
    Registry(String),
    /// The server's own records could not be read or written.
    #[error("the store: {0}")]
    Records(String),
}

/// The server ended although nobody asked it to, after an orderly stop; a supervisor should start it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A part of it ended by itself.
    #[error("a part of the server ended by itself; the log says which and why")]
    Part,
    /// It used far more memory than its soft limit. All state is on disk, and the next start goes on with it.
    #[error(
        "the server used up its memory and stopped in order; start it again, and give it more or raise \
         `memory-soft-limit` if it comes back"
    )]
    Memory,
}

impl Server {
    /// Opens the store, binds the addresses and puts everything together. Serves nothing yet.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        config.validate()?;
        let grpc = bind("listen", config.listen).await?;
        let admin = bind("admin", config.admin).await?;
        let clock = Clock::system();
        let disk = config.allow_drills.then(|| Arc::new(Disk::default()));
        let (store, blobs, backend) = open(config.data.clone(), disk.clone()).await?;
        let faults = disk.map(|disk| Faults::new(clock.clone(), disk));
        let channels = channel::Options::default();
        let ground = Ground { clock, store, blobs, backend, channels, faults };
        Ok(Self { grpc, admin, core: Core::assemble(config, ground).await? })
    }

    /// Where gRPC is served.
    pub fn grpc_addr(&self) -> std::io::Result<SocketAddr> {
        self.grpc.local_addr()
    }

    /// Where admin HTTP is served.
    pub fn admin_addr(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Serves until `shutdown` completes, and then a bounded time longer.
    ///
    /// # Errors
    /// [`Broken`], after the same orderly stop.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Broken> {
        let core = self.core;
        let mut beside = JoinSet::new();
        let broken = CancellationToken::new();
        for part in core.parts {
            beside.spawn(part.run(broken.clone().drop_guard()));
        }
        core.events.tell(
            Kind::ServerStarted,
            "server",
            format_args!("version {}", env!("CARGO_PKG_VERSION")),
        );
        beside.spawn(report(core.reporter, core.engine.clone(), core.events.clone()));
        let stop_admin = CancellationToken::new();
        let admin = axum::serve(self.admin, core.admin_routes)
            .with_graceful_shutdown(stop_admin.clone().cancelled_owned());
        beside.spawn(async move {
            if let Err(error) = admin.await {
                tracing::error!(%error, "the admin address is no longer served");
            }
        });
        let (stopping, engine, events) = (core.stopping, core.engine.clone(), core.events);
        let mut whole = Ok(());
        let shutdown = async {
            let why = tokio::select! {
                () = shutdown => "it was told to",
                () = broken.cancelled_owned() => {
                    whole = Err(Broken::Part);
                    "a part of it ended by itself"
                }
                () = core.exhausted.cancelled_owned() => {
                    whole = Err(Broken::Memory);
                    "its memory is used up"
                }
            };
            events.tell(Kind::ServerStopping, "server", why);
            engine.refuse();
            stopping.cancel();
        };
        let report = transport::serve(self.grpc, core.routes, core.options, shutdown).await;
        tracing::info!(?report, "no longer serving");
        if tokio::time::timeout(STOP, core.engine.stop()).await.is_err() {
            tracing::warn!("runs still wait for the disk; the next start takes up what is there");
        }
        stop_admin.cancel();
        beside.shutdown().await;
        whole
    }
}

impl Part {
    fn new(name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { name, work: work.boxed() }
    }

    /// Runs it. When it ends, by a panic or otherwise, `broken` is told.
    async fn run(self, broken: DropGuard) {
        self.work.await;
        tracing::error!(part = self.name, "a part of the server ended");
        drop(broken);
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Tells the standard health service whether work is taken, and everyone when the disk refuses it.
async fn report(reporter: HealthReporter, engine: engine::Handle, events: events::Handle) {
    let (mut ready, mut refused) = (engine.readiness(), false);
    loop {
        let is_ready = *ready.borrow_and_update();
        match engine.refusal() {
            Some(reason) if !refused => {
                events.tell(Kind::StoreReadOnly, "store", reason);
                refused = true;
            }
            None if refused => {
                events.tell(Kind::StoreWritable, "store", "the disk takes writes again");
                refused = false;
            }
            Some(_) | None => {}
        }
        let serving = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in SERVICES {
            reporter.set_service_status(service, serving).await;
        }
        if ready.changed().await.is_err() {
            return;
        }
    }
}

async fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Bind { setting, address, source })
}

async fn open(
    data: Option<PathBuf>,
    disk: Option<Arc<Disk>>,
) -> Result<(Arc<dyn Store>, Blobs, &'static str), StartError> {
    let Some(path) = data else {
        return Ok((Arc::new(MemoryStore::new()), Blobs::in_memory(), "memory"));
    };
    if path.join(backup::UNFINISHED).exists() {
        let detail =
            "a restore into this folder did not come to its end; run `mainstay restore` again".to_owned();
        return Err(StartError::Store { path, detail });
    }
    let opening = path.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let disk_fault = disk.map(|disk| disk as Arc<dyn DiskFault>);
        let options = SledOptions { cache_bytes: CACHE, disk_fault };
        let store = SledStore::open(opening.join("store"), options).map_err(|error| error.to_string())?;
        let blobs = Blobs::open(opening.join("blobs")).map_err(|error| error.to_string())?;
        Ok((Arc::new(store) as Arc<dyn Store>, blobs, "sled"))
    });
    let opened = opened.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    opened.map_err(|detail| StartError::Store { path, detail })
}

#[cfg(test)]
mod tests;
