//! `mainstay drill`: list, run, stop, history.

use std::time::Duration;

use clap::{Args, Subcommand};
use mainstay_kernel::time::text;
use mainstay_proto::{pb, time};
use tonic::Request;

use crate::client::{Client, ask};
use crate::console::{Console, tell};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::drill as render;
use crate::view::drill::{CatalogueView, DrillEventView, DrillView, Happened};

/// What to do with drills.
#[derive(Debug, Subcommand)]
pub enum DrillCommand {
    /// List what can be drilled, and what is
    List,
    /// Inject one fault, watch real traffic, and print the scorecard; exit code 1 if a rule did not hold
    Run(RunArgs),
    /// End the fault of the drill under way; what it did is still watched and judged
    Stop(StopArgs),
    /// List drills of the past, newest first
    History(HistoryArgs),
}

/// Flags of `drill run`.
#[derive(Debug, Args)]
#[command(
    after_help = "The fault ends by itself, with `mainstay drill stop`, and when this command ends. A drill that meets no \
    traffic proves nothing and fails."
)]
pub struct RunArgs {
    /// Which, as `mainstay drill list` names it
    name: String,
    /// agent/NAME, instance/AGENT/NAME or capability/NAME
    #[arg(long, value_name = "TARGET", default_value = "", hide_default_value = true)]
    target: String,
    /// How long the fault lasts: 1s to 5m
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = text::parse)]
    lasts: Duration,
    /// The share of what is sent to the target that is struck
    #[arg(long, value_name = "PERCENT", default_value = "100%", value_parser = share)]
    share: u32,
    /// slow-agent: how long calls are held back [default: a quarter beyond what the capability promises]
    #[arg(long, value_name = "TIME", value_parser = text::parse)]
    delay: Option<Duration>,
    /// Decides which sendings are struck, to strike the same ones again [default: a fresh one]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Who does it, for the record
    #[arg(long, value_name = "NAME", env = "USER", default_value = "", hide_default_value = true)]
    by: String,
}

/// Flags of `drill stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Which, if it is not simply the one under way
    id: Option<String>,
}

/// Flags of `drill history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
}

pub(crate) async fn run(command: DrillCommand, client: &Client, console: &Console) -> Result<(), Failure> {
    match command {
        DrillCommand::List => {
            let answer = client.drills().list_drills(ask(pb::ListDrillsRequest {})).await;
            let answer = answer.map_err(|status| client.failure(&status))?.into_inner();
            console.show(&CatalogueView::from(answer), render::catalogue)
        }
        DrillCommand::Run(args) => drill(args, client, console).await,
        DrillCommand::Stop(StopArgs { id }) => {
            let request = pb::StopDrillRequest { id: id.unwrap_or_default() };
            let answer = client.drills().stop_drill(ask(request)).await;
            let drill = answer.map_err(|status| client.failure(&status))?.into_inner().drill;
            console.show(&DrillView::from(drill.unwrap_or_default()), |drill, _| {
                format!("stopped: {}\n", render::banner(drill))
            })
        }
        DrillCommand::History(HistoryArgs { limit }) => {
            let answer = client.drills().list_drill_history(ask(pb::ListDrillHistoryRequest { limit })).await;
            let drills = answer.map_err(|status| client.failure(&status))?.into_inner().drills;
            let drills: Vec<DrillView> = drills.into_iter().map(Into::into).collect();
            console.show(&drills, |drills, style| render::history(drills, style))
        }
    }
}

/// Warns of a drill under way, before what is listed is taken for an accident.
pub(crate) async fn warn(client: &Client) {
    // Said beside the answer, so that an older server's silence spoils nothing.
    if let Ok(answer) = client.drills().list_drills(ask(pb::ListDrillsRequest {})).await
        && let Some(active) = answer.into_inner().active
    {
        tell(&format!("{}\n", render::banner(&active.into())));
    }
}

async fn drill(args: RunArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let request = pb::RunDrillRequest {
        kind: args.name,
        tenant: client.tenant(),
        target: args.target,
        share_bp: Some(args.share),
        lasts: Some(time::duration(args.lasts)),
        delay: args.delay.map(time::duration),
        seed: args.seed,
        by: args.by,
    };
    // No deadline: the server bounds a drill and its recovery, and whoever does not want to wait goes.
    let stream = client.drills().run_drill(Request::new(request)).await;
    let mut stream = stream.map_err(|status| client.failure(&status))?.into_inner();
    let mut passed = None;
    while let Some(told) = stream.message().await.map_err(|status| client.failure(&status))? {
        if let Some(drill) = told.drill {
            let drill = DrillView::from(drill);
            show(console, &drill, |drill, console| render::begun(drill, console.style))?;
        }
        if let Some(event) = told.event.and_then(DrillEventView::of) {
            if let Happened::Judged(card) = &event.what {
                passed = Some(card.passed);
            }
            show(console, &event, |event, console| render::event(event, console.style))?;
        }
    }
    match passed {
        Some(true) => Ok(()),
        // The scorecard has said why.
        Some(false) => Err(Failure::silent(Exit::Badly)),
        None => {
            Err(Failure::new(Exit::Unreachable, "the control plane ended before the drill did".to_owned())
                .hint("its fault is over; `mainstay drill history` shows what is on record"))
        }
    }
}

fn show<V: serde::Serialize>(
    console: &Console,
    view: &V,
    people: impl FnOnce(&V, &Console) -> String,
) -> Result<(), Failure> {
    if console.json() { console.line(view) } else { console.raw(&people(view, console)) }
}

/// `100%`, `12.5%`: in basis points.
fn share(text: &str) -> Result<u32, String> {
    let bad = || "write a share like 100% or 12.5%, above 0".to_owned();
    let number = text.strip_suffix('%').ok_or_else(bad)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || part.len() > 2 || !digits(whole) || !digits(part) {
        return Err(bad());
    }
    let bp: u32 = format!("{whole}{part:0<2}").parse().map_err(|_| bad())?;
    if (1..=10_000).contains(&bp) { Ok(bp) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_and_never_a_bare_number() {
        let read = ["100%", "12.5%", "0.01%", "1%"].map(share);
        assert_eq!(read, [Ok(10_000), Ok(1_250), Ok(1), Ok(100)]);
        for bad in ["", "%", "50", "0%", "101%", "-1%", "1.234%", ".5%", "+5%", "5 %"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
