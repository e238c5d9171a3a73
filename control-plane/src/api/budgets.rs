//! `mainstay.v1.Budgets`.

use mainstay_kernel::budget::spend::Spend;
use mainstay_kernel::budget::window::{Day, Period, Target};
use mainstay_kernel::budget::{Amount, Limits};
use mainstay_kernel::name::Name;
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, pb, time};
use tonic::{Request, Response, Status};

use crate::api::store_fault;
use crate::budgets::{BudgetError, By, Handle, Line, Query, SetByHand, Shown};
use crate::host::Clock;

/// Lines of a report where nothing is said, and most of them: a table that a person reads, and one that a program does.
const LINES: u32 = 100;
const MAX_LINES: u32 = 1_000;

/// Bytes of a reason and of a name: a sentence, shown in tables.
const MAX_REASON: usize = 256;

/// Days of a report where nothing is said.
const DAYS: i32 = 30;

/// The service.
#[derive(Debug, Clone)]
pub struct Api {
    /// The clock.
    pub clock: Clock,
    /// The budgets.
    pub budgets: Handle,
}

#[tonic::async_trait]
impl pb::budgets_server::Budgets for Api {
    async fn set_budget(
        &self,
        request: Request<pb::SetBudgetRequest>,
    ) -> Result<Response<pb::SetBudgetResponse>, Status> {
        let request = request.into_inner();
        let (tenant, target, period) = place(&request.tenant, &request.target, &request.period)?;
        if request.reason.trim().is_empty() {
            return Err(Fault::invalid("reason", "must say why").into());
        }
        let set = SetByHand {
            limits: limits(request.limits)?,
            reason: agent::text("reason", request.reason, MAX_REASON)?,
            by: agent::text("by", request.by, MAX_REASON)?,
            since: self.clock.wall(),
        };
        self.budgets.set(&tenant, target.clone(), period, set.clone()).await.map_err(fault)?;
        let shown = self.budgets.all(Some(&tenant)).into_iter();
        let shown =
            shown.map(view).find(|it| it.target == target.to_string() && it.period == period.as_str());
        // Lifted by somebody else meanwhile, it is told as it was set.
        let budget = shown.unwrap_or_else(|| as_set(&tenant, &target, period, &set));
        Ok(Response::new(pb::SetBudgetResponse { budget: Some(budget) }))
    }

    async fn lift_budget(
        &self,
        request: Request<pb::LiftBudgetRequest>,
    ) -> Result<Response<pb::LiftBudgetResponse>, Status> {
        let request = request.into_inner();
        let (tenant, target, period) = place(&request.tenant, &request.target, &request.period)?;
        let by = agent::text("by", request.by, MAX_REASON)?;
        let set = self.budgets.lift(&tenant, target.clone(), period, by).await.map_err(fault)?;
        let lifted = Some(as_set(&tenant, &target, period, &set));
        Ok(Response::new(pb::LiftBudgetResponse { lifted }))
    }

    async fn list_budgets(
        &self,
        request: Request<pb::ListBudgetsRequest>,
    ) -> Result<Response<pb::ListBudgetsResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let all = self.budgets.all((!request.all_tenants).then_some(&tenant));
        Ok(Response::new(pb::ListBudgetsResponse { budgets: all.into_iter().map(view).collect() }))
    }

    async fn get_spend(
        &self,
        request: Request<pb::GetSpendRequest>,
    ) -> Result<Response<pb::GetSpendResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let today = Day::of(self.clock.wall());
        let query = Query {
            tenant: (!request.all_tenants).then_some(tenant),
            since: day("since", &request.since, Day(today.0 - DAYS))?,
            until: day("until", &request.until, today)?,
            by: by(request.by())?,
            limit: match request.limit {
                0 => LINES as usize,
                limit if limit <= MAX_LINES => limit as usize,
                _ => return Err(Fault::invalid("limit", format_args!("must be 1 to {MAX_LINES}")).into()),
            },
        };
        if query.since > query.until {
            return Err(Fault::invalid("since", "lies behind `until`").into());
        }
        let (since, until) = (query.since.to_string(), query.until.to_string());
        let report = self.budgets.spent(query).await;
        let report = report.map_err(|error| Fault::new(Reason::StoreFailed, error))?;
        Ok(Response::new(pb::GetSpendResponse {
            lines: report.lines.into_iter().map(line).collect(),
            total: Some(line(Line { name: "total".to_owned(), spend: report.total })),
            more: report.more,
            since,
            until,
        }))
    }
}

fn place(tenant: &str, target: &str, period: &str) -> Result<(Name, Target, Period), Fault> {
    let target = target.parse().map_err(|error: String| Fault::invalid("target", error))?;
    let period = period.parse().map_err(|error: String| Fault::invalid("period", error))?;
    Ok((agent::tenant(tenant)?, target, period))
}

fn limits(amount: Option<pb::BudgetAmount>) -> Result<Limits, Fault> {
    let pb::BudgetAmount { nano_usd, tokens, calls } = amount.unwrap_or_default();
    let limits = Limits { nano_usd, tokens, calls, time: None };
    if limits.is_empty() {
        return Err(Fault::invalid("limits", "limit nothing; give money, tokens or calls"));
    }
    match limits.on_calls().find(|(_, most)| *most == 0) {
        Some((limit, _)) => {
            let field =
                format!("limits.{}", if limit.as_str() == "usd" { "nano_usd" } else { limit.as_str() });
            Err(Fault::invalid(field, "must be more than 0; to let nothing begin, pause it"))
        }
        None => Ok(limits),
    }
}

fn day(field: &str, text: &str, otherwise: Day) -> Result<Day, Fault> {
    if text.is_empty() {
        Ok(otherwise)
    } else {
        text.parse().map_err(|error: String| Fault::invalid(field, error))
    }
}

fn by(by: pb::SpendBy) -> Result<By, Fault> {
    Ok(match by {
        pb::SpendBy::Unspecified | pb::SpendBy::Agent => By::Agent,
        pb::SpendBy::Capability => By::Capability,
        pb::SpendBy::Workflow => By::Workflow,
        pb::SpendBy::Tenant => By::Tenant,
        pb::SpendBy::Run => By::Run,
        pb::SpendBy::Day => By::Day,
    })
}

fn line(Line { name, spend }: Line) -> pb::SpendLine {
    let Spend { calls, tokens_in, tokens_out, nano_usd } = spend;
    pb::SpendLine { name, calls, tokens_in, tokens_out, nano_usd }
}

fn view(shown: Shown) -> pb::Budget {
    let Shown { tenant, standing, set } = shown;
    pb::Budget {
        tenant: tenant.to_string(),
        target: standing.target.to_string(),
        period: standing.period.as_str().to_owned(),
        limits: Some(limits_view(&standing.limits)),
        spent: Some(amount(standing.spent)),
        reserved: Some(amount(standing.held)),
        until: Some(time::timestamp(standing.until)),
        reason: set.as_ref().map(|set| set.reason.clone()).unwrap_or_default(),
        by: set.as_ref().map(|set| set.by.clone()).unwrap_or_default(),
        since: set.as_ref().map(|set| time::timestamp(set.since)),
    }
}

fn as_set(tenant: &Name, target: &Target, period: Period, set: &SetByHand) -> pb::Budget {
    pb::Budget {
        tenant: tenant.to_string(),
        target: target.to_string(),
        period: period.as_str().to_owned(),
        limits: Some(limits_view(&set.limits)),
        reason: set.reason.clone(),
        by: set.by.clone(),
        since: Some(time::timestamp(set.since)),
        ..pb::Budget::default()
    }
}

fn limits_view(limits: &Limits) -> pb::BudgetAmount {
    pb::BudgetAmount { nano_usd: limits.nano_usd, tokens: limits.tokens, calls: limits.calls }
}

fn amount(amount: Amount) -> pb::BudgetAmount {
    pb::BudgetAmount {
        nano_usd: Some(amount.nano_usd),
        tokens: Some(amount.tokens),
        calls: Some(amount.calls),
    }
}

fn fault(error: BudgetError) -> Fault {
    match error {
        BudgetError::NotSet { .. } => Fault::field(Reason::BudgetNotFound, "target", error),
        BudgetError::Full { .. } => Fault::new(Reason::Overloaded, error),
        BudgetError::Record(error) => Fault::new(Reason::Internal, error),
        BudgetError::Commit(error) => store_fault(error),
    }
}
