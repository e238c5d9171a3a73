//! How well a routing document routes.

use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::plain;
use crate::console::Style;
use crate::view::evaluation::{ConfusionView, EvaluationView, ShareView};

/// Most mistakes shown; the JSON has the whole matrix.
const MISTAKES: usize = 20;

/// Accuracy by rung, what is taken for what, and which capabilities overlap.
#[must_use]
pub fn table(view: &EvaluationView, style: Style) -> String {
    let mut grid = Grid::new(&["", "REQUESTS", "RIGHT", "ACCURACY"], style);
    let mut row = |name: &str, share: &ShareView| {
        let accuracy = format!("{:.1}%", share.accuracy * 100.0);
        let cells = [cell(share.requests.to_string()), cell(share.right.to_string()), cell(accuracy)];
        grid.row([toned(name, Tone::Strong)].into_iter().chain(cells));
    };
    row("all", &view.all);
    row("in scope", &view.in_scope);
    row("out of scope", &view.out_of_scope);
    for rung in &view.rungs {
        row(&format!("by {}", rung.rung), &rung.share);
    }
    let mut text = grid.to_string();
    text += &mistakes(&view.matrix, style);
    for overlap in &view.overlaps {
        let (one, other) = (plain(&overlap.capability), plain(&overlap.with));
        let warning = paint("warning:", Tone::Busy, style);
        let often = format!("{} of {} requests", overlap.mistaken, overlap.requests);
        text += &format!("{warning} {one} and {other} overlap: {often} are taken for the other's\n");
    }
    text
}

fn mistakes(matrix: &[ConfusionView], style: Style) -> String {
    let mut wrong: Vec<_> = matrix.iter().filter(|cell| cell.expected != cell.decided).collect();
    if wrong.is_empty() {
        return "\nNo mistakes.\n".to_owned();
    }
    wrong.sort_by_key(|cell| std::cmp::Reverse(cell.count));
    let mut grid = Grid::new(&["EXPECTED", "DECIDED", "TIMES"], style);
    for one in wrong.iter().take(MISTAKES) {
        grid.row([
            cell(one.expected.as_deref().unwrap_or("(nowhere)")),
            cell(one.decided.as_deref().unwrap_or("(sent onward)")),
            cell(one.count.to_string()),
        ]);
    }
    let more = wrong.len().saturating_sub(MISTAKES);
    let more =
        if more > 0 { format!("{more} more kinds of mistakes: --output json\n") } else { String::new() };
    format!("\n{grid}{more}\n")
}
