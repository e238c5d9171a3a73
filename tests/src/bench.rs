//! Measurements of speed and memory: what Mainstay costs beside what it stands on.
//!
//! An absolute number says more of the machine than of the program, so every bench measures the thing itself and its
//! yardstick (a direct call, an `fdatasync` of the same disk) in turns within one run, and reports ratios of the two.
//! A ratio is the median over the rounds: a hiccup of the machine spoils a round, not the result.
//!
//! The control plane, sidecars and agents are the real programs as processes of their own, on loopback, with their data
//! on a real disk beside cargo's target directory. None outlives the bench: each ends when its standard input closes.
//!
//! - What is measured: [`call`], [`isolation`], [`overload`], [`runs`], [`commit`], [`registry`], [`restart`],
//!   [`history`], [`routing`].
//! - How: [`rig`] (processes), [`helper`] (the other ends of calls), [`load`] (closed loops), [`disk`] (the yardstick of
//!   commits), [`filler`] (stores full of runs), [`report`].

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

pub mod call;
pub mod commit;
pub mod disk;
pub mod filler;
pub mod helper;
pub mod history;
pub mod host;
pub mod isolation;
pub mod load;
pub mod overload;
pub mod registry;
pub mod report;
pub mod restart;
pub mod rig;
pub mod routing;
pub mod runs;

use report::Report;

/// Measures Mainstay on this machine.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Args {
    /// What to measure
    bench: Bench,
    /// Take fewer and shorter rounds: ends within 40 s
    #[arg(long)]
    quick: bool,
    /// The labelled set that `routing` is measured by
    #[arg(long, value_name = "DIR", required_if_eq("bench", "routing"))]
    data: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bench {
    /// A call through control plane and sidecar, beside a direct one
    Call,
    /// Calls to nine agents while the tenth is stuck, beside calls while it is well
    Isolation,
    /// Five times as many calls as the agents can do, beside as many as they can
    Overload,
    /// Durable runs of three steps, beside their parts
    Runs,
    /// Commits of the store, beside append and fdatasync
    Commit,
    /// Ten thousand instances, registered and polled
    Registry,
    /// Starting again with many runs in the store
    Restart,
    /// Routing by the classifier, over the labelled set in `--data`
    Routing,
    /// Reading with a million finished runs in the store
    History,
}

/// The program.
#[expect(clippy::print_stderr, reason = "a command tells its mistakes to the person who typed it")]
pub fn main() -> ExitCode {
    let done = match helper::Role::from_args() {
        Some(role) => role.and_then(helper::serve),
        None => measure(&Args::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> anyhow::Result<()> {
    // One thread: the load must leave the cores to what it loads, and costs both sides of a ratio the same.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(until_told_to_end(async {
        match args.bench {
            Bench::Call => call::measure(args.quick).await,
            Bench::Isolation => isolation::measure(args.quick).await,
            Bench::Overload => overload::measure(args.quick).await,
            Bench::Runs => runs::measure(args.quick).await,
            Bench::Commit => commit::measure(args.quick).await,
            Bench::Registry => registry::measure(args.quick).await,
            Bench::Restart => restart::measure(args.quick).await,
            Bench::Routing => {
                let data = args.data.as_deref().context("`--data DIR` names the labelled set")?;
                routing::measure(args.quick, data)
            }
            Bench::History => history::measure(args.quick).await,
        }
    }))?;
    report.print(args.json);
    Ok(())
}

/// Drops the work when a signal says so; with it go its processes and folders.
async fn until_told_to_end(work: impl Future<Output = anyhow::Result<Report>>) -> anyhow::Result<Report> {
    let mut interrupted = signal(SignalKind::interrupt()).context("signals cannot be heard")?;
    let mut terminated = signal(SignalKind::terminate()).context("signals cannot be heard")?;
    tokio::select! {
        report = work => report,
        _ = interrupted.recv() => anyhow::bail!("interrupted"),
        _ = terminated.recv() => anyhow::bail!("terminated"),
    }
}
