//! `mainstay.v1.Workflows`.

use mainstay_kernel::name::Name;
use mainstay_kernel::workflow::Problem;
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, pb, time};
use tonic::{Request, Response, Status};

use super::page::Pages;
use crate::api::{blob_fault, store_fault};
use crate::records::workflow::StoredWorkflow;
use crate::workflows::{CatalogError, Handle, PutError, parse};

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
            warnings: put.warnings.into_iter().map(|p| finding(p, pb::Severity::Warning)).collect(),
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
        let after = page.cursor_text()?;
        let mut listed = self.catalog.list(&tenant, after, page.size + 1).map_err(catalog_fault)?;
        let more = listed.len() > page.size;
        listed.truncate(page.size);
        let next = listed.last().filter(|_| more).map(|last| page.next(last.name.as_str().as_bytes()));
        Ok(Response::new(pb::ListWorkflowsResponse {
            workflows: listed.into_iter().map(|stored| view(&tenant, stored, String::new())).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn lint_workflow(
        &self,
        request: Request<pb::LintWorkflowRequest>,
    ) -> Result<Response<pb::LintWorkflowResponse>, Status> {
        let findings = match parse(request.into_inner().document).await {
            Ok(workflow) => {
                workflow.lint().iter().cloned().map(|p| finding(p, pb::Severity::Warning)).collect()
            }
            Err(problems) => problems.into_iter().map(|p| finding(p, pb::Severity::Error)).collect(),
        };
        Ok(Response::new(pb::LintWorkflowResponse { findings }))
    }
}

fn view(tenant: &Name, stored: StoredWorkflow, document: String) -> pb::Workflow {
    pb::Workflow {
        tenant: tenant.to_string(),
        name: stored.name.to_string(),
        version: stored.version,
        hash: stored.hash,
        description: stored.description,
        step_count: stored.steps,
        created_at: Some(time::timestamp(stored.created_at)),
        document,
    }
}

fn finding(problem: Problem, severity: pb::Severity) -> pb::Finding {
    pb::Finding {
        severity: severity.into(),
        code: problem.code.to_string(),
        line: problem.line().unwrap_or_default(),
        column: problem.column().unwrap_or_default(),
        path: problem.path,
        message: problem.message,
        hint: problem.hint,
    }
}

fn put_fault(error: PutError) -> Fault {
    match error {
        PutError::Invalid(problems) => {
            let count = problems.len();
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            let fault = match &problems[..] {
                // The only one is what the error is about.
                [only] => Fault::new(Reason::WorkflowInvalid, only).precisely(only.code.as_str()),
                _ => Fault::new(Reason::WorkflowInvalid, format_args!("{count} errors, the first: {first}")),
            };
            problems.into_iter().fold(fault, |fault, problem| {
                fault.violation(
                    format_args!("document.{}", problem.path),
                    format_args!("{}: {} {}", problem.code, problem.message, problem.hint),
                )
            })
        }
        PutError::VersionTaken { version, .. } => {
            Fault::field(Reason::WorkflowVersionTaken, "document.version", &error)
                .hint(format_args!("set `version: {}` and put it again", version.saturating_add(1)))
        }
        PutError::Catalog(error) => catalog_fault(error),
        PutError::Record(error) => Fault::new(Reason::Internal, error),
        PutError::Blob(error) => blob_fault(&error),
        PutError::Commit(error) => store_fault(error),
    }
}

/// What a client is told of a workflow that is not to be had.
pub(super) fn catalog_fault(error: CatalogError) -> Fault {
    let reason = match error {
        CatalogError::NotFound { .. } => Reason::WorkflowNotFound,
        CatalogError::Damaged(_) => Reason::RecordDamaged,
        CatalogError::Unavailable(_) => Reason::StoreFailed,
    };
    Fault::new(reason, error)
}
