//! Documents cut into passages: the paragraphs and lists a reader would quote, each with its place.
//!
//! Only what is written in sentences counts. Code, tables and pictures are left out: a sentence taken out of them says
//! nothing. This is not a Markdown parser; it knows the few signs that separate prose from the rest, and plain text has
//! none of them.

use serde::{Deserialize, Serialize};

use super::library::Document;

/// Longest passage in bytes; a longer paragraph goes on in the next one, at the next line of its text.
const MAX_PASSAGE_BYTES: usize = 1_500;

/// A paragraph or list of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Passage {
    /// Which document.
    pub(crate) source: String,
    /// The line it begins at, from 1.
    pub(crate) line: usize,
    /// The heading it stands under; empty if there is none.
    pub(crate) heading: String,
    /// What it says, without markup; items of a list stand on lines of their own.
    pub(crate) text: String,
    /// How well it fits the question; 0 before it was asked for.
    #[serde(default)]
    pub(crate) score: f64,
}

/// Cuts a document.
pub(crate) fn cut(document: &Document) -> Vec<Passage> {
    let mut cutter = Cutter { source: &document.source, ..Cutter::default() };
    for (number, line) in document.text.lines().enumerate() {
        cutter.line(number + 1, line);
    }
    cutter.end();
    cutter.passages
}

#[derive(Default)]
struct Cutter<'a> {
    source: &'a str,
    heading: String,
    /// The fence that ends the code block we are in.
    fence: Option<&'static str>,
    start: usize,
    text: String,
    passages: Vec<Passage>,
}

impl Cutter<'_> {
    fn line(&mut self, number: usize, line: &str) {
        let bare = line.trim();
        if let Some(fence) = self.fence {
            if bare.starts_with(fence) {
                self.fence = None;
            }
            return;
        }
        if let Some(fence) = ["```", "~~~"].into_iter().find(|fence| bare.starts_with(fence)) {
            self.fence = Some(fence);
            return self.end();
        }
        if let Some(heading) = heading(bare) {
            self.end();
            self.heading = without_markup(heading);
            return;
        }
        if bare.is_empty() || is_not_prose(line) {
            return self.end();
        }
        self.prose(number, bare);
    }

    fn prose(&mut self, number: usize, line: &str) {
        let quoted = line.trim_start_matches(['>', ' ']);
        let item = item(quoted);
        if self.text.len() > MAX_PASSAGE_BYTES {
            self.end();
        }
        if self.text.is_empty() {
            self.start = number;
        } else {
            self.text.push(if item.is_some() { '\n' } else { ' ' });
        }
        self.text.push_str(&without_markup(item.unwrap_or(quoted)));
    }

    fn end(&mut self) {
        let text = std::mem::take(&mut self.text);
        if text.trim().is_empty() {
            return;
        }
        self.passages.push(Passage {
            source: self.source.to_owned(),
            line: self.start,
            heading: self.heading.clone(),
            text,
            score: 0.0,
        });
    }
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    ((1..=6).contains(&level) && text.starts_with(' ')).then(|| text.trim())
}

/// Tables, rules, markup of pages, link definitions and indented code.
fn is_not_prose(line: &str) -> bool {
    let bare = line.trim();
    let rule =
        bare.len() >= 3 && bare.bytes().all(|b| matches!(b, b'-' | b'=' | b'*' | b'_' | b'|' | b':' | b' '));
    let code = line.starts_with("    ") && item(bare).is_none();
    let definition = bare.starts_with('[') && bare.contains("]:");
    bare.starts_with('|') || bare.starts_with('<') || bare.starts_with("![") || rule || code || definition
}

/// What a list item says: `- …`, `* …`, `+ …`, `1. …`.
fn item(line: &str) -> Option<&str> {
    let bullet = ["- ", "* ", "+ "].into_iter().find_map(|bullet| line.strip_prefix(bullet));
    let number = || line.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(". ");
    bullet.or_else(|| number().filter(|_| line.starts_with(|c: char| c.is_ascii_digit())))
}

/// The text a reader sees: without emphasis and code marks, links as their words.
fn without_markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['*', '`', '[', ']']) {
        let (before, mark) = rest.split_at(at);
        out.push_str(before);
        let target = mark.strip_prefix("](").and_then(|target| target.split_once(')'));
        rest = match target {
            Some((_, after)) => after,
            None => mark.get(1..).unwrap_or_default(),
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passages(text: &str) -> Vec<(usize, String, String)> {
        let document = Document { source: "a.md".to_owned(), text: text.to_owned() };
        cut(&document).into_iter().map(|passage| (passage.line, passage.heading, passage.text)).collect()
    }

    #[test]
    fn paragraphs_and_lists_become_passages_with_their_place() {
        let text =
            "Before.\n\n# The *ledger*\nOne line\nand the next.\n\n- first `item`\n  goes on\n- second\n";
        let expected = [
            (1, "", "Before."),
            (4, "The ledger", "One line and the next."),
            (7, "The ledger", "first item goes on\nsecond"),
        ];
        assert_eq!(passages(text), expected.map(|(line, heading, text)| (line, heading.into(), text.into())));
    }

    #[test]
    fn code_tables_and_pictures_say_nothing() {
        let text =
            "```sh\nrun a lease\n```\n| a | b |\n|---|---|\n![pic](x.png)\n\n    indented\n\n<p>\nSaid.";
        assert_eq!(passages(text), [(11, String::new(), "Said.".to_owned())]);
    }

    #[test]
    fn links_are_read_as_their_words() {
        assert_eq!(without_markup("see **[the map](docs/map.md#top)** of it"), "see the map of it");
        assert_eq!(without_markup("a [1] and `b[0]`"), "a 1 and b0");
    }

    #[test]
    fn a_paragraph_without_end_is_cut() {
        let text = "A sentence of some words.\n".repeat(500);
        let passages = passages(&text);
        assert!(passages.len() > 5 && passages.iter().all(|(_, _, text)| text.len() < 2 * MAX_PASSAGE_BYTES));
        assert!(passages[1].0 > passages[0].0);
    }
}
