//! `mainstay.v1.Routes`.

use mainstay_kernel::name::Name;
use mainstay_kernel::route::Routing;
use mainstay_proto::{agent, pb, time};
use tonic::{Request, Response, Status};

use super::documents::{self, catalog_fault, put_fault};
use super::page::Pages;
use crate::records::document::Stored;
use crate::routing::Catalog;

/// The service.
#[derive(Debug, Clone)]
pub struct Api {
    /// The catalogue.
    pub catalog: Catalog,
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
        let put = self.catalog.put(&tenant, &request.document).await.map_err(put_fault)?;
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
        let stored = self.catalog.stored(&tenant, &name, version).map_err(catalog_fault)?;
        let document = self.catalog.document(&stored).map_err(catalog_fault)?;
        Ok(Response::new(pb::GetRoutesResponse { routing: Some(view(&tenant, stored, document)) }))
    }

    async fn list_routes(
        &self,
        request: Request<pb::ListRoutesRequest>,
    ) -> Result<Response<pb::ListRoutesResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let page = self.pages.open("routes", &[tenant.as_str()], request.page_size, &request.page_token)?;
        let (listed, next_page_token) = documents::page(&self.catalog, &tenant, &page)?;
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
