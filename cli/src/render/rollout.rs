//! Rollouts as lines and tables.

use mainstay_kernel::share::Human as Share;

use super::finding::findings;
use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::plain;
use crate::console::Style;
use crate::view::rollout::{ChangeView, PutView, RolloutView, ShowView, TallyView};

/// Every rollout, a line each.
#[must_use]
pub fn list(rollouts: &[RolloutView], style: Style) -> String {
    if rollouts.is_empty() {
        return "No rollouts. Begin one with `mainstay rollouts put FILE`.\n".to_owned();
    }
    let mut grid = Grid::new(&["ROLLOUT", "AGENT", "FROM", "TO", "PHASE", "WEIGHT", "SINCE", "WHY"], style);
    for rollout in rollouts {
        grid.row([
            toned(&rollout.name, Tone::Strong),
            cell(&rollout.agent),
            cell(&rollout.stable.version),
            cell(&rollout.candidate.version),
            toned(&rollout.phase, tone(&rollout.phase)),
            cell(Share(rollout.weight_bp).to_string()),
            cell(rollout.since.map(|at| at.to_string()).unwrap_or_default()),
            cell(&rollout.reason),
        ]);
    }
    grid.to_string()
}

/// One rollout, its versions side by side.
#[must_use]
pub fn show(view: &ShowView, style: Style) -> String {
    let rollout = &view.rollout;
    let mut text = turned(rollout, style);
    text += &format!("  {}\n", plain(&rollout.reason));
    if !rollout.awaits.is_empty() {
        text += &format!("  waits for {}\n", plain(&rollout.awaits));
    }
    let mut grid = Grid::new(&["VERSION", "", "CALLS", "FAILED", "BREACHES", "9 OF 10 WITHIN"], style);
    for (tally, side) in [(&rollout.stable, "stable"), (&rollout.candidate, "candidate")] {
        grid.row(row(tally, side));
    }
    text += &grid.to_string();
    if let Some(shadow) = &rollout.shadow {
        text += &format!(
            "copies: {} of the stable version's calls; {} sent, {} answered alike, {} otherwise, {} failed, {} skipped\n",
            Share(shadow.share_bp),
            shadow.sent,
            shadow.same,
            shadow.different,
            shadow.failed,
            shadow.skipped
        );
    }
    text
}

fn row(tally: &TallyView, side: &str) -> [comfy_table::Cell; 6] {
    [
        toned(&tally.version, Tone::Strong),
        toned(side, Tone::Dim),
        cell(tally.ended.to_string()),
        cell(tally.failed.to_string()),
        cell(tally.breached.to_string()),
        cell(tally.slow.map(|slow| slow.to_string()).unwrap_or_default()),
    ]
}

/// Where a rollout stands.
#[must_use]
pub fn turned(rollout: &RolloutView, style: Style) -> String {
    format!(
        "{}  {} at {} (step {} of {})\n",
        paint(&plain(&rollout.name), Tone::Strong, style),
        paint(&plain(&rollout.phase), tone(&rollout.phase), style),
        Share(rollout.weight_bp),
        rollout.step,
        rollout.step_count
    )
}

/// The changes of a rollout.
#[must_use]
pub fn history(changes: &[ChangeView], style: Style) -> String {
    let mut grid = Grid::new(&["#", "WHEN", "DOCUMENT", "PHASE", "STEP", "WEIGHT", "BY", "WHY"], style);
    for change in changes {
        grid.row([
            cell(change.number.to_string()),
            cell(change.at.map(|at| at.to_string()).unwrap_or_default()),
            cell(format!("v{}", change.version)),
            toned(&change.phase, tone(&change.phase)),
            cell(change.step.to_string()),
            cell(Share(change.weight_bp).to_string()),
            cell(&change.by),
            cell(&change.reason),
        ]);
    }
    grid.to_string()
}

/// A stored document, what it probably does not mean, and what could not be compared.
#[must_use]
pub fn put(file: &str, view: &PutView, style: Style) -> String {
    let mut text = if view.created {
        turned(&view.rollout, style)
    } else {
        "unchanged: ".to_owned() + &turned(&view.rollout, style)
    };
    for note in &view.notes {
        text += &format!("note: {}\n", plain(note));
    }
    text + &findings(file, &view.warnings, style)
}

fn tone(phase: &str) -> Tone {
    match phase {
        "promoted" => Tone::Good,
        "rolled-back" => Tone::Bad,
        _ => Tone::Busy,
    }
}
