//! Routing documents.

use super::finding::findings;
use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::{plain, short};
use crate::console::Style;
use crate::view::routing::{PutView, RoutingView};

/// Characters of a hash that people compare.
const HASH: usize = 12;

/// The newest version of each routing document, a line each.
#[must_use]
pub fn list(routings: &[RoutingView], style: Style) -> String {
    if routings.is_empty() {
        return "No routing documents. Store one with `mainstay routes put FILE`.\n".to_owned();
    }
    let mut grid = Grid::new(&["ROUTES", "VERSION", "RULES", "HASH", "PUT", "WHAT FOR"], style);
    for routing in routings {
        grid.row([
            toned(&routing.name, Tone::Strong),
            cell(routing.version.to_string()),
            cell(routing.rule_count.to_string()),
            cell(short(&routing.hash, HASH)),
            cell(routing.created_at.map(|at| at.to_string()).unwrap_or_default()),
            cell(&routing.description),
        ]);
    }
    grid.to_string()
}

/// A stored document, and what it probably does not mean.
#[must_use]
pub fn put(file: &str, view: &PutView, style: Style) -> String {
    let routing = &view.routing;
    let done = if view.created { "stored" } else { "unchanged" };
    let name = paint(&plain(&routing.name), Tone::Strong, style);
    let hash = short(&routing.hash, HASH);
    let head = format!("{name} version {} {done}  {}\n", routing.version, plain(&hash));
    head + &findings(file, &view.warnings, style)
}
