//! The books of the tenant: a budget that nobody reaches, so that it counts all that is spent.

use mainstay_proto::pb;
use pb::budgets_client::BudgetsClient;
use tonic::transport::Channel;

use crate::history::Purse;
use crate::world::World;

/// More than is ever spent, in 10⁻⁹ US dollars.
const PLENTY: u64 = 1_000_000_000_000_000;

/// Sets the budget.
pub(super) async fn open(world: &World) {
    let limits = pb::BudgetAmount { nano_usd: Some(PLENTY), ..Default::default() };
    let request = pb::SetBudgetRequest {
        target: "tenant".to_owned(),
        period: "month".to_owned(),
        limits: Some(limits),
        reason: "a count".to_owned(),
        by: "ops".to_owned(),
        ..Default::default()
    };
    books(world).set_budget(request).await.expect("a budget");
}

/// What the books say.
///
/// # Panics
/// If they cannot be read.
pub(super) async fn count(world: &World) -> Purse {
    let budgets = books(world).list_budgets(pb::ListBudgetsRequest::default()).await.expect("budgets");
    let budget = budgets.into_inner().budgets.into_iter().next().expect("the tenant's");
    let of = |amount: Option<pb::BudgetAmount>| amount.and_then(|amount| amount.nano_usd).unwrap_or(0);
    let spend = books(world).get_spend(pb::GetSpendRequest::default()).await.expect("spend").into_inner();
    Purse {
        spent: of(budget.spent),
        reserved: of(budget.reserved),
        total: spend.total.unwrap_or_default().nano_usd,
    }
}

fn books(world: &World) -> BudgetsClient<Channel> {
    BudgetsClient::new(world.channel())
}
