//! `mainstay replay RUN`: the journal of a run, again, against the answers on record.

use std::sync::Arc;

use clap::Args;
use mainstay_kernel::id::RunId;
use mainstay_kernel::replay;
use mainstay_kernel::run::{Event, Transition, WorkflowRef};
use mainstay_kernel::workflow::{Linked, Sub, Workflow};
use mainstay_proto::pb;

use crate::client::{Client, ask};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::view::replay::ReplayView;
use crate::{input, render};

/// Flags of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The run
    run: String,
    /// A changed workflow to replay it with [default: the version it ran with]
    #[arg(long, value_name = "FILE")]
    workflow: Option<String>,
    /// A changed workflow that a step of it runs; may be given several times [default: those of the run]
    #[arg(long = "with", value_name = "FILE", requires = "workflow")]
    subs: Vec<String>,
}

/// A changed workflow, and others that its steps run.
pub(crate) struct Changed {
    own: Arc<Workflow>,
    subs: Vec<Arc<Workflow>>,
}

/// The changed workflow, if one is given.
pub(crate) fn changed(args: &ReplayArgs) -> Result<Option<Changed>, Failure> {
    let Some(file) = &args.workflow else { return Ok(None) };
    let own = parse(file, &input::document(file)?)?;
    let subs = args.subs.iter().map(|file| parse(file, &input::document(file)?));
    Ok(Some(Changed { own, subs: subs.collect::<Result<_, _>>()? }))
}

pub(crate) async fn run(
    args: ReplayArgs,
    changed: Option<Changed>,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    let id: RunId = args.run.parse().map_err(|error| {
        Failure::new(Exit::Usage, format!("`{}` is no run: {error}", args.run))
            .hint("`mainstay runs` lists runs")
    })?;
    let journal = journal(&args.run, client).await?;
    let Some(Event::RunStarted { workflow: pin, subs, .. }) =
        journal.first().and_then(|first| first.events.first())
    else {
        return Err(Failure::new(
            Exit::Internal,
            "the journal does not begin with the start of a run".to_owned(),
        ));
    };
    let mut linked = Vec::new();
    for sub in subs {
        linked.push(pinned(sub, client).await?);
    }
    let pinned = Linked::pinned(pinned(pin, client).await?, linked);
    let changed = changed.map(|changed| changed.beside(&pinned)).transpose()?;
    let replay = replay::replay(id, &journal, &pinned, changed.as_ref())
        .map_err(|error| Failure::new(Exit::Internal, format!("{}: {error}", args.run)))?;
    let played = changed.as_ref().unwrap_or(&pinned);
    let view = ReplayView::of(args.run, pinned.own(), played.own(), replay);
    console.show(&view, render::replay::result)?;
    if view.same { Ok(()) } else { Err(Failure::silent(Exit::Badly)) }
}

impl Changed {
    /// With those of the run where no other is given.
    fn beside(self, pinned: &Linked) -> Result<Linked, Failure> {
        let find = |sub: &Sub| {
            let mut given = self.subs.iter().chain(pinned.subs());
            let called = |known: &&Arc<Workflow>| {
                *known.name() == sub.workflow && sub.version.is_none_or(|version| known.version() == version)
            };
            given.find(called).cloned().ok_or("the run does not have it")
        };
        Linked::new(Arc::clone(&self.own), find).map_err(|error| {
            Failure::new(Exit::Refused, error.to_string())
                .hint("give the workflow that is missing with --with FILE")
        })
    }
}

/// Everything on record of the run, page by page.
async fn journal(run: &str, client: &Client) -> Result<Vec<Transition>, Failure> {
    let (mut journal, mut after) = (Vec::new(), 0);
    loop {
        let request = pb::ReadJournalRequest { tenant: client.tenant(), run_id: run.to_owned(), after };
        let page = client.orchestrator().read_journal(ask(request)).await;
        let page = page.map_err(|status| client.failure(&status))?.into_inner();
        for text in &page.transitions {
            let transition: Transition = serde_json::from_slice(text).map_err(|error| {
                Failure::new(Exit::Internal, format!("{run}: a record cannot be read: {error}"))
                    .hint("a newer server writes what this client does not know; use its own `mainstay`")
            })?;
            journal.push(transition);
        }
        if page.next <= after {
            return Ok(journal);
        }
        after = page.next;
    }
}

/// The version that the run is pinned to.
async fn pinned(pin: &WorkflowRef, client: &Client) -> Result<Arc<Workflow>, Failure> {
    let name = pin.name.to_string();
    let request = pb::GetWorkflowRequest { tenant: client.tenant(), name, version: pin.version };
    let answer = client.workflows().get_workflow(ask(request)).await;
    let document =
        answer.map_err(|status| client.failure(&status))?.into_inner().workflow.unwrap_or_default();
    parse(&format!("{} v{}", pin.name, pin.version), &document.document)
}

fn parse(name: &str, document: &str) -> Result<Arc<Workflow>, Failure> {
    Workflow::parse(document).map(Arc::new).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        let message = format!("{name}: {first} ({} in all)", problems.len());
        Failure::new(Exit::Refused, message).hint("`mainstay workflows lint FILE` shows every finding")
    })
}
