//! Finding out what a run asks of the world: what is offered, and where a request goes.
//!
//! What is found goes to the kernel and from there onto the record, before anything follows from it. Asking twice does no
//! harm: a crash before the record asks again, and nobody was called for it but a router agent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::chain::Chain;
use mainstay_kernel::json::Json;
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::{Began, Class, Failure};
use mainstay_kernel::priority::Priority;
use mainstay_kernel::retry::Retries;
use mainstay_kernel::run::{About, Finding, Input, Inquiry, Offered, State, Way};
use mainstay_kernel::workflow::Call;

use super::Shared;
use crate::documents::CatalogError;
use crate::routing;

/// How long a routing document may take to decide: its own classifier and router agent are bounded tighter.
const DECIDES_WITHIN: Duration = Duration::from_secs(60);

/// How long a disk that cannot be read is left alone.
const ASKS_AGAIN: Duration = Duration::from_secs(1);

const ROUTE_NOT_FOUND: &str = "ROUTE_NOT_FOUND";

/// Whose run asks.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    tenant: Name,
    intent: Arc<str>,
    labels: Arc<BTreeMap<String, String>>,
    retries: Retries,
    chain: Chain,
    priority: Priority,
}

impl Asker {
    pub(super) fn of(run: &State) -> Self {
        Self {
            tenant: run.tenant.clone(),
            intent: Arc::clone(&run.intent),
            labels: Arc::clone(&run.labels),
            retries: run.retries,
            chain: run.chain.clone(),
            priority: run.priority,
        }
    }
}

/// Finds out what a step asks.
pub(super) async fn find_out(shared: Arc<Shared>, asker: Asker, inquiry: Inquiry) -> Input {
    let finding = match inquiry.about {
        About::Offers(capabilities) => Finding::Offers(offers(&shared, &asker.tenant, &capabilities)),
        About::Way { document, version, input } => way(&shared, asker, document, version, input).await,
    };
    Input::Found { step: inquiry.step, finding }
}

/// Those of the capabilities that anybody has registered, each as its newest registration has it.
fn offers(shared: &Shared, tenant: &Name, capabilities: &[Name]) -> Vec<Offered> {
    let offered = |capability: &Name| {
        let spec = shared.registry.offer(tenant, capability)?;
        Some(Offered {
            capability: capability.clone(),
            description: spec.description,
            input_schema: spec.input_schema,
            output_schema: spec.output_schema,
            effect: shared.registry.strictest_effect(tenant, capability),
        })
    };
    capabilities.iter().filter_map(offered).collect()
}

async fn way(shared: &Shared, asker: Asker, document: Name, version: Option<u32>, input: Json) -> Finding {
    let request = routing::Request {
        tenant: asker.tenant,
        route: document,
        version,
        input,
        labels: (*asker.labels).clone(),
        target: None,
    };
    let terms = routing::Terms {
        key: String::new(),
        intent: asker.intent,
        time: DECIDES_WITHIN,
        retries: asker.retries,
        chain: asker.chain,
        priority: asker.priority,
    };
    let decided = loop {
        match shared.routing.decide(request.clone(), terms.clone()).await {
            // No fault of the run's, and not to be put on its record: it asks again until the disk can be read.
            Err(CatalogError::Unavailable(error)) => {
                tracing::warn!(%error, route = %request.route, "a routing document cannot be read now");
                tokio::time::sleep(ASKS_AGAIN).await;
            }
            decided => break decided,
        }
    };
    match decided {
        Ok(routing::Found { id, decision, response }) => Finding::Way(Way {
            decision: id.to_string(),
            rung: decision.rung.as_str().to_owned(),
            call: decision.target.map(|it| Call { agent: it.agent, ..Call::of(it.capability) }),
            response,
        }),
        Err(error) => Finding::Nothing(Failure {
            class: Class::CallerFault,
            code: ROUTE_NOT_FOUND.to_owned(),
            message: error.to_string(),
            began: Began::No,
            retry_after: None,
        }),
    }
}
