//! `mainstay routes put | list | get | lint`.

use clap::{Args, Subcommand};
use mainstay_kernel::route::Routing;
use mainstay_proto::pb;

use super::workflows::lint_each;
use crate::client::{Client, ask};
use crate::console::Console;
use crate::failure::Failure;
use crate::render::text::lines;
use crate::view::finding::FindingView;
use crate::view::routing::{PutView, RoutingView};
use crate::{input, render};

/// Documents asked for at once; the answer is read page by page.
const PAGE: i32 = 500;

/// What to do with routing documents.
#[derive(Debug, Subcommand)]
pub enum RoutesCommand {
    /// Store a version of a routing document
    Put(FileArgs),
    /// List the newest version of each routing document
    List,
    /// Show a routing document
    Get(GetArgs),
    /// Check documents and store nothing; needs no server
    Lint(LintArgs),
}

/// Flags of `routes put`.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// The document, YAML or JSON; - is standard input
    pub(crate) file: String,
}

/// Flags of `routes get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The routing document
    name: String,
    /// Its version [default: the newest]
    #[arg(long = "version", value_name = "N", default_value_t = 0, hide_default_value = true)]
    revision: u32,
}

/// Flags of `routes lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// The documents, YAML or JSON; - is standard input
    #[arg(required = true)]
    files: Vec<String>,
}

pub(crate) async fn put(args: FileArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let document = input::document(&args.file)?;
    let request = pb::PutRoutesRequest { tenant: client.tenant(), document };
    let answer = client.routes().put_routes(ask(request)).await;
    let put = answer.map_err(|status| client.failure(&status))?.into_inner();
    let view = PutView {
        routing: put.routing.unwrap_or_default().into(),
        created: put.created,
        warnings: put.warnings.into_iter().map(Into::into).collect(),
    };
    console.show(&view, |view, style| render::routing::put(&args.file, view, style))
}

pub(crate) async fn list(client: &Client, console: &Console) -> Result<(), Failure> {
    let (mut routings, mut page_token) = (Vec::<RoutingView>::new(), String::new());
    loop {
        let request = pb::ListRoutesRequest { tenant: client.tenant(), page_size: PAGE, page_token };
        let page = client.routes().list_routes(ask(request)).await;
        let page = page.map_err(|status| client.failure(&status))?.into_inner();
        routings.extend(page.routings.into_iter().map(RoutingView::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return console.show(&routings, |routings, style| render::routing::list(routings, style));
        }
    }
}

pub(crate) async fn get(args: GetArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let request = pb::GetRoutesRequest { tenant: client.tenant(), name: args.name, version: args.revision };
    let answer = client.routes().get_routes(ask(request)).await;
    let routing = answer.map_err(|status| client.failure(&status))?.into_inner().routing;
    console.show(&RoutingView::from(routing.unwrap_or_default()), |view, _| lines(&view.document))
}

/// The same checks as the server's, by the same code.
pub(crate) fn lint(args: &LintArgs, console: &Console) -> Result<(), Failure> {
    lint_each(&args.files, console, |document| match Routing::parse(document) {
        Ok(routing) => FindingView::warnings(routing.lint()),
        Err(problems) => FindingView::errors(&problems),
    })
}
