//! Budgets over time and what was spent, as tables.

use mainstay_kernel::budget::{Dollars, Limit};

use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::plain;
use crate::console::Style;
use crate::view::budget::{AmountView, BudgetView, SpendLineView, SpendView};

/// Every budget over time, a line for each limit.
#[must_use]
pub fn list(budgets: &[BudgetView], style: Style) -> String {
    if budgets.is_empty() {
        return "No budget over time is set.\n".to_owned();
    }
    let columns = &["BUDGET", "TENANT", "PER", "LIMIT", "SPENT", "SET ASIDE", "ANEW", "BY", "WHY"];
    let mut grid = Grid::new(columns, style);
    for budget in budgets {
        for (limit, most, spent, held) in rows(budget) {
            let tone = if spent >= most { Tone::Bad } else { Tone::Good };
            grid.row([
                toned(&budget.target, Tone::Strong),
                cell(&budget.tenant),
                cell(&budget.period),
                cell(limit.amount(most).to_string()),
                toned(limit.amount(spent).to_string(), tone),
                cell(if held == 0 { String::new() } else { limit.amount(held).to_string() }),
                cell(budget.until.map(|at| at.to_string()).unwrap_or_default()),
                cell(&budget.by),
                cell(&budget.reason),
            ]);
        }
    }
    grid.to_string()
}

/// What was set just now.
#[must_use]
pub fn set(budget: &BudgetView, style: Style) -> String {
    let limits = rows(budget).into_iter().map(|(limit, most, ..)| limit.amount(most).to_string());
    let limits = limits.collect::<Vec<_>>().join(", ");
    let limits = paint(&limits, Tone::Good, style);
    format!("{}  {limits} per {}\n", plain(&budget.target), plain(&budget.period))
}

/// What was lifted just now.
#[must_use]
pub fn lifted(budget: &BudgetView, style: Style) -> String {
    let word = paint("lifted", Tone::Good, style);
    format!("{}  {word}, per {}\n", plain(&budget.target), plain(&budget.period))
}

/// What was spent.
#[must_use]
pub fn spend(view: &SpendView, style: Style) -> String {
    let head = format!("{} to {} (UTC)\n", plain(&view.since), plain(&view.until));
    if view.lines.is_empty() {
        return head + "Nothing was spent.\n";
    }
    let by = view.by.to_uppercase();
    let mut grid = Grid::new(&[by.as_str(), "USD", "TOKENS IN", "TOKENS OUT", "CALLS"], style);
    let mut row = |line: &SpendLineView, tone| {
        grid.row([
            toned(&line.name, tone),
            cell(Dollars(line.nano_usd).to_string()),
            cell(line.tokens_in.to_string()),
            cell(line.tokens_out.to_string()),
            cell(line.calls.to_string()),
        ]);
    };
    view.lines.iter().for_each(|line| row(line, Tone::Strong));
    row(&view.total, Tone::Dim);
    let more = if view.more { "There is more: raise --limit, or ask for fewer days.\n" } else { "" };
    head + &grid.to_string() + more
}

/// The limits of a budget: each with what there is, what is spent and what is set aside.
fn rows(budget: &BudgetView) -> Vec<(Limit, u64, u64, u64)> {
    let get = |amount: &AmountView, limit| match limit {
        Limit::Usd => amount.nano_usd,
        Limit::Tokens => amount.tokens,
        Limit::Calls => amount.calls,
        Limit::Time => None,
    };
    let limits = Limit::OF_CALLS.into_iter();
    let row = |limit| {
        let most = get(&budget.limits, limit)?;
        let [spent, held] = [&budget.spent, &budget.reserved].map(|amount| get(amount, limit).unwrap_or(0));
        Some((limit, most, spent, held))
    };
    limits.filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_proto::pb;

    fn amount(nano_usd: u64, tokens: u64) -> Option<pb::BudgetAmount> {
        Some(pb::BudgetAmount { nano_usd: Some(nano_usd), tokens: Some(tokens), calls: None })
    }

    fn view() -> BudgetView {
        let budget = pb::Budget {
            tenant: "default".into(),
            target: "workflow/answer".into(),
            period: "day".into(),
            limits: amount(5_000_000_000, 1_000),
            spent: amount(5_000_000_000, 999),
            reserved: amount(0, 10),
            reason: "quota \u{1b}[2J".into(),
            by: "ops".into(),
            ..Default::default()
        };
        budget.into()
    }

    #[test]
    fn a_budget_has_a_line_for_each_limit_and_nothing_hostile() {
        insta::assert_snapshot!(list(&[view()], Style::PLAIN), @r"
        BUDGET           TENANT   PER  LIMIT        SPENT       SET ASIDE  ANEW  BY   WHY
        workflow/answer  default  day  $5.00        $5.00                        ops  quota \u{1b}[2J
        workflow/answer  default  day  1000 tokens  999 tokens  10 tokens        ops  quota \u{1b}[2J
        ");
        assert_eq!(list(&[], Style::PLAIN), "No budget over time is set.\n");
        assert_eq!(set(&view(), Style::PLAIN), "workflow/answer  $5.00, 1000 tokens per day\n");
        assert_eq!(lifted(&view(), Style::PLAIN), "workflow/answer  lifted, per day\n");
    }

    #[test]
    fn spend_ends_with_its_total() {
        let line = |name: &str, nano_usd| pb::SpendLine {
            name: name.into(),
            calls: 3,
            tokens_in: 120,
            tokens_out: 30,
            nano_usd,
        };
        let answer = pb::GetSpendResponse {
            lines: vec![line("writer", 40_000_000)],
            total: Some(line("total", 41_500_000)),
            more: true,
            since: "2026-11-01".into(),
            until: "2026-11-21".into(),
        };
        insta::assert_snapshot!(spend(&SpendView::new(answer, pb::SpendBy::Agent), Style::PLAIN), @r"
        2026-11-01 to 2026-11-21 (UTC)
        AGENT   USD      TOKENS IN  TOKENS OUT  CALLS
        writer  $0.04    120        30          3
        total   $0.0415  120        30          3
        There is more: raise --limit, or ask for fewer days.
        ");
        let nothing = SpendView::new(pb::GetSpendResponse::default(), pb::SpendBy::Day);
        assert!(spend(&nothing, Style::PLAIN).ends_with("Nothing was spent.\n"));
    }
}
