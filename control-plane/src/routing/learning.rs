//! The classifiers of the routing documents in use: learned beside the traffic, never on a thread that serves it.
//!
//! What a classifier learns from is what the capabilities on record say of themselves, as far as its document routes
//! there. Agents that are away for a moment count as well: a request for one of them is to be recognised and then sent to
//! the next rung, not taken for something else. When the registry changes, what there is to learn is compared with what
//! was learned ([`fingerprint`]); until a new classifier is ready the old one serves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::document::DocumentHash;
use mainstay_kernel::name::Name;
use mainstay_kernel::route::Routing;
use mainstay_kernel::route::classify::{Classifier, Material, fingerprint};
use mainstay_kernel::time::Mono;
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, watch};

use crate::host::Clock;
use crate::registry;

/// Classifiers kept at once. Each takes some megabytes; the one that was asked least lately goes first.
const MAX_MODELS: usize = 32;
/// How long the registry may settle before it is looked at: registrations come in herds.
const SETTLE: Duration = Duration::from_millis(200);
/// After learning, the rest is so many times as long: a registry that never settles costs a fifth of a core at most.
const REST: u32 = 4;

/// Where classifiers are asked for. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Handle(Arc<Shared>);

/// What learns.
#[derive(Debug)]
pub struct Service(Handle);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    registry: registry::Handle,
    models: Mutex<Vec<Model>>,
    wanted: Notify,
    /// Grows whenever a classifier was learned.
    learned: watch::Sender<u64>,
}

/// The classifier of one document.
#[derive(Debug)]
struct Model {
    tenant: Name,
    routing: Arc<Routing>,
    /// What was learned, and from what; nothing yet for a document that was just asked for.
    learned: Option<([u8; 32], Arc<Classifier>)>,
    used: Mono,
}

pub(super) fn new(clock: Clock, registry: registry::Handle) -> (Handle, Service) {
    let (models, wanted, learned) = (Mutex::default(), Notify::new(), watch::Sender::default());
    let handle = Handle(Arc::new(Shared { clock, registry, models, wanted, learned }));
    (handle.clone(), Service(handle))
}

/// What the capabilities on record say of themselves. Of each agent its newest registration counts.
pub(super) fn material(registry: &registry::Handle, tenant: &Name) -> BTreeMap<Name, Material> {
    let agents = registry.agents(tenant, None, usize::MAX);
    Material::gather(agents.iter().filter_map(|agent| agent.spec()).flat_map(|spec| &spec.capabilities))
}

// === impl Handle ===

impl Handle {
    /// The classifier of a document. The first time it is learned, which is waited for no longer than `patience`.
    pub(super) async fn of(
        &self,
        tenant: &Name,
        routing: &Arc<Routing>,
        patience: Duration,
    ) -> Option<Arc<Classifier>> {
        routing.classifier()?;
        if let Some(known) = self.known(tenant, routing) {
            return Some(known);
        }
        let mut learned = self.0.learned.subscribe();
        self.0.wanted.notify_one();
        let waiting = async {
            loop {
                if let Some(known) = self.known(tenant, routing) {
                    return Some(known);
                }
                learned.changed().await.ok()?;
            }
        };
        tokio::time::timeout(patience, waiting).await.ok().flatten()
    }

    /// What is learned already. Notes that it was asked for.
    fn known(&self, tenant: &Name, routing: &Arc<Routing>) -> Option<Arc<Classifier>> {
        let now = self.0.clock.mono();
        let mut models = self.0.models.lock();
        if let Some(model) = models.iter_mut().find(|model| model.is(tenant, routing.hash())) {
            model.used = now;
            return model.learned.as_ref().map(|(_, classifier)| Arc::clone(classifier));
        }
        if models.len() >= MAX_MODELS
            && let Some(least) = (0..models.len()).min_by_key(|at| models[*at].used)
        {
            models.swap_remove(least);
        }
        models.push(Model { tenant: tenant.clone(), routing: Arc::clone(routing), learned: None, used: now });
        None
    }

    /// Learns whatever has changed, one classifier after the other.
    async fn learn(&self) {
        let all: Vec<_> = {
            let models = self.0.models.lock();
            models.iter().map(|model| (model.tenant.clone(), Arc::clone(&model.routing))).collect()
        };
        for (tenant, routing) in all {
            let handle = self.clone();
            let done = tokio::task::spawn_blocking(move || handle.learn_one(&tenant, &routing)).await;
            if let Err(error) = done {
                tracing::error!(%error, "a classifier could not be learned; the one before goes on");
            }
        }
    }

    fn learn_one(&self, tenant: &Name, routing: &Arc<Routing>) {
        let mut material = material(&self.0.registry, tenant);
        material.retain(|capability, _| routing.allows(capability));
        let print = fingerprint(&material);
        let known = {
            let models = self.0.models.lock();
            let own = models.iter().find(|model| model.is(tenant, routing.hash()));
            if own.is_some_and(|model| model.learned.as_ref().is_some_and(|(of, _)| *of == print)) {
                return;
            }
            // Two documents over the same capabilities share what was learned.
            let mut learned = models.iter().filter_map(|model| model.learned.as_ref());
            learned.find(|(of, _)| *of == print).map(|(_, classifier)| Arc::clone(classifier))
        };
        let began = self.0.clock.mono();
        let classifier = known.unwrap_or_else(|| Arc::new(Classifier::learn(&material)));
        let took = self.0.clock.mono() - began;
        let mut models = self.0.models.lock();
        if let Some(model) = models.iter_mut().find(|model| model.is(tenant, routing.hash())) {
            model.learned = Some((print, classifier));
        }
        drop(models);
        let (route, capabilities) = (routing.name(), material.len());
        tracing::info!(%tenant, %route, capabilities, ?took, "a classifier is learned");
        self.0.learned.send_modify(|count| *count += 1);
    }
}

impl Model {
    fn is(&self, tenant: &Name, hash: DocumentHash) -> bool {
        self.tenant == *tenant && self.routing.hash() == hash
    }
}

// === impl Service ===

impl Service {
    /// Learns when a document is new or the registry changed, until it is dropped.
    pub async fn run(self) {
        let Handle(shared) = &self.0;
        let mut changes = shared.registry.watch();
        let mut rest = SETTLE;
        loop {
            tokio::select! {
                () = shared.wanted.notified() => {}
                changed = changes.recv() => {
                    if matches!(changed, Err(broadcast::error::RecvError::Closed)) {
                        return;
                    }
                    // A document that is wanted for the first time does not wait for the registry to settle.
                    tokio::select! {
                        () = tokio::time::sleep(rest) => {}
                        () = shared.wanted.notified() => {}
                    }
                    // What changed meanwhile is looked at with it.
                    changes = changes.resubscribe();
                }
            }
            let began = shared.clock.mono();
            self.0.learn().await;
            rest = SETTLE.max((shared.clock.mono() - began) * REST);
        }
    }
}
