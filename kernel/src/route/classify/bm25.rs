//! Words against words: how much of a request is found in what a capability says of itself.
//!
//! BM25 (Robertson and Zaragoza: "The Probabilistic Relevance Framework", 2009) over name, description, keywords and examples.
//! It learns nothing, so it works from the first description on; where there are examples enough, the linear
//! classifier knows better. The score is given as a share of the most a text could reach by matching every word, so that it means the same
//! for a short and for a long request.

use std::collections::HashMap;

use super::text::Text;
use super::vocabulary::ln;

/// How soon a word said often adds nothing more.
const SATURATION: f64 = 1.2;
/// How much a long description is held against its words.
const LENGTH: f64 = 0.5;
/// What a name or a keyword counts against a word of the description.
const KEYWORD: f64 = 3.0;
/// What a word nobody says weighs against one that one capability says: it speaks against all of them, a little.
const UNKNOWN: f64 = 0.25;
/// Most words of a request that are looked at: what says it best stands at its beginning.
const MAX_WORDS: usize = 256;

/// By word: its weight, and what each capability that says it gets for it, ascending by capability.
type Words = HashMap<Box<str>, (f64, Vec<(usize, f64)>)>;

/// What the capabilities say of themselves.
#[derive(Debug, Clone)]
pub(super) struct Bm25 {
    words: Words,
    capabilities: usize,
    unknown: f64,
}

/// One capability's own words.
#[derive(Debug, Default)]
pub(super) struct Entry {
    counts: HashMap<Box<str>, f64>,
    length: f64,
}

impl Entry {
    /// Adds words that name it.
    pub(super) fn name(&mut self, text: &str) {
        self.add(text, KEYWORD);
    }

    /// Adds words about it.
    pub(super) fn say(&mut self, text: &str) {
        self.add(text, 1.0);
    }

    fn add(&mut self, text: &str, count: f64) {
        for word in Text::of(text).words() {
            *self.counts.entry(word.into()).or_default() += count;
            self.length += count;
        }
    }
}

impl Bm25 {
    pub(super) fn learn(entries: &[Entry]) -> Self {
        let all = entries.len() as f64;
        // Counts are whole numbers, so their sum does not depend on the order.
        let average = entries.iter().map(|entry| entry.length).sum::<f64>() / all.max(1.0);
        let mut words = Words::new();
        for (capability, entry) in entries.iter().enumerate() {
            let length = 1.0 - LENGTH + LENGTH * entry.length / average.max(1.0);
            for (word, count) in &entry.counts {
                let share = count / (count + SATURATION * length);
                words.entry(word.clone()).or_default().1.push((capability, share));
            }
        }
        let weight = |sayers: f64| ln(1.0 + (all - sayers + 0.5) / (sayers + 0.5));
        for (idf, sayers) in words.values_mut() {
            *idf = weight(sayers.len() as f64);
        }
        Self { words, capabilities: entries.len(), unknown: UNKNOWN * weight(1.0) }
    }

    /// The score of every capability, from 0 to 1.
    pub(super) fn score(&self, text: &Text) -> Vec<f64> {
        let mut scores = vec![0.0; self.capabilities];
        let mut most = 0.0;
        for word in text.words().take(MAX_WORDS) {
            let Some((idf, sayers)) = self.words.get(word) else {
                most += self.unknown;
                continue;
            };
            most += idf;
            for (capability, share) in sayers {
                scores[*capability] += idf * share;
            }
        }
        if most > 0.0 {
            scores.iter_mut().for_each(|score| *score /= most);
        }
        scores
    }

    /// What each word of `text` adds to the score of `capability`.
    pub(super) fn why(&self, text: &Text, capability: usize) -> Vec<(String, f64)> {
        let mut why: Vec<(String, f64)> = Vec::new();
        for word in text.words().take(MAX_WORDS) {
            let Some((idf, sayers)) = self.words.get(word) else { continue };
            let Some((_, share)) = sayers.iter().find(|(sayer, _)| *sayer == capability) else { continue };
            match why.iter_mut().find(|(known, _)| known == word) {
                Some((_, sum)) => *sum += idf * share,
                None => why.push((word.to_owned(), idf * share)),
            }
        }
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned() -> Bm25 {
        let entries = [
            ("billing.refund", "Gives money back for an order"),
            ("shipping.track", "Says where an order is"),
        ];
        Bm25::learn(&entries.map(|(name, description)| {
            let mut entry = Entry::default();
            entry.name(name);
            entry.say(description);
            entry
        }))
    }

    #[test]
    fn the_capability_that_says_the_words_wins_and_names_count_more() {
        let scores = learned().score(&Text::of("where can I track it"));
        assert!(scores[1] > scores[0] && scores[1] <= 1.0, "{scores:?}");
        let why = learned().why(&Text::of("track where track"), 1);
        assert_eq!(why[0].0, "track");
        assert!(why[0].1 > 2.0 * why[1].1, "{why:?}");
    }

    #[test]
    fn words_nobody_says_lower_the_score_and_alone_give_none() {
        let learned = learned();
        assert!(learned.score(&Text::of("refund"))[0] > learned.score(&Text::of("refund xyzzy plugh"))[0]);
        assert_eq!(learned.score(&Text::of("xyzzy")), [0.0, 0.0]);
        assert_eq!(learned.score(&Text::of("")), [0.0, 0.0]);
    }
}
