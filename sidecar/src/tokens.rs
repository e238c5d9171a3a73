//! Counting tokens, off-line: the vocabularies are in the program.
//!
//! A vocabulary is unpacked when it is first used; a sidecar whose capabilities declare no `context_budget` pays nothing.
//! Counting takes time that grows with the text, so it belongs on a thread that may block.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mainstay_kernel::context_budget::{Encoding, Tokenizer};
use tiktoken_rs::{CoreBPE, cl100k_base_singleton, o200k_base_singleton};

/// The tokenizer of a vocabulary.
pub(crate) struct Bpe(&'static CoreBPE);

impl Bpe {
    /// Unpacks the vocabulary, the first time. Blocks.
    pub(crate) fn of(encoding: Encoding) -> Self {
        Self(match encoding {
            Encoding::O200kBase => o200k_base_singleton(),
            Encoding::Cl100kBase => cl100k_base_singleton(),
        })
    }

    /// The library panics at texts that its patterns cannot split, such as a megabyte of blanks.
    fn tokens(&self, text: &str) -> Option<Vec<u32>> {
        catch_unwind(AssertUnwindSafe(|| self.0.encode_ordinary(text))).ok()
    }
}

impl Tokenizer for Bpe {
    /// Of a text that cannot be split, a bound: no token is shorter than a byte.
    fn count(&self, text: &str) -> usize {
        self.tokens(text).map_or(text.len(), |tokens| tokens.len())
    }

    fn head<'t>(&self, text: &'t str, most: usize) -> &'t str {
        let bytes = match self.tokens(text) {
            Some(tokens) if tokens.len() <= most => return text,
            Some(tokens) => self.0.decode_bytes(&tokens[..most]).map_or(0, |head| head.len()),
            None => most,
        };
        // A token may be a part of a character.
        &text[..text.floor_char_boundary(bytes)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted_as_the_vocabulary_has_them() {
        let o200k = Bpe::of(Encoding::O200kBase);
        assert_eq!(o200k.count(""), 0);
        assert_eq!(o200k.count("hello world"), 2);
        assert_eq!(o200k.count("<|endoftext|>"), 7, "text is text, whatever it looks like");
        assert_eq!(Bpe::of(Encoding::Cl100kBase).count("antidisestablishmentarianism"), 6);
    }

    #[test]
    fn a_head_ends_between_characters_and_has_no_more_than_it_may() {
        let bpe = Bpe::of(Encoding::O200kBase);
        let text = "naïve 日本語 \u{1F9D1}\u{200D}\u{1F680} text ".repeat(20);
        for most in 0..60 {
            let head = bpe.head(&text, most);
            assert!(text.starts_with(head) && bpe.count(head) <= most, "{most}: {head:?}");
        }
        assert_eq!(bpe.head("short", 10), "short");
    }

    #[test]
    fn what_cannot_be_split_is_bounded_by_its_bytes() {
        let bpe = Bpe::of(Encoding::O200kBase);
        let blanks = " ".repeat(2_000_000);
        assert!((1..=blanks.len()).contains(&bpe.count(&blanks)));
        assert!(bpe.head(&blanks, 100).len() >= 100);
    }
}
