//! The reviewer: whether every sentence of a draft is cited, and every citation exists and supports it.
//!
//! It does not ask the writer: support is looked for in the passages that were found, not in what the draft quotes. That
//! is measured as the share of a sentence's words that its cited passages have. It cannot tell a lie made of the right
//! words, and it need not: it catches what goes wrong between agents, a number that points nowhere, a sentence that was
//! added, a passage that says something else.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::passage::Passage;
use super::sentence::{citations, sentences, without_citations};
use super::words::{share, stem_set};
use super::writer::Citation;

/// The least share of a sentence's words that its sources must have.
const LEAST_SUPPORT: f64 = 0.6;

/// What `docs.review` is asked.
#[derive(Debug, Deserialize)]
pub(crate) struct Ask {
    pub(crate) question: String,
    pub(crate) text: String,
    pub(crate) citations: Vec<Citation>,
    pub(crate) passages: Vec<Passage>,
}

/// What it answers.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Review {
    pub(crate) verdict: Verdict,
    /// 0 to 1: how well the sentences are supported, and how much of the question the draft speaks of.
    pub(crate) confidence: f64,
    /// How many were checked.
    pub(crate) sentences: usize,
    /// What is wrong, for people.
    pub(crate) problems: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Verdict {
    #[serde(rename = "supported")]
    Supported,
    #[serde(rename = "unsupported")]
    Unsupported,
    #[serde(rename = "no answer")]
    NoAnswer,
}

/// Checks a draft.
pub(crate) fn review(ask: &Ask) -> Review {
    let checked = sentences(&ask.text);
    if ask.citations.is_empty() {
        let problems = vec!["the draft cites nothing".to_owned()];
        return Review { verdict: Verdict::NoAnswer, confidence: 0.0, sentences: checked.len(), problems };
    }
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    let mut support = 0.0;
    for sentence in &checked {
        let numbers = citations(sentence);
        used.extend(numbers.iter().copied());
        support += supported(ask, sentence, &numbers, &mut problems);
    }
    for citation in ask.citations.iter().filter(|citation| !used.contains(&citation.number)) {
        problems.push(format!("citation [{}] is never used", citation.number));
    }
    let covered = share(&stem_set(&ask.question), &stem_set(&ask.text));
    let confidence = support / checked.len().max(1) as f64 * covered;
    let verdict = if problems.is_empty() { Verdict::Supported } else { Verdict::Unsupported };
    Review { verdict, confidence: (confidence * 100.0).round() / 100.0, sentences: checked.len(), problems }
}

/// How well one sentence is supported, 0 to 1.
fn supported(ask: &Ask, sentence: &str, numbers: &[usize], problems: &mut Vec<String>) -> f64 {
    let said = without_citations(sentence);
    if numbers.is_empty() {
        problems.push(format!("not cited: {said}"));
        return 0.0;
    }
    let mut evidence = BTreeSet::new();
    for number in numbers {
        let Some(citation) = ask.citations.iter().find(|citation| citation.number == *number) else {
            problems.push(format!("citation [{number}] does not exist: {said}"));
            continue;
        };
        let stands = |passage: &&Passage| passage.source == citation.source && passage.line == citation.line;
        match ask.passages.iter().find(stands) {
            Some(passage) => evidence.extend(stem_set(&passage.text)),
            None => problems.push(format!(
                "citation [{number}] names {}:{}, where nothing was found",
                citation.source, citation.line
            )),
        }
    }
    let support = share(&stem_set(said), &evidence);
    if !evidence.is_empty() && support < LEAST_SUPPORT {
        problems.push(format!("its source does not say so: {said}"));
    }
    support
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Ask {
        let passage = |line: usize, text: &str| Passage {
            source: "a.md".into(),
            line,
            heading: String::new(),
            text: text.into(),
            score: 1.0,
        };
        let citation = |number: usize, line: usize| Citation {
            number,
            source: "a.md".into(),
            line,
            quote: "the writer may claim anything here".into(),
        };
        Ask {
            question: "Do runs survive kills?".into(),
            text: text.into(),
            citations: vec![citation(1, 3), citation(2, 9)],
            passages: vec![
                passage(3, "Runs survive kills of the server."),
                passage(9, "Leases end after a while."),
            ],
        }
    }

    fn problems(text: &str) -> Vec<String> {
        review(&ask(text)).problems
    }

    #[test]
    fn a_draft_whose_sources_say_so_is_supported() {
        let review = review(&ask("Runs survive kills. [1] Leases end. [2]"));
        let expected =
            Review { verdict: Verdict::Supported, confidence: 1.0, sentences: 2, problems: vec![] };
        assert_eq!(review, expected);
    }

    #[test]
    fn a_sentence_without_citation_is_found() {
        let review = review(&ask("Runs survive kills. [1] Leases end. [2] Trust me."));
        assert_eq!(
            (review.verdict, review.problems),
            (Verdict::Unsupported, vec!["not cited: Trust me.".into()])
        );
    }

    #[test]
    fn a_citation_that_does_not_exist_is_found() {
        let found = problems("Runs survive kills. [1] [7] Leases end. [2]");
        assert_eq!(found, ["citation [7] does not exist: Runs survive kills."]);
    }

    #[test]
    fn a_citation_that_leads_nowhere_is_found() {
        let mut ask = ask("Runs survive kills. [1] Leases end. [2]");
        ask.citations[1].line = 10;
        assert_eq!(review(&ask).problems, ["citation [2] names a.md:10, where nothing was found"]);
    }

    #[test]
    fn a_source_that_says_something_else_is_found_whatever_the_writer_quotes() {
        let found = problems("Runs survive kills. [2] Leases end. [1] [2]");
        assert_eq!(found, ["its source does not say so: Runs survive kills."]);
    }

    #[test]
    fn a_citation_that_nobody_uses_is_found() {
        assert_eq!(problems("Runs survive kills. [1]"), ["citation [2] is never used"]);
    }

    #[test]
    fn half_of_the_question_is_half_of_the_confidence() {
        let mut ask = ask("Runs survive kills. [1] Leases end. [2]");
        ask.question = "runs, leases, breakers, budgets".into();
        assert_eq!(review(&ask).confidence, 0.5);
    }

    #[test]
    fn a_draft_that_cites_nothing_is_no_answer() {
        let mut ask = ask("The documents do not answer the question.");
        ask.citations.clear();
        assert_eq!(review(&ask).verdict, Verdict::NoAnswer);
    }
}
