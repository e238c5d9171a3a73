//! Text that comes from elsewhere, made harmless for a terminal.
//!
//! What a server, an agent or a document says is data. A terminal would act on some of it: escape sequences move the
//! cursor and set titles, a carriage return overwrites what stands there, bidirectional overrides reorder a line. All of
//! them are shown as escapes instead.

use std::borrow::Cow;

/// Whether a terminal would act on it rather than show it.
#[must_use]
pub fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}' | '\u{feff}')
}

/// `text` on one line, every active character written as its escape.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_active) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_active(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// `text` as it is, line by line, every other active character written as its escape. For answers that have lines.
#[must_use]
pub fn lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// JSON text whose active characters are written as `\uXXXX`. They can only stand inside strings there, so the document
/// means the same.
#[must_use]
pub fn json(text: String) -> String {
    if !text.chars().any(|c| is_active(c) && c != '\n') {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_active(c) && c != '\n' {
            // All of these are in the basic plane: one unit of four digits.
            out += &format!("\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// At most `max` characters; an ellipsis stands for the rest.
#[must_use]
pub fn short(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// `1 step`, `2 steps`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_shown_and_not_obeyed() {
        assert_eq!(plain("a\u{1b}[31mb\r\nc\u{9b}d\u{202e}e"), "a\\u{1b}[31mb\\r\\nc\\u{9b}d\\u{202e}e");
        assert!(matches!(plain("Zürich, 東京, 🦀"), Cow::Borrowed(_)));
    }

    #[test]
    fn an_answer_keeps_its_lines_and_nothing_else() {
        assert_eq!(lines("one\ntwo\r\n\u{7}"), "one\ntwo\\r\n\\u{7}");
    }

    #[test]
    fn json_stays_the_same_document() {
        let value = serde_json::json!({ "a": "\u{1b}\u{7f}\u{9b}\u{202e}" });
        let text = json(serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.chars().any(|c| is_active(c) && c != '\n'), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(short("äöü", 2), "äö…");
        assert_eq!(short("äöü", 3), "äöü");
    }
}
