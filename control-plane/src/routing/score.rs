//! Scoring a document by a labelled set: what it would decide, and whether that is right.
//!
//! Who is ill or paused just now says nothing about a document, so whatever is on record counts as ready. The router agent is
//! not asked: what it would be asked counts as sent onward.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstay_kernel::json::Json;
use mainstay_kernel::mode::Mode;
use mainstay_kernel::name::Name;
use mainstay_kernel::route::classify::Classifier;
use mainstay_kernel::route::evaluate::Evaluation;
use mainstay_kernel::route::{Machine, Registry, Request, Routing, Standing, Target};

use super::live::Live;
use super::{Handle, PATIENCE, labels};
use crate::documents::CatalogError;

/// A request and the capability it belongs to.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// What the request says.
    pub input: Json,
    /// Its labels, for rules.
    pub labels: BTreeMap<String, String>,
    /// Where it belongs; nothing if no capability is meant for it.
    pub expected: Option<Name>,
}

/// A document that is being scored.
#[derive(Debug)]
pub struct Score {
    handle: Handle,
    tenant: Name,
    routing: Arc<Routing>,
    classifier: Option<Arc<Classifier>>,
    evaluation: Evaluation,
}

/// The registry as if everybody were well.
struct Assumed<'a>(Live<'a>);

impl Registry for Assumed<'_> {
    fn standing(&self, target: &Target) -> Standing {
        match self.0.standing(target) {
            Standing::Unknown => Standing::Unknown,
            Standing::Ready | Standing::Down(_) | Standing::Forbidden(_) => Standing::Ready,
        }
    }

    fn offers(&self, agent: &Name) -> Vec<Name> {
        self.0.offers(agent)
    }

    fn capabilities(&self) -> Vec<(Name, String)> {
        Vec::new()
    }
}

impl Handle {
    /// Begins to score a document.
    ///
    /// # Errors
    /// If it is not to be had.
    pub async fn score(
        &self,
        tenant: &Name,
        route: &Name,
        version: Option<u32>,
    ) -> Result<Score, CatalogError> {
        let routing = self.document(tenant, route, version).await?;
        let classifier = self.learning.of(tenant, &routing, PATIENCE).await;
        let (handle, tenant) = (self.clone(), tenant.clone());
        Ok(Score { handle, tenant, routing, classifier, evaluation: Evaluation::default() })
    }
}

impl Score {
    /// Counts some requests, off the threads that serve.
    pub async fn add(mut self, requests: Vec<Labelled>) -> Self {
        let added = tokio::task::spawn_blocking(move || {
            requests.into_iter().for_each(|request| self.add_one(request));
            self
        });
        added.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn add_one(&mut self, labelled: Labelled) {
        let request = Request {
            tenant: self.tenant.clone(),
            input: labelled.input,
            labels: labels(&labelled.labels),
            target: None,
            mode: Mode::Full,
        };
        let machine = Machine::new(Arc::clone(&self.routing), self.classifier.clone(), request);
        let assumed = Assumed(Live { registry: &self.handle.registry, tenant: &self.tenant });
        self.evaluation.add(labelled.expected.as_ref(), &machine.rehearse(&assumed));
    }

    /// What was counted.
    #[must_use]
    pub fn evaluation(&self) -> &Evaluation {
        &self.evaluation
    }
}
