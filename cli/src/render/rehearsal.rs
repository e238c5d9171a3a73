//! Cases of workflows, as lines.

use std::time::Duration;

use super::paint::{Tone, paint};
use super::text::{count, plain};
use crate::console::Style;
use crate::view::rehearsal::{CaseView, RehearsalView};
use crate::view::value::Span;

/// Every case a line; one that failed with what was expected and what there was.
#[must_use]
pub fn results(views: &[RehearsalView], style: Style) -> String {
    let mut text = String::new();
    for view in views {
        text += &format!("{}  {}\n", paint(&plain(&view.file), Tone::Strong, style), plain(&view.workflow));
        for case in &view.cases {
            text += &line(case, style);
        }
    }
    let cases = || views.iter().flat_map(|view| &view.cases);
    let failed = cases().filter(|case| !case.passed).count();
    text + &format!("{} played: {failed} failed\n", count(cases().count(), "case"))
}

fn line(case: &CaseView, style: Style) -> String {
    let (word, tone) = if case.passed { ("ok", Tone::Good) } else { ("FAILED", Tone::Bad) };
    let took = Span(Duration::from_millis(case.elapsed_ms));
    let calls = count(case.calls.len(), "call");
    let mut text = format!("  {}  {} ({calls}, {took})\n", paint(word, tone, style), plain(&case.name));
    for miss in &case.misses {
        text += &format!("      {}\n", plain(&miss.what));
        text += &format!("        expected  {}\n", plain(&miss.expected));
        text += &format!("        got       {}\n", plain(&miss.got));
    }
    if !case.passed && !case.calls.is_empty() {
        text += &format!("      calls: {}\n", plain(&case.calls.join(", ")));
    }
    text
}
