//! `mainstay limits`: list, set, clear.

use clap::{Args, Subcommand};
use mainstay_proto::pb;

use super::pauses::{Author, tenant};
use crate::client::{Client, ask};
use crate::console::Console;
use crate::failure::Failure;
use crate::render;
use crate::view::limit::LimitView;

/// What to do with declared rates.
#[derive(Debug, Subcommand)]
pub enum LimitsCommand {
    /// List every rate that holds, where it comes from, and how long a call would wait
    List(ListArgs),
    /// Set how many calls a target takes, in place of what its manifest declares
    Set(SetArgs),
    /// Clear what was set: what the manifest declares holds
    Clear(ClearArgs),
}

/// Flags of `limits list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Those of every tenant
    #[arg(long)]
    all_tenants: bool,
}

/// Flags of `limits set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// agent/NAME, agent/NAME/CAPABILITY, capability/NAME or tenant/NAME
    target: String,
    /// Calls in a second, minute or hour: 10/s, 90/m, 1000/h
    rate: String,
    /// Calls that may come at once [default: as many as come in a second, and at least one]
    #[arg(long, value_name = "N")]
    burst: Option<u32>,
    /// Why: whoever wonders reads it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    author: Author,
}

/// Flags of `limits clear`.
#[derive(Debug, Args)]
pub struct ClearArgs {
    /// The target, as `mainstay limits list` shows it
    target: String,
    #[command(flatten)]
    author: Author,
}

pub(crate) async fn run(command: LimitsCommand, client: &Client, console: &Console) -> Result<(), Failure> {
    match command {
        LimitsCommand::List(ListArgs { all_tenants }) => {
            let request = pb::ListLimitsRequest { tenant: client.tenant(), all_tenants };
            let answer = client.operations().list_limits(ask(request)).await;
            let limits = answer.map_err(|status| client.failure(&status))?.into_inner().limits;
            let views: Vec<LimitView> = limits.into_iter().map(Into::into).collect();
            console.show(&views, |views, style| render::limit::list(views, style))
        }
        LimitsCommand::Set(SetArgs { target, rate, burst, reason, author: Author { by } }) => {
            let (tenant, rate) = (tenant(client, &target), Some(pb::Rate { calls: rate, burst }));
            let request = pb::SetLimitRequest { tenant, target, rate, reason, by };
            let answer = client.operations().set_limit(ask(request)).await;
            let limit = answer.map_err(|status| client.failure(&status))?.into_inner().limit;
            console.show(&LimitView::from(limit.unwrap_or_default()), render::limit::set)
        }
        LimitsCommand::Clear(ClearArgs { target, author: Author { by } }) => {
            let request = pb::ClearLimitRequest { tenant: tenant(client, &target), target, by };
            let answer = client.operations().clear_limit(ask(request)).await;
            let cleared = answer.map_err(|status| client.failure(&status))?.into_inner().cleared;
            console.show(&LimitView::from(cleared.unwrap_or_default()), render::limit::cleared)
        }
    }
}
