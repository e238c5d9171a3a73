//! `mainstay workflows put | list | get | lint | test`.

use clap::{Args, Subcommand};
use mainstay_kernel::workflow::Workflow;
use mainstay_proto::pb;

use crate::client::{Client, ask};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::text::lines;
use crate::view::finding::{FindingView, LintView};
use crate::view::workflow::{PutView, WorkflowView};
use crate::{input, render};

pub mod test;

/// Workflows asked for at once; the answer is read page by page.
const PAGE: i32 = 500;

/// What to do with workflow documents.
#[derive(Debug, Subcommand)]
pub enum WorkflowsCommand {
    /// Store a version of a workflow
    Put(FileArgs),
    /// List the newest version of each workflow
    List,
    /// Show a workflow's document
    Get(GetArgs),
    /// Check documents and store nothing; needs no server
    Lint(LintArgs),
    /// Run workflows off-line against canned agents and check what comes of it; needs no server
    Test(test::TestArgs),
}

/// Flags of `workflows put`.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// The document, YAML or JSON; - is standard input
    file: String,
}

/// Flags of `workflows get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The workflow
    name: String,
    /// Its version [default: the newest]
    #[arg(long = "version", value_name = "N", default_value_t = 0, hide_default_value = true)]
    revision: u32,
}

/// Flags of `workflows lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// The documents, YAML or JSON; - is standard input
    #[arg(required = true)]
    files: Vec<String>,
}

pub(crate) async fn put(args: FileArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let document = input::document(&args.file)?;
    let request = pb::PutWorkflowRequest { tenant: client.tenant(), document };
    let answer = client.workflows().put_workflow(ask(request)).await;
    let put = answer.map_err(|status| client.failure(&status))?.into_inner();
    let view = PutView {
        workflow: put.workflow.unwrap_or_default().into(),
        created: put.created,
        warnings: put.warnings.into_iter().map(Into::into).collect(),
    };
    console.show(&view, |view, style| render::workflow::put(&args.file, view, style))
}

pub(crate) async fn list(client: &Client, console: &Console) -> Result<(), Failure> {
    let (mut workflows, mut page_token) = (Vec::<WorkflowView>::new(), String::new());
    loop {
        let request = pb::ListWorkflowsRequest { tenant: client.tenant(), page_size: PAGE, page_token };
        let page = client.workflows().list_workflows(ask(request)).await;
        let page = page.map_err(|status| client.failure(&status))?.into_inner();
        workflows.extend(page.workflows.into_iter().map(WorkflowView::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return console.show(&workflows, |workflows, style| render::workflow::list(workflows, style));
        }
    }
}

pub(crate) async fn get(args: GetArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let request = pb::GetWorkflowRequest { tenant: client.tenant(), name: args.name, version: args.revision };
    let answer = client.workflows().get_workflow(ask(request)).await;
    let workflow = answer.map_err(|status| client.failure(&status))?.into_inner().workflow;
    console.show(&WorkflowView::from(workflow.unwrap_or_default()), |view, _| lines(&view.document))
}

/// The same checks as the server's, by the same code.
pub(crate) fn lint(args: &LintArgs, console: &Console) -> Result<(), Failure> {
    lint_each(&args.files, console, |document| match Workflow::parse(document) {
        Ok(workflow) => FindingView::warnings(workflow.lint()),
        Err(problems) => FindingView::errors(&problems),
    })
}

/// What `find` finds in each file.
pub(super) fn lint_each(
    files: &[String],
    console: &Console,
    find: impl Fn(&str) -> Vec<FindingView>,
) -> Result<(), Failure> {
    let mut views = Vec::new();
    for file in files {
        let findings = find(&input::document(file)?);
        views.push(LintView { file: file.clone(), findings });
    }
    console.show(&views, |views, style| render::finding::lint(views, style))?;
    let refused = views.iter().flat_map(|view| &view.findings).any(FindingView::is_error);
    if refused { Err(Failure::silent(Exit::Badly)) } else { Ok(()) }
}
