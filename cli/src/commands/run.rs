//! `mainstay run WORKFLOW`: starts a run, and waits for its end or leaves it alone.
//!
//! Waiting is watching: the run is submitted first, so that its id is known whatever happens next, and its events are
//! followed until the last. A connection that breaks is taken up again where it broke; the run does not depend on it.

use std::time::Duration;

use clap::Args;
use mainstay_kernel::priority::Priority;
use mainstay_kernel::time::text;
use mainstay_proto::{pb, time};

mod follow;
mod watch;

pub use self::follow::follow;

use crate::client::{Client, ask, urgent};
use crate::console::{Console, tell};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render;
use crate::render::text::plain;
use crate::view::run::{RunView, SubmittedView};

/// Flags of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The workflow
    workflow: String,
    /// Its version [default: the newest]
    #[arg(long = "version", value_name = "N", default_value_t = 0, hide_default_value = true)]
    revision: u32,
    /// JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    pub(crate) input: Option<String>,
    #[command(flatten)]
    watch: Watch,
    /// Key that makes a repeated start return the first run
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// What is asked for, in words, handed to every step
    #[arg(long, value_name = "TEXT")]
    intent: Option<String>,
    /// How long the run may take [default: the workflow's deadline]
    #[arg(long, value_name = "TIME", value_parser = text::parse)]
    deadline: Option<Duration>,
    /// How urgent it is: critical-plus, critical, sheddable-plus or sheddable [default: critical]
    #[arg(long, value_name = "PRIORITY")]
    priority: Option<Priority>,
    /// Label for the record; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
}

/// Whether the end of a run is waited for.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Show the steps live
    #[arg(long, conflicts_with = "detach")]
    follow: bool,
    /// Return as soon as the run is on disk
    #[arg(long)]
    detach: bool,
}

pub(crate) async fn run(
    args: RunArgs,
    input: Vec<u8>,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    let priority = args.priority;
    let (spec, watch) = args.spec(input, client);
    let request = pb::SubmitRequest { run: Some(spec) };
    let answer = client.orchestrator().submit(urgent(ask(request), priority)).await;
    let pb::SubmitResponse { run_id, created } =
        answer.map_err(|status| client.failure(&status))?.into_inner();
    if !created && !console.json() {
        tell(&format!("this key has started {} before\n", plain(&run_id)));
    }
    watch.until_ended(run_id, created, client, console).await
}

impl Watch {
    pub(crate) const fn is_asked_for(&self) -> bool {
        self.follow || self.detach
    }

    /// Follows a run that was started to its end, if that is wanted, and shows it.
    pub(crate) async fn until_ended(
        self,
        run_id: String,
        created: bool,
        client: &Client,
        console: &Console,
    ) -> Result<(), Failure> {
        let Self { follow: live, detach } = self;
        if detach {
            let view = SubmittedView { run_id, created };
            return console.show(&view, |view, _| plain(&view.run_id).into_owned());
        }
        let ended = tokio::select! {
            ended = follow(client, console, &run_id, live) => ended?,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
                return Err(goes_on(&run_id));
            }
        };
        show_end(&ended, console, live)
    }
}

impl RunArgs {
    fn spec(self, input: Vec<u8>, client: &Client) -> (pb::RunSpec, Watch) {
        let spec = pb::RunSpec {
            tenant: client.tenant(),
            workflow: self.workflow,
            version: self.revision,
            input: input.into(),
            idempotency_key: self.key.unwrap_or_default(),
            intent: self.intent.unwrap_or_default(),
            deadline: self.deadline.map(time::duration),
            labels: self.label.into_iter().collect(),
        };
        (spec, self.watch)
    }
}

fn show_end(run: &RunView, console: &Console, streamed: bool) -> Result<(), Failure> {
    match (console.json(), streamed) {
        // The stream has ended with the run already.
        (true, true) => {}
        _ => console.show(run, render::run::end)?,
    }
    if run.completed() { Ok(()) } else { Err(Failure::silent(Exit::Badly)) }
}

/// Leaving is not cancelling.
fn goes_on(run_id: &str) -> Failure {
    let run_id = plain(run_id);
    Failure::new(Exit::Interrupted, format!("interrupted; run {run_id} goes on"))
        .hint(format!("`mainstay trace {run_id}` shows it, `mainstay cancel {run_id}` ends it"))
}

pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
