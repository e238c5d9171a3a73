//! `mainstay breakers`: list, trip, reset, watch.

use std::collections::HashMap;

use clap::{Args, Subcommand};
use mainstay_proto::pb;
use pb::watch_agents_response::Event;

use crate::client::{Client, ask};
use crate::console::{Console, tell};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::breaker as render;
use crate::view::agent::AgentView;
use crate::view::breaker::{BreakerOf, breakers_of};

/// What to do with breakers.
#[derive(Debug, Subcommand)]
pub enum BreakersCommand {
    /// List breakers that have something to tell
    List(ListArgs),
    /// Open breakers by hand: no call goes through until they are reset
    Trip(TurnArgs),
    /// Close breakers by hand and forget their failures
    Reset(TurnArgs),
    /// Print each breaker that changes, until interrupted
    Watch(WatchArgs),
}

/// Flags of `breakers list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Also those that have always been closed
    #[arg(long)]
    all: bool,
    /// Only of this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only of this capability
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
}

/// Flags of `breakers trip` and `breakers reset`: those that match all that is given.
#[derive(Debug, Args)]
pub struct TurnArgs {
    /// Of this agent
    #[arg(long, value_name = "NAME", required_unless_present = "capability")]
    agent: Option<String>,
    /// Of this instance
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Of this capability
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Flags of `breakers watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {}

pub(crate) async fn run(command: BreakersCommand, client: &Client, console: &Console) -> Result<(), Failure> {
    match command {
        BreakersCommand::List(args) => list(args, client, console).await,
        BreakersCommand::Trip(args) => {
            let request = pb::TripBreakersRequest { breakers: args.selector(client), reason: args.reason };
            let answer = client.operations().trip_breakers(ask(request)).await;
            let answer = answer.map_err(|status| client.failure(&status))?.into_inner();
            turned(answer.breakers, answer.on_record, console)
        }
        BreakersCommand::Reset(args) => {
            let request = pb::ResetBreakersRequest { breakers: args.selector(client), reason: args.reason };
            let answer = client.operations().reset_breakers(ask(request)).await;
            let answer = answer.map_err(|status| client.failure(&status))?.into_inner();
            turned(answer.breakers, answer.on_record, console)
        }
        BreakersCommand::Watch(WatchArgs {}) => watch(client, console).await,
    }
}

async fn list(args: ListArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let agents = super::agents::all(args.capability.clone(), client).await?;
    let wanted = |breaker: &BreakerOf| {
        (args.all || breaker.breaker.has_something_to_tell())
            && args.agent.as_ref().is_none_or(|name| *name == breaker.agent)
            && args.capability.as_ref().is_none_or(|name| *name == breaker.breaker.capability)
    };
    let breakers: Vec<BreakerOf> = agents.iter().flat_map(breakers_of).filter(wanted).collect();
    console.show(&breakers, |breakers, style| render::list(breakers, style))
}

fn turned(breakers: Vec<pb::TurnedBreaker>, on_record: bool, console: &Console) -> Result<(), Failure> {
    let breakers: Vec<BreakerOf> = breakers.into_iter().map(Into::into).collect();
    if !on_record {
        tell("warning: the disk refuses writes, so this holds only until the control plane restarts\n");
    }
    console.show(&breakers, |breakers, style| render::list(breakers, style))
}

async fn watch(client: &Client, console: &Console) -> Result<(), Failure> {
    let request = pb::WatchAgentsRequest { tenant: client.tenant() };
    let changes = client.registry().watch_agents(request).await;
    let mut changes = changes.map_err(|status| client.failure(&status))?.into_inner();
    let mut known: HashMap<(String, String, String), BreakerOf> = HashMap::new();
    let mut caught_up = false;
    while let Some(change) = changes.message().await.map_err(|status| client.failure(&status))? {
        match change.event {
            Some(Event::CaughtUp(_)) => caught_up = true,
            Some(Event::Agent(agent)) => {
                for breaker in breakers_of(&AgentView::from(agent)) {
                    let before = known.insert(breaker.key(), breaker.clone());
                    if caught_up && before.is_none_or(|before| before.breaker.differs(&breaker.breaker)) {
                        show(&breaker, console)?;
                    }
                }
            }
            Some(Event::Gone(gone)) => known.retain(|(agent, ..), _| *agent != gone.name),
            // What changed meanwhile is told as it is now: what is known stays, to tell the changes from.
            Some(Event::Again(_)) | None => {}
        }
    }
    Err(Failure::new(Exit::Unreachable, "the control plane ended the watch".to_owned()))
}

fn show(breaker: &BreakerOf, console: &Console) -> Result<(), Failure> {
    if breaker.breaker.changed_at.is_none() || !breaker.breaker.has_something_to_tell() {
        return Ok(());
    }
    if console.json() { console.line(breaker) } else { console.print(&render::line(breaker, console.style)) }
}

impl TurnArgs {
    fn selector(&self, client: &Client) -> Option<pb::BreakerSelector> {
        Some(pb::BreakerSelector {
            tenant: client.tenant(),
            agent: self.agent.clone().unwrap_or_default(),
            instance: self.instance.clone().unwrap_or_default(),
            capability: self.capability.clone().unwrap_or_default(),
        })
    }
}
