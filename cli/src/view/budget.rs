//! Budgets over time, and what was spent.

use mainstay_proto::pb;
use serde::Serialize;

use super::value::{When, word};

/// What may be used up, or was.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct AmountView {
    /// In 10⁻⁹ US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nano_usd: Option<u64>,
    /// In and out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Calls of agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
}

/// A budget over time.
#[derive(Debug, Clone, Serialize)]
pub struct BudgetView {
    /// `tenant` or `workflow/NAME`.
    pub target: String,
    /// Whose it is.
    pub tenant: String,
    /// `day` or `month`.
    pub period: String,
    /// What may be used up.
    pub limits: AmountView,
    /// What was, in the window that is open.
    pub spent: AmountView,
    /// Set aside for calls under way.
    pub reserved: AmountView,
    /// When it begins anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<When>,
    /// Why it was set.
    pub reason: String,
    /// Who did it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<When>,
}

/// What was spent for one thing.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SpendLineView {
    /// Its name.
    pub name: String,
    /// Calls of agents.
    pub calls: u64,
    /// Prompt tokens.
    pub tokens_in: u64,
    /// Completion tokens.
    pub tokens_out: u64,
    /// In 10⁻⁹ US dollars.
    pub nano_usd: u64,
}

/// What was spent.
#[derive(Debug, Clone, Serialize)]
pub struct SpendView {
    /// `agent`, `capability`, `workflow`, `tenant`, `run` or `day`.
    pub by: String,
    /// The first day.
    pub since: String,
    /// The last day.
    pub until: String,
    /// What cost most comes first; days come in their order.
    pub lines: Vec<SpendLineView>,
    /// All of it.
    pub total: SpendLineView,
    /// Whether there is more than the lines show.
    pub more: bool,
}

impl From<Option<pb::BudgetAmount>> for AmountView {
    fn from(amount: Option<pb::BudgetAmount>) -> Self {
        let pb::BudgetAmount { nano_usd, tokens, calls } = amount.unwrap_or_default();
        Self { nano_usd, tokens, calls }
    }
}

impl From<pb::Budget> for BudgetView {
    fn from(budget: pb::Budget) -> Self {
        Self {
            target: budget.target,
            tenant: budget.tenant,
            period: budget.period,
            limits: budget.limits.into(),
            spent: budget.spent.into(),
            reserved: budget.reserved.into(),
            until: When::of(budget.until.as_ref()),
            reason: budget.reason,
            by: budget.by,
            since: When::of(budget.since.as_ref()),
        }
    }
}

impl From<pb::SpendLine> for SpendLineView {
    fn from(line: pb::SpendLine) -> Self {
        let pb::SpendLine { name, calls, tokens_in, tokens_out, nano_usd } = line;
        Self { name, calls, tokens_in, tokens_out, nano_usd }
    }
}

impl SpendView {
    /// Of an answer to a question `by` something.
    #[must_use]
    pub fn new(answer: pb::GetSpendResponse, by: pb::SpendBy) -> Self {
        Self {
            by: word(Some(by.as_str_name()), "SPEND_BY_"),
            since: answer.since,
            until: answer.until,
            lines: answer.lines.into_iter().map(Into::into).collect(),
            total: answer.total.unwrap_or_default().into(),
            more: answer.more,
        }
    }
}
