//! `mainstay resume`: goes on from a run that failed, or lifts a pause.

use std::time::Duration;

use clap::Args;
use mainstay_kernel::id::RunId;
use mainstay_kernel::time::text;
use mainstay_proto::{pb, time};

use super::pauses::{self, Author};
use super::run;
use crate::client::{Client, ask};
use crate::console::{Console, tell};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::text::plain;

/// Flags of `resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// A run that failed, timed out or was cancelled; or a target as `mainstay pauses` shows it
    what: String,
    /// A step of the run that may be called again although it may have had its effect; repeatable
    #[arg(long, value_name = "STEP")]
    accept_unknown: Vec<String>,
    /// How long the new run may take [default: the workflow's deadline]
    #[arg(long, value_name = "TIME", value_parser = text::parse)]
    deadline: Option<Duration>,
    #[command(flatten)]
    watch: run::Watch,
    #[command(flatten)]
    author: Author,
}

pub(crate) async fn run(args: ResumeArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let ResumeArgs { what, accept_unknown, deadline, watch, author } = args;
    if what.parse::<RunId>().is_err() {
        if !accept_unknown.is_empty() || deadline.is_some() || watch.is_asked_for() {
            let message = format!("`{}` is no run, and only runs have steps and a deadline", plain(&what));
            return Err(Failure::new(Exit::Usage, message).hint("`mainstay runs --state failed` lists runs"));
        }
        return pauses::resume(what, author, client, console).await;
    }
    let request = pb::ResumeRunRequest {
        tenant: client.tenant(),
        run_id: what.clone(),
        accept_unknown,
        deadline: deadline.map(time::duration),
    };
    let answer = client.orchestrator().resume_run(ask(request)).await;
    let pb::ResumeRunResponse { run_id, created } =
        answer.map_err(|status| client.failure(&status))?.into_inner();
    if !console.json() {
        let how = if created { "goes on as" } else { "went on before as" };
        tell(&format!("{} {how} {}\n", plain(&what), plain(&run_id)));
    }
    watch.until_ended(run_id, created, client, console).await
}
