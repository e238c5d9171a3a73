//! The operating mode as a few lines, and as one.

use super::paint::{Tone, paint};
use super::text::plain;
use crate::console::Style;
use crate::view::mode::ModeView;

/// The mode, why it holds, and how it ends.
#[must_use]
pub fn mode(view: &ModeView, style: Style) -> String {
    let since = view.since.map(|at| at.to_string()).unwrap_or_default();
    let end = if view.by_hand {
        format!("until `mainstay mode auto`; the rules ask for {}", plain(&view.by_rules))
    } else {
        "as long as the rules ask for it".to_owned()
    };
    format!("mode   {}\nsince  {since}\nwhy    {}\nholds  {end}\n", name(view, style), why(view))
}

/// The mode in one line.
#[must_use]
pub fn line(view: &ModeView, style: Style) -> String {
    let since = view.since.map(|at| at.to_string()).unwrap_or_default();
    format!("{since}  {}  {}\n", name(view, style), why(view))
}

/// Its name, in the colour of how bad it is.
#[must_use]
pub fn name(view: &ModeView, style: Style) -> String {
    let tone = match view.mode.as_str() {
        "full" => Tone::Good,
        "degraded" => Tone::Busy,
        _ => Tone::Bad,
    };
    paint(&plain(&view.mode), tone, style)
}

/// Why it holds, and who says so.
#[must_use]
pub fn why(view: &ModeView) -> String {
    let by = if view.by.is_empty() { String::new() } else { format!(" (by {})", plain(&view.by)) };
    format!("{}{by}", plain(&view.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_who_holds_it_and_how_it_ends() {
        let view = ModeView {
            mode: "emergency".into(),
            reason: "fire\u{1b}[2J".into(),
            by: "ada".into(),
            by_hand: true,
            by_rules: "full".into(),
            ..ModeView::default()
        };
        let text = mode(&view, Style::PLAIN);
        assert!(text.contains("mode   emergency\n") && text.contains("(by ada)"), "{text}");
        assert!(text.contains("until `mainstay mode auto`; the rules ask for full"), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert!(mode(&ModeView { by_hand: false, ..view }, Style::PLAIN).contains("as long as the rules"));
    }
}
