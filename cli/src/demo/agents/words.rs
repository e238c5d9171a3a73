//! Words as the agents compare them: in lower case, without the ones that carry no meaning, cut to their stems.
//!
//! A reader takes "killed" and "kill" for the same word, and an index that does not is blind to half of what it holds.
//! The stems are those of step 1 of Porter's algorithm (M. F. Porter, "An algorithm for suffix stripping", Program 14(3),
//! 1980): plurals, `-ed` and `-ing`. Its later steps reach further, and conflate words that readers tell apart.

use std::collections::BTreeSet;

/// Words that stand in every sentence of English, and so tell none from another.
const STOP_WORDS: &[&str] = &[
    "a", "about", "after", "all", "also", "an", "and", "any", "are", "as", "at", "be", "because", "been",
    "before", "but", "by", "can", "could", "did", "do", "does", "each", "else", "every", "for", "from",
    "had", "has", "have", "he", "her", "here", "his", "how", "i", "if", "in", "into", "is", "it", "its",
    "may", "me", "more", "most", "must", "my", "no", "nor", "not", "of", "on", "one", "only", "or", "other",
    "our", "out", "over", "own", "s", "say", "says", "she", "should", "so", "some", "such", "t", "than",
    "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "to", "too", "under",
    "until", "up", "us", "was", "we", "were", "what", "when", "where", "which", "while", "who", "whose",
    "why", "will", "with", "without", "would", "yet", "you", "your",
];

/// A word of a text: how it is written, and the stem it is compared by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// In lower case.
    pub(crate) written: String,
    /// Its stem.
    pub(crate) stem: String,
}

/// The words of `text` that carry meaning, in order.
pub(crate) fn words(text: &str) -> Vec<Word> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .filter(|word| STOP_WORDS.binary_search(&word.as_str()).is_err())
        .map(|written| Word { stem: stem(&written), written })
        .collect()
}

/// The stems of `text`, in order.
pub(crate) fn stems(text: &str) -> Vec<String> {
    words(text).into_iter().map(|word| word.stem).collect()
}

/// The different stems of `text`.
pub(crate) fn stem_set(text: &str) -> BTreeSet<String> {
    stems(text).into_iter().collect()
}

/// How much of `part` stands in `whole`: 0 to 1, and 0 if `part` is empty.
pub(crate) fn share(part: &BTreeSet<String>, whole: &BTreeSet<String>) -> f64 {
    if part.is_empty() {
        return 0.0;
    }
    part.intersection(whole).count() as f64 / part.len() as f64
}

/// Porter's step 1. Words that are not plain ASCII are left as they are: the rules are those of English.
fn stem(word: &str) -> String {
    if word.len() < 3 || !word.bytes().all(|b| b.is_ascii_lowercase()) {
        return word.to_owned();
    }
    last_y(without_ending(without_plural(word)))
}

/// Step 1a.
fn without_plural(word: &str) -> &str {
    if let Some(stem) = word.strip_suffix("es").filter(|stem| stem.ends_with("ss") || stem.ends_with('i')) {
        return stem;
    }
    match word.strip_suffix('s') {
        Some(stem) if !stem.ends_with('s') => stem,
        _ => word,
    }
}

/// Step 1b.
fn without_ending(word: &str) -> String {
    if let Some(stem) = word.strip_suffix("eed") {
        return if has_measure(stem) { format!("{stem}ee") } else { word.to_owned() };
    }
    let stem = word.strip_suffix("ed").or_else(|| word.strip_suffix("ing")).filter(|stem| has_vowel(stem));
    let Some(stem) = stem else { return word.to_owned() };
    if stem.ends_with("at") || stem.ends_with("bl") || stem.ends_with("iz") {
        return format!("{stem}e");
    }
    let bytes = stem.as_bytes();
    match bytes {
        [.., before, last] if before == last && is_consonant(bytes, bytes.len() - 1) => {
            let keep = if matches!(last, b'l' | b's' | b'z') { stem.len() } else { stem.len() - 1 };
            stem.get(..keep).unwrap_or(stem).to_owned()
        }
        _ if is_short(bytes) => format!("{stem}e"),
        _ => stem.to_owned(),
    }
}

/// Step 1c: a `y` after a vowel somewhere becomes `i`, so that "retry" meets "retries".
fn last_y(word: String) -> String {
    match word.strip_suffix('y') {
        Some(stem) if has_vowel(stem) => format!("{stem}i"),
        _ => word,
    }
}

fn is_consonant(word: &[u8], at: usize) -> bool {
    match word[at] {
        b'a' | b'e' | b'i' | b'o' | b'u' => false,
        b'y' => at == 0 || !is_consonant(word, at - 1),
        _ => true,
    }
}

fn has_vowel(word: &str) -> bool {
    (0..word.len()).any(|at| !is_consonant(word.as_bytes(), at))
}

/// Porter's m > 0: a vowel, and later a consonant.
fn has_measure(word: &str) -> bool {
    let bytes = word.as_bytes();
    let first_vowel = (0..bytes.len()).find(|&at| !is_consonant(bytes, at));
    first_vowel.is_some_and(|vowel| (vowel..bytes.len()).any(|at| is_consonant(bytes, at)))
}

/// Porter's m = 1 and *o: one run of vowels, and an end like that of "fil-" and "hop-", which want their `e` back.
fn is_short(word: &[u8]) -> bool {
    let [.., _, _, last] = word else { return false };
    let end = word.len() - 1;
    let shape = is_consonant(word, end - 2) && !is_consonant(word, end - 1) && is_consonant(word, end);
    let one_vowel_run = (0..end - 2).all(|at| is_consonant(word, at));
    shape && one_vowel_run && !matches!(last, b'w' | b'x' | b'y')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_are_those_of_porters_first_step() {
        for (word, expected) in [
            ("caresses", "caress"),
            ("ponies", "poni"),
            ("cats", "cat"),
            ("caress", "caress"),
            ("agreed", "agree"),
            ("feed", "feed"),
            ("plastered", "plaster"),
            ("bled", "bled"),
            ("motoring", "motor"),
            ("sing", "sing"),
            ("conflated", "conflate"),
            ("troubled", "trouble"),
            ("sized", "size"),
            ("hopping", "hop"),
            ("falling", "fall"),
            ("hissing", "hiss"),
            ("failing", "fail"),
            ("filing", "file"),
            ("happy", "happi"),
            ("sky", "sky"),
            ("killed", "kill"),
            ("retries", "retri"),
            ("retry", "retri"),
        ] {
            assert_eq!(stem(word), expected, "{word}");
        }
    }

    #[test]
    fn the_stop_words_are_in_the_order_they_are_looked_up_in() {
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn words_of_other_languages_are_kept_whole() {
        assert_eq!(stems("Zürich: 東京, naïves"), ["zürich", "東京", "naïves"]);
    }

    #[test]
    fn words_without_meaning_are_left_out() {
        assert_eq!(stems("What happens to the run, when it's killed?"), ["happen", "run", "kill"]);
    }
}
