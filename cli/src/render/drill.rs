//! Drills as lines and tables.

use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::plain;
use crate::console::Style;
use crate::view::drill::{CallsView, CatalogueView, DrillEventView, DrillView, Happened, ScorecardView};
use crate::view::value::Span;

/// What can be drilled, and what is.
#[must_use]
pub fn catalogue(view: &CatalogueView, style: Style) -> String {
    let mut text = String::new();
    if !view.allowed {
        text += "This server injects no faults: it was started without --allow-drills.\n\n";
    }
    if let Some(active) = &view.active {
        text += &format!("{}\n\n", paint(&banner(active), Tone::Bad, style));
    }
    let mut grid = Grid::new(&["DRILL", "TARGET", "WHAT IT DOES", "WHAT SHOULD HAPPEN"], style);
    for kind in &view.kinds {
        let target = if kind.has_target { "needed" } else { "none" };
        grid.row([toned(&kind.name, Tone::Strong), cell(target), cell(&kind.does), cell(&kind.expects)]);
    }
    text + &grid.to_string()
}

/// One line about a drill under way.
#[must_use]
pub fn banner(drill: &DrillView) -> String {
    let at = if drill.target.is_empty() { String::new() } else { format!(" at {}", plain(&drill.target)) };
    let lasts = drill.lasts.map(|lasts| format!(", for {lasts} at most")).unwrap_or_default();
    let doing = match drill.state {
        "under-way" => format!("injects a fault{lasts}"),
        _ => "is over; its recovery is watched".to_owned(),
    };
    format!("A drill {doing}: {}{at} ({})", plain(&drill.kind), plain(&drill.id))
}

/// Drills of the past.
#[must_use]
pub fn history(drills: &[DrillView], style: Style) -> String {
    if drills.is_empty() {
        return "Nothing was drilled yet.\n".to_owned();
    }
    let mut grid = Grid::new(
        &["DRILL", "TARGET", "BEGAN", "BY", "RESULT", "DETECTED IN", "RECOVERED IN", "LOST", "ID"],
        style,
    );
    for drill in drills {
        let card = drill.scorecard();
        let span = |span: Option<Span>| span.map_or("never".to_owned(), |span| span.to_string());
        let of = |found: &dyn Fn(&ScorecardView) -> String| card.map(found).unwrap_or_default();
        grid.row([
            toned(&drill.kind, Tone::Strong),
            cell(&drill.target),
            cell(drill.began_at.map(|at| at.to_string()).unwrap_or_default()),
            cell(&drill.by),
            toned(drill.state, tone(drill.state)),
            cell(of(&|card| span(card.detected.as_ref().and_then(|it| it.after)))),
            cell(of(&|card| span(card.recovered_in))),
            cell(of(&|card| card.lost.to_string())),
            toned(&drill.id, Tone::Dim),
        ]);
    }
    grid.to_string()
}

/// One line about a drill that has just begun.
#[must_use]
pub fn begun(drill: &DrillView, style: Style) -> String {
    let share = percent(drill.share_bp);
    let whom = match drill.target.as_str() {
        "" => "the server".to_owned(),
        target => format!("{share} of what is sent to {}", plain(target)),
    };
    let lasts = drill.lasts.map(|lasts| lasts.to_string()).unwrap_or_default();
    let kind = paint(&plain(&drill.kind), Tone::Strong, style);
    format!("{kind}  {whom}, for {lasts}  ({}, seed {})\n", plain(&drill.id), drill.seed)
}

/// One line about what happened.
#[must_use]
pub fn event(event: &DrillEventView, style: Style) -> String {
    let at = event.at.map(|at| at.to_string()).unwrap_or_default();
    let span = |span: &Option<Span>| span.map(|span| span.to_string()).unwrap_or_default();
    let (word, tone, text) = match &event.what {
        Happened::Began => ("began", Tone::Bad, "the fault acts".to_owned()),
        Happened::Detected(it) => {
            let text = format!("after {}: {}, {}", span(&it.after), plain(&it.part), plain(&it.reason));
            ("detected", Tone::Good, text)
        }
        Happened::Ended { lasted, why } => {
            ("ended", Tone::Busy, format!("after {} ({})", span(lasted), plain(why)))
        }
        Happened::Recovered { after } => {
            ("recovered", Tone::Good, format!("{} after the fault ended", span(after)))
        }
        Happened::Interrupted { why } => ("interrupted", Tone::Bad, plain(why).into_owned()),
        Happened::Judged(card) => return format!("\n{}", scorecard(card, style)),
    };
    format!("{}  {}  {text}\n", paint(&at, Tone::Dim, style), paint(&format!("{word:<11}"), tone, style))
}

/// A scorecard.
#[must_use]
pub fn scorecard(card: &ScorecardView, style: Style) -> String {
    let (word, tone) = if card.passed { ("PASSED", Tone::Good) } else { ("FAILED", Tone::Bad) };
    let mut rules = Grid::new(&["RULE", "HELD", "FOUND"], style);
    for finding in &card.findings {
        let (held, tone) = if finding.held { ("yes", Tone::Good) } else { ("NO", Tone::Bad) };
        rules.row([toned(&finding.rule, Tone::Strong), toned(held, tone), cell(&finding.found)]);
    }
    let span = |span: Option<Span>| span.map_or("never".to_owned(), |span| span.to_string());
    let mut figures = Grid::bare(style);
    let mut figure = |name: &str, value: String| figures.row([toned(name, Tone::Dim), cell(value)]);
    figure("fault lasted", format!("{} ({})", span(card.lasted), card.ended));
    figure("detected in", span(card.detected.as_ref().and_then(|it| it.after)));
    figure("recovered in", span(card.recovered_in));
    figure("share affected", format!("{} ({} of {})", percent(card.struck_bp), card.struck, card.sent));
    figure("struck after detection", card.struck_after_detection.to_string());
    figure("errors of its callers", errors(card.inside));
    figure("errors of others", errors(card.outside));
    figure("requests lost", card.lost.to_string());
    if card.under_way > 0 {
        figure("still under way", card.under_way.to_string());
    }
    format!("{}\n{rules}\n{figures}", paint(word, tone, style))
}

fn errors(calls: CallsView) -> String {
    format!("{} ({} of {})", percent(calls.failed_bp), calls.failed, calls.ended)
}

/// Basis points as a person writes them: `12.34%`, `100%`.
fn percent(bp: u32) -> String {
    let text = format!("{}.{:02}", bp / 100, bp % 100);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn tone(state: &str) -> Tone {
    match state {
        "passed" => Tone::Good,
        "under-way" | "recovering" => Tone::Busy,
        _ => Tone::Bad,
    }
}

#[cfg(test)]
mod tests {
    use mainstay_proto::pb;

    use super::*;

    fn card(passed: bool) -> ScorecardView {
        let finding = |rule: &str, held, found: &str| pb::ScorecardFinding {
            rule: rule.into(),
            held,
            found: found.into(),
        };
        let ms = |ms: u64| Some(mainstay_proto::time::duration(std::time::Duration::from_millis(ms)));
        let detected = pb::DrillDetected {
            after: ms(740),
            part: "breaker of w/one for draft".into(),
            reason: "\u{1b}[2J".into(),
        };
        let card = pb::Scorecard {
            passed,
            findings: vec![
                finding("traffic", true, "5 of 10 calls were given the fault"),
                finding("recovered", passed, "well and flowing"),
            ],
            ended: "over".into(),
            lasted: ms(30_000),
            detected: Some(detected),
            recovered_in: passed.then(|| ms(4_000)).flatten(),
            sent: 10,
            struck: 5,
            struck_bp: 5_000,
            struck_after_detection: 2,
            inside: Some(pb::DrilledCalls { ended: 40, failed: 5, failed_bp: 1_250 }),
            outside: Some(pb::DrilledCalls { ended: 100, failed: 0, failed_bp: 0 }),
            lost: 0,
            under_way: 0,
        };
        card.into()
    }

    #[test]
    fn a_scorecard_says_each_rule_and_each_figure() {
        insta::assert_snapshot!(scorecard(&card(true), Style::PLAIN), @r"
        PASSED
        RULE       HELD  FOUND
        traffic    yes   5 of 10 calls were given the fault
        recovered  yes   well and flowing

        fault lasted            30.00s (over)
        detected in             740ms
        recovered in            4.00s
        share affected          50% (5 of 10)
        struck after detection  2
        errors of its callers   12.5% (5 of 40)
        errors of others        0% (0 of 100)
        requests lost           0
        ");
        let failed = scorecard(&card(false), Style::PLAIN);
        assert!(failed.starts_with("FAILED\n") && failed.contains("never"), "{failed}");
    }

    #[test]
    fn shares_are_written_as_people_write_them() {
        let written = [0, 1, 50, 100, 1_250, 10_000].map(percent);
        assert_eq!(written, ["0%", "0.01%", "0.5%", "1%", "12.5%", "100%"]);
    }
}
