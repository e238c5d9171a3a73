//! Everything of a control plane but its addresses: what it stands on is handed in, so that a simulation can hand in a clock,
//! a store and a network of its own.

use std::sync::Arc;

use futures::FutureExt;
use mainstay_kernel::artifact::Policy;
use mainstay_proto::{DESCRIPTORS, pb};
use mainstay_store::{Batch, Blobs, MemoryStore, ReadError, Store};
use mainstay_transport::channel;
use mainstay_transport::health::HealthReporter;
use mainstay_transport::server as transport;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use super::{Part, StartError, restored};
use crate::admin::Admin;
use crate::admission::Door;
use crate::api::page::Pages;
use crate::config::{Checked, Config};
use crate::faults::Faults;
use crate::host::Clock;
use crate::listing::Listing;
use crate::metrics::Metrics;
use crate::records::key;
use crate::{
    api, artifacts, backup, budgets, context, contracts, dispatch, drills, engine, events, health, invoke,
    modes, registry, retention, rollouts, routing, schedules, workflows,
};

/// What a message may be larger than its payload: names, labels, intent, descriptions.
const ENVELOPE: usize = 256 * 1024;

/// What a control plane stands on.
#[derive(Debug)]
pub struct Ground {
    pub(super) clock: Clock,
    pub(super) store: Arc<dyn Store>,
    pub(super) blobs: Blobs,
    pub(super) backend: &'static str,
    pub(super) channels: channel::Options,
    pub(super) faults: Option<Faults>,
}

/// Everything of a control plane but its addresses.
#[derive(Debug)]
pub struct Core {
    pub(super) routes: Routes,
    pub(super) admin_routes: axum::Router,
    pub(super) options: transport::Options,
    pub(super) engine: engine::Handle,
    pub(super) events: events::Handle,
    pub(super) exhausted: CancellationToken,
    pub(super) reporter: HealthReporter,
    pub(super) stopping: CancellationToken,
    pub(super) parts: Vec<Part>,
}

impl Ground {
    /// Ground in memory, for simulations: everything that could differ from one time to the next is given.
    #[must_use]
    pub fn in_memory(clock: Clock, store: MemoryStore, blobs: Blobs, channels: channel::Options) -> Self {
        Self { clock, store: Arc::new(store), blobs, backend: "memory", channels, faults: None }
    }
}

impl Core {
    /// Puts everything together over `ground`. Serves nothing yet.
    ///
    /// # Errors
    /// What is wrong with the configuration, or with what the store holds.
    pub async fn assemble(config: Config, ground: Ground) -> Result<Self, StartError> {
        let Checked { config, addresses, limits } = config.check()?;
        let Ground { clock, store, blobs, backend, channels, faults } = ground;
        let restored = restored::mark(&*store, &clock)?;
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
            channels,
            ..registry::Config::default()
        };
        let (registry, registry_service) =
            registry::open(registry_config, clock.clone(), Arc::clone(&store), blobs.clone(), events.clone())
                .await
                .map_err(|error| StartError::Registry(error.to_string()))?;
        let (artifacts, artifacts_service) =
            open_artifacts(&clock, (&store, &blobs), config.artifacts).await?;
        let shared = shared_context(&clock, &store).await?;
        let mode_config = modes::Config { rules: config.modes, memory: config.memory };
        let modes =
            modes::open(mode_config, clock.clone(), Arc::clone(&store), events.clone(), metrics.clone())
                .map_err(|error| StartError::Records(error.to_string()))?;
        let waiting = registry.clone();
        let forged = faults.clone();
        let modes_service =
            modes.service(move || waiting.waiting_bp(), move || forged.as_ref().and_then(Faults::memory));
        let health_service = health::Service::new(health::Config::default(), clock.clone(), registry.clone())
            .with_faults(faults.clone());
        let stores = (Arc::clone(&store), blobs.clone());
        let (budgets, budgets_service) = spend(&clock, &store, &events).await?;
        let (rollouts, rollouts_service) = roll_outs(&clock, stores, &events, &metrics).await?;
        let dispatch = dispatch::Handle::new(
            clock.clone(),
            registry.clone(),
            rollouts.clone(),
            modes.clone(),
            limits,
            metrics.clone(),
        )
        .with_faults(faults.clone());
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
        let (engine, engine_service) = engine::Handle::new(
            engine::Config { max_open_runs: config.max_open_runs, restored_at: restored.map(|mark| mark.at) },
            clock.clone(),
            (Arc::clone(&store), blobs.clone()),
            engine::Parts {
                catalog: catalog.clone(),
                registry: registry.clone(),
                dispatch: dispatch.clone(),
                metrics: metrics.clone(),
                modes: modes.clone(),
                routing: routing.clone(),
                budgets: budgets.clone(),
                events: events.clone(),
            },
        );

        let drills = match faults {
            None => None,
            Some(faults) => {
                let (store, registry, engine) = (Arc::clone(&store), registry.clone(), engine.clone());
                let (clock, metrics, events) = (clock.clone(), metrics.clone(), events.clone());
                let modes = modes.clone();
                let parts = drills::Parts { clock, faults, store, registry, engine, modes, metrics, events };
                Some(open_drills(parts).await?)
            }
        };
        let contracts = contracts::Service::new(contracts::Parts {
            registry: registry.clone(),
            catalog: catalog.clone(),
            events: events.clone(),
        });
        let hold = backup::Hold::default();
        let backup = backup::Handle::new(Arc::clone(&store), blobs.clone(), hold.clone());
        let (retention, retention_service) = retention::new(
            config.retention,
            retention::EVERY,
            retention::Parts {
                clock: clock.clone(),
                state: (Arc::clone(&store), blobs.clone()),
                hold,
                engine: engine.clone(),
                metrics: metrics.clone(),
                events: events.clone(),
            },
        );

        let (schedules, schedules_service) = scheduled(schedules::Parts {
            clock: clock.clone(),
            store: Arc::clone(&store),
            engine: engine.clone(),
            catalog: catalog.clone(),
            events: events.clone(),
        })
        .await?;

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
        let artifacts = api::artifacts::Api { artifacts, pages: pages.clone() };
        let context = api::context::Api { context: shared, pages: pages.clone() };
        let schedules = api::schedules::Api { clock: clock.clone(), schedules };
        let rollouts = api::rollouts::Api { clock: clock.clone(), rollouts, registry: registry.clone() };
        let operations = api::operations::Api {
            clock: clock.clone(),
            started_at: clock.wall(),
            backend,
            store: Arc::clone(&store),
            blobs,
            backup,
            retention,
            engine: engine.clone(),
            registry: registry.clone(),
            catalog,
            modes: modes.clone(),
            events: events.clone(),
            pages: pages.clone(),
            stopping: stopping.clone(),
        };
        // Every service opens compressed requests; what one swells to is bounded like any other. Answers are not compressed:
        // the time that takes would be every client's, and those that are far away have a proxy that does it.
        macro_rules! opening {
            ($server:expr) => {
                $server.max_decoding_message_size(size).accept_compressed(CompressionEncoding::Gzip)
            };
        }
        let budgets = api::budgets::Api { clock: clock.clone(), budgets };
        let drills = api::drills::Api { drills, stopping: stopping.clone() };
        let mut routes =
            Routes::new(opening!(pb::orchestrator_server::OrchestratorServer::new(orchestrator)));
        routes = routes
            .add_service(opening!(pb::agent_registry_server::AgentRegistryServer::new(agents)))
            .add_service(opening!(pb::workflows_server::WorkflowsServer::new(workflows)))
            .add_service(opening!(pb::routes_server::RoutesServer::new(documents)))
            .add_service(opening!(pb::rollouts_server::RolloutsServer::new(rollouts)))
            .add_service(opening!(pb::artifacts_server::ArtifactsServer::new(artifacts)))
            .add_service(opening!(pb::shared_context_server::SharedContextServer::new(context)))
            .add_service(opening!(pb::schedules_server::SchedulesServer::new(schedules)))
            .add_service(opening!(pb::budgets_server::BudgetsServer::new(budgets)))
            .add_service(opening!(pb::operations_server::OperationsServer::new(operations)))
            .add_service(opening!(pb::drills_server::DrillsServer::new(drills)));
        let (reporter, health_api) = mainstay_transport::health::service();
        routes = reflection(routes.add_service(health_api));
        let first_start = restored::first_start(restored, clock, Arc::clone(&store));
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
            Part::new("contracts", contracts.run()),
            Part::new("engine", first_start.then(|()| engine_service.run())),
            Part::new("retention", retention_service.run()),
            Part::new("artifacts", artifacts_service.run()),
            Part::new("budgets", budgets_service.run()),
            Part::new("modes", modes_service.run()),
            Part::new("schedules", schedules_service.run()),
        ];
        Ok(Self {
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

    /// Its services, to be called without a network.
    #[must_use]
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// Runs what goes on beside the services, for ever.
    pub async fn run(self) {
        futures::future::join_all(self.parts.into_iter().map(|part| part.work)).await;
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

/// Opens what operators let be used up over time, and what was.
async fn spend(
    clock: &Clock,
    store: &Arc<dyn Store>,
    events: &events::Handle,
) -> Result<(budgets::Handle, budgets::Service), StartError> {
    let (clock, store, events) = (clock.clone(), Arc::clone(store), events.clone());
    let opened = tokio::task::spawn_blocking(move || budgets::open(clock, store, events)).await;
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

/// Large documents. Counting them reads the disk.
async fn open_artifacts(
    clock: &Clock,
    (store, blobs): (&Arc<dyn Store>, &Blobs),
    policy: Policy,
) -> Result<(artifacts::Handle, artifacts::Service), StartError> {
    let (clock, state) = (clock.clone(), (Arc::clone(store), blobs.clone()));
    let opened = tokio::task::spawn_blocking(move || artifacts::open(clock, state, policy)).await;
    let opened = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    opened.map_err(|error| StartError::Records(error.to_string()))
}

/// Opens what is scheduled.
async fn scheduled(parts: schedules::Parts) -> Result<(schedules::Handle, schedules::Service), StartError> {
    let opened = tokio::task::spawn_blocking(|| schedules::open(parts)).await;
    let opened = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    opened.map_err(|error| StartError::Records(error.to_string()))
}

/// What agents and people know together. Counting its keys reads the disk.
async fn shared_context(clock: &Clock, store: &Arc<dyn Store>) -> Result<context::Handle, StartError> {
    let (clock, store) = (clock.clone(), Arc::clone(store));
    let opened = tokio::task::spawn_blocking(move || context::open(clock, store)).await;
    let opened = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    opened.map_err(|error| StartError::Records(error.to_string()))
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
