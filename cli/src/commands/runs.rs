//! `mainstay runs`: newest first.

use clap::{Args, ValueEnum};
use mainstay_proto::pb;

use crate::client::{Client, ask};
use crate::console::Console;
use crate::failure::Failure;
use crate::render;
use crate::view::run::{RunView, RunsView};

/// Most runs asked for at once: what the server gives at most.
const PAGE: usize = 1_000;

/// Flags of `runs`.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// Only runs in this state; repeatable
    #[arg(long, value_enum)]
    state: Vec<State>,
    /// Only runs of this workflow
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// A run's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Running,
    Completed,
    Failed,
    Cancelled,
    TimedOut,
}

impl From<State> for pb::RunState {
    fn from(state: State) -> Self {
        match state {
            State::Running => Self::Running,
            State::Completed => Self::Completed,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
            State::TimedOut => Self::TimedOut,
        }
    }
}

pub(crate) async fn run(args: RunsArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let limit = usize::try_from(args.limit).unwrap_or(PAGE);
    let (mut runs, mut page_token) = (Vec::<RunView>::new(), String::new());
    while runs.len() < limit {
        let request = pb::ListRunsRequest {
            tenant: client.tenant(),
            workflow: args.workflow.clone().unwrap_or_default(),
            states: args.state.iter().map(|state| pb::RunState::from(*state).into()).collect(),
            page_size: i32::try_from(PAGE.min(limit - runs.len())).unwrap_or_default(),
            page_token,
        };
        let page = client.orchestrator().list_runs(ask(request)).await;
        let page = page.map_err(|status| client.failure(&status))?.into_inner();
        runs.extend(page.runs.into_iter().map(RunView::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    console.show(&RunsView { runs, more: !page_token.is_empty() }, render::run::list)
}
