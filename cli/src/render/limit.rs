//! Declared rates as lines and tables.

use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::plain;
use crate::console::Style;
use crate::view::limit::LimitView;

/// Every rate that holds.
#[must_use]
pub fn list(limits: &[LimitView], style: Style) -> String {
    if limits.is_empty() {
        return "No rate is declared or set.\n".to_owned();
    }
    let mut grid =
        Grid::new(&["LIMITED", "TENANT", "RATE", "AT ONCE", "DECLARED", "WAIT", "SINCE", "BY", "WHY"], style);
    for limit in limits {
        grid.row([
            toned(&limit.target, Tone::Strong),
            cell(&limit.tenant),
            cell(&limit.rate),
            cell(limit.burst.to_string()),
            cell(limit.declared.as_deref().unwrap_or_default()),
            cell(limit.wait.map(|wait| wait.to_string()).unwrap_or_default()),
            cell(limit.since.map(|at| at.to_string()).unwrap_or_default()),
            cell(&limit.by),
            cell(if limit.set { &limit.reason } else { "as its manifest declares" }),
        ]);
    }
    grid.to_string()
}

/// What was set just now.
#[must_use]
pub fn set(limit: &LimitView, style: Style) -> String {
    let rate = paint(&plain(&limit.rate), Tone::Good, style);
    let declared = limit.declared.as_ref().map(|rate| format!(", in place of {}", plain(rate)));
    format!("{}  {rate}, {} at once{}\n", plain(&limit.target), limit.burst, declared.unwrap_or_default())
}

/// What was cleared just now.
#[must_use]
pub fn cleared(limit: &LimitView, style: Style) -> String {
    let word = paint("cleared", Tone::Good, style);
    format!("{}  {word}, was {}\n", plain(&limit.target), plain(&limit.rate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_proto::pb;

    fn view(set: bool) -> LimitView {
        let rate = |calls: &str| Some(pb::Rate { calls: calls.into(), burst: Some(5) });
        let limit = pb::Limit {
            tenant: "default".into(),
            target: "agent/writer".into(),
            rate: rate("10/s"),
            declared: rate("2/s"),
            set,
            reason: "quota \u{1b}[2J".into(),
            by: "ops".into(),
            ..Default::default()
        };
        limit.into()
    }

    #[test]
    fn a_list_says_what_holds_where_it_comes_from_and_nothing_hostile() {
        insta::assert_snapshot!(list(&[view(true)], Style::PLAIN), @r"
        LIMITED       TENANT   RATE  AT ONCE  DECLARED  WAIT  SINCE  BY   WHY
        agent/writer  default  10/s  5        2/s                    ops  quota \u{1b}[2J
        ");
        assert!(list(&[view(false)], Style::PLAIN).contains("as its manifest declares"));
        assert_eq!(list(&[], Style::PLAIN), "No rate is declared or set.\n");
    }

    #[test]
    fn what_was_set_says_what_it_replaces() {
        assert_eq!(set(&view(true), Style::PLAIN), "agent/writer  10/s, 5 at once, in place of 2/s\n");
        assert_eq!(cleared(&view(true), Style::PLAIN), "agent/writer  cleared, was 10/s\n");
    }
}
