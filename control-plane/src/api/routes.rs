//! `mainstay.v1.Routes`.

use mainstay_kernel::id::DecisionId;
use mainstay_kernel::json::Limits;
use mainstay_kernel::name::Name;
use mainstay_kernel::route::Routing;
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, outcome, pb, route, time};
use tonic::{Request, Response, Status, Streaming};

use super::documents::{self, catalog_fault, put_fault};
use super::page::Pages;
use crate::records::decision::Decided;
use crate::records::document::Stored;
use crate::routing::Labelled;
use crate::routing::decisions::Filter;
use crate::{invoke, routing};

/// Most labelled requests in one message: a tenth of a second of work.
const MAX_BATCH: usize = 1_000;
/// Most labelled requests of one evaluation: what people label, many times over.
const MAX_LABELLED: usize = 100_000;

/// The service.
#[derive(Debug, Clone)]
pub struct Api {
    /// Routing, with its documents and decisions.
    pub routing: routing::Handle,
    /// What payloads hold to.
    pub limits: Limits,
    /// Page tokens.
    pub pages: Pages,
}

#[tonic::async_trait]
impl pb::routes_server::Routes for Api {
    async fn put_routes(
        &self,
        request: Request<pb::PutRoutesRequest>,
    ) -> Result<Response<pb::PutRoutesResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let put = self.routing.catalog().put(&tenant, &request.document).await.map_err(put_fault)?;
        Ok(Response::new(pb::PutRoutesResponse {
            routing: Some(view(&tenant, put.stored, String::new())),
            created: put.created,
            warnings: documents::warnings(&put.warnings),
        }))
    }

    async fn get_routes(
        &self,
        request: Request<pb::GetRoutesRequest>,
    ) -> Result<Response<pb::GetRoutesResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let name = agent::name("name", &request.name)?;
        let version = (request.version != 0).then_some(request.version);
        let stored = self.routing.catalog().stored(&tenant, &name, version).map_err(catalog_fault)?;
        let document = self.routing.catalog().document(&stored).map_err(catalog_fault)?;
        Ok(Response::new(pb::GetRoutesResponse { routing: Some(view(&tenant, stored, document)) }))
    }

    async fn list_routes(
        &self,
        request: Request<pb::ListRoutesRequest>,
    ) -> Result<Response<pb::ListRoutesResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let page = self.pages.open("routes", &[tenant.as_str()], request.page_size, &request.page_token)?;
        let (listed, next_page_token) = documents::page(self.routing.catalog(), &tenant, &page)?;
        let routings = listed.into_iter().map(|stored| view(&tenant, stored, String::new())).collect();
        Ok(Response::new(pb::ListRoutesResponse { routings, next_page_token }))
    }

    async fn lint_routes(
        &self,
        request: Request<pb::LintRoutesRequest>,
    ) -> Result<Response<pb::LintRoutesResponse>, Status> {
        let findings = documents::lint::<Routing>(request.into_inner().document).await;
        Ok(Response::new(pb::LintRoutesResponse { findings }))
    }

    async fn explain_route(
        &self,
        request: Request<pb::ExplainRouteRequest>,
    ) -> Result<Response<pb::ExplainRouteResponse>, Status> {
        let request = request.into_inner();
        let asked = routing::Request {
            tenant: agent::tenant(&request.tenant)?,
            route: agent::name("route", &request.route)?,
            version: (request.version != 0).then_some(request.version),
            input: outcome::payload("input", &request.input, &self.limits)?,
            labels: agent::labels("labels", request.labels)?,
            target: invoke::target(&request.capability, &request.agent)?,
        };
        let decided = self.routing.explain(&asked).await.map_err(catalog_fault)?;
        // Nobody could ask for it again.
        let decision = pb::RouteDecision { decision_id: String::new(), ..decision(&decided) };
        Ok(Response::new(pb::ExplainRouteResponse { decision: Some(decision) }))
    }

    async fn get_decision(
        &self,
        request: Request<pb::GetDecisionRequest>,
    ) -> Result<Response<pb::GetDecisionResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let id: DecisionId =
            request.decision_id.parse().map_err(|error| Fault::invalid("decision_id", error))?;
        let found = self.routing.decisions().find(&tenant, id).await;
        let Some(decided) = found else {
            let text = format_args!("{id} is not kept");
            return Err(Fault::field(Reason::DecisionNotFound, "decision_id", text).into());
        };
        Ok(Response::new(pb::GetDecisionResponse { decision: Some(decision(&decided)) }))
    }

    async fn list_decisions(
        &self,
        request: Request<pb::ListDecisionsRequest>,
    ) -> Result<Response<pb::ListDecisionsResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let filter = Filter {
            route: match request.route.as_str() {
                "" => None,
                name => Some(agent::name("route", name)?),
            },
            rung: route::rung(request.rung()),
        };
        let filters = [tenant.as_str(), &request.route, &request.rung.to_string()];
        let page = self.pages.open("decisions", &filters, request.page_size, &request.page_token)?;
        let before = page.cursor.as_deref().and_then(|cursor| <[u8; 16]>::try_from(cursor).ok());
        let before = before.map(DecisionId::from_bytes);
        let mut listed = self.routing.decisions().list(&tenant, &filter, before, page.size + 1);
        let more = listed.len() > page.size;
        listed.truncate(page.size);
        let next = listed.last().filter(|_| more).map(|last| page.next(last.id.as_bytes()));
        Ok(Response::new(pb::ListDecisionsResponse {
            decisions: listed.iter().map(|decided| decision(decided)).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn evaluate_routes(
        &self,
        request: Request<Streaming<pb::EvaluateRoutesRequest>>,
    ) -> Result<Response<pb::EvaluateRoutesResponse>, Status> {
        let mut messages = request.into_inner();
        let Some(first) = messages.message().await? else {
            return Err(Fault::invalid("route", "is missing").into());
        };
        let tenant = agent::tenant(&first.tenant)?;
        let name = agent::name("route", &first.route)?;
        let version = (first.version != 0).then_some(first.version);
        let mut score = self.routing.score(&tenant, &name, version).await.map_err(catalog_fault)?;
        let (mut message, mut counted) = (Some(first), 0);
        while let Some(next) = message {
            counted += next.requests.len();
            if next.requests.len() > MAX_BATCH || counted > MAX_LABELLED {
                let text = format!("at most {MAX_BATCH} in one message and {MAX_LABELLED} in all");
                return Err(Fault::invalid("requests", text).into());
            }
            let requests = next.requests.into_iter().enumerate();
            let requests = requests.map(|(at, labelled)| {
                self.labelled(labelled).map_err(|fault| fault.inside(format!("requests[{at}]")))
            });
            score = score.add(requests.collect::<Result<_, _>>()?).await;
            message = messages.message().await?;
        }
        Ok(Response::new(score.evaluation().into()))
    }
}

impl Api {
    fn labelled(&self, request: pb::LabelledRequest) -> Result<Labelled, Fault> {
        Ok(Labelled {
            input: outcome::payload("input", &request.input, &self.limits)?,
            labels: agent::labels("labels", request.labels)?,
            expected: match request.expected.as_str() {
                "" => None,
                name => Some(agent::name("expected", name)?),
            },
        })
    }
}

fn decision(decided: &Decided) -> pb::RouteDecision {
    pb::RouteDecision {
        decision_id: decided.id.to_string(),
        tenant: decided.tenant.to_string(),
        route: decided.route.to_string(),
        version: decided.version,
        at: Some(time::timestamp(decided.at)),
        input: decided.input.clone(),
        outcome: decided.ended.map_or(pb::OutcomeClass::Unspecified, Into::into).into(),
        ..(&decided.decision).into()
    }
}

fn view(tenant: &Name, stored: Stored, document: String) -> pb::Routing {
    pb::Routing {
        tenant: tenant.to_string(),
        name: stored.name.to_string(),
        version: stored.version,
        hash: stored.hash,
        description: stored.description,
        rule_count: stored.parts,
        created_at: Some(time::timestamp(stored.created_at)),
        document,
    }
}
