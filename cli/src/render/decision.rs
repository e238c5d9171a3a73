//! Routing decisions.

use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::plain;
use crate::console::Style;
use crate::view::decision::{DecisionView, DecisionsView, RoutedView, VerdictView};

/// Where a request was routed, in one line.
pub(super) fn routed(routed: &RoutedView, style: Style) -> String {
    let what = if routed.fallback {
        paint("static response, no agent could be found", Tone::Busy, style)
    } else {
        plain(&routed.capability).into_owned()
    };
    format!("routed by {}: {what}  ({})\n", plain(&routed.rung), plain(&routed.decision_id))
}

/// The newest decisions, a line each.
#[must_use]
pub fn list(view: &DecisionsView, style: Style) -> String {
    if view.decisions.is_empty() {
        return "No decisions. Route a request with `mainstay invoke --route NAME --input JSON`.\n"
            .to_owned();
    }
    let mut grid = Grid::new(&["DECISION", "AT", "ROUTES", "RUNG", "CAPABILITY", "OUTCOME", "INPUT"], style);
    for decision in &view.decisions {
        let tone = if decision.capability.is_empty() { Tone::Busy } else { Tone::Normal };
        grid.row([
            cell(&decision.decision_id),
            cell(decision.at.map(|at| at.to_string()).unwrap_or_default()),
            cell(format!("{} v{}", decision.route, decision.version)),
            toned(&decision.rung, tone),
            toned(target(&decision.capability, &decision.agent), Tone::Strong),
            cell(decision.outcome.as_deref().unwrap_or_default()),
            toned(decision.input.chars().take(60).collect::<String>(), Tone::Dim),
        ]);
    }
    let more = if view.more { "There are more: raise --limit.\n" } else { "" };
    format!("{grid}{more}")
}

/// One decision with its grounds.
#[must_use]
pub fn explain(decision: &DecisionView, style: Style) -> String {
    let target = match target(&decision.capability, &decision.agent) {
        none if none.is_empty() => "static response".to_owned(),
        target => target,
    };
    let head = paint(&plain(&target), Tone::Strong, style);
    let mut text = format!("{head}  by {}", plain(&decision.rung));
    if !decision.rule.is_empty() {
        text += &format!(" ({})", plain(&decision.rule));
    }
    if let Some(sure) = decision.confidence_bp {
        text += &format!(", {}% sure", sure / 100);
    }
    if let Some(outcome) = &decision.outcome {
        text += &format!(", call: {}", plain(outcome));
    }
    text += "\n";
    let when = decision.at.map(|at| format!("{at}  ")).unwrap_or_default();
    let of = format!("{when}{} version {}  {}", decision.route, decision.version, decision.decision_id);
    text += &format!("{}\n", paint(plain(&of).trim_end(), Tone::Dim, style));
    text += &format!("{}\n", paint(&plain(&decision.input), Tone::Dim, style));
    if !decision.passed.is_empty() {
        text += "\nRungs that did not hold:\n";
        let mut grid = Grid::bare(style);
        for passed in &decision.passed {
            grid.row([
                cell(format!("  {}", passed.rung)),
                toned(&passed.why, Tone::Busy),
                cell(self::target(&passed.capability, &passed.agent)),
                cell(&passed.detail),
            ]);
        }
        text += &grid.to_string();
    }
    if let Some(found) = &decision.verdict {
        text += &verdict(found, style);
    }
    text
}

fn verdict(verdict: &VerdictView, style: Style) -> String {
    let mut text = format!("\nThe classifier: {}", plain(&verdict.finding));
    let percent = |bp: u32| format!("{}.{:02}%", bp / 100, bp % 100);
    if let Some(fit) = verdict.fit_bp {
        text += &format!("; {} of the known requests fit no better", percent(fit));
    }
    if let Some(lead) = verdict.lead_bp {
        text += &format!(", {} lead by no more", percent(lead));
    }
    text += "\n";
    let milli = |milli: i32| format!("{:.3}", f64::from(milli) / 1000.0);
    let mut grid = Grid::bare(style);
    for ranked in &verdict.ranked {
        grid.row([
            cell(format!("  {}", ranked.capability)),
            cell(milli(ranked.score_milli)),
            toned(format!("by {}", ranked.method), Tone::Dim),
        ]);
    }
    text += &grid.to_string();
    if !verdict.features.is_empty() {
        let words = verdict.features.iter().map(|one| format!("{} {}", one.text, milli(one.weight_milli)));
        text += &format!("  because of: {}\n", plain(&words.collect::<Vec<_>>().join(", ")));
    }
    if verdict.disguised > 0 {
        text += &format!("  {} words mix alphabets and were left out\n", verdict.disguised);
    }
    text
}

fn target(capability: &str, agent: &str) -> String {
    if agent.is_empty() { capability.to_owned() } else { format!("{capability} of {agent}") }
}
