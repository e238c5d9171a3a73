//! The single pass that decides whether a text is JSON we take. It builds no tree: it remembers only the keys of the
//! objects it stands in, to find the one that comes twice.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{JsonError, Limits};

/// Up to here a key is looked for by comparing; beyond, a set takes over so that 10,000 keys do not cost 10⁸ steps.
const LINEAR_KEYS: usize = 16;
/// Segments of a pointer shown in an error: enough to find the place, short enough for a log line.
const MAX_POINTER_SEGMENTS: usize = 16;

/// The value's text without the white space around it.
pub(super) fn check<'a>(bytes: &'a [u8], limits: &Limits) -> Result<&'a str, JsonError> {
    if bytes.len() > limits.max_bytes {
        return Err(JsonError::TooLong { bytes: bytes.len(), max_bytes: limits.max_bytes });
    }
    // Checking UTF-8 once for the whole text is faster than string by string, and finds it between strings too.
    let text =
        std::str::from_utf8(bytes).map_err(|error| JsonError::NotUtf8 { offset: error.valid_up_to() })?;
    let mut walk = Walk { keys: Vec::new(), trail: Vec::new(), fault: None, max_depth: limits.max_depth };
    let mut reader = serde_json::Deserializer::from_str(text);
    // Depth is ours to bound, and it is bounded before it can hurt.
    let outcome = Node { walk: &mut walk, depth: 0 }.deserialize(&mut reader).and_then(|()| reader.end());
    match outcome {
        Ok(()) => Ok(text.trim_matches([' ', '\t', '\r', '\n'])),
        Err(error) => Err(walk.explain(text, &error)),
    }
}

/// What is remembered along the way.
struct Walk<'de> {
    /// Keys of all objects from the root to here; each object knows where its own begin.
    keys: Vec<Cow<'de, str>>,
    /// Filled innermost first while an error travels outwards; empty as long as all is well.
    trail: Vec<String>,
    fault: Option<Fault>,
    max_depth: usize,
}

enum Fault {
    Depth,
    Duplicate(String),
}

impl Walk<'_> {
    fn explain(self, text: &str, error: &serde_json::Error) -> JsonError {
        let pointer = pointer(&self.trail);
        match self.fault {
            Some(Fault::Depth) => JsonError::TooDeep { pointer, max_depth: self.max_depth },
            Some(Fault::Duplicate(key)) => JsonError::DuplicateKey { key, pointer },
            None => {
                let shown = error.to_string();
                // serde_json appends the position in its own words; ours is the byte offset.
                let message = shown.split(" at line ").next().unwrap_or(&shown).to_owned();
                JsonError::Syntax { message, pointer, offset: offset(text, error.line(), error.column()) }
            }
        }
    }
}

fn pointer(trail: &[String]) -> String {
    let mut out = String::new();
    for segment in trail.iter().rev().take(MAX_POINTER_SEGMENTS) {
        out.push('/');
        out.push_str(&segment.replace('~', "~0").replace('/', "~1"));
    }
    if trail.len() > MAX_POINTER_SEGMENTS {
        out.push_str("/…");
    }
    out
}

fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    before.saturating_add(column.saturating_sub(1)).min(text.len())
}

/// Reads one value.
struct Node<'w, 'de> {
    walk: &'w mut Walk<'de>,
    depth: usize,
}

impl<'de> Node<'_, 'de> {
    fn enter<E: Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > self.walk.max_depth {
            self.walk.fault = Some(Fault::Depth);
            return Err(E::custom("too deep"));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.enter()?;
        for index in 0_usize.. {
            match items.next_element_seed(Node { walk: self.walk, depth: self.depth }) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => {
                    self.walk.trail.push(index.to_string());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        self.enter()?;
        let first = self.walk.keys.len();
        let mut many: Option<HashSet<Cow<'de, str>>> = None;
        while let Some(Key(key)) = entries.next_key()? {
            let own = self.walk.keys.get(first..).unwrap_or_default();
            let twice = match &mut many {
                Some(seen) => !seen.insert(key.clone()),
                None => own.contains(&key),
            };
            if twice {
                self.walk.fault = Some(Fault::Duplicate(key.into_owned()));
                return Err(A::Error::custom("duplicate key"));
            }
            if many.is_none() && own.len() >= LINEAR_KEYS {
                many = Some(own.iter().cloned().chain([key.clone()]).collect());
            }
            let place = self.walk.keys.len();
            self.walk.keys.push(key);
            if let Err(error) = entries.next_value_seed(Node { walk: self.walk, depth: self.depth }) {
                // Keys of the objects within may lie above it: they are only cleared when all goes well.
                let key = self.walk.keys.get(place).map(ToString::to_string);
                self.walk.trail.push(key.unwrap_or_default());
                return Err(error);
            }
        }
        self.walk.keys.truncate(first);
        Ok(())
    }
}

/// A key, borrowed from the text unless it has escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }
            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}
