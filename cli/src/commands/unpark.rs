//! `mainstay unpark RUN`.

use clap::Args;
use mainstay_proto::pb;

use crate::client::{Client, ask};
use crate::console::Console;
use crate::failure::Failure;
use crate::render::text::plain;
use crate::view::run::UnparkedView;

/// Flags of `unpark`.
#[derive(Debug, Args)]
pub struct UnparkArgs {
    /// The run
    run: String,
    /// Who lets it go on, for the record
    #[arg(long, value_name = "NAME", env = "USER", default_value = "", hide_default_value = true)]
    by: String,
}

pub(crate) async fn run(args: UnparkArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let UnparkArgs { run: run_id, by } = args;
    let request = pb::UnparkRunRequest { tenant: client.tenant(), run_id: run_id.clone(), by };
    let answer = client.orchestrator().unpark_run(ask(request)).await;
    answer.map_err(|status| client.failure(&status))?;
    console.show(&UnparkedView { run_id }, |view, _| format!("{}  goes on\n", plain(&view.run_id)))
}
