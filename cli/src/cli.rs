//! The command line.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::client::Client;
use crate::commands::artifacts::ArtifactsCommand;
use crate::commands::breakers::BreakersCommand;
use crate::commands::budgets::BudgetsCommand;
use crate::commands::context::ContextCommand;
use crate::commands::drill::DrillCommand;
use crate::commands::escalations::EscalationsCommand;
use crate::commands::limits::LimitsCommand;
use crate::commands::mode::ModeCommand;
use crate::commands::rollouts::RolloutsCommand;
use crate::commands::routes::RoutesCommand;
use crate::commands::schedules::SchedulesCommand;
use crate::commands::workflows::WorkflowsCommand;
use crate::commands::{
    agents, artifacts, backup, breakers, budgets, cancel, completions, context, doctor, drill, escalations,
    events, explain, invoke, limits, mode, pauses, replay, resolve, resume, rollouts, routes, run, runs,
    schedules, serve, sidecar, signal, status, trace, unpark, workflows,
};
use crate::console::{Console, Output, tell_failure};
use crate::demo;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{host, input};

/// Keeps a multi-agent system alive in production.
#[derive(Debug, Parser)]
#[command(name = "mainstay", version, after_long_help = exit_codes())]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
struct Globals {
    /// Control plane to talk to
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "MAINSTAY_SERVER",
        default_value = "http://127.0.0.1:7400"
    )]
    server: String,
    /// Tenant to act for [default: default]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "MAINSTAY_TENANT",
        default_value = "",
        hide_default_value = true
    )]
    tenant: String,
    /// How answers are printed
    #[arg(short, long, global = true, value_enum, env = "MAINSTAY_OUTPUT", default_value = "table")]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a control plane
    Serve(Box<serve::ServeArgs>),
    /// Stand beside an agent: register it, watch its health, enforce its contract
    Sidecar(sidecar::Sidecars),
    /// Watch four agents carry a durable workflow to its end, on this machine
    Demo(demo::DemoArgs),
    /// An agent of the demo
    #[command(hide = true)]
    DemoAgent(demo::agents::DemoAgentArgs),
    /// List agents
    Agents(agents::AgentsArgs),
    /// Show one agent: capabilities, instances, health and breakers
    Agent(agents::AgentArgs),
    /// List, open, close and watch breakers
    #[command(subcommand)]
    Breakers(BreakersCommand),
    /// Store, list, show and check workflow documents
    #[command(subcommand)]
    Workflows(WorkflowsCommand),
    /// Store, list, show and check routing documents, and say why requests went where they went
    #[command(subcommand)]
    Routes(RoutesCommand),
    /// Try a new version of an agent beside the old one: put, list, show, promote, rollback
    #[command(subcommand)]
    Rollouts(RolloutsCommand),
    /// Run workflows by the clock: put, list, show, pause, resume, delete, lint
    #[command(subcommand)]
    Schedules(SchedulesCommand),
    /// Run a workflow and wait for its end
    Run(run::RunArgs),
    /// List runs, newest first
    Runs(runs::RunsArgs),
    /// Tell the story of a run: who did what, when, how long, and where it failed
    Trace(trace::TraceArgs),
    /// Run a journal again against the answers on record, also with a changed workflow; calls nobody
    Replay(replay::ReplayArgs),
    /// Cancel a run
    Cancel(cancel::CancelArgs),
    /// Let a run go on that broke what drives it too often
    Unpark(unpark::UnparkArgs),
    /// Send word to a run that waits for it
    Signal(signal::SignalArgs),
    /// Questions of runs that wait for people: list, answer
    #[command(subcommand)]
    Escalations(EscalationsCommand),
    /// Large documents that travel by reference: put, get, list
    #[command(subcommand)]
    Artifacts(ArtifactsCommand),
    /// What agents and people know together: put, get, history, list, remove
    #[command(subcommand)]
    Context(ContextCommand),
    /// Call a capability once, without a run
    Invoke(invoke::InvokeArgs),
    /// Let nothing begin at an agent, instance, capability, workflow or tenant until it is resumed
    Pause(pauses::PauseArgs),
    /// Pause, and wait until nothing is under way there any more
    Drain(pauses::DrainArgs),
    /// Go on from a run that failed, without its finished steps; or lift a pause
    Resume(resume::ResumeArgs),
    /// List what is paused, why and by whom
    Pauses(pauses::PausesArgs),
    /// Show, set, hand back and watch the operating mode: full, degraded or emergency
    #[command(subcommand)]
    Mode(ModeCommand),
    /// List what the control plane decided lately and why: breakers, health, leases, pauses
    Events(events::EventsArgs),
    /// Inject a fault on purpose and score what the system does about it
    #[command(subcommand)]
    Drill(DrillCommand),
    /// List, set and clear how many calls in a second an agent, capability or tenant takes
    #[command(subcommand)]
    Limits(LimitsCommand),
    /// List, set and lift what a tenant or a workflow may use up in a day or a month
    #[command(subcommand)]
    Budgets(BudgetsCommand),
    /// Show what was spent, by agent, capability, workflow, tenant, run or day
    Spend(budgets::SpendArgs),
    /// Show where a call of a capability could go, to make it without the control plane on the way
    Resolve(resolve::ResolveArgs),
    /// Write everything on record to a file, while the control plane runs
    Backup(backup::BackupArgs),
    /// Make a data folder of a backup, verified record by record
    Restore(backup::RestoreArgs),
    /// Find what is damaged on record, look into it, export it or drop it
    Doctor(doctor::DoctorArgs),
    /// Show how the control plane does
    Status(status::StatusArgs),
    /// Explain a code that an error or a finding shows
    Explain(explain::ExplainArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// Runs the command that the arguments of the process ask for.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { globals, command } = Cli::parse();
    let output = globals.output;
    match dispatch(&globals, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell_failure(&failure, output);
            failure.exit.into()
        }
    }
}

fn dispatch(globals: &Globals, command: Command) -> Result<(), Failure> {
    let console = Console::new(globals.output);
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Sidecar(args) => {
            log_to_stderr();
            one_thread(sidecar::run(args))
        }
        Command::Demo(args) => one_thread(demo::run(args, &console)),
        Command::DemoAgent(args) => {
            log_to_stderr();
            one_thread(demo::agents::run(args))
        }
        Command::Explain(args) => explain::run(&args, &console),
        Command::Completions(args) => completions::run(&args, &console),
        Command::Workflows(WorkflowsCommand::Lint(args)) => workflows::lint(&args, &console),
        Command::Workflows(WorkflowsCommand::Test(args)) => workflows::test::run(&args, &console),
        Command::Routes(RoutesCommand::Lint(args)) => routes::lint(&args, &console),
        // Whatever is read from a file or standard input is read before anything is connected.
        Command::Run(args) => {
            let input = input::payload(args.input.as_deref())?;
            asking(globals, async |client| run::run(args, input, client, &console).await)
        }
        Command::Invoke(args) => {
            let input = input::payload(args.input.as_deref())?;
            asking(globals, async |client| invoke::run(args, input, client, &console).await)
        }
        Command::Workflows(WorkflowsCommand::Put(args)) => {
            asking(globals, async |client| workflows::put(args, client, &console).await)
        }
        Command::Workflows(WorkflowsCommand::List) => {
            asking(globals, async |client| workflows::list(client, &console).await)
        }
        Command::Workflows(WorkflowsCommand::Get(args)) => {
            asking(globals, async |client| workflows::get(args, client, &console).await)
        }
        Command::Budgets(command) => {
            asking(globals, async |client| budgets::run(command, client, &console).await)
        }
        Command::Spend(args) => asking(globals, async |client| budgets::spend(args, client, &console).await),
        Command::Schedules(SchedulesCommand::Lint(args)) => schedules::lint(&args, &console),
        Command::Schedules(command) => {
            asking(globals, async |client| schedules::run(command, client, &console).await)
        }
        Command::Rollouts(RolloutsCommand::Lint(args)) => rollouts::lint(&args, &console),
        Command::Rollouts(command) => {
            asking(globals, async |client| rollouts::run(command, client, &console).await)
        }
        Command::Routes(RoutesCommand::Put(args)) => {
            asking(globals, async |client| routes::put(args, client, &console).await)
        }
        Command::Routes(RoutesCommand::List) => {
            asking(globals, async |client| routes::list(client, &console).await)
        }
        Command::Routes(RoutesCommand::Get(args)) => {
            asking(globals, async |client| routes::get(args, client, &console).await)
        }
        Command::Routes(RoutesCommand::Explain(args)) => {
            let input = input::payload(args.input.as_deref())?;
            asking(globals, async |client| routes::explain(args, input, client, &console).await)
        }
        Command::Routes(RoutesCommand::Eval(args)) => {
            let labelled = routes::eval::read(&args.file)?;
            asking(globals, async |client| routes::eval::run(args, labelled, client, &console).await)
        }
        Command::Routes(RoutesCommand::Decisions(args)) => {
            asking(globals, async |client| routes::decisions(args, client, &console).await)
        }
        Command::Agents(args) => asking(globals, async |client| agents::list(args, client, &console).await),
        Command::Agent(args) => asking(globals, async |client| agents::show(args, client, &console).await),
        Command::Breakers(command) => {
            asking(globals, async |client| breakers::run(command, client, &console).await)
        }
        Command::Drill(command) => {
            asking(globals, async |client| drill::run(command, client, &console).await)
        }
        Command::Runs(args) => asking(globals, async |client| runs::run(args, client, &console).await),
        Command::Trace(args) => asking(globals, async |client| trace::run(args, client, &console).await),
        Command::Replay(args) => {
            let changed = replay::changed(&args)?;
            asking(globals, async |client| replay::run(args, changed, client, &console).await)
        }
        Command::Resolve(args) => asking(globals, async |client| resolve::run(args, client, &console).await),
        Command::Cancel(args) => asking(globals, async |client| cancel::run(args, client, &console).await),
        Command::Unpark(args) => asking(globals, async |client| unpark::run(args, client, &console).await),
        Command::Signal(args) => asking(globals, async |client| signal::run(args, client, &console).await),
        Command::Escalations(command) => {
            asking(globals, async |client| escalations::run(command, client, &console).await)
        }
        Command::Artifacts(command) => {
            asking(globals, async |client| artifacts::run(command, client, &console).await)
        }
        Command::Context(command) => {
            let value = command.value()?;
            asking(globals, async |client| context::run(command, value, client, &console).await)
        }
        Command::Limits(command) => {
            asking(globals, async |client| limits::run(command, client, &console).await)
        }
        Command::Pause(args) => asking(globals, async |client| pauses::pause(args, client, &console).await),
        Command::Drain(args) => asking(globals, async |client| pauses::drain(args, client, &console).await),
        Command::Resume(args) => asking(globals, async |client| resume::run(args, client, &console).await),
        Command::Pauses(args) => asking(globals, async |client| pauses::list(args, client, &console).await),
        Command::Mode(command) => asking(globals, async |client| mode::run(command, client, &console).await),
        Command::Events(args) => asking(globals, async |client| events::run(args, client, &console).await),
        Command::Backup(args) => asking(globals, async |client| backup::take(args, client, &console).await),
        Command::Restore(args) => backup::restore(&args, &console),
        Command::Doctor(args) => match args.data.clone() {
            Some(data) => one_thread(async { doctor::run(args, doctor::folder(&data)?, &console).await }),
            None => asking(globals, async |client| {
                doctor::run(args, doctor::Patient::Server(client), &console).await
            }),
        },
        Command::Status(_) => asking(globals, async |client| status::run(client, &console).await),
    }
}

/// Connects, and does what talks to a control plane.
fn asking(globals: &Globals, work: impl AsyncFnOnce(&Client) -> Result<(), Failure>) -> Result<(), Failure> {
    one_thread(async {
        let client = Client::connect(&globals.server, &globals.tenant).await?;
        work(&client).await
    })
}

/// Clients and sidecars run on one thread: they move bytes and wait, and a second worker would only add wake-ups.
fn one_thread(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Internal, format!("no runtime: {error}")))?;
    runtime.block_on(work)
}

/// Logs of a sidecar, as `MAINSTAY_LOG` filters them.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MAINSTAY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Whoever logs must not panic because the log lies on a full disk, or its reader has gone.
    logs.with_ansi(host::stderr_in_colour()).log_internal_errors(false).init();
}

fn exit_codes() -> String {
    let lines = Exit::TABLE.iter().map(|(exit, meaning)| format!("  {:>3}  {meaning}\n", exit.code()));
    format!("Exit codes:\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_lists_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        for (exit, meaning) in Exit::TABLE {
            assert!(help.contains(&format!("{:>3}  {meaning}", exit.code())), "{exit:?}");
        }
    }
}
