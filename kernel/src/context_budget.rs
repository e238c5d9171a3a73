//! How much of a model's context window the input of a call may take, and what is done with one that takes more.
//!
//! A model that gets more than it can read fails, or reads the end and forgets the beginning, and says neither. A capability
//! may therefore declare how many tokens its input may have, and what happens to one that has more: it is refused, its texts
//! are cut, or they are summarised by somebody else. Everything else of the input stays as it is.
//!
//! Texts are made shorter from the longest: all of them get the same room, and what is shorter than that stays whole (the
//! max-min fair share of *Data Networks*, Bertsekas and Gallager). Counting is somebody else's too ([`Tokenizer`]): what a
//! token is depends on the model. Counts of parts do not add up to the count of the whole, so what comes out is counted
//! again, and room is taken away until it fits.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::Json;
use crate::name::Name;

#[cfg(test)]
mod tests;

/// Fewest tokens an input may be held to: with less there is no room for braces.
pub const FEWEST: u32 = 64;
/// Most tokens an input may be held to: ten times what the largest models read.
pub const MOST: u32 = 10_000_000;
/// Most places whose texts may be made shorter.
pub const MAX_FIELDS: usize = 16;
/// Longest pointer to such a place, in bytes.
pub const MAX_POINTER: usize = 256;
/// Stands at the end of a text that was cut, so that the model knows.
pub const MARK: &str = " … [cut]";

/// The least room in tokens that is worth keeping of a text: less says nothing.
const LEAST: usize = 16;
/// Room for the mark and what joins it.
const MARK_ROOM: usize = 8;
/// How often room is taken away before it is given up. What is over is a few tokens after the first time.
const ROUNDS: usize = 6;

/// What a capability declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextBudget {
    /// Tokens that an input may have, as JSON text.
    pub max_tokens: u32,
    /// By which tokenizer.
    #[serde(default)]
    pub encoding: Encoding,
    /// What happens to one that has more.
    pub over: Over,
    /// JSON pointers (RFC 6901) to what may be made shorter: a text, or all texts below it. None means all texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// A tokenizer, by the name of its vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// `o200k_base`. Within some percent of most models of today.
    #[default]
    O200kBase,
    /// `cl100k_base`.
    Cl100kBase,
}

/// What happens to an input that has too many tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// It is refused, and nobody is called.
    Reject,
    /// Its texts are cut at their ends.
    Truncate,
    /// Its texts are handed to this capability, and its answers take their places. What is still too long is cut.
    Summarize {
        /// The capability.
        by: Name,
    },
}

/// Counts tokens.
pub trait Tokenizer {
    /// How many tokens `text` has.
    fn count(&self, text: &str) -> usize;

    /// The beginning of `text` that has at most so many.
    fn head<'t>(&self, text: &'t str, most: usize) -> &'t str;
}

/// A text that has to be shorter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// Where it is.
    pub pointer: String,
    /// How many tokens it has.
    pub tokens: usize,
    /// How many it may have.
    pub room: usize,
}

/// An input that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    /// The input.
    pub input: Json,
    /// What was made shorter, for the record; empty if nothing was.
    pub cuts: Vec<Excess>,
}

/// An input that cannot be made to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the input has {tokens} tokens; at most {most} are allowed{}", if *.left == 0 { "" } else { ", and what may not be cut of it is too long" })]
pub struct TooLong {
    /// How many tokens it has.
    pub tokens: usize,
    /// How many are allowed.
    pub most: u32,
    /// How many it would have with all cut that may be; 0 if nothing may.
    pub left: usize,
}

/// What is wrong with a declaration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeclarationError {
    /// A number of tokens that is not allowed.
    #[error("must be {FEWEST} to {MOST}")]
    MaxTokens,
    /// A tokenizer that is not there.
    #[error("must be `o200k_base` or `cl100k_base`")]
    Encoding,
    /// Not one of the things that can be done.
    #[error("must be `reject`, `truncate` or `summarize`")]
    Over,
    /// Who summarises is not said, or said where nobody does.
    #[error("`by` goes with `over: summarize`, and only with it: the capability that shortens a text")]
    By,
    /// Too many places, or something that is no pointer.
    #[error("must be at most {MAX_FIELDS} JSON pointers of at most {MAX_POINTER} bytes, like `/text`")]
    Fields,
}

impl Over {
    /// Its name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Truncate => "truncate",
            Self::Summarize { .. } => "summarize",
        }
    }

    /// Who summarises.
    #[must_use]
    pub const fn by(&self) -> Option<&Name> {
        match self {
            Self::Summarize { by } => Some(by),
            Self::Reject | Self::Truncate => None,
        }
    }
}

impl Encoding {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::O200kBase, Self::Cl100kBase];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::O200kBase => "o200k_base",
            Self::Cl100kBase => "cl100k_base",
        }
    }
}

impl ContextBudget {
    /// As it is written: `encoding` and `over` by their names, an empty `encoding` for the usual one.
    ///
    /// # Errors
    /// [`DeclarationError`]: the first thing that is wrong with it.
    pub fn declare(
        max_tokens: u32,
        encoding: &str,
        over: &str,
        by: Option<Name>,
        fields: Vec<String>,
    ) -> Result<Self, DeclarationError> {
        if !(FEWEST..=MOST).contains(&max_tokens) {
            return Err(DeclarationError::MaxTokens);
        }
        let known = Encoding::ALL.into_iter().find(|known| known.as_str() == encoding);
        let usual = encoding.is_empty().then(Encoding::default);
        let encoding = known.or(usual).ok_or(DeclarationError::Encoding)?;
        let over = match (over, by) {
            ("reject", None) => Over::Reject,
            ("truncate", None) => Over::Truncate,
            ("summarize", Some(by)) => Over::Summarize { by },
            ("reject" | "truncate", Some(_)) | ("summarize", None) => return Err(DeclarationError::By),
            _ => return Err(DeclarationError::Over),
        };
        let pointer = |field: &String| field.starts_with('/') && field.len() <= MAX_POINTER;
        if fields.len() > MAX_FIELDS || !fields.iter().all(pointer) {
            return Err(DeclarationError::Fields);
        }
        Ok(Self { max_tokens, encoding, over, fields })
    }

    /// The texts of `input` that have to be shorter, the longest first, and how much of each may stay; none if it fits.
    ///
    /// # Errors
    /// [`TooLong`] if nothing may be done, or if it would not help.
    pub fn excess(&self, input: &Json, tokenizer: &dyn Tokenizer) -> Result<Vec<Excess>, TooLong> {
        let tokens = tokenizer.count(input.as_str());
        let most = self.max_tokens as usize;
        if tokens <= most {
            return Ok(Vec::new());
        }
        if self.over == Over::Reject {
            return Err(TooLong { tokens, most: self.max_tokens, left: 0 });
        }
        let texts = self.texts(&input.value(), tokenizer);
        let of_texts: usize = texts.iter().map(|(_, tokens)| tokens).sum();
        let fixed = tokens.saturating_sub(of_texts);
        fair(texts, most.saturating_sub(fixed)).ok_or(TooLong { tokens, most: self.max_tokens, left: fixed })
    }

    /// `input`, its texts cut where it has too many tokens.
    ///
    /// # Errors
    /// [`TooLong`] if nothing may be done, or if it does not help.
    pub fn cut(&self, input: &Json, tokenizer: &dyn Tokenizer) -> Result<Fitted, TooLong> {
        let mut over = 0;
        let mut left = 0;
        for _ in 0..ROUNDS {
            let less = u32::try_from(over).unwrap_or(u32::MAX);
            let narrower = Self { max_tokens: self.max_tokens.saturating_sub(less), ..self.clone() };
            let told = |error: TooLong| TooLong { most: self.max_tokens, ..error };
            let cuts = narrower.excess(input, tokenizer).map_err(told)?;
            if cuts.is_empty() {
                return Ok(Fitted { input: input.clone(), cuts });
            }
            let mut value = input.value();
            for Excess { pointer, room, .. } in &cuts {
                if let Some(Value::String(text)) = value.pointer_mut(pointer) {
                    *text = format!("{}{MARK}", tokenizer.head(text, room.saturating_sub(MARK_ROOM)));
                }
            }
            let cut = Json::from(&value);
            left = tokenizer.count(cut.as_str());
            if left <= self.max_tokens as usize {
                return Ok(Fitted { input: cut, cuts });
            }
            over += left - self.max_tokens as usize;
        }
        Err(TooLong { tokens: tokenizer.count(input.as_str()), most: self.max_tokens, left })
    }

    /// Pointers to the texts that may be made shorter, and how many tokens each has.
    fn texts(&self, input: &Value, tokenizer: &dyn Tokenizer) -> Vec<(String, usize)> {
        let mut texts = Vec::new();
        let mut note = |pointer: &str, text: &str| texts.push((pointer.to_owned(), tokenizer.count(text)));
        if self.fields.is_empty() {
            each_text(input, String::new(), &mut note);
        }
        for field in &self.fields {
            if let Some(below) = input.pointer(field) {
                each_text(below, field.clone(), &mut note);
            }
        }
        // A field may lie in another.
        texts.sort_unstable();
        texts.dedup();
        texts
    }
}

/// Tells every text below `value`, with the pointer that leads to it. As deep as JSON that was taken in goes.
fn each_text(value: &Value, pointer: String, tell: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::String(text) => tell(&pointer, text),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                each_text(item, format!("{pointer}/{at}"), tell);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                each_text(field, format!("{pointer}/{key}"), tell);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The texts that get less than they have if all share `room`, the longest first; nothing if there is not enough.
fn fair(mut texts: Vec<(String, usize)>, room: usize) -> Option<Vec<Excess>> {
    texts.sort_by_key(|(_, tokens)| *tokens);
    let mut room = room;
    let mut at = 0;
    while at < texts.len() {
        let share = room / (texts.len() - at);
        if texts[at].1 > share {
            break;
        }
        room -= texts[at].1;
        at += 1;
    }
    let share = room / (texts.len() - at).max(1);
    if at == texts.len() || share < LEAST + MARK_ROOM {
        return None;
    }
    let excess = |(pointer, tokens)| Excess { pointer, tokens, room: share };
    Some(texts.split_off(at).into_iter().rev().map(excess).collect())
}
