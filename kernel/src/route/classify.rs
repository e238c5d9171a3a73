//! Which capability a text is for: deterministic, explained, and honest about not knowing.
//!
//! Two methods, each where it is good. Capabilities with [`ENOUGH_EXAMPLES`] are told apart by a linear classifier over
//! words and pieces of words. Capabilities with fewer are found by the words they use of themselves. Where both methods
//! name one, the text is ambiguous: neither method can judge the other.
//!
//! # What the margins mean
//! A raw score of a linear classifier means nothing by itself: it depends on how many examples there are and how alike
//! they are. So each verdict is compared with how the known examples fare when each is judged as if it had not been
//! learned ([`linear::Held`]). A *fit* of 3 % says: of the examples of its kind that would have been recognised, only 3 % look as
//! little like their capability as this text does. `out_of_scope: 0.05` therefore sends on about 5 % of genuine requests at
//! most, and everything that looks stranger than they do; `ambiguous` says the same of the lead over the second
//! best. (This is conformal prediction: Vovk, Gammerman, Shafer: "Algorithmic Learning in a Random World", 2005.)
//!
//! The same registry gives the same classifier, to the bit, on every machine; the same text the same verdict.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::Name;

mod bm25;
mod linear;
mod material;
#[cfg(test)]
mod tests;
mod text;
mod vocabulary;

use bm25::{Bm25, Entry};
use linear::{Held, Linear, MAX_WEIGHTS};
pub use material::{Material, fingerprint};
pub use text::MAX_CHARS;
use text::Text;
use vocabulary::{MAX_FEATURES, Vocabulary};

/// From so many examples on, a capability is learned from them. With fewer, one odd example would decide.
pub const ENOUGH_EXAMPLES: usize = 8;
/// Most capabilities that are told apart. More are grouped by several routing documents.
pub const MAX_CAPABILITIES: usize = 500;
/// Most examples learned from, shared out evenly: 150 capabilities of 100 examples and some more. Learning takes about a
/// second then, and memory for each example and capability together.
pub const MAX_EXAMPLES: usize = 20_000;
/// Most features named by a verdict: more are not read.
const MAX_SHOWN: usize = 8;
/// Most capabilities ranked by a verdict.
const MAX_RANKED: usize = 5;

/// When to decide, and when to send on. Shares are in basis points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// A text that fits worse than this share of the known examples is out of scope.
    pub out_of_scope_bp: u16,
    /// A lead smaller than that of this share of the known examples is ambiguous.
    pub ambiguous_bp: u16,
    /// The least share of a text's words that must speak for a capability with few examples; and of that share, the least
    /// lead over the second is a quarter.
    pub words_bp: u16,
}

/// By which method a capability was ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The linear classifier, learned from its examples.
    Examples,
    /// The words it uses of itself.
    Words,
}

/// One capability and its score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranked {
    /// The capability.
    pub capability: Name,
    /// How it was scored.
    pub method: Method,
    /// Its score in thousandths: of a linear classifier's decision value, where 0 is the boundary; or of the share of words.
    pub score_milli: i32,
}

/// One word with its pieces, and what it added to the first capability over the second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// The word.
    pub text: String,
    /// In thousandths of a score.
    pub weight_milli: i32,
}

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// For the first of the ranked.
    Sure,
    /// For the first or the second: nobody can say.
    Ambiguous,
    /// For none of them.
    OutOfScope,
    /// There is nothing to tell by: no words, or no capability that says anything of itself.
    Nothing,
}

/// A verdict and its grounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What the text is.
    pub finding: Finding,
    /// The best capabilities, best first.
    pub ranked: Vec<Ranked>,
    /// The features that decided, strongest first.
    pub features: Vec<Feature>,
    /// Share of the known examples that fit no better than this text, in basis points; only by [`Method::Examples`].
    pub fit_bp: Option<u16>,
    /// Share of the known examples whose lead was no larger, in basis points; only by [`Method::Examples`].
    pub lead_bp: Option<u16>,
    /// Words left out because they mix alphabets.
    pub disguised: u32,
}

/// What was learned. Share it as `Arc<Classifier>`.
#[derive(Debug, Clone)]
pub struct Classifier {
    capabilities: Vec<Name>,
    /// For each class of the linear classifier its capability; empty if fewer than two can be learned.
    classes: Vec<usize>,
    vocabulary: Vocabulary,
    linear: Linear,
    calibration: Calibration,
    words: Bm25,
}

/// How known examples fare when judged as if they had not been learned; only those that would be recognised. Ascending.
#[derive(Debug, Clone, Default)]
struct Calibration {
    fits: Vec<f32>,
    leads: Vec<f32>,
}

impl Classifier {
    /// Learns what capabilities say of themselves. Takes a second for 15,000 examples: not for a thread that serves.
    #[must_use]
    pub fn learn(material: &BTreeMap<Name, Material>) -> Self {
        let known: Vec<_> = material.iter().take(MAX_CAPABILITIES).collect();
        let capabilities: Vec<Name> = known.iter().map(|(name, _)| (*name).clone()).collect();
        let words =
            Bm25::learn(&known.iter().map(|(name, material)| entry(name, material)).collect::<Vec<_>>());
        let each = MAX_EXAMPLES / known.len().max(1);
        let mut classes = Vec::new();
        let mut examples: Vec<(Text, usize)> = Vec::new();
        for (capability, (_, material)) in known.iter().enumerate() {
            let texts: Vec<Text> = material
                .examples
                .iter()
                .take(each)
                .map(|text| Text::of(text))
                .filter(|text| !text.is_empty())
                .collect();
            if texts.len() >= ENOUGH_EXAMPLES {
                examples.extend(texts.into_iter().map(|text| (text, classes.len())));
                classes.push(capability);
            }
        }
        if classes.len() < 2 {
            classes.clear();
            examples.clear();
        }
        let (texts, owners): (Vec<Text>, Vec<usize>) = examples.into_iter().unzip();
        let most = MAX_FEATURES.min(MAX_WEIGHTS / classes.len().max(1));
        let vocabulary = Vocabulary::learn(&texts, most);
        let examples: Vec<_> = texts.iter().map(|text| vocabulary.vector(text)).zip(owners).collect();
        let (linear, held) = Linear::train(&examples, vocabulary.len(), classes.len());
        Self { capabilities, classes, vocabulary, linear, calibration: Calibration::of(&held), words }
    }

    /// The capabilities it tells apart, each with the method it is told by.
    pub fn capabilities(&self) -> impl Iterator<Item = (&Name, Method)> {
        let method = |at| if self.classes.contains(&at) { Method::Examples } else { Method::Words };
        self.capabilities.iter().enumerate().map(move |(at, name)| (name, method(at)))
    }

    /// The verdict on a text. Takes some tens of microseconds for a sentence.
    #[must_use]
    pub fn judge(&self, text: &str, thresholds: &Thresholds) -> Verdict {
        let text = Text::of(text);
        let (examples, words) = (self.by_examples(&text, thresholds), self.by_words(&text, thresholds));
        let verdict = match (examples, words) {
            (Some(examples), Some(words)) => either(examples, words),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => Verdict {
                finding: Finding::Nothing,
                ranked: Vec::new(),
                features: Vec::new(),
                fit_bp: None,
                lead_bp: None,
                disguised: 0,
            },
        };
        Verdict { disguised: u32::try_from(text.disguised).unwrap_or(u32::MAX), ..verdict }
    }

    /// Among the capabilities with examples; nothing if there are none, or none of the text's features is known.
    fn by_examples(&self, text: &Text, thresholds: &Thresholds) -> Option<Verdict> {
        let vector = self.vocabulary.vector(text);
        if vector.is_empty() || self.classes.is_empty() {
            return None;
        }
        let mut scores = vec![0.0; self.linear.classes()];
        self.linear.score(&vector, &mut scores);
        let order = best(&scores, f32::total_cmp);
        let (first, second) = (*order.first()?, *order.get(1)?);
        let fit_bp = share(&self.calibration.fits, scores[first]);
        let lead_bp = share(&self.calibration.leads, scores[first] - scores[second]);
        let finding = if fit_bp < thresholds.out_of_scope_bp {
            Finding::OutOfScope
        } else if lead_bp < thresholds.ambiguous_bp {
            Finding::Ambiguous
        } else {
            Finding::Sure
        };
        let added = self.vocabulary.by_word(text, &vector, |feature, value| {
            value * (self.linear.weight(feature, first) - self.linear.weight(feature, second))
        });
        Some(Verdict {
            finding,
            ranked: order
                .iter()
                .map(|&class| self.ranked(self.classes[class], Method::Examples, f64::from(scores[class])))
                .collect(),
            features: strongest(added),
            fit_bp: Some(fit_bp),
            lead_bp: Some(lead_bp),
            disguised: 0,
        })
    }

    /// Among the capabilities with few examples; nothing if there are none, or none says a word of the text.
    fn by_words(&self, text: &Text, thresholds: &Thresholds) -> Option<Verdict> {
        let mut scores = self.words.score(text);
        for capability in &self.classes {
            scores[*capability] = 0.0;
        }
        let mut order = best(&scores, f64::total_cmp);
        order.retain(|capability| scores[*capability] > 0.0);
        let first = *order.first()?;
        let second = order.get(1).map_or(0.0, |second| scores[*second]);
        let finding = if scores[first] * 10_000.0 < f64::from(thresholds.words_bp) {
            Finding::OutOfScope
        } else if scores[first] - second < scores[first] / 4.0 {
            Finding::Ambiguous
        } else {
            Finding::Sure
        };
        Some(Verdict {
            finding,
            ranked: order.iter().map(|&at| self.ranked(at, Method::Words, scores[at])).collect(),
            features: strongest(self.words.why(text, first)),
            fit_bp: None,
            lead_bp: None,
            disguised: 0,
        })
    }

    fn ranked(&self, capability: usize, method: Method, score: f64) -> Ranked {
        Ranked { capability: self.capabilities[capability].clone(), method, score_milli: milli(score) }
    }
}

impl Calibration {
    fn of(held: &[Held]) -> Self {
        let recognised = || held.iter().filter(|held| held.own > held.other);
        let mut fits: Vec<f32> = recognised().map(|held| held.own).collect();
        let mut leads: Vec<f32> = recognised().map(|held| held.own - held.other).collect();
        fits.sort_unstable_by(f32::total_cmp);
        leads.sort_unstable_by(f32::total_cmp);
        Self { fits, leads }
    }
}

/// What both methods together say.
fn either(examples: Verdict, words: Verdict) -> Verdict {
    match (examples.finding, words.finding) {
        // The words of another capability are in it as well.
        (Finding::Sure, Finding::Sure | Finding::Ambiguous) => {
            let mut ranked = examples.ranked;
            ranked.splice(1.., words.ranked);
            ranked.truncate(MAX_RANKED);
            Verdict { finding: Finding::Ambiguous, ranked, ..examples }
        }
        (Finding::Ambiguous | Finding::OutOfScope | Finding::Nothing, Finding::Sure)
        | (Finding::OutOfScope | Finding::Nothing, Finding::Ambiguous) => words,
        (Finding::Sure | Finding::Ambiguous | Finding::OutOfScope | Finding::Nothing, _) => examples,
    }
}

fn entry(name: &Name, material: &Material) -> Entry {
    let mut entry = Entry::default();
    entry.name(name.as_str());
    material.keywords.iter().for_each(|keyword| entry.name(keyword));
    material.descriptions.iter().chain(&material.examples).for_each(|text| entry.say(text));
    entry
}

/// The indices of the largest scores, largest first, ties in order.
fn best<S>(scores: &[S], compare: impl Fn(&S, &S) -> std::cmp::Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| compare(&scores[*b], &scores[*a]));
    order.truncate(MAX_RANKED);
    order
}

/// The share of `ascending` that is at most `value`, in basis points; all of it where nothing is known.
fn share(ascending: &[f32], value: f32) -> u16 {
    if ascending.is_empty() {
        return 10_000;
    }
    let below = ascending.partition_point(|known| *known <= value);
    u16::try_from(below * 10_000 / ascending.len()).unwrap_or(10_000)
}

/// The features that added most.
fn strongest(mut added: Vec<(String, f64)>) -> Vec<Feature> {
    added.sort_by(|(a, _), (b, _)| a.cmp(b));
    added.dedup_by(|(again, more), (word, weight)| {
        let same = again == word;
        *weight += if same { *more } else { 0.0 };
        same
    });
    added.retain(|(_, weight)| *weight > 0.0);
    added.sort_by(|(a, left), (b, right)| right.total_cmp(left).then_with(|| a.cmp(b)));
    added.truncate(MAX_SHOWN);
    added.into_iter().map(|(text, weight)| Feature { text, weight_milli: milli(weight) }).collect()
}

/// Thousandths; saturates.
fn milli(score: f64) -> i32 {
    (score * 1000.0).round() as i32
}
