//! `mainstay events`: what was decided lately, and as it happens.

use clap::Args;
use mainstay_proto::pb;

use crate::client::{Client, ask};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::log as render;
use crate::view::log::{LogView, LoggedView};

/// Most events asked for at once: what the server gives at most.
const PAGE: usize = 1_000;

/// Flags of `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only of this kind (`breaker.opened`) or area (`breaker`)
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only about what has this name: an agent, an instance, a capability, a workflow
    #[arg(long, value_name = "NAME")]
    about: Option<String>,
    /// Those of every tenant
    #[arg(long)]
    all_tenants: bool,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Then print each as it happens, until interrupted
    #[arg(long, short)]
    follow: bool,
}

pub(crate) async fn run(args: EventsArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let filter = pb::EventFilter {
        tenant: client.tenant(),
        all_tenants: args.all_tenants,
        kind: args.kind.unwrap_or_default(),
        about: args.about.unwrap_or_default(),
    };
    let limit = usize::try_from(args.limit).unwrap_or(PAGE);
    let mut log = list(&filter, limit, client).await?;
    if !args.follow {
        return console.show(&log, render::list);
    }
    let after = log.events.first().map(|newest| newest.number);
    log.events.reverse();
    log.events.iter().try_for_each(|event| show(event, console))?;
    watch(filter, after, client, console).await
}

/// Prints each event of an area as it happens, until interrupted; only about `about`, if it is given.
pub(crate) async fn follow(
    area: &str,
    about: Option<String>,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    let (kind, about) = (area.to_owned(), about.unwrap_or_default());
    watch(pb::EventFilter { tenant: client.tenant(), all_tenants: false, kind, about }, None, client, console)
        .await
}

async fn watch(
    filter: pb::EventFilter,
    after: Option<u64>,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    let told = client.operations().watch_events(pb::WatchEventsRequest { filter: Some(filter), after }).await;
    let mut told = told.map_err(|status| client.failure(&status))?.into_inner();
    while let Some(told) = told.message().await.map_err(|status| client.failure(&status))? {
        show(&LoggedView::from(told.event.unwrap_or_default()), console)?;
    }
    Err(Failure::new(Exit::Unreachable, "the control plane ended the stream".to_owned()))
}

/// The newest events, newest first.
async fn list(filter: &pb::EventFilter, limit: usize, client: &Client) -> Result<LogView, Failure> {
    let (mut events, mut page_token) = (Vec::new(), String::new());
    while events.len() < limit {
        let page_size = i32::try_from(PAGE.min(limit - events.len())).unwrap_or_default();
        let request = pb::ListEventsRequest { filter: Some(filter.clone()), page_size, page_token };
        let page = client.operations().list_events(ask(request)).await;
        let page = page.map_err(|status| client.failure(&status))?.into_inner();
        events.extend(page.events.into_iter().map(LoggedView::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(LogView { events, more: !page_token.is_empty() })
}

fn show(event: &LoggedView, console: &Console) -> Result<(), Failure> {
    if console.json() { console.line(event) } else { console.print(&render::line(event, console.style)) }
}
