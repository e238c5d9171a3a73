//! Okapi BM25: which of many texts speak most of what is asked.
//!
//! A word counts for more the fewer texts have it, and each further time it stands in a text counts for less than the one
//! before; long texts are not preferred for being long. The formula is that of S. Robertson and H. Zaragoza, "The
//! Probabilistic Relevance Framework: BM25 and Beyond", Foundations and Trends in Information Retrieval 3(4), 2009,
//! section 3.5, with the weight of a word as Lucene computes it, `ln(1 + (N − n + ½) / (n + ½))`, which is never negative.

use std::collections::{BTreeMap, BTreeSet};

/// How soon repetitions stop to count; the usual value of the literature.
const K1: f64 = 1.2;
/// How much the length of a text counts against it, from not at all (0) to in full (1); the usual value.
const B: f64 = 0.75;

/// Texts, ready to be asked.
#[derive(Debug)]
pub(crate) struct Index {
    texts: Vec<Text>,
    /// In how many texts each stem stands.
    spread: BTreeMap<String, usize>,
    /// Stems in a text, on average.
    mean_length: f64,
}

#[derive(Debug)]
struct Text {
    counts: BTreeMap<String, usize>,
    length: usize,
}

/// A text that has something of what was asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Hit {
    /// Which text, counted from 0.
    pub(crate) text: usize,
    /// How well it fits; above 0, without unit.
    pub(crate) score: f64,
}

impl Index {
    /// An index over texts, each given as its stems.
    pub(crate) fn new<T>(texts: impl IntoIterator<Item = T>) -> Self
    where
        T: IntoIterator<Item = String>,
    {
        let texts: Vec<Text> = texts.into_iter().map(Text::new).collect();
        let mut spread = BTreeMap::new();
        for stem in texts.iter().flat_map(|text| text.counts.keys()) {
            *spread.entry(stem.clone()).or_insert(0) += 1;
        }
        let total: usize = texts.iter().map(|text| text.length).sum();
        let mean_length = total as f64 / texts.len().max(1) as f64;
        Self { texts, spread, mean_length }
    }

    /// Every text that has a word of the query, best first; among equals in the order of the texts.
    pub(crate) fn search(&self, query: &BTreeSet<String>) -> Vec<Hit> {
        let scores = self.texts.iter().map(|text| self.score(text, query));
        let mut hits: Vec<Hit> = scores
            .enumerate()
            .map(|(text, score)| Hit { text, score })
            .filter(|hit| hit.score > 0.0)
            .collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        hits
    }

    fn score(&self, text: &Text, query: &BTreeSet<String>) -> f64 {
        let length = 1.0 - B + B * text.length as f64 / self.mean_length.max(1.0);
        let of = |stem: &String| {
            let count = *text.counts.get(stem)? as f64;
            Some(self.weight(stem) * count * (K1 + 1.0) / (count + K1 * length))
        };
        query.iter().filter_map(of).sum()
    }

    /// How much a stem tells: the fewer texts have it, the more.
    fn weight(&self, stem: &str) -> f64 {
        let (all, with) = (self.texts.len() as f64, self.spread.get(stem).copied().unwrap_or(0) as f64);
        (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
    }
}

impl Text {
    fn new(stems: impl IntoIterator<Item = String>) -> Self {
        let mut counts = BTreeMap::new();
        let mut length = 0;
        for stem in stems {
            *counts.entry(stem).or_insert(0) += 1;
            length += 1;
        }
        Self { counts, length }
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::{stem_set, stems};
    use super::*;

    fn search(texts: &[&str], query: &str) -> Vec<Hit> {
        Index::new(texts.iter().map(|text| stems(text))).search(&stem_set(query))
    }

    #[test]
    fn scores_are_those_of_the_formula() {
        // Worked by hand: N = 2, mean length 2; "lease" stands in one text of length 1, once.
        let hits = search(&["lease", "breaker breaker budget"], "lease");
        let (weight, length) = ((1.0_f64 + 1.5 / 1.5).ln(), 1.0 - 0.75 + 0.75 * 1.0 / 2.0);
        let expected = weight * 2.2 / (1.0 + 1.2 * length);
        assert_eq!(hits.len(), 1);
        assert!((hits[0].score - expected).abs() < 1e-12, "{hits:?} {expected}");
    }

    #[test]
    fn a_rare_word_counts_for_more_than_a_common_one() {
        let hits = search(&["run journal", "run breaker", "run budget"], "run journal");
        assert_eq!(hits[0].text, 0);
        assert!(hits[0].score > 4.0 * hits[1].score, "{hits:?}");
    }

    #[test]
    fn repetition_counts_less_each_time() {
        let hits = search(&["lease x x x", "lease lease x x", "lease lease lease x", "y"], "lease");
        let [thrice, twice, once] = hits[..] else { panic!("{hits:?}") };
        assert_eq!((thrice.text, twice.text, once.text), (2, 1, 0));
        assert!(thrice.score - twice.score < twice.score - once.score);
    }

    #[test]
    fn a_long_text_is_not_preferred_for_being_long() {
        let long = format!("lease {}", "filler ".repeat(50));
        assert_eq!(search(&[&long, "lease ends"], "lease")[0].text, 1);
    }

    #[test]
    fn equals_keep_their_order_and_strangers_are_left_out() {
        let hits = search(&["lease", "breaker", "lease"], "lease");
        assert_eq!(hits.iter().map(|hit| hit.text).collect::<Vec<_>>(), [0, 2]);
        assert!(search(&[], "lease").is_empty());
        assert!(search(&["lease"], "").is_empty());
    }
}
