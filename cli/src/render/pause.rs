//! Pauses as lines and tables.

use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::plain;
use crate::console::Style;
use crate::view::pause::{DrainView, PauseView};

/// Everything that is paused.
#[must_use]
pub fn list(pauses: &[PauseView], style: Style) -> String {
    if pauses.is_empty() {
        return "Nothing is paused.\n".to_owned();
    }
    let mut grid = Grid::new(&["PAUSED", "TENANT", "SINCE", "BY", "UNDER WAY", "WHY"], style);
    for pause in pauses {
        grid.row([
            toned(&pause.target, Tone::Strong),
            cell(&pause.tenant),
            cell(pause.since.map(|at| at.to_string()).unwrap_or_default()),
            cell(&pause.by),
            cell(pause.under_way.map(|count| count.to_string()).unwrap_or_default()),
            cell(&pause.reason),
        ]);
    }
    grid.to_string()
}

/// What was paused just now.
#[must_use]
pub fn paused(pause: &PauseView, style: Style) -> String {
    let target = plain(&pause.target);
    let state = paint("paused", Tone::Busy, style);
    let under_way = match pause.under_way {
        None | Some(0) => String::new(),
        Some(count) => format!(", {count} still under way"),
    };
    format!("{target}  {state}{under_way}\n")
}

/// How a drain went.
#[must_use]
pub fn drained(view: &DrainView, style: Style) -> String {
    if view.drained {
        return format!("{}  {}\n", plain(&view.pause.target), paint("drained", Tone::Good, style));
    }
    paused(&view.pause, style)
}

/// What was resumed just now.
#[must_use]
pub fn resumed(pause: &PauseView, style: Style) -> String {
    format!("{}  {}\n", plain(&pause.target), paint("resumed", Tone::Good, style))
}

/// A line for each pause, under what it keeps calls from.
#[must_use]
pub fn lines(pauses: &[PauseView], style: Style) -> String {
    let line = |pause: &PauseView| {
        let by = if pause.by.is_empty() { String::new() } else { format!(", by {}", plain(&pause.by)) };
        let since = pause.since.map(|at| format!(", since {at}")).unwrap_or_default();
        let word = paint("paused", Tone::Busy, style);
        format!("{word}  {} ({}{by}{since})\n", plain(&pause.reason), plain(&pause.target))
    };
    pauses.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> PauseView {
        let pause = mainstay_proto::pb::Pause {
            tenant: "default".into(),
            target: "agent/writer".into(),
            reason: "upgrade \u{1b}[2J".into(),
            by: "ops".into(),
            under_way: Some(2),
            ..Default::default()
        };
        pause.into()
    }

    #[test]
    fn a_list_says_what_why_and_by_whom_and_nothing_hostile() {
        insta::assert_snapshot!(list(&[view()], Style::PLAIN), @r"
        PAUSED        TENANT   SINCE  BY   UNDER WAY  WHY
        agent/writer  default         ops  2          upgrade \u{1b}[2J
        ");
        assert_eq!(list(&[], Style::PLAIN), "Nothing is paused.\n");
    }

    #[test]
    fn a_drain_that_is_not_over_says_what_is_under_way() {
        let open = DrainView { pause: view(), drained: false };
        assert_eq!(drained(&open, Style::PLAIN), "agent/writer  paused, 2 still under way\n");
        let over = DrainView { drained: true, ..open };
        assert_eq!(drained(&over, Style::PLAIN), "agent/writer  drained\n");
    }

    #[test]
    fn an_agent_is_told_with_its_pauses() {
        assert_eq!(lines(&[view()], Style::PLAIN), "paused  upgrade \\u{1b}[2J (agent/writer, by ops)\n");
    }
}
