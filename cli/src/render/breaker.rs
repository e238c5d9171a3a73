//! Breakers as a table, and one as a line.

use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::plain;
use crate::console::Style;
use crate::view::breaker::BreakerOf;

/// Breakers, a line each.
#[must_use]
pub fn list(breakers: &[BreakerOf], style: Style) -> String {
    if breakers.is_empty() {
        return "No breaker has opened. `mainstay breakers list --all` shows the closed ones too.\n"
            .to_owned();
    }
    let mut grid = Grid::new(&["AGENT", "INSTANCE", "CAPABILITY", "STATE", "OPENED", "SINCE", "WHY"], style);
    for BreakerOf { agent, instance, breaker } in breakers {
        grid.row([
            toned(agent, Tone::Strong),
            cell(instance),
            cell(&breaker.capability),
            toned(&breaker.state, Tone::of(&breaker.state)),
            cell(format!("{}×", breaker.opened)),
            cell(breaker.changed_at.map(|at| at.to_string()).unwrap_or_default()),
            cell(&breaker.reason),
        ]);
    }
    grid.to_string()
}

/// A breaker that has just changed.
#[must_use]
pub fn line(of: &BreakerOf, style: Style) -> String {
    let BreakerOf { agent, instance, breaker } = of;
    let at = breaker.changed_at.map(|at| at.to_string()).unwrap_or_default();
    let state = paint(&plain(&breaker.state), Tone::of(&breaker.state), style);
    let (agent, instance, capability) = (plain(agent), plain(instance), plain(&breaker.capability));
    format!("{at}  {agent}/{instance}  {capability}  {state}  {}\n", plain(&breaker.reason))
}
