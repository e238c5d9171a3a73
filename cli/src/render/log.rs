//! Decisions as a table, and one as a line.

use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::plain;
use crate::console::Style;
use crate::view::log::{LogView, LoggedView};

/// What was decided lately.
#[must_use]
pub fn list(log: &LogView, style: Style) -> String {
    if log.events.is_empty() {
        return "Nothing of that kind has happened.\n".to_owned();
    }
    let mut grid = Grid::new(&["WHEN", "WHAT", "TO", "WHY"], style);
    for event in &log.events {
        grid.row([
            cell(event.at.map(|at| at.to_string()).unwrap_or_default()),
            toned(&event.kind, tone(event)),
            cell(&event.subject),
            cell(why(event)),
        ]);
    }
    let more = if log.more { "There are older ones: raise --limit.\n" } else { "" };
    format!("{grid}{more}")
}

/// One that has just happened.
#[must_use]
pub fn line(event: &LoggedView, style: Style) -> String {
    let at = event.at.map(|at| at.to_string()).unwrap_or_default();
    let kind = paint(&plain(&event.kind), tone(event), style);
    format!("{at}  {kind}  {}  {}\n", plain(&event.subject), plain(&why(event)))
}

fn why(event: &LoggedView) -> String {
    let by = if event.by.is_empty() { String::new() } else { format!(" (by {})", event.by) };
    let record = if event.on_record { "" } else { " (not on record: the disk refused it)" };
    format!("{}{by}{record}", event.reason)
}

fn tone(event: &LoggedView) -> Tone {
    match event.kind.as_str() {
        "breaker.opened" | "instance.unhealthy" | "instance.lapsed" | "store.read-only" | "mode.lowered" => {
            Tone::Bad
        }
        "breaker.half-open" | "pause.set" | "server.stopping" => Tone::Busy,
        "breaker.closed" | "instance.healthy" | "pause.lifted" | "store.writable" | "mode.raised" => {
            Tone::Good
        }
        _ => Tone::Normal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_says_what_happened_to_what_and_why_and_nothing_hostile() {
        let event = |number, kind: &str, by: &str, on_record| {
            LoggedView::from(mainstay_proto::pb::Event {
                number,
                kind: kind.into(),
                subject: "agent/writer".into(),
                reason: "upgrade \u{1b}[2J".into(),
                by: by.into(),
                on_record,
                ..Default::default()
            })
        };
        let log = LogView {
            events: vec![event(2, "breaker.opened", "", false), event(1, "pause.set", "ops", true)],
            more: true,
        };
        insta::assert_snapshot!(list(&log, Style::PLAIN), @r"
        WHEN  WHAT            TO            WHY
              breaker.opened  agent/writer  upgrade \u{1b}[2J (not on record: the disk refused it)
              pause.set       agent/writer  upgrade \u{1b}[2J (by ops)
        There are older ones: raise --limit.
        ");
        assert_eq!(
            line(&log.events[1], Style::PLAIN),
            "  pause.set  agent/writer  upgrade \\u{1b}[2J (by ops)\n"
        );
    }
}
