//! A control plane in memory, without a port of its own, over stub sidecars: what the tests of this crate stand on.
//!
//! The clock is the runtime's, so tests pause it; the store is the memory store, which commits before it returns.
//! Nothing here sleeps: a test waits for what it waits for.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::agent::{AgentSpec, CapabilitySpec};
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::health::Evidence;
use mainstay_kernel::id::{AttemptId, InstanceId};
use mainstay_kernel::json::{Json, Limits};
use mainstay_kernel::lease::Ttl;
use mainstay_kernel::name::Name;
use mainstay_kernel::retry::{Retries, RetryPolicy};
use mainstay_kernel::time::Wall;
use mainstay_store::{Blobs, MemoryStore, Store};
use serde_json::json;

use crate::host::Clock;
use crate::metrics::Metrics;
use crate::registry::{Registered, Registration};
use crate::{budgets, dispatch, engine, events, invoke, modes, registry, rollouts, routing, workflows};

mod stub;

pub(crate) use stub::{Act, Seen, Stub, answer, failure};

/// A control plane without servers. Its services run only if a test runs them.
pub(crate) struct Bed {
    pub(crate) clock: Clock,
    pub(crate) store: MemoryStore,
    pub(crate) blobs: Blobs,
    pub(crate) events: events::Handle,
    pub(crate) registry: registry::Handle,
    pub(crate) rollouts: rollouts::Handle,
    pub(crate) dispatch: dispatch::Handle,
    pub(crate) catalog: workflows::Handle,
    pub(crate) modes: modes::Handle,
    pub(crate) routing: routing::Handle,
    pub(crate) engine: engine::Handle,
    pub(crate) metrics: Metrics,
    pub(crate) registry_service: Option<registry::Service>,
    pub(crate) engine_service: Option<engine::Service>,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::over(MemoryStore::new(), Blobs::in_memory()).await
    }

    /// As after a restart, over what is stored.
    pub(crate) async fn over(store: MemoryStore, blobs: Blobs) -> Self {
        Self::with(store, blobs, engine::Config::default(), registry::Config::default()).await
    }

    pub(crate) async fn with(
        store: MemoryStore,
        blobs: Blobs,
        bounds: engine::Config,
        registered: registry::Config,
    ) -> Self {
        let clock = Clock::anchored(Wall::from_millis(1_800_000_000_000), 7);
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let (events, events_service) = events::open(clock.clone(), Arc::clone(&shared)).unwrap();
        tokio::spawn(events_service.run());
        let (registry, registry_service) =
            registry::open(registered, clock.clone(), Arc::clone(&shared), blobs.clone(), events.clone())
                .await
                .unwrap();
        let metrics = Metrics::default();
        let stores = (Arc::clone(&shared), blobs.clone());
        let (rollouts, rollouts_service) =
            rollouts::open(clock.clone(), stores, events.clone(), metrics.clone()).unwrap();
        tokio::spawn(rollouts_service.run());
        let modes = modes::open(
            modes::Config::default(),
            clock.clone(),
            Arc::clone(&shared),
            events.clone(),
            metrics.clone(),
        )
        .unwrap();
        let dispatch = dispatch::Handle::new(
            clock.clone(),
            registry.clone(),
            rollouts.clone(),
            modes.clone(),
            Limits::default(),
            metrics.clone(),
        );
        let catalog = workflows::Handle::new(clock.clone(), Arc::clone(&shared), blobs.clone());
        let (decisions, decisions_service) =
            routing::decisions::open(clock.clone(), Arc::clone(&shared), metrics.clone()).unwrap();
        tokio::spawn(decisions_service.run());
        let (routing, routing_service) = routing::Handle::new(
            clock.clone(),
            routing::Parts {
                catalog: routing::Catalog::new(clock.clone(), Arc::clone(&shared), blobs.clone()),
                registry: registry.clone(),
                dispatch: dispatch.clone(),
                metrics: metrics.clone(),
                modes: modes.clone(),
                decisions,
            },
        );
        tokio::spawn(routing_service.run());
        let (budgets, _) = budgets::open(clock.clone(), Arc::clone(&shared), events.clone()).unwrap();
        let parts = engine::Parts {
            catalog: catalog.clone(),
            registry: registry.clone(),
            dispatch: dispatch.clone(),
            metrics: metrics.clone(),
            modes: modes.clone(),
            routing: routing.clone(),
            budgets,
            events: events.clone(),
        };
        let (engine, engine_service) =
            engine::Handle::new(bounds, clock.clone(), (shared, blobs.clone()), parts);
        Self {
            clock,
            store,
            blobs,
            events,
            registry,
            rollouts,
            dispatch,
            catalog,
            modes,
            routing,
            engine,
            metrics,
            registry_service: Some(registry_service),
            engine_service: Some(engine_service),
        }
    }

    /// Lets the engine take work, and waits until it does.
    pub(crate) async fn start_engine(&mut self) {
        tokio::spawn(self.engine_service.take().unwrap().run());
        self.ready(true).await;
    }

    pub(crate) async fn ready(&self, wanted: bool) {
        self.engine.readiness().wait_for(|ready| *ready == wanted).await.unwrap();
    }

    /// What makes direct calls.
    pub(crate) fn invoke(&self) -> invoke::Handle {
        let (clock, registry) = (self.clock.clone(), self.registry.clone());
        invoke::Handle::new(clock, registry, self.dispatch.clone(), self.routing.clone(), Limits::default())
    }

    /// Registers a stub and lets its first poll pass.
    pub(crate) async fn admit(&self, stub: &Stub, registration: Registration) -> Registered {
        let registration = Registration { address: stub.address(), ..registration };
        let registered = self.registry.register(registration).await.unwrap();
        self.healthy(registered.id);
        registered
    }

    pub(crate) fn healthy(&self, id: InstanceId) {
        let instance = self.registry.instance(id).unwrap();
        self.registry.observe(&instance, Evidence::PollPassed);
    }

    pub(crate) async fn put(&self, document: &str) {
        self.catalog.put(&name("default"), document).await.unwrap();
    }

    /// The metrics as they are shown.
    pub(crate) fn exposition(&self) -> String {
        self.metrics.text(&self.store, &self.engine, &self.registry)
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A registration of `instance` of `agent`, which offers these capabilities, 4 calls of each at once.
pub(crate) fn registration(
    agent: &str,
    instance: &str,
    capabilities: &[(&str, EffectClass)],
) -> Registration {
    let capability = |(capability, effect): &(&str, EffectClass)| CapabilitySpec {
        name: name(capability),
        description: String::new(),
        input_schema: Json::from(&json!({})),
        output_schema: Json::from(&json!({})),
        failure_modes: Default::default(),
        effect: *effect,
        sla: Duration::from_secs(5),
        cost_hint_nano_usd: 0,
        max_concurrency: 4,
        keywords: Vec::new(),
        examples: Vec::new(),
        breaker: Default::default(),
        hedge: None,
        context_budget: None,
        may_call: Default::default(),
        rate: None,
    };
    Registration {
        tenant: name("default"),
        spec: AgentSpec {
            name: name(agent),
            version: "1".to_owned(),
            labels: Default::default(),
            capabilities: capabilities.iter().map(capability).collect(),
            rate: None,
        },
        instance: name(instance),
        address: "http://127.0.0.1:9".to_owned(),
        ttl: Ttl::DEFAULT,
        lease: None,
    }
}

/// As [`registration`], one call at once.
pub(crate) fn narrow(agent: &str, instance: &str, capability: &str, effect: EffectClass) -> Registration {
    let mut registration = registration(agent, instance, &[(capability, effect)]);
    registration.spec.capabilities[0].max_concurrency = 1;
    registration
}

/// A call of `capability`, made once, with ten seconds.
pub(crate) fn call(bed: &Bed, capability: &str, key: u8) -> dispatch::Call {
    dispatch::Call {
        tenant: name("default"),
        capability: name(capability),
        agent: None,
        not_by: Vec::new(),
        input: Json::from(&json!({"key": key})),
        key: AttemptId::from_bytes([key; 16]),
        number: 1,
        step: None,
        intent: "test".into(),
        labels: Arc::default(),
        timeout: Duration::from_secs(5),
        deadline: bed.clock.mono() + Duration::from_secs(10),
        policy: RetryPolicy::NONE,
        retries: Retries::Allowed,
        chain: Default::default(),
        priority: mainstay_kernel::priority::Priority::default(),
        resumed: None,
        left: Arc::default(),
    }
}

/// Waits for what no channel tells of. Other tasks run meanwhile; a paused clock stands still.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    // Millions of turns take seconds: far longer than anything waited for.
    for _ in 0..5_000_000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("waited in vain");
}

/// Lets every task that can run do so. Only for showing that something does *not* happen.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}
