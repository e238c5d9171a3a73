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
use mainstay_kernel::mode;
use mainstay_proto::{DESCRIPTORS, pb};
use mainstay_store::sled::DiskFault;
use mainstay_store::{Batch, Blobs, MemoryStore, ReadError, SledOptions, SledStore, Store};
use mainstay_transport::health::HealthReporter;
use mainstay_transport::server as transport;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;
use tonic_health::ServingStatus;

use crate::admin::Admin;
use crate::admission::Door;
use crate::api::page::Pages;
use crate::config::{Checked, Config, ConfigErrors};
use crate::faults::{Disk, Faults};
use crate::host::Clock;
use crate::listing::Listing;
use crate::metrics::Metrics;
use crate::records::key;
use crate::{
    api, dispatch, drills, engine, events, health, invoke, modes, registry, rollouts, routing, workflows,
};

/// What a message may be larger than its payload: names, labels, intent, descriptions.
const ENVELOPE: usize = 256 * 1024;

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
    routes: Routes,
    admin_routes: axum::Router,
    options: transport::Options,
    engine: engine::Handle,
    events: events::Handle,
    exhausted: CancellationToken,
    reporter: HealthReporter,
    stopping: CancellationToken,
    parts: Vec<Part>,
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
        let Checked { config, addresses, limits } = config.check()?;
        let grpc = bind("listen", config.listen).await?;
        let admin = bind("admin", config.admin).await?;
        let clock = Clock::system();
        let disk = config.allow_drills.then(|| Arc::new(Disk::default()));
        let (store, blobs, backend) = open(config.data.clone(), disk.clone()).await?;
        let faults = disk.map(|disk| Faults::new(clock.clone(), disk));
        let pages = Pages::new(secret(&*store, &clock).await?);
        let metrics = Metrics::default();

        let (events, events_service) = log(&clock, &store).await?;
        let catalog = workflows::Handle::new(clock.clone(), Arc::clone(&store), blobs.clone());
        let routings = routing::Catalog::new(clock.clone(), Arc::clone(&store), blobs.clone());
        let (decisions, decisions_service) = decisions(&clock, &store, &metrics).await?;
        let registry_config = registry::Config {
            addresses,
            bulkheads: config.bulkheads,
            queue: config.queue,
            breakers: config.breakers,
            ejection: config.ejection,
            panic: config.panic,
            slow_start: config.slow_start,
            ..registry::Config::default()
        };
        let (registry, registry_service) =
            registry::open(registry_config, clock.clone(), Arc::clone(&store), blobs.clone(), events.clone())
                .await
                .map_err(|error| StartError::Registry(error.to_string()))?;
        let mode_config = modes::Config { rules: mode::Config::default(), memory: config.memory };
        let modes =
            modes::open(mode_config, clock.clone(), Arc::clone(&store), events.clone(), metrics.clone())
                .map_err(|error| StartError::Records(error.to_string()))?;
        let waiting = registry.clone();
        let modes_service = modes.service(move || waiting.waiting_bp());
        let health_service = health::Service::new(health::Config::default(), clock.clone(), registry.clone())
            .with_faults(faults.clone());
        let stores = (Arc::clone(&store), blobs.clone());
        let (rollouts, rollouts_service) = roll_outs(&clock, stores, &events, &metrics).await?;
        let dispatch =
            dispatch::Handle::new(clock.clone(), registry.clone(), rollouts.clone(), limits, metrics.clone())
                .with_faults(faults.clone());
        let (engine, engine_service) = engine::Handle::new(
            engine::Config { max_open_runs: config.max_open_runs },
            clock.clone(),
            (Arc::clone(&store), blobs),
            engine::Parts {
                catalog: catalog.clone(),
                registry: registry.clone(),
                dispatch: dispatch.clone(),
                metrics: metrics.clone(),
            },
        );

        let drills = match faults {
            None => None,
            Some(faults) => {
                let (store, registry, engine) = (Arc::clone(&store), registry.clone(), engine.clone());
                let (clock, metrics, events) = (clock.clone(), metrics.clone(), events.clone());
                let parts = drills::Parts { clock, faults, store, registry, engine, metrics, events };
                Some(open_drills(parts).await?)
            }
        };
        let (routing, routing_service) = routing::Handle::new(
            clock.clone(),
            routing::Parts {
                catalog: routings,
                registry: registry.clone(),
                dispatch: dispatch.clone(),
                metrics: metrics.clone(),
                modes: modes.clone(),
                decisions,
            },
        );

        let size = config.max_payload + ENVELOPE;
        let stopping = CancellationToken::new();
        let orchestrator = api::orchestrator::Api {
            engine: engine.clone(),
            listing: Listing::new(Arc::clone(&store)),
            door: Door {
                engine: engine.clone(),
                modes: modes.clone(),
                metrics: metrics.clone(),
                max_calls: config.bulkheads.whole,
                calls: Arc::default(),
            },
            invoke: invoke::Handle::new(clock.clone(), registry.clone(), dispatch, routing.clone(), limits),
            pages: pages.clone(),
            limits,
            stopping: stopping.clone(),
        };
        let agents = api::registry::Api {
            registry: registry.clone(),
            clock: clock.clone(),
            pages: pages.clone(),
            stopping: stopping.clone(),
        };
        let workflows = api::workflows::Api { catalog: catalog.clone(), pages: pages.clone() };
        let documents = api::routes::Api { routing, limits, pages: pages.clone() };
        let rollouts = api::rollouts::Api { clock: clock.clone(), rollouts, registry: registry.clone() };
        let operations = api::operations::Api {
            clock: clock.clone(),
            started_at: clock.wall(),
            backend,
            store: Arc::clone(&store),
            engine: engine.clone(),
            registry: registry.clone(),
            catalog,
            modes: modes.clone(),
            events: events.clone(),
            pages: pages.clone(),
            stopping: stopping.clone(),
        };
        let mut routes = Routes::new(
            pb::orchestrator_server::OrchestratorServer::new(orchestrator).max_decoding_message_size(size),
        );
        routes = routes
            .add_service(
                pb::agent_registry_server::AgentRegistryServer::new(agents).max_decoding_message_size(size),
            )
            .add_service(
                pb::workflows_server::WorkflowsServer::new(workflows).max_decoding_message_size(size),
            )
            .add_service(pb::routes_server::RoutesServer::new(documents).max_decoding_message_size(size))
            .add_service(pb::rollouts_server::RolloutsServer::new(rollouts).max_decoding_message_size(size))
            .add_service(pb::operations_server::OperationsServer::new(operations))
            .add_service(pb::drills_server::DrillsServer::new(api::drills::Api {
                drills,
                stopping: stopping.clone(),
            }));
        let (reporter, health_api) = mainstay_transport::health::service();
        routes = reflection(routes.add_service(health_api));
        let admin_routes = Admin { store, engine: engine.clone(), registry, metrics }.routes();
        let options =
            transport::Options { shutdown_grace: config.shutdown_grace, ..transport::Options::default() };
        let parts = vec![
            Part::new("events", events_service.run()),
            Part::new("registry", registry_service.run()),
            Part::new("rollouts", rollouts_service.run()),
            Part::new("health", health_service.run()),
            Part::new("decisions", decisions_service.run()),
            Part::new("classifiers", routing_service.run()),
            Part::new("engine", engine_service.run()),
            Part::new("modes", modes_service.run()),
        ];
        Ok(Self {
            grpc,
            admin,
            routes: routes.prepare(),
            admin_routes,
            options,
            engine,
            events,
            exhausted: modes.exhausted(),
            reporter,
            stopping,
            parts,
        })
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
        let mut beside = JoinSet::new();
        let broken = CancellationToken::new();
        for part in self.parts {
            beside.spawn(part.run(broken.clone().drop_guard()));
        }
        self.events.tell(
            Kind::ServerStarted,
            "server",
            format_args!("version {}", env!("CARGO_PKG_VERSION")),
        );
        beside.spawn(report(self.reporter, self.engine.clone(), self.events.clone()));
        let stop_admin = CancellationToken::new();
        let admin = axum::serve(self.admin, self.admin_routes)
            .with_graceful_shutdown(stop_admin.clone().cancelled_owned());
        beside.spawn(async move {
            if let Err(error) = admin.await {
                tracing::error!(%error, "the admin address is no longer served");
            }
        });
        let (stopping, engine, events) = (self.stopping, self.engine.clone(), self.events);
        let mut whole = Ok(());
        let shutdown = async {
            let why = tokio::select! {
                () = shutdown => "it was told to",
                () = broken.cancelled_owned() => {
                    whole = Err(Broken::Part);
                    "a part of it ended by itself"
                }
                () = self.exhausted.cancelled_owned() => {
                    whole = Err(Broken::Memory);
                    "its memory is used up"
                }
            };
            events.tell(Kind::ServerStopping, "server", why);
            engine.refuse();
            stopping.cancel();
        };
        let report = transport::serve(self.grpc, self.routes, self.options, shutdown).await;
        tracing::info!(?report, "no longer serving");
        if tokio::time::timeout(STOP, self.engine.stop()).await.is_err() {
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

/// Opens the log of events.
async fn log(clock: &Clock, store: &Arc<dyn Store>) -> Result<(events::Handle, events::Service), StartError> {
    let (clock, store) = (clock.clone(), Arc::clone(store));
    let opened = tokio::task::spawn_blocking(move || events::open(clock, store)).await;
    let opened = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    opened.map_err(|error| StartError::Records(error.to_string()))
}

/// Opens what was decided about routed requests.
async fn decisions(
    clock: &Clock,
    store: &Arc<dyn Store>,
    metrics: &Metrics,
) -> Result<(routing::decisions::Handle, routing::decisions::Service), StartError> {
    let (clock, store, metrics) = (clock.clone(), Arc::clone(store), metrics.clone());
    let opened = tokio::task::spawn_blocking(move || routing::decisions::open(clock, store, metrics)).await;
    let opened = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    opened.map_err(|error| StartError::Records(error.to_string()))
}

/// Opens what is rolled out.
async fn roll_outs(
    clock: &Clock,
    stores: (Arc<dyn Store>, Blobs),
    events: &events::Handle,
    metrics: &Metrics,
) -> Result<(rollouts::Handle, rollouts::Service), StartError> {
    let (clock, events, metrics) = (clock.clone(), events.clone(), metrics.clone());
    let opened = tokio::task::spawn_blocking(move || rollouts::open(clock, stores, events, metrics)).await;
    let opened = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    opened.map_err(|error| StartError::Records(error.to_string()))
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

async fn open_drills(parts: drills::Parts) -> Result<drills::Handle, StartError> {
    let opened = tokio::task::spawn_blocking(|| drills::open(parts)).await;
    let opened = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    opened.map_err(|error| StartError::Records(error.to_string()))
}

/// The secret under which page tokens are made: kept in the store, so that tokens outlive a restart.
async fn secret(store: &dyn Store, clock: &Clock) -> Result<[u8; 32], StartError> {
    let records = |error: &dyn std::fmt::Display| StartError::Records(error.to_string());
    let at = key::global("default", key::SECRET);
    let kept = match store.get(&at) {
        Ok(kept) => kept,
        Err(error @ ReadError::Damaged { .. }) => {
            tracing::warn!(%error, "page tokens made before this start are refused");
            None
        }
        Err(error) => return Err(records(&error)),
    };
    if let Some(secret) = kept.and_then(|entry| <[u8; 32]>::try_from(&entry.value[..]).ok()) {
        return Ok(secret);
    }
    let (high, low) = (clock.secret(), clock.secret());
    let mut secret = [0; 32];
    secret[..16].copy_from_slice(high.as_bytes());
    secret[16..].copy_from_slice(low.as_bytes());
    store.commit(Batch::new().put(at, secret.to_vec())).await.map_err(|error| records(&error))?;
    Ok(secret)
}

/// Reflection, in the version that is standard and in the one that older tools still ask for.
fn reflection(routes: Routes) -> Routes {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes.add_service(v1).add_service(v1alpha),
        // Only descriptors that do not decode could fail here, and they are compiled in.
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "reflection is not served");
            routes
        }
    }
}

#[cfg(test)]
mod tests;
