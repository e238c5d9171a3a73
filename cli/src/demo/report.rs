//! What the demo says at its end: the answer with its sources, and who did what once.

use anyhow::Context;
use serde::Deserialize;

use super::witness::Account;
use crate::console::Style;
use crate::render::paint::{Tone, paint};
use crate::render::table::{Grid, cell, toned};
use crate::render::text::plain;

/// Widest text: lines that are longer are hard to read, however wide the terminal is.
const MEASURE: usize = 96;

/// The output of the workflow.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    answer: String,
    citations: Vec<Citation>,
    related: Vec<String>,
    verdict: String,
    confidence: f64,
    problems: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Citation {
    number: usize,
    source: String,
    line: usize,
}

impl Answer {
    /// Reads the output of a run.
    ///
    /// # Errors
    /// If it is not what the workflow makes.
    pub(super) fn parse(output: &[u8]) -> anyhow::Result<Self> {
        serde_json::from_slice(output).context("the output of the run")
    }

    /// For people.
    pub(super) fn page(&self, style: Style) -> String {
        let tone = if self.verdict == "supported" { Tone::Good } else { Tone::Bad };
        let verdict = paint(&plain(&self.verdict), tone, style);
        let title = paint("Answer", Tone::Strong, style);
        let mut page = format!("{title} ({verdict}, confidence {:.2})\n", self.confidence);
        for line in wrapped(&plain(&self.answer), MEASURE.min(usize::from(style.width).saturating_sub(4))) {
            page.push_str(&format!("  {line}\n"));
        }
        for Citation { number, source, line } in &self.citations {
            page.push_str(&format!("  [{number}] {}:{line}\n", plain(source)));
        }
        if !self.related.is_empty() {
            page.push_str(&format!("  Read on: {}\n", plain(&self.related.join(" · "))));
        }
        for problem in &self.problems {
            page.push_str(&format!("  ! {}\n", plain(problem)));
        }
        page
    }
}

/// What each agent did, and whether anything is wrong with it.
pub(super) fn accounts(accounts: &[Account], drafts: usize, wrong: &[String], style: Style) -> String {
    let mut grid = Grid::new(&["AGENT", "DID", "TIMES", "UNDER THE KEY"], style);
    for Account { agent, effects } in accounts {
        for (at, effect) in effects.iter().enumerate() {
            if effects.iter().take(at).any(|before| before == effect) {
                continue;
            }
            let same = effects.iter().filter(|other| *other == effect).count();
            let times = toned(same.to_string(), if same == 1 { Tone::Good } else { Tone::Bad });
            grid.row([cell(agent), cell(&effect.capability), times, cell(&effect.key)]);
        }
    }
    let mut page = format!("{}\n{grid}\n", paint("What the agents themselves noted", Tone::Strong, style));
    let filed =
        if drafts == 1 { "One draft was filed.".to_owned() } else { format!("{drafts} drafts were filed.") };
    page.push_str(&format!("{filed}\n"));
    for wrong in wrong {
        page.push_str(&format!("  ! {}\n", plain(wrong)));
    }
    page
}

/// `text` in lines of at most `width` characters, broken at blanks.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_shown_with_its_sources() {
        let output = serde_json::json!({
            "answer": "Runs go on. [1]",
            "citations": [{ "number": 1, "source": "a.md", "line": 3, "quote": "Runs go on." }],
            "related": ["journal", "lease"],
            "verdict": "supported",
            "confidence": 0.875,
            "problems": [],
        });
        let answer = Answer::parse(output.to_string().as_bytes()).unwrap();
        let expected = "Answer (supported, confidence 0.88)\n  Runs go on. [1]\n  [1] a.md:3\n  Read on: journal · lease\n";
        assert_eq!(answer.page(Style::PLAIN), expected);
    }

    #[test]
    fn lines_are_broken_at_blanks() {
        assert_eq!(wrapped("one two three four", 9), ["one two", "three", "four"]);
        assert_eq!(wrapped("immeasurable", 3), ["immeasurable"]);
    }
}
