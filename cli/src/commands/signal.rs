//! `mainstay signal RUN NAME`.

use clap::Args;
use mainstay_proto::pb;

use crate::client::{Client, ask};
use crate::console::Console;
use crate::failure::Failure;
use crate::input;
use crate::render::text::plain;
use crate::view::escalation::SignalledView;

/// Flags of `signal`.
#[derive(Debug, Args)]
pub struct SignalArgs {
    /// The run
    run: String,
    /// The signal, as a `wait` of its workflow names it
    name: String,
    /// What it carries: JSON, @FILE, or - for standard input [default: null]
    #[arg(long, value_name = "JSON")]
    value: Option<String>,
}

pub(crate) async fn run(args: SignalArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let SignalArgs { run: run_id, name: signal, value } = args;
    let value = input::payload(value.as_deref())?.into();
    let (tenant, view) = (client.tenant(), SignalledView { run_id, signal });
    let SignalledView { run_id, signal } = view.clone();
    let request = pb::SignalRunRequest { tenant, run_id, signal, value };
    client.orchestrator().signal_run(ask(request)).await.map_err(|status| client.failure(&status))?;
    console.show(&view, |view, _| format!("{}  {} taken\n", plain(&view.run_id), plain(&view.signal)))
}
