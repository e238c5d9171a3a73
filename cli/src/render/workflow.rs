//! Workflow documents and findings.

use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::{count, plain, short};
use crate::console::Style;
use crate::view::workflow::{FindingView, LintView, PutView, WorkflowView};

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

/// Findings of several documents, each as `FILE:LINE:COLUMN`, which editors can follow.
#[must_use]
pub fn lint(views: &[LintView], style: Style) -> String {
    let mut text = String::new();
    for view in views {
        text += &findings(&view.file, &view.findings, style);
    }
    let all = || views.iter().flat_map(|view| &view.findings);
    let errors = all().filter(|finding| finding.is_error()).count();
    let warnings = all().count() - errors;
    let [files, errors, warnings] =
        [(views.len(), "document"), (errors, "error"), (warnings, "warning")].map(|(n, noun)| count(n, noun));
    text + &format!("{files} checked: {errors}, {warnings}\n")
}

fn findings(file: &str, findings: &[FindingView], style: Style) -> String {
    let mut text = String::new();
    for finding in findings {
        let tone = if finding.is_error() { Tone::Bad } else { Tone::Busy };
        let severity = paint(&plain(&finding.severity), tone, style);
        let place = match finding.line {
            0 => String::new(),
            line => format!(":{line}:{}", finding.column),
        };
        let path =
            if finding.path.is_empty() { String::new() } else { format!("{}: ", plain(&finding.path)) };
        let (file, code, message) = (plain(file), plain(&finding.code), plain(&finding.message));
        text += &format!("{file}{place}: {severity} {code}: {path}{message}\n");
        if !finding.hint.is_empty() {
            text += &format!("  hint: {}\n", plain(&finding.hint));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use mainstay_kernel::workflow::Workflow;

    use super::*;

    #[test]
    fn findings_say_place_code_and_way_out() {
        let document =
            "name: x\nversion: 1\nsteps:\n  - id: a\n    after: [b]\n    call: { capability: c }\n";
        let problems = Workflow::parse(document).unwrap_err();
        let findings = problems.iter().map(|problem| FindingView::new("error", problem)).collect();
        let view = LintView { file: "w\u{1b}[1m.yaml".to_owned(), findings };
        insta::assert_snapshot!(lint(&[view], Style::PLAIN));
    }
}
