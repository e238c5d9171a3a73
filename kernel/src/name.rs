//! Names people give to things: agents, capabilities, workflows, steps, tenants.
//!
//! Plain lower-case ASCII only. That leaves no room for look-alike letters, invisible characters, path tricks or two
//! names that differ in case, and it makes every name safe in a key, a log line, a label and a file name.

use std::sync::Arc;

mod text;

pub(crate) use text::checked_text;

/// Longest name. Long enough for `team.domain.capability`, short enough for a table and a metric label.
pub const MAX_NAME_LEN: usize = 64;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("is empty; give it 1 to {MAX_NAME_LEN} characters")]
    Empty,
    /// More than [`MAX_NAME_LEN`] bytes.
    #[error("is {len} bytes long; at most {MAX_NAME_LEN} are allowed")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A character outside `a-z 0-9 . _ -`.
    #[error("has {character:?} at byte {at}; only a-z, 0-9, '.', '_' and '-' are allowed")]
    Character {
        /// The offending character.
        character: char,
        /// Where it starts.
        at: usize,
    },
    /// It starts or ends with punctuation, or has two dots in a row.
    #[error("must start and end with a letter or digit and have no two dots in a row")]
    Shape,
}

/// A checked name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

checked_text!(Name, NameError, "name");

impl Name {
    /// Checks `text`.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text)?;
        Ok(Self(text.into()))
    }
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME_LEN {
        return Err(NameError::TooLong { len: text.len() });
    }
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
    if let Some((at, character)) = text.char_indices().find(|&(_, c)| !allowed(c)) {
        return Err(NameError::Character { character, at });
    }
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if !edge(text.chars().next()) || !edge(text.chars().next_back()) || text.contains("..") {
        return Err(NameError::Shape);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for text in ["a", "travel.research", "price-quote_2", "9lives"] {
            assert_eq!(Name::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn hostile_names_are_refused_with_the_place() {
        let char_at = |text: &str| match Name::new(text) {
            Err(NameError::Character { at, .. }) => at,
            other => panic!("{text:?} gave {other:?}"),
        };
        assert_eq!(char_at("a/../b"), 1);
        assert_eq!(char_at("nul\0"), 3);
        assert_eq!(char_at("rtl\u{202e}x"), 3);
        assert_eq!(char_at("p\u{0430}y"), 1, "Cyrillic а is not a");
        assert_eq!(char_at("Upper"), 0);
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new("a..b"), Err(NameError::Shape));
        assert_eq!(Name::new("-a"), Err(NameError::Shape));
        assert_eq!(Name::new(&"x".repeat(10_240)), Err(NameError::TooLong { len: 10_240 }));
    }
}
