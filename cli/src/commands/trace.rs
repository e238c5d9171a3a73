//! `mainstay trace RUN`: the story of a run.

use clap::Args;
use mainstay_proto::pb;

use crate::client::{Client, ask};
use crate::console::Console;
use crate::failure::Failure;
use crate::render;
use crate::view::run::RunView;

/// Flags of `trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// The run
    run: String,
    /// Show inputs and outputs, too
    #[arg(long)]
    payloads: bool,
}

pub(crate) async fn run(args: TraceArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let run = RunView::from(fetch(client, &args.run).await?);
    console.show(&run, |run, style| {
        let mut text = render::trace::story(run, style);
        if args.payloads {
            text += &render::trace::payloads(run, style);
        }
        text
    })
}

/// The run as it stands.
pub(crate) async fn fetch(client: &Client, run: &str) -> Result<pb::Run, Failure> {
    let request = pb::GetRunRequest { tenant: client.tenant(), run_id: run.to_owned() };
    let answer = client.orchestrator().get_run(ask(request)).await;
    Ok(answer.map_err(|status| client.failure(&status))?.into_inner().run.unwrap_or_default())
}
