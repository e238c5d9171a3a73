//! `mainstay schedules`: put, list, show, pause, resume, delete, lint.

use clap::{Args, Subcommand};
use mainstay_kernel::schedule::Schedule;
use mainstay_proto::pb;

use super::pauses::Author;
use super::workflows::lint_each;
use crate::client::{Client, ask};
use crate::console::Console;
use crate::failure::Failure;
use crate::view::finding::FindingView;
use crate::view::schedule::{DeletedView, PutView, ScheduleView, ShowView};
use crate::{input, render};

/// What to do with schedules.
#[derive(Debug, Subcommand)]
pub enum SchedulesCommand {
    /// Store a schedule; under a name that is there, it takes that one's place
    Put(PutArgs),
    /// List schedules and when each fires next
    List,
    /// Show one schedule, and what its times came to
    Show(NameArgs),
    /// Fire nothing until it is resumed; what comes meanwhile is left out
    Pause(PauseArgs),
    /// Fire again, from now on
    Resume(HandArgs),
    /// Remove a schedule with its history; its runs go on
    Delete(HandArgs),
    /// Check documents and store nothing; needs no server
    Lint(LintArgs),
}

/// Flags of `schedules put`.
#[derive(Debug, Args)]
pub struct PutArgs {
    /// The document, YAML or JSON; - is standard input
    file: String,
    #[command(flatten)]
    author: Author,
}

/// Flags of `schedules show`.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// The schedule
    name: String,
}

/// Flags of `schedules pause`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// The schedule
    name: String,
    /// Why, for whoever finds it paused
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    author: Author,
}

/// Flags of `schedules resume` and `schedules delete`.
#[derive(Debug, Args)]
pub struct HandArgs {
    /// The schedule
    name: String,
    #[command(flatten)]
    author: Author,
}

/// Flags of `schedules lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// The documents, YAML or JSON; - is standard input
    #[arg(required = true)]
    files: Vec<String>,
}

pub(crate) async fn run(
    command: SchedulesCommand,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    match command {
        SchedulesCommand::Put(args) => put(args, client, console).await,
        SchedulesCommand::List => list(client, console).await,
        SchedulesCommand::Show(args) => show(args.name, client, console).await,
        SchedulesCommand::Pause(args) => pause(args, client, console).await,
        SchedulesCommand::Resume(args) => resume(args, client, console).await,
        SchedulesCommand::Delete(args) => delete(args, client, console).await,
        SchedulesCommand::Lint(args) => lint(&args, console),
    }
}

async fn put(args: PutArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let PutArgs { file, author: Author { by } } = args;
    let request = pb::PutScheduleRequest { tenant: client.tenant(), document: input::document(&file)?, by };
    let answer = client.schedules().put_schedule(ask(request)).await;
    let put = answer.map_err(|status| client.failure(&status))?.into_inner();
    let view = PutView { schedule: put.schedule.unwrap_or_default().into(), created: put.created };
    console.show(&view, render::schedule::put)
}

async fn list(client: &Client, console: &Console) -> Result<(), Failure> {
    let request = pb::ListSchedulesRequest { tenant: client.tenant() };
    let answer = client.schedules().list_schedules(ask(request)).await;
    let schedules = answer.map_err(|status| client.failure(&status))?.into_inner().schedules;
    let views: Vec<ScheduleView> = schedules.into_iter().map(Into::into).collect();
    console.show(&views, |views, style| render::schedule::list(views, style))
}

async fn show(name: String, client: &Client, console: &Console) -> Result<(), Failure> {
    let request = pb::GetScheduleRequest { tenant: client.tenant(), name };
    let answer = client.schedules().get_schedule(ask(request)).await;
    let view = ShowView::from(answer.map_err(|status| client.failure(&status))?.into_inner());
    console.show(&view, render::schedule::show)
}

async fn pause(args: PauseArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let PauseArgs { name, reason, author: Author { by } } = args;
    let request = pb::PauseScheduleRequest { tenant: client.tenant(), name, reason, by };
    let answer = client.schedules().pause_schedule(ask(request)).await;
    shown(answer.map_err(|status| client.failure(&status))?.into_inner().schedule, console)
}

async fn resume(args: HandArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let HandArgs { name, author: Author { by } } = args;
    let request = pb::ResumeScheduleRequest { tenant: client.tenant(), name, by };
    let answer = client.schedules().resume_schedule(ask(request)).await;
    shown(answer.map_err(|status| client.failure(&status))?.into_inner().schedule, console)
}

fn shown(schedule: Option<pb::Schedule>, console: &Console) -> Result<(), Failure> {
    console.show(&ScheduleView::from(schedule.unwrap_or_default()), render::schedule::one)
}

async fn delete(args: HandArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let HandArgs { name, author: Author { by } } = args;
    let request = pb::DeleteScheduleRequest { tenant: client.tenant(), name: name.clone(), by };
    client.schedules().delete_schedule(ask(request)).await.map_err(|status| client.failure(&status))?;
    console.show(&DeletedView { name, deleted: true }, render::schedule::deleted)
}

/// The same checks as the server's, by the same code.
pub(crate) fn lint(args: &LintArgs, console: &Console) -> Result<(), Failure> {
    lint_each(&args.files, console, |document| match Schedule::parse(document) {
        Ok(_) => Vec::new(),
        Err(problems) => FindingView::errors(&problems),
    })
}
