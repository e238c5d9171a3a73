//! The extractor: which sentences of the passages answer the question, and where to read on.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::bm25::Index;
use super::passage::Passage;
use super::sentence::sentences;
use super::words::{share, stem_set, stems};

/// Most facts: an answer that is longer is not read.
const MAX_FACTS: usize = 4;
/// A sentence that fits less well than this share of the best one is about something else.
const LEAST_FIT: f64 = 0.45;
/// Sentences that share this much of their words say the same.
const SAME: f64 = 0.8;
/// Words of a sentence that can stand alone: fewer say too little, more are not one fact.
const SPAN: std::ops::RangeInclusive<usize> = 5..=60;
/// Beginnings that point back: such a sentence is taken only with the one before it, without which it says nothing.
const BACKWARD: &[&str] =
    &["it", "its", "this", "that", "these", "those", "they", "then", "he", "she", "there", "such"];
/// Most topics: as many as fit on a line or two.
const MAX_TOPICS: usize = 5;

/// What `docs.extract` and `docs.topics` are asked.
#[derive(Debug, Deserialize)]
pub(crate) struct Ask {
    pub(crate) question: String,
    pub(crate) passages: Vec<Passage>,
}

/// What `docs.extract` answers.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Facts {
    pub(crate) facts: Vec<Fact>,
}

/// A sentence and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fact {
    pub(crate) text: String,
    pub(crate) source: String,
    /// The line at which its passage begins, from 1.
    pub(crate) line: usize,
}

/// What `docs.topics` answers.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Topics {
    pub(crate) topics: Vec<String>,
}

struct Candidate<'a> {
    passage: usize,
    text: &'a str,
    stems: BTreeSet<String>,
    /// Whether the candidate before it stands right before it in the text.
    follows: bool,
    points_back: bool,
}

/// The sentences that fit the question best, in the order in which they were found.
pub(crate) fn extract(ask: &Ask) -> Facts {
    let candidates = candidates(&ask.passages);
    let index = Index::new(candidates.iter().enumerate().map(|(at, candidate)| {
        let mut words = stems(candidate.text);
        // "It" is what the sentence before it speaks of.
        if candidate.points_back
            && candidate.follows
            && let Some(before) = at.checked_sub(1)
        {
            words.extend(stems(candidates[before].text));
        }
        words
    }));
    let best_passage = ask.passages.iter().map(|passage| passage.score).fold(0.0, f64::max);
    let mut ranked: Vec<(usize, f64)> = index
        .search(&stem_set(&ask.question))
        .into_iter()
        .filter_map(|hit| {
            let passage = ask.passages.get(candidates.get(hit.text)?.passage)?;
            // A good sentence of a passage that is about something else is a coincidence.
            let context = if best_passage > 0.0 { passage.score / best_passage } else { 1.0 };
            Some((hit.text, hit.score * context))
        })
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let least = ranked.first().map_or(0.0, |(_, best)| best * LEAST_FIT);
    let fitting = ranked.into_iter().take_while(|(_, fit)| *fit >= least).map(|(at, _)| at);
    let mut chosen = choose(&candidates, fitting);
    // In the order of the passages, best first, and within one as it was written: so it reads as a text.
    chosen.sort_unstable();
    let fact = |at: usize| {
        let candidate = candidates.get(at)?;
        let passage = ask.passages.get(candidate.passage)?;
        let text = candidate.text.to_owned();
        Some(Fact { text, source: passage.source.clone(), line: passage.line })
    };
    Facts { facts: chosen.into_iter().filter_map(fact).collect() }
}

/// Takes candidates, the best first, until there are enough: none that says what was said, none that hangs in the air.
fn choose(candidates: &[Candidate<'_>], fitting: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    for at in fitting {
        let candidate = &candidates[at];
        let said = chosen.iter().any(|&other| share(&candidate.stems, &candidates[other].stems) >= SAME);
        if said {
            continue;
        }
        let mut wanted = vec![at];
        if candidate.points_back {
            let before = at.checked_sub(1).filter(|&at| candidate.follows && !candidates[at].points_back);
            let Some(before) = before else { continue };
            wanted.push(before);
        }
        wanted.retain(|at| !chosen.contains(at));
        if chosen.len() + wanted.len() <= MAX_FACTS {
            chosen.append(&mut wanted);
        }
    }
    chosen
}

/// What the passages stand under, best first: the places to read on. A heading that only repeats the question is none.
pub(crate) fn topics(ask: &Ask) -> Topics {
    let asked = stem_set(&ask.question);
    let mut topics: Vec<String> = Vec::new();
    for heading in ask.passages.iter().map(|passage| passage.heading.trim()) {
        let adds = !stem_set(heading).is_subset(&asked);
        if adds && topics.len() < MAX_TOPICS && topics.iter().all(|topic| topic != heading) {
            topics.push(heading.to_owned());
        }
    }
    Topics { topics }
}

fn candidates(passages: &[Passage]) -> Vec<Candidate<'_>> {
    let mut candidates = Vec::new();
    for (passage, content) in passages.iter().enumerate() {
        let mut follows = false;
        for text in sentences(&content.text) {
            let length = text.split_whitespace().count();
            let stands = SPAN.contains(&length) && !text.ends_with(['?', ':']);
            if stands {
                let (stems, points_back) = (stem_set(text), points_back(text));
                candidates.push(Candidate { passage, text, stems, follows, points_back });
            }
            follows = stands;
        }
    }
    candidates
}

fn points_back(sentence: &str) -> bool {
    let first = sentence.split_whitespace().next().unwrap_or_default().to_lowercase();
    BACKWARD.contains(&first.trim_matches(|c: char| !c.is_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(line: usize, score: f64, text: &str) -> Passage {
        Passage { source: "a.md".into(), line, heading: String::new(), text: text.into(), score }
    }

    fn ask() -> Ask {
        Ask {
            question: "What happens to a run when the server is killed?".into(),
            passages: vec![
                passage(
                    3,
                    9.0,
                    "When the server is killed, a run goes on where it was. Its journal is read. What is a run?",
                ),
                passage(9, 8.0, "A run on a server that was killed by hand does not go on with its journal."),
                passage(20, 1.0, "The menu of the server room is killed off on Mondays by the journal."),
            ],
        }
    }

    #[test]
    fn the_sentences_that_answer_are_taken_in_order_with_their_place() {
        let facts = extract(&ask()).facts;
        let taken: Vec<_> = facts.iter().map(|fact| (fact.line, fact.text.as_str())).collect();
        assert_eq!(
            taken,
            [
                (3, "When the server is killed, a run goes on where it was."),
                (9, "A run on a server that was killed by hand does not go on with its journal."),
            ]
        );
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let mut ask = ask();
        ask.passages.push(passage(30, 9.0, "When the server is killed, a run goes on just where it was."));
        assert_eq!(extract(&ask), extract(&self::ask()));
    }

    #[test]
    fn a_sentence_that_points_back_comes_with_the_one_before_it_or_not_at_all() {
        let text = "A breaker watches the calls of an instance. It opens when too many of them fail.";
        let question = "When does a breaker open?".to_owned();
        let taken = |text: &str| {
            let ask = Ask { question: question.clone(), passages: vec![passage(1, 1.0, text)] };
            extract(&ask).facts.into_iter().map(|fact| fact.text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(taken(text), text);
        assert_eq!(taken("Really? It opens when too many of them fail."), "");
    }

    #[test]
    fn without_passages_there_are_no_facts() {
        let ask = Ask { question: "Why?".into(), passages: Vec::new() };
        assert!(extract(&ask).facts.is_empty() && topics(&ask).topics.is_empty());
    }

    #[test]
    fn topics_are_the_headings_that_say_more_than_the_question() {
        let mut ask = ask();
        for (passage, heading) in ask.passages.iter_mut().zip(["Killed runs", "The ledger", "The ledger"]) {
            passage.heading = heading.into();
        }
        assert_eq!(topics(&ask).topics, ["The ledger"]);
    }
}
