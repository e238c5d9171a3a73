//! A request's text, made ready to be compared.
//!
//! Letters are lowered, invisible characters fall out, what is no letter and no digit separates words. Nothing is folded:
//! a Cyrillic `а` stays another letter than a Latin `a`, so a word that only looks like a known one is an unknown one. A word
//! that mixes alphabets, or is written in letters made for formulas, is a disguise and says nothing at all.

/// Most characters that are looked at. A request is told apart by its first page or not at all, and the work is
/// proportional to it.
pub const MAX_CHARS: usize = 4_096;
/// Longest word in characters; what follows is cut. No language writes longer ones, base64 does.
const MAX_WORD: usize = 48;
/// Lengths of the pieces of words: two letters tell little, six are most words.
const GRAMS: std::ops::RangeInclusive<usize> = 2..=5;

/// What a feature is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// A word, or two that follow each other.
    Words,
    /// A few characters in a row; blanks stand for the edges of words.
    Letters,
}

/// A text as words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    /// The words with one blank between, before and behind them.
    joined: String,
    /// Where each word lies in it.
    words: Vec<(usize, usize)>,
    /// Words left out as disguises.
    pub(super) disguised: usize,
    disguised_letters: usize,
}

impl Text {
    pub(super) fn of(text: &str) -> Self {
        let mut words = Words {
            text: Self { joined: " ".to_owned(), words: Vec::new(), disguised: 0, disguised_letters: 0 },
            word: String::new(),
        };
        for character in text.chars().take(MAX_CHARS).filter(|c| !is_invisible(*c)) {
            match character {
                c if c.is_alphanumeric() => words.word.extend(c.to_lowercase().filter(|c| !is_invisible(*c))),
                // "don't" is one word, with either apostrophe.
                '\'' | '\u{2019}' => {}
                _ => words.end(),
            }
        }
        words.end();
        words.text
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Its words.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|&(from, to)| &self.joined[from..to])
    }

    /// Each feature, as often as it occurs, with the number of the word it begins in.
    pub(super) fn each<'t>(&'t self, mut feature: impl FnMut(Kind, &'t str, usize)) {
        for (at, &(from, to)) in self.words.iter().enumerate() {
            feature(Kind::Words, &self.joined[from..to], at);
            if let Some(&(_, end)) = self.words.get(at + 1) {
                feature(Kind::Words, &self.joined[from..end], at);
            }
        }
        // A blank belongs to the word behind it, but for the last.
        let mut starts: Vec<(usize, usize)> = Vec::with_capacity(self.joined.len() + 1);
        let mut word = 0;
        for (at, character) in self.joined.char_indices() {
            starts.push((at, word));
            word +=
                usize::from(character != ' ' && self.joined[at + character.len_utf8()..].starts_with(' '));
        }
        starts.push((self.joined.len(), word));
        let last = self.words.len().saturating_sub(1);
        for length in GRAMS {
            for edges in starts.windows(length + 1) {
                let ((from, word), (to, _)) = (edges[0], edges[length]);
                feature(Kind::Letters, &self.joined[from..to], word.min(last));
            }
        }
    }

    /// About how many features the disguised words would have had: one of each length a letter.
    pub(super) fn hidden(&self) -> usize {
        self.disguised_letters * GRAMS.count()
    }
}

struct Words {
    text: Text,
    word: String,
}

impl Words {
    fn end(&mut self) {
        if self.word.is_empty() {
            return;
        }
        if is_disguise(&self.word) {
            self.text.disguised += 1;
            self.text.disguised_letters += self.word.chars().count();
        } else {
            let end = self.word.char_indices().nth(MAX_WORD).map_or(self.word.len(), |(at, _)| at);
            let from = self.text.joined.len();
            self.text.joined.push_str(&self.word[..end]);
            self.text.words.push((from, self.text.joined.len()));
            self.text.joined.push(' ');
        }
        self.word.clear();
    }
}

/// Characters nobody sees: soft hyphens, joiners, marks of direction, variation selectors, and accents set apart.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' | '\u{300}'..='\u{33f}'
        | '\u{e0000}'..='\u{e01ff}')
}

/// Alphabets whose letters look like each other's.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Alphabet {
    Latin,
    Greek,
    Cyrillic,
    Armenian,
    Cherokee,
    /// Letters for formulas and for effect.
    Ornamental,
}

const fn alphabet(c: char) -> Option<Alphabet> {
    match c {
        'a'..='z' | '\u{df}'..='\u{24f}' | '\u{250}'..='\u{2af}' | '\u{1e00}'..='\u{1eff}' => {
            Some(Alphabet::Latin)
        }
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Some(Alphabet::Greek),
        '\u{400}'..='\u{52f}'
        | '\u{1c80}'..='\u{1c8f}'
        | '\u{2de0}'..='\u{2dff}'
        | '\u{a640}'..='\u{a69f}' => Some(Alphabet::Cyrillic),
        '\u{531}'..='\u{58f}' => Some(Alphabet::Armenian),
        '\u{13a0}'..='\u{13ff}' | '\u{ab70}'..='\u{abbf}' => Some(Alphabet::Cherokee),
        '\u{1d400}'..='\u{1d7ff}'
        | '\u{ff21}'..='\u{ff5a}'
        | '\u{2100}'..='\u{214f}'
        | '\u{24b6}'..='\u{24e9}'
        | '\u{1f130}'..='\u{1f189}'
        | '\u{1d00}'..='\u{1dbf}' => Some(Alphabet::Ornamental),
        _ => None,
    }
}

fn is_disguise(word: &str) -> bool {
    let mut alphabets = word.chars().filter_map(alphabet);
    let Some(first) = alphabets.next() else { return false };
    first == Alphabet::Ornamental || alphabets.any(|other| other != first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Text::of(text).words().map(str::to_owned).collect()
    }

    #[test]
    fn words_are_lowered_and_parted_by_what_is_no_letter() {
        assert_eq!(words("  Don't REFUND-my, order №42! "), ["dont", "refund", "my", "order", "42"]);
        assert_eq!(words("Größe Ünïcode ΣΊΣΥΦΟΣ Привет"), ["größe", "ünïcode", "σίσυφοσ", "привет"]);
        assert_eq!(words("\u{1f600} — …"), Vec::<String>::new());
    }

    #[test]
    fn invisible_characters_hide_nothing() {
        assert_eq!(words("re\u{200b}fu\u{ad}nd \u{202e}order\u{202c}"), ["refund", "order"]);
        assert_eq!(words("cafe\u{301}"), ["cafe"]);
    }

    #[test]
    fn a_word_in_disguise_says_nothing() {
        let text = Text::of(
            "r\u{435}fund my \u{1d428}\u{1d42b}\u{1d41d}\u{1d41e}\u{1d42b} \u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}",
        );
        assert_eq!(text.words().collect::<Vec<_>>(), ["my", "привет"]);
        assert_eq!(text.disguised, 2);
    }

    #[test]
    fn features_are_words_pairs_and_pieces_with_edges() {
        let mut all = Vec::new();
        Text::of("to me").each(|kind, text, _| all.push((kind, text.to_owned())));
        for expected in
            [(Kind::Words, "to me"), (Kind::Words, "me"), (Kind::Letters, " to"), (Kind::Letters, "o m")]
        {
            assert!(all.contains(&(expected.0, expected.1.to_owned())), "{expected:?}");
        }
        assert_eq!(all.len(), 3 + 6 + 5 + 4 + 3);
    }

    #[test]
    fn a_huge_text_costs_what_its_first_page_costs() {
        let mut count = 0;
        Text::of(&"word ".repeat(1_000_000)).each(|_, _, _| count += 1);
        assert!(count < 6 * MAX_CHARS, "{count}");
    }
}
