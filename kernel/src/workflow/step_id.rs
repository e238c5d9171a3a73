//! Ids of steps.
//!
//! They are narrower than other names: `steps.first-draft.output` would be read as a subtraction. What may follow a dot
//! in an expression is a letter, then letters, digits and underscores.
//!
//! Steps that a step grows while a run goes on are called after it, like files in a folder: `summaries/3`. Nobody writes
//! such a name into a document, so it cannot clash with one that stands there.

use std::fmt;
use std::sync::Arc;

use crate::name::checked_text;

/// Longest step id: like a name, it stands in keys, labels and tables.
pub const MAX_STEP_ID_LEN: usize = 64;

/// How deep steps may lie inside each other; a person follows no deeper nesting.
pub const MAX_STEP_DEPTH: usize = 6;

/// Words CEL keeps for itself even after a dot.
const RESERVED: [&str; 4] = ["false", "in", "null", "true"];

/// A checked step id. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(Arc<str>);

checked_text!(StepId, StepIdError, "step id", path);

/// Why a text is not a step id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepIdError {
    /// Not 1 to [`MAX_STEP_ID_LEN`] bytes.
    #[error("is {len} bytes long; give it 1 to {MAX_STEP_ID_LEN}")]
    Length {
        /// Its length in bytes.
        len: usize,
    },
    /// Not `[a-z][a-z0-9_]*`.
    #[error("must be a-z, then a-z, 0-9 and '_', because expressions read it as `steps.<id>`")]
    Shape {
        /// A step id that comes close.
        suggestion: String,
    },
    /// A word expressions keep for themselves.
    #[error("is a word expressions keep for themselves")]
    Reserved,
    /// Not the name of a step inside another.
    #[error("must be a step's id and up to {} names of a-z, 0-9 and '_' below it", MAX_STEP_DEPTH - 1)]
    Path,
}

impl StepId {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`StepIdError`] says which rule it breaks.
    pub fn new(text: &str) -> Result<Self, StepIdError> {
        if text.is_empty() || text.len() > MAX_STEP_ID_LEN {
            return Err(StepIdError::Length { len: text.len() });
        }
        let mut bytes = text.bytes();
        let starts = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
        if !starts || !bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            return Err(StepIdError::Shape { suggestion: suggestion(text) });
        }
        if RESERVED.contains(&text) {
            return Err(StepIdError::Reserved);
        }
        Ok(Self(text.into()))
    }

    /// Checks `text`, which may name a step inside another.
    ///
    /// # Errors
    /// [`StepIdError`] says which rule it breaks.
    pub fn path(text: &str) -> Result<Self, StepIdError> {
        let Some((outermost, inside)) = text.split_once('/') else { return Self::new(text) };
        let name = |part: &str| {
            let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            (1..=MAX_STEP_ID_LEN).contains(&part.len()) && part.bytes().all(good)
        };
        Self::new(outermost)?;
        if inside.split('/').count() >= MAX_STEP_DEPTH || !inside.split('/').all(name) {
            return Err(StepIdError::Path);
        }
        Ok(Self(text.into()))
    }

    /// The step called `name` inside this one; nothing if it would lie too deep or is no name.
    #[must_use]
    pub fn inside(&self, name: impl fmt::Display) -> Option<Self> {
        Self::path(&format!("{self}/{name}")).ok()
    }

    /// The step this one lies in directly.
    #[must_use]
    pub fn outside(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(outside, _)| outside)
    }
}

fn suggestion(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let text: String = text.chars().map(allowed).collect();
    let text = text.trim_matches('_');
    if text.starts_with(|c: char| c.is_ascii_lowercase()) { text.to_owned() } else { format!("step_{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_follow_a_dot_in_an_expression_passes() {
        for text in ["a", "research", "draft_2", "loop", "package"] {
            assert_eq!(StepId::new(text).unwrap(), text);
            let mapping = serde_json::json!(format!("${{steps.{text}.output}}"));
            assert!(crate::expr::Mapping::compile(&mapping).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_step_inside_another_is_called_after_it() {
        let outer = StepId::new("summaries").unwrap();
        let inner = outer.inside(3).unwrap();
        assert_eq!(
            (inner.as_str(), inner.outside(), outer.outside()),
            ("summaries/3", Some("summaries"), None)
        );
        assert_eq!(serde_json::from_str::<StepId>("\"summaries/3\"").unwrap(), inner);
        assert!(StepId::new("summaries/3").is_err(), "a document has no such names");
        for text in ["a/", "/a", "a//b", "a/B", "a/../b", "a/b/c/d/e/f/g", "1/a"] {
            assert!(StepId::path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_names_are_refused_with_one_that_would_do() {
        for (text, better) in
            [("first-draft", "first_draft"), ("a.b", "a_b"), ("2nd", "step_2nd"), ("Up", "up")]
        {
            let suggestion = better.to_owned();
            assert_eq!(StepId::new(text), Err(StepIdError::Shape { suggestion }), "{text}");
        }
        assert_eq!(StepId::new(""), Err(StepIdError::Length { len: 0 }));
        assert_eq!(StepId::new(&"x".repeat(65)), Err(StepIdError::Length { len: 65 }));
        assert_eq!(StepId::new("in"), Err(StepIdError::Reserved));
    }
}
