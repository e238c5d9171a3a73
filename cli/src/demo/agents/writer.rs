//! The writer: a draft in which every sentence cites where it comes from, filed in an outbox.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::extractor::Fact;

/// Said where nothing was found: an answer too, and one the reviewer knows.
const NOTHING: &str = "The documents do not answer the question.";

/// What `docs.draft` is asked.
#[derive(Debug, Deserialize)]
pub(crate) struct Ask {
    pub(crate) question: String,
    pub(crate) facts: Vec<Fact>,
    #[serde(default)]
    pub(crate) topics: Vec<String>,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Draft {
    /// Sentences, each with its citation at its end: `… [1]`.
    pub(crate) text: String,
    pub(crate) citations: Vec<Citation>,
    /// What to read about next.
    pub(crate) related: Vec<String>,
    /// The file in the outbox.
    pub(crate) filed: String,
}

/// What a number in the text stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Citation {
    pub(crate) number: usize,
    pub(crate) source: String,
    /// The line at which the cited passage begins, from 1.
    pub(crate) line: usize,
    pub(crate) quote: String,
}

/// Writes the draft that will be filed as `filed`. Facts of one passage share a number.
pub(crate) fn draft(ask: &Ask, filed: String) -> Draft {
    let mut citations: Vec<Citation> = Vec::new();
    let mut sentences = Vec::new();
    for fact in &ask.facts {
        let known = citations
            .iter_mut()
            .find(|citation| citation.source == fact.source && citation.line == fact.line);
        let number = match known {
            Some(citation) => {
                citation.quote = format!("{} {}", citation.quote, fact.text);
                citation.number
            }
            None => {
                let number = citations.len() + 1;
                let (source, line) = (fact.source.clone(), fact.line);
                citations.push(Citation { number, source, line, quote: fact.text.clone() });
                number
            }
        };
        sentences.push(format!("{} [{number}]", sentence(&fact.text)));
    }
    let text = if sentences.is_empty() { NOTHING.to_owned() } else { sentences.join(" ") };
    Draft { text, citations, related: ask.topics.clone(), filed }
}

/// Puts the draft into the outbox, whole or not at all.
///
/// # Errors
/// If the outbox cannot be written to.
pub(crate) fn file(draft: &Draft, question: &str, outbox: &Path) -> std::io::Result<()> {
    let mut text = format!("# {question}\n\n{}\n\n", draft.text);
    for citation in &draft.citations {
        let Citation { number, source, line, quote } = citation;
        text.push_str(&format!("[{number}] {source}:{line}: {quote}\n"));
    }
    std::fs::create_dir_all(outbox)?;
    crate::host::write_atomically(&outbox.join(&draft.filed), &text)
}

/// A fact as a sentence of its own: with a capital at its start and a full stop at its end.
fn sentence(fact: &str) -> String {
    let mut chars = fact.chars();
    let mut sentence: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    sentence.push_str(chars.as_str().trim_end_matches([' ', ';', ',']));
    if !sentence.ends_with(['.', '!', '?', '"', ')']) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(text: &str, line: usize) -> Fact {
        Fact { text: text.into(), source: "a.md".into(), line }
    }

    fn ask(facts: Vec<Fact>) -> Ask {
        Ask { question: "Why?".into(), facts, topics: vec!["lease".into()] }
    }

    #[test]
    fn every_sentence_is_cited_and_one_passage_has_one_number() {
        let ask = ask(vec![fact("runs go on;", 3), fact("Leases end.", 9), fact("Journals are read.", 3)]);
        let draft = draft(&ask, "x.md".into());
        assert_eq!(draft.text, "Runs go on. [1] Leases end. [2] Journals are read. [1]");
        let places: Vec<_> = draft.citations.iter().map(|c| (c.number, c.line, c.quote.as_str())).collect();
        assert_eq!(places, [(1, 3, "runs go on; Journals are read."), (2, 9, "Leases end.")]);
        assert_eq!(draft.related, ["lease"]);
    }

    #[test]
    fn without_facts_it_says_so_and_cites_nothing() {
        let draft = draft(&ask(Vec::new()), "x.md".into());
        assert_eq!((draft.text.as_str(), draft.citations.len()), (NOTHING, 0));
    }

    #[test]
    fn a_filed_draft_can_be_read_by_people() {
        let folder = tempfile::tempdir().unwrap();
        let draft = draft(&ask(vec![fact("Runs go on.", 3)]), "x.md".into());
        file(&draft, "Why?", &folder.path().join("outbox")).unwrap();
        let text = std::fs::read_to_string(folder.path().join("outbox/x.md")).unwrap();
        assert_eq!(text, "# Why?\n\nRuns go on. [1]\n\n[1] a.md:3: Runs go on.\n");
    }
}
