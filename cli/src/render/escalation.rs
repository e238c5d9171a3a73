//! Questions that wait for people, as lines and tables.

use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::plain;
use crate::console::Style;
use crate::view::escalation::{AnsweredView, EscalationView};

/// Everything that waits.
#[must_use]
pub fn list(escalations: &[EscalationView], style: Style) -> String {
    if escalations.is_empty() {
        return "Nothing waits for a person.\n".to_owned();
    }
    let mut grid = Grid::new(&["ESCALATION", "WORKFLOW", "FOR", "SINCE", "UNTIL", "QUESTION"], style);
    for it in escalations {
        grid.row([
            toned(&it.escalation, Tone::Strong),
            cell(&it.workflow),
            cell(&it.assignee),
            cell(it.since.map(|at| at.to_string()).unwrap_or_default()),
            cell(it.until.map(|at| at.to_string()).unwrap_or_default()),
            cell(&it.question),
        ]);
    }
    grid.to_string()
}

/// What was answered just now.
#[must_use]
pub fn answered(answer: &AnsweredView, style: Style) -> String {
    let tone = if answer.verdict == "rejected" { Tone::Bad } else { Tone::Good };
    format!("{}  {}\n", plain(&answer.escalation), paint(&plain(&answer.verdict), tone, style))
}
