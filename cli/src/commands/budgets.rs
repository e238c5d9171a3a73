//! `mainstay budgets`: list, set, lift. `mainstay spend`.

use clap::{Args, Subcommand, ValueEnum};
use mainstay_kernel::budget::nano_usd;
use mainstay_proto::pb;

use super::pauses::Author;
use crate::client::{Client, ask};
use crate::console::Console;
use crate::failure::Failure;
use crate::render;
use crate::view::budget::{BudgetView, SpendView};

/// What to do with budgets over time.
#[derive(Debug, Subcommand)]
pub enum BudgetsCommand {
    /// List every budget over time and how it stands
    List(ListArgs),
    /// Set what the tenant or a workflow may use up in a day or a month (UTC)
    Set(SetArgs),
    /// Lift a budget
    Lift(LiftArgs),
}

/// Flags of `budgets list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Those of every tenant
    #[arg(long)]
    all_tenants: bool,
}

/// Flags of `budgets set`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("limit").required(true).multiple(true))]
pub struct SetArgs {
    /// tenant, or workflow/NAME
    target: String,
    /// day or month
    period: String,
    /// US dollars, such as 2.50
    #[arg(long, value_name = "DOLLARS", value_parser = dollars, group = "limit")]
    usd: Option<u64>,
    /// Tokens, in and out
    #[arg(long, value_name = "N", group = "limit")]
    tokens: Option<u64>,
    /// Calls of agents
    #[arg(long, value_name = "N", group = "limit")]
    calls: Option<u64>,
    /// Why: whoever wonders reads it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    author: Author,
}

/// Flags of `budgets lift`.
#[derive(Debug, Args)]
pub struct LiftArgs {
    /// The target, as `mainstay budgets list` shows it
    target: String,
    /// day or month
    period: String,
    #[command(flatten)]
    author: Author,
}

/// Flags of `spend`.
#[derive(Debug, Args)]
pub struct SpendArgs {
    /// What to sum up by
    #[arg(long, value_enum, default_value = "agent")]
    by: By,
    /// First day in UTC, such as 2026-11-01 [default: thirty days ago]
    #[arg(long, value_name = "DAY", default_value = "", hide_default_value = true)]
    since: String,
    /// Last day in UTC [default: today]
    #[arg(long, value_name = "DAY", default_value = "", hide_default_value = true)]
    until: String,
    /// Most lines
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// That of every tenant
    #[arg(long)]
    all_tenants: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    Agent,
    Capability,
    Workflow,
    Tenant,
    Run,
    Day,
}

pub(crate) async fn run(command: BudgetsCommand, client: &Client, console: &Console) -> Result<(), Failure> {
    match command {
        BudgetsCommand::List(ListArgs { all_tenants }) => {
            let request = pb::ListBudgetsRequest { tenant: client.tenant(), all_tenants };
            let answer = client.budgets().list_budgets(ask(request)).await;
            let budgets = answer.map_err(|status| client.failure(&status))?.into_inner().budgets;
            let views: Vec<BudgetView> = budgets.into_iter().map(Into::into).collect();
            console.show(&views, |views, style| render::budget::list(views, style))
        }
        BudgetsCommand::Set(SetArgs {
            target,
            period,
            usd,
            tokens,
            calls,
            reason,
            author: Author { by },
        }) => {
            let limits = Some(pb::BudgetAmount { nano_usd: usd, tokens, calls });
            let request =
                pb::SetBudgetRequest { tenant: client.tenant(), target, period, limits, reason, by };
            let answer = client.budgets().set_budget(ask(request)).await;
            let budget = answer.map_err(|status| client.failure(&status))?.into_inner().budget;
            console.show(&BudgetView::from(budget.unwrap_or_default()), render::budget::set)
        }
        BudgetsCommand::Lift(LiftArgs { target, period, author: Author { by } }) => {
            let request = pb::LiftBudgetRequest { tenant: client.tenant(), target, period, by };
            let answer = client.budgets().lift_budget(ask(request)).await;
            let lifted = answer.map_err(|status| client.failure(&status))?.into_inner().lifted;
            console.show(&BudgetView::from(lifted.unwrap_or_default()), render::budget::lifted)
        }
    }
}

pub(crate) async fn spend(args: SpendArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let SpendArgs { by, since, until, limit, all_tenants } = args;
    let by = match by {
        By::Agent => pb::SpendBy::Agent,
        By::Capability => pb::SpendBy::Capability,
        By::Workflow => pb::SpendBy::Workflow,
        By::Tenant => pb::SpendBy::Tenant,
        By::Run => pb::SpendBy::Run,
        By::Day => pb::SpendBy::Day,
    };
    let tenant = client.tenant();
    let request = pb::GetSpendRequest { tenant, all_tenants, by: by.into(), since, until, limit };
    let answer = client.budgets().get_spend(ask(request)).await;
    let answer = answer.map_err(|status| client.failure(&status))?.into_inner();
    console.show(&SpendView::new(answer, by), render::budget::spend)
}

fn dollars(text: &str) -> Result<u64, String> {
    nano_usd(text).ok_or_else(|| "write US dollars such as 2.50, with up to nine decimals".to_owned())
}
