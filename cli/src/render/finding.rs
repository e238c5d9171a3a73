//! Findings.

use super::paint::{Tone, paint};
use super::text::{count, plain};
use crate::console::Style;
use crate::view::finding::{FindingView, LintView};

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

/// Findings of one document.
pub(super) fn findings(file: &str, findings: &[FindingView], style: Style) -> String {
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
        let findings = FindingView::errors(&problems);
        let view = LintView { file: "w\u{1b}[1m.yaml".to_owned(), findings };
        insta::assert_snapshot!(lint(&[view], Style::PLAIN));
    }
}
