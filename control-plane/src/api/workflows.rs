//! `mainstay.v1.Workflows`.

use mainstay_kernel::name::Name;
use mainstay_kernel::workflow::Workflow;
use mainstay_proto::{agent, pb, time};
use tonic::{Request, Response, Status};

use super::documents::{self, catalog_fault, put_fault};
use super::page::Pages;
use crate::records::document::Stored;
use crate::workflows::Handle;

/// The service.
#[derive(Debug, Clone)]
pub struct Api {
    /// The catalogue.
    pub catalog: Handle,
    /// Page tokens.
    pub pages: Pages,
}

#[tonic::async_trait]
impl pb::workflows_server::Workflows for Api {
    async fn put_workflow(
        &self,
        request: Request<pb::PutWorkflowRequest>,
    ) -> Result<Response<pb::PutWorkflowResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let put = self.catalog.put(&tenant, &request.document).await.map_err(put_fault)?;
        Ok(Response::new(pb::PutWorkflowResponse {
            workflow: Some(view(&tenant, put.stored, String::new())),
            created: put.created,
            warnings: documents::warnings(&put.warnings),
        }))
    }

    async fn get_workflow(
        &self,
        request: Request<pb::GetWorkflowRequest>,
    ) -> Result<Response<pb::GetWorkflowResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let name = agent::name("name", &request.name)?;
        let version = (request.version != 0).then_some(request.version);
        let stored = self.catalog.stored(&tenant, &name, version).map_err(catalog_fault)?;
        let document = self.catalog.document(&stored).map_err(catalog_fault)?;
        Ok(Response::new(pb::GetWorkflowResponse { workflow: Some(view(&tenant, stored, document)) }))
    }

    async fn list_workflows(
        &self,
        request: Request<pb::ListWorkflowsRequest>,
    ) -> Result<Response<pb::ListWorkflowsResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let page =
            self.pages.open("workflows", &[tenant.as_str()], request.page_size, &request.page_token)?;
        let (listed, next_page_token) = documents::page(&self.catalog, &tenant, &page)?;
        Ok(Response::new(pb::ListWorkflowsResponse {
            workflows: listed.into_iter().map(|stored| view(&tenant, stored, String::new())).collect(),
            next_page_token,
        }))
    }

    async fn lint_workflow(
        &self,
        request: Request<pb::LintWorkflowRequest>,
    ) -> Result<Response<pb::LintWorkflowResponse>, Status> {
        let findings = documents::lint::<Workflow>(request.into_inner().document).await;
        Ok(Response::new(pb::LintWorkflowResponse { findings }))
    }
}

fn view(tenant: &Name, stored: Stored, document: String) -> pb::Workflow {
    pb::Workflow {
        tenant: tenant.to_string(),
        name: stored.name.to_string(),
        version: stored.version,
        hash: stored.hash,
        description: stored.description,
        step_count: stored.parts,
        created_at: Some(time::timestamp(stored.created_at)),
        document,
    }
}
