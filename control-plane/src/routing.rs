//! Routing: requests that name a routing document go down its rungs.
//!
//! The documents lie in a [`Catalog`]; the newest version of one routes from the moment it is put. [`Handle::call`] walks
//! the rungs and makes the calls, [`Handle::explain`] rehearses it, [`Handle::score`] rehearses a whole labelled set, [`decisions`] keeps what was decided, and the service
//! of [`learning`] keeps the classifiers up with the registry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::json::Json;
use mainstay_kernel::name::Name;
use mainstay_kernel::route::Routing;

use crate::documents::{self, CatalogError};
use crate::host::Clock;
use crate::metrics::Metrics;
use crate::{dispatch, modes, registry};

pub mod decisions;
mod document;
mod ladder;
mod learning;
mod live;
mod score;

pub use ladder::{Found, Request, Routed, Terms};
pub use learning::Service;
pub use score::{Labelled, Score};

/// The catalogue of routing documents. Cheap to clone.
pub type Catalog = documents::Handle<Routing>;

/// How long a request waits for a classifier that is learned for the first time, or a quarter of its own time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Routes requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    clock: Clock,
    catalog: Catalog,
    registry: registry::Handle,
    dispatch: dispatch::Handle,
    metrics: Metrics,
    modes: modes::Handle,
    learning: learning::Handle,
    decisions: decisions::Handle,
}

/// What routing stands on.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The documents.
    pub catalog: Catalog,
    /// The agents.
    pub registry: registry::Handle,
    /// What makes calls.
    pub dispatch: dispatch::Handle,
    /// What is counted.
    pub metrics: Metrics,
    /// The mode, which says what rungs are left out.
    pub modes: modes::Handle,
    /// Where decisions are kept.
    pub decisions: decisions::Handle,
}

impl Handle {
    /// Routing, and what learns its classifiers.
    #[must_use]
    pub fn new(clock: Clock, parts: Parts) -> (Self, Service) {
        let Parts { catalog, registry, dispatch, metrics, modes, decisions } = parts;
        let (learning, service) = learning::new(clock.clone(), registry.clone());
        (Self { clock, catalog, registry, dispatch, metrics, modes, learning, decisions }, service)
    }

    /// The documents.
    #[must_use]
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What was decided.
    #[must_use]
    pub const fn decisions(&self) -> &decisions::Handle {
        &self.decisions
    }

    /// A routing document: from memory, or off the threads that serve.
    async fn document(
        &self,
        tenant: &Name,
        name: &Name,
        version: Option<u32>,
    ) -> Result<Arc<Routing>, CatalogError> {
        if let Some(known) = self.catalog.cached(tenant, name, version) {
            return Ok(known);
        }
        let (catalog, tenant, name) = (self.catalog.clone(), tenant.clone(), name.clone());
        let read = tokio::task::spawn_blocking(move || catalog.resolve(&tenant, &name, version)).await;
        read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

/// Labels as expressions read them.
fn labels(labels: &BTreeMap<String, String>) -> Json {
    Json::from(&serde_json::Value::from_iter(labels.clone()))
}

#[cfg(test)]
mod tests;
