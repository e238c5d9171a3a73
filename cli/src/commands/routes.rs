//! `mainstay routes put | list | get | lint | explain | decisions | eval`.

use clap::{Args, Subcommand};
use mainstay_kernel::route::{Routing, Rung};
use mainstay_proto::pb;

pub mod eval;

use super::run::label;
use super::workflows::lint_each;
use crate::client::{Client, ask};
use crate::console::Console;
use crate::failure::Failure;
use crate::render::text::lines;
use crate::view::decision::{DecisionView, DecisionsView};
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
    /// Show why a request went where it went, or where one would go now
    Explain(ExplainArgs),
    /// Score a document by a labelled set
    Eval(eval::EvalArgs),
    /// List what was decided about routed requests, newest first
    Decisions(DecisionsArgs),
}

/// Flags of `routes explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The decision, as `invoke --route` and `routes decisions` print it
    #[arg(value_name = "DECISION", required_unless_present = "route", conflicts_with = "route")]
    decision: Option<String>,
    /// Rehearse a request by this document instead: nothing is called
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// The request: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON", requires = "route")]
    pub(crate) input: Option<String>,
    /// A label that the document's rules read, KEY=VALUE; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label, requires = "route")]
    labels: Vec<(String, String)>,
    /// The capability that the request names itself
    #[arg(long, value_name = "NAME", requires = "route")]
    capability: Option<String>,
}

/// Flags of `routes decisions`.
#[derive(Debug, Args)]
pub struct DecisionsArgs {
    /// Only by this document
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Only those taken on this rung
    #[arg(long, value_name = "RUNG", value_parser = rung)]
    rung: Option<pb::Rung>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

fn rung(text: &str) -> Result<pb::Rung, String> {
    let names = || Rung::ALL.map(Rung::as_str).join(", ");
    Rung::of(text).map(Into::into).ok_or_else(|| format!("is none of {}", names()))
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

pub(crate) async fn explain(
    args: ExplainArgs,
    input: Vec<u8>,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    let decision = match args.decision {
        Some(decision_id) => {
            let request = pb::GetDecisionRequest { tenant: client.tenant(), decision_id };
            let answer = client.routes().get_decision(ask(request)).await;
            answer.map_err(|status| client.failure(&status))?.into_inner().decision
        }
        None => {
            let request = pb::ExplainRouteRequest {
                tenant: client.tenant(),
                route: args.route.unwrap_or_default(),
                input: input.into(),
                labels: args.labels.into_iter().collect(),
                capability: args.capability.unwrap_or_default(),
                ..Default::default()
            };
            let answer = client.routes().explain_route(ask(request)).await;
            answer.map_err(|status| client.failure(&status))?.into_inner().decision
        }
    };
    console.show(&DecisionView::from(decision.unwrap_or_default()), render::decision::explain)
}

pub(crate) async fn decisions(
    args: DecisionsArgs,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let (mut decisions, mut page_token) = (Vec::new(), String::new());
    while decisions.len() < limit {
        let request = pb::ListDecisionsRequest {
            tenant: client.tenant(),
            route: args.route.clone().unwrap_or_default(),
            rung: args.rung.unwrap_or_default().into(),
            page_size: PAGE.min(i32::try_from(limit - decisions.len()).unwrap_or(PAGE)),
            page_token,
        };
        let page = client.routes().list_decisions(ask(request)).await;
        let page = page.map_err(|status| client.failure(&status))?.into_inner();
        decisions.extend(page.decisions.into_iter().map(DecisionView::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    console.show(&DecisionsView { decisions, more: !page_token.is_empty() }, render::decision::list)
}
