//! `mainstay pause`, `drain`, `resume TARGET` and `pauses`.

use std::time::Duration;

use clap::Args;
use mainstay_kernel::time::text;
use mainstay_proto::{pb, time};

use crate::client::{Client, ask, within};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render;
use crate::view::pause::{DrainView, PauseView};

/// How much longer than the drain itself its answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Flags of `pause`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// agent/NAME, instance/AGENT/NAME, capability/NAME, workflow/NAME or tenant/NAME
    target: String,
    /// Why: whoever wonders reads it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    author: Author,
}

/// Flags of `drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    #[command(flatten)]
    pause: PauseArgs,
    /// How long to wait until nothing is under way, at most 10m; the pause stays when it is over
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = text::parse)]
    wait: Duration,
}

/// Flags of `pauses`.
#[derive(Debug, Args)]
pub struct PausesArgs {
    /// Those of every tenant
    #[arg(long)]
    all_tenants: bool,
}

/// Who does it.
#[derive(Debug, Args)]
pub(super) struct Author {
    /// Who does it, for the record
    #[arg(long, value_name = "NAME", env = "USER", default_value = "", hide_default_value = true)]
    pub(super) by: String,
}

pub(crate) async fn pause(args: PauseArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let PauseArgs { target, reason, author: Author { by } } = args;
    let request = pb::PauseRequest { tenant: tenant(client, &target), target, reason, by };
    let answer = client.operations().pause(ask(request)).await;
    let pause = answer.map_err(|status| client.failure(&status))?.into_inner().pause.unwrap_or_default();
    console.show(&PauseView::from(pause), render::pause::paused)
}

pub(crate) async fn drain(args: DrainArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let DrainArgs { pause: PauseArgs { target, reason, author: Author { by } }, wait } = args;
    let tenant = tenant(client, &target);
    let request = pb::DrainRequest { tenant, target, reason, by, wait: Some(time::duration(wait)) };
    let answer = client.operations().drain(within(request, wait.saturating_add(ANSWER_WITHIN))).await;
    let view = DrainView::from(answer.map_err(|status| client.failure(&status))?.into_inner());
    console.show(&view, render::pause::drained)?;
    // The answer has said what is still under way; a script wants to know that it is not over.
    if view.drained { Ok(()) } else { Err(Failure::silent(Exit::TryAgain)) }
}

pub(super) async fn resume(
    target: String,
    Author { by }: Author,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    let request = pb::ResumeRequest { tenant: tenant(client, &target), target, by };
    let answer = client.operations().resume(ask(request)).await;
    let lifted = answer.map_err(|status| client.failure(&status))?.into_inner().lifted.unwrap_or_default();
    console.show(&PauseView::from(lifted), render::pause::resumed)
}

pub(crate) async fn list(args: PausesArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let request = pb::ListPausesRequest { tenant: client.tenant(), all_tenants: args.all_tenants };
    let answer = client.operations().list_pauses(ask(request)).await;
    let pauses = answer.map_err(|status| client.failure(&status))?.into_inner().pauses;
    let views: Vec<PauseView> = pauses.into_iter().map(Into::into).collect();
    console.show(&views, |views, style| render::pause::list(views, style))
}

/// A tenant that is the target names itself; `--tenant` is about everything else.
pub(super) fn tenant(client: &Client, target: &str) -> String {
    if target.starts_with("tenant/") { String::new() } else { client.tenant() }
}
