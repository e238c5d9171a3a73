//! Which features count, and how much: TF-IDF over words and pieces of words.
//!
//! Features are kept by how many examples have them, the rarest dropped first, ties by the alphabet: what is learned
//! follows from the examples alone, on every machine. That is also why the logarithm here is our own: the system's
//! may differ in its last bit from one platform to the next.

use std::collections::HashMap;

use super::text::{Kind, Text};

/// Most features: the bound on memory is weights, [`super::linear::MAX_WEIGHTS`]; this one bounds the lookups' cache misses.
pub(super) const MAX_FEATURES: usize = 65_536;
/// From so many examples on, a feature that only one of them has is left out: it can only be learned by heart.
const PLENTY: usize = 400;

/// Features of one text: index and weight, ascending; of length 1 if all of them are known.
pub(super) type Vector = Vec<(u32, f32)>;

/// The features that count.
#[derive(Debug, Clone)]
pub(super) struct Vocabulary {
    words: HashMap<Box<str>, u32>,
    letters: HashMap<Box<str>, u32>,
    weights: Vec<f32>,
    /// What a feature weighs that is not among them.
    unknown: f32,
}

impl Vocabulary {
    /// The at most `most` features that most of `texts` have.
    pub(super) fn learn(texts: &[Text], most: usize) -> Self {
        // How many texts have it, and the last of them that was counted.
        let mut counts: HashMap<(Kind, &str), (u32, u32)> = HashMap::new();
        for (number, text) in (1_u32..).zip(texts) {
            text.each(|kind, feature, _| {
                let count = counts.entry((kind, feature)).or_default();
                if count.1 != number {
                    *count = (count.0 + 1, number);
                }
            });
        }
        let least = if texts.len() >= PLENTY { 2 } else { 1 };
        let mut kept: Vec<_> = counts
            .into_iter()
            .map(|(feature, (count, _))| (count, feature))
            .filter(|(count, _)| *count >= least)
            .collect();
        kept.sort_unstable_by(|(a, left), (b, right)| b.cmp(a).then_with(|| left.cmp(right)));
        kept.truncate(most);
        let all = texts.len() as f64;
        let weight = |count: u32| (1.0 + ln((1.0 + all) / (1.0 + f64::from(count)))) as f32;
        let unknown = weight(0);
        let mut vocabulary =
            Self { words: HashMap::new(), letters: HashMap::new(), weights: Vec::new(), unknown };
        for (index, (count, (kind, text))) in (0_u32..).zip(kept) {
            vocabulary.map_mut(kind).insert(text.into(), index);
            vocabulary.weights.push(weight(count));
        }
        vocabulary
    }

    pub(super) const fn len(&self) -> usize {
        self.weights.len()
    }

    /// The features of `text` that count. Those that do not are part of its length all the same: the less of a text is
    /// known, the less it says.
    pub(super) fn vector(&self, text: &Text) -> Vector {
        let (mut found, mut unknown): (Vec<u32>, usize) = (Vec::with_capacity(256), text.hidden());
        text.each(|kind, feature, _| match self.map(kind).get(feature) {
            Some(index) => found.push(*index),
            None => unknown += 1,
        });
        found.sort_unstable();
        let mut vector: Vector = Vec::with_capacity(found.len());
        for same in found.chunk_by(|a, b| a == b) {
            let weight = self.weights.get(same[0] as usize).copied().unwrap_or_default();
            vector.push((same[0], (same.len() as f32).sqrt() * weight));
        }
        let unknown = unknown as f32 * self.unknown * self.unknown;
        let length = (unknown + vector.iter().map(|(_, weight)| weight * weight).sum::<f32>()).sqrt();
        if length > 0.0 {
            vector.iter_mut().for_each(|(_, weight)| *weight /= length);
        }
        vector
    }

    /// The words of `text`, each with what it adds to a sum over the features of `vector` to which each adds `part`: a
    /// feature that occurs several times in equal parts, what is of two words to the first.
    pub(super) fn by_word(
        &self,
        text: &Text,
        vector: &Vector,
        part: impl Fn(u32, f32) -> f32,
    ) -> Vec<(String, f64)> {
        let mut found: Vec<(u32, usize)> = Vec::new();
        text.each(|kind, feature, word| {
            found.extend(self.map(kind).get(feature).map(|index| (*index, word)))
        });
        found.sort_unstable();
        let mut words: Vec<(String, f64)> = text.words().map(|word| (word.to_owned(), 0.0)).collect();
        for (same, (feature, value)) in found.chunk_by(|(a, _), (b, _)| a == b).zip(vector) {
            let part = f64::from(part(*feature, *value)) / same.len() as f64;
            for (_, word) in same {
                words[*word].1 += part;
            }
        }
        words
    }

    const fn map(&self, kind: Kind) -> &HashMap<Box<str>, u32> {
        match kind {
            Kind::Words => &self.words,
            Kind::Letters => &self.letters,
        }
    }

    const fn map_mut(&mut self, kind: Kind) -> &mut HashMap<Box<str>, u32> {
        match kind {
            Kind::Words => &mut self.words,
            Kind::Letters => &mut self.letters,
        }
    }
}

/// The natural logarithm of a positive normal number, from additions, multiplications and divisions only, which IEEE 754
/// fixes to the last bit. Good to 10⁻¹³.
pub(super) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0) - 1023;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    // ln m = 2 artanh((m-1)/(m+1)), whose series falls by a factor of 34 a term.
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let series = (0..9).rev().fold(0.0, |sum, n| sum * square + 1.0 / f64::from(2 * n + 1));
    f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * t * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for x in [1e-9, 0.3, 1.0, 1.4, 1.5, 2.0, 10.0, 12_345.678, 1e12] {
            assert!((ln(x) - f64::ln(x)).abs() < 1e-11, "{x}: {}", ln(x) - f64::ln(x));
        }
    }

    #[test]
    fn rare_features_weigh_more_and_a_vector_has_length_one() {
        let texts: Vec<Text> = ["refund the order", "track the order", "the weather"].map(Text::of).to_vec();
        let vocabulary = Vocabulary::learn(&texts, 10_000);
        let weight = |word: &str| vocabulary.words.get(word).map(|index| vocabulary.weights[*index as usize]);
        assert!(weight("refund") > weight("order") && weight("order") > weight("the"));
        let vector = vocabulary.vector(&Text::of("refund the order"));
        let length: f32 = vector.iter().map(|(_, weight)| weight * weight).sum();
        assert!((length - 1.0).abs() < 1e-5 && vector.is_sorted_by_key(|(index, _)| *index));
        assert!(vocabulary.vector(&Text::of("zzz")).is_empty());
    }

    #[test]
    fn a_bound_keeps_what_most_examples_have() {
        let texts: Vec<Text> = ["aa bb", "aa cc", "aa dd"].map(Text::of).to_vec();
        let vocabulary = Vocabulary::learn(&texts, 5);
        assert_eq!(vocabulary.len(), 5);
        let kept = vocabulary.words.keys().chain(vocabulary.letters.keys());
        assert!(kept.into_iter().all(|feature| feature.contains('a')), "{vocabulary:?}");
    }
}
