//! The finder: which passages of the folder speak of the question.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Refusal;
use super::bm25::Index;
use super::library::{self, Document};
use super::passage::{self, Passage};
use super::words::{stem_set, stems};

/// Passages given where the question does not say: what a person would read before answering.
const DEFAULT_LIMIT: usize = 8;

/// What `docs.find` is asked.
#[derive(Debug, Deserialize)]
pub(crate) struct Ask {
    question: String,
    limit: Option<usize>,
}

/// What it answers.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Found {
    pub(crate) passages: Vec<Passage>,
    searched: Searched,
}

#[derive(Debug, PartialEq, Serialize)]
struct Searched {
    files: usize,
    passages: usize,
}

/// A folder, read and indexed.
#[derive(Debug)]
pub(crate) struct Finder {
    passages: Vec<Passage>,
    index: Index,
    files: usize,
}

impl Finder {
    /// Reads and indexes `folder`.
    ///
    /// # Errors
    /// As [`library::read`].
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self::new(&library::read(folder)?))
    }

    fn new(documents: &[Document]) -> Self {
        let passages: Vec<Passage> = documents.iter().flat_map(passage::cut).collect();
        // What a paragraph stands under is part of what it speaks of, though it rarely repeats it.
        let index = Index::new(passages.iter().map(|passage| {
            let mut words = stems(&passage.heading);
            words.extend(stems(&passage.text));
            words
        }));
        Self { passages, index, files: documents.len() }
    }

    /// The passages that fit best, best first.
    ///
    /// # Errors
    /// If the question has no word that could be looked for.
    pub(crate) fn find(&self, ask: &Ask) -> Result<Found, Refusal> {
        let query = stem_set(&ask.question);
        if query.is_empty() {
            return Err(Refusal("the question has no word that could be looked for".to_owned()));
        }
        let hits = self.index.search(&query).into_iter().take(ask.limit.unwrap_or(DEFAULT_LIMIT));
        let passages = hits.filter_map(|hit| {
            let passage = self.passages.get(hit.text)?.clone();
            Some(Passage { score: (hit.score * 1000.0).round() / 1000.0, ..passage })
        });
        let searched = Searched { files: self.files, passages: self.passages.len() };
        Ok(Found { passages: passages.collect(), searched })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finder() -> Finder {
        let document = |source: &str, text: &str| Document { source: source.into(), text: text.into() };
        Finder::new(&[
            document("a.md", "# Leases\nA lease ends after 15 s.\n\nIt is renewed every 5 s."),
            document(
                "b.md",
                "# Breakers\nA breaker opens when calls fail.\n\nA closed one lets traffic flow.",
            ),
        ])
    }

    fn ask(question: &str) -> Ask {
        Ask { question: question.to_owned(), limit: None }
    }

    #[test]
    fn the_passage_that_speaks_of_the_question_comes_first_with_its_place() {
        let found = finder().find(&ask("When does a breaker open?")).unwrap();
        let best = &found.passages[0];
        assert_eq!((best.source.as_str(), best.line, best.heading.as_str()), ("b.md", 2, "Breakers"));
        assert_eq!(found.searched, Searched { files: 2, passages: 4 });
    }

    #[test]
    fn a_passage_is_found_by_its_heading() {
        let found = finder().find(&ask("lease renewal, renewed")).unwrap();
        assert_eq!(found.passages[0].text, "It is renewed every 5 s.");
    }

    #[test]
    fn the_same_question_always_finds_the_same() {
        let ask = ask("lease and breaker");
        assert_eq!(finder().find(&ask).unwrap(), finder().find(&ask).unwrap());
    }

    #[test]
    fn a_question_of_stop_words_is_refused() {
        assert!(finder().find(&ask("What is it?")).unwrap_err().0.contains("no word"));
    }
}
