//! Workflow documents.

use super::finding::findings;
use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::{plain, short};
use crate::console::Style;
use crate::view::workflow::{PutView, WorkflowView};

/// Characters of a hash that people compare.
const HASH: usize = 12;

/// The newest version of each workflow, a line each.
#[must_use]
pub fn list(workflows: &[WorkflowView], style: Style) -> String {
    if workflows.is_empty() {
        return "No workflows. Store one with `mainstay workflows put FILE`.\n".to_owned();
    }
    let mut grid = Grid::new(&["WORKFLOW", "VERSION", "STEPS", "HASH", "PUT", "WHAT FOR"], style);
    for workflow in workflows {
        grid.row([
            toned(&workflow.name, Tone::Strong),
            cell(workflow.version.to_string()),
            cell(workflow.step_count.to_string()),
            cell(short(&workflow.hash, HASH)),
            cell(workflow.created_at.map(|at| at.to_string()).unwrap_or_default()),
            cell(&workflow.description),
        ]);
    }
    grid.to_string()
}

/// A stored document, and what it probably does not mean.
#[must_use]
pub fn put(file: &str, view: &PutView, style: Style) -> String {
    let workflow = &view.workflow;
    let done = if view.created { "stored" } else { "unchanged" };
    let name = paint(&plain(&workflow.name), Tone::Strong, style);
    let hash = short(&workflow.hash, HASH);
    let head = format!("{name} version {} {done}  {}\n", workflow.version, plain(&hash));
    head + &findings(file, &view.warnings, style)
}
