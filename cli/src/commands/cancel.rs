//! `mainstay cancel RUN`.

use clap::Args;
use mainstay_proto::pb;

use crate::client::{Client, ask};
use crate::console::Console;
use crate::failure::Failure;
use crate::render::text::plain;
use crate::view::run::{CancelledView, run_state};

/// Flags of `cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The run
    run: String,
    /// Why, for the record
    #[arg(long, default_value = "cancelled from the command line")]
    reason: String,
}

pub(crate) async fn run(args: CancelArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let CancelArgs { run: run_id, reason } = args;
    let request = pb::CancelRunRequest { tenant: client.tenant(), run_id: run_id.clone(), reason };
    let answer = client.orchestrator().cancel_run(ask(request)).await;
    let state = answer.map_err(|status| client.failure(&status))?.into_inner().state;
    let view = CancelledView { run_id, state: run_state(state) };
    console.show(&view, |view, _| format!("{}  {}\n", plain(&view.run_id), view.state))
}
