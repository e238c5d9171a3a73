//! `mainstay rollouts`: put, list, show, history, promote, rollback, pause, resume, watch, lint.

use clap::{Args, Subcommand};
use mainstay_kernel::rollout::Rollout;
use mainstay_proto::pb;

use super::events;
use super::workflows::lint_each;
use crate::client::{Client, ask};
use crate::console::Console;
use crate::failure::Failure;
use crate::view::finding::FindingView;
use crate::view::rollout::{ChangeView, PutView, RolloutView, ShowView};
use crate::{input, render};

/// What to do with rollouts.
#[derive(Debug, Subcommand)]
pub enum RolloutsCommand {
    /// Store a version of a rollout and begin it
    Put(FileArgs),
    /// List rollouts: who gets how many calls, and why
    List,
    /// Show one rollout: its versions side by side, and what it waits for
    Show(NameArgs),
    /// List the changes of a rollout, newest first
    History(NameArgs),
    /// Go to the next step, or to the end
    Promote(PromoteArgs),
    /// Take all calls away from the candidate, for good
    Rollback(TurnArgs),
    /// Keep the weight where it is
    Pause(TurnArgs),
    /// Let the weight rise by itself again
    Resume(TurnArgs),
    /// Print each change of a rollout, until interrupted
    Watch(WatchArgs),
    /// Check documents and store nothing; needs no server
    Lint(LintArgs),
}

/// Flags of `rollouts put`.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// The document, YAML or JSON; - is standard input
    file: String,
    #[command(flatten)]
    author: Author,
}

/// Flags of `rollouts show` and `rollouts history`.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// The rollout
    name: String,
}

/// Flags of `rollouts rollback`, `pause` and `resume`.
#[derive(Debug, Args)]
pub struct TurnArgs {
    /// The rollout
    name: String,
    /// Why: whoever reads the history wants to know
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    author: Author,
}

/// Flags of `rollouts promote`.
#[derive(Debug, Args)]
pub struct PromoteArgs {
    #[command(flatten)]
    turn: TurnArgs,
    /// To the end: all calls go to the candidate
    #[arg(long)]
    full: bool,
}

/// Flags of `rollouts watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Only this rollout [default: all]
    name: Option<String>,
}

/// Flags of `rollouts lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// The documents, YAML or JSON; - is standard input
    #[arg(required = true)]
    files: Vec<String>,
}

/// Who does it.
#[derive(Debug, Args)]
struct Author {
    /// Who does it, for the record
    #[arg(long, value_name = "NAME", env = "USER", default_value = "", hide_default_value = true)]
    by: String,
}

pub(crate) async fn run(command: RolloutsCommand, client: &Client, console: &Console) -> Result<(), Failure> {
    match command {
        RolloutsCommand::Put(args) => put(args, client, console).await,
        RolloutsCommand::List => list(client, console).await,
        RolloutsCommand::Show(args) => show(args, client, console).await,
        RolloutsCommand::History(args) => history(args, client, console).await,
        RolloutsCommand::Promote(args) => {
            let turn = if args.full { pb::RolloutTurn::PromoteFully } else { pb::RolloutTurn::Promote };
            turn_to(turn, args.turn, client, console).await
        }
        RolloutsCommand::Rollback(args) => turn_to(pb::RolloutTurn::RollBack, args, client, console).await,
        RolloutsCommand::Pause(args) => turn_to(pb::RolloutTurn::Pause, args, client, console).await,
        RolloutsCommand::Resume(args) => turn_to(pb::RolloutTurn::Resume, args, client, console).await,
        RolloutsCommand::Watch(args) => events::follow("rollout", args.name, client, console).await,
        RolloutsCommand::Lint(args) => lint(&args, console),
    }
}

async fn put(args: FileArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let document = input::document(&args.file)?;
    let request = pb::PutRolloutRequest { tenant: client.tenant(), document, by: args.author.by };
    let answer = client.rollouts().put_rollout(ask(request)).await;
    let put = answer.map_err(|status| client.failure(&status))?.into_inner();
    let view = PutView {
        rollout: put.rollout.unwrap_or_default().into(),
        created: put.created,
        warnings: put.warnings.into_iter().map(Into::into).collect(),
        notes: put.notes,
    };
    console.show(&view, |view, style| render::rollout::put(&args.file, view, style))
}

async fn list(client: &Client, console: &Console) -> Result<(), Failure> {
    let request = pb::ListRolloutsRequest { tenant: client.tenant() };
    let answer = client.rollouts().list_rollouts(ask(request)).await;
    let rollouts = answer.map_err(|status| client.failure(&status))?.into_inner().rollouts;
    let views: Vec<RolloutView> = rollouts.into_iter().map(Into::into).collect();
    console.show(&views, |views, style| render::rollout::list(views, style))
}

async fn get(name: String, client: &Client) -> Result<pb::GetRolloutResponse, Failure> {
    let request = pb::GetRolloutRequest { tenant: client.tenant(), name };
    let answer = client.rollouts().get_rollout(ask(request)).await;
    Ok(answer.map_err(|status| client.failure(&status))?.into_inner())
}

async fn show(args: NameArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let shown = ShowView::from(get(args.name, client).await?);
    console.show(&shown, render::rollout::show)
}

async fn history(args: NameArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let changes: Vec<ChangeView> =
        get(args.name, client).await?.history.into_iter().map(Into::into).collect();
    console.show(&changes, |changes, style| render::rollout::history(changes, style))
}

async fn turn_to(
    turn: pb::RolloutTurn,
    args: TurnArgs,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    let TurnArgs { name, reason, author: Author { by } } = args;
    let request = pb::TurnRolloutRequest { tenant: client.tenant(), name, turn: turn.into(), reason, by };
    let answer = client.rollouts().turn_rollout(ask(request)).await;
    let rollout = answer.map_err(|status| client.failure(&status))?.into_inner().rollout.unwrap_or_default();
    console.show(&RolloutView::from(rollout), render::rollout::turned)
}

/// The same checks as the server's, by the same code.
pub(crate) fn lint(args: &LintArgs, console: &Console) -> Result<(), Failure> {
    lint_each(&args.files, console, |document| match Rollout::parse(document) {
        Ok(rollout) => FindingView::warnings(rollout.lint()),
        Err(problems) => FindingView::errors(&problems),
    })
}
