//! The tree a document becomes, and the reading of YAML into it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Budget, DuplicateKeyPolicy, NonFiniteFloatPolicy, Spanned};

use super::{DocumentError, MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_NODES, MAX_REPLAYED, MAX_SCALAR_BYTES, Place};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where the value begins; for an alias, where the alias stands.
    pub place: Place,
    /// The value.
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, and how it was written.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Fields in the order they were written; no key comes twice.
    Map(Vec<Entry>),
}

/// A number, and how it was written: `1.10` as a version is text, as a price it is a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// The number.
    pub value: serde_json::Number,
    /// How it was written.
    pub text: String,
}

/// A field of a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// Its value.
    pub value: Node,
}

/// The way from the root of a document to a value. Shown as `steps[2].after[0]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(pub Vec<Segment>);

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Into a field.
    Key(String),
    /// Into an item.
    Index(usize),
}

// === impl Path ===

impl Path {
    /// This path and then the field `key`.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.then(Segment::Key(key.to_owned()))
    }

    /// This path and then item `index`.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.then(Segment::Index(index))
    }

    /// This path and then `inner`.
    #[must_use]
    pub fn join(&self, inner: &Self) -> Self {
        Self(self.0.iter().chain(&inner.0).cloned().collect())
    }

    fn then(&self, segment: Segment) -> Self {
        Self(self.0.iter().cloned().chain([segment]).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if is_plain(key) && at == 0 => f.write_str(key)?,
                Segment::Key(key) if is_plain(key) => write!(f, ".{key}")?,
                Segment::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'$'))
}

// === impl Node ===

impl Node {
    /// The fields, if this is a map.
    #[must_use]
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => None,
        }
    }

    /// The value of the field `key`, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries()?.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// What it is, for a message: `a list`.
    #[must_use]
    pub const fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    /// Where the value at `path` stands; where the way ends early, the last value on it.
    #[must_use]
    pub fn locate(&self, path: &Path) -> Place {
        let mut node = self;
        for segment in &path.0 {
            let next = match (&node.kind, segment) {
                (Kind::List(items), Segment::Index(index)) => items.get(*index),
                (Kind::Map(_), Segment::Key(key)) => node.get(key),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.place
    }

    /// The value without its places.
    #[must_use]
    pub fn value(&self) -> serde_json::Value {
        match &self.kind {
            Kind::Null => serde_json::Value::Null,
            Kind::Bool(bool) => (*bool).into(),
            Kind::Number(number) => number.value.clone().into(),
            Kind::Text(text) => text.as_str().into(),
            Kind::List(items) => items.iter().map(Self::value).collect::<Vec<_>>().into(),
            Kind::Map(entries) => {
                let fields = entries.iter().map(|entry| (entry.key.clone(), entry.value.value()));
                serde_json::Value::Object(fields.collect())
            }
        }
    }
}

// === reading ===

pub(super) fn read(text: &str) -> Result<Node, DocumentError> {
    let options = serde_saphyr::options! {
        budget: budget(),
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        with_snippet: false,
    };
    let spanned: Spanned<Raw> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| explain(&error))?;
    Ok(located(spanned, text))
}

fn budget() -> Option<Budget> {
    serde_saphyr::budget! {
        max_depth: MAX_DEPTH,
        flow_nesting_limit: MAX_DEPTH,
        max_documents: 1,
        max_nodes: MAX_NODES,
        max_events: 2 * MAX_NODES,
        max_total_scalar_bytes: MAX_SCALAR_BYTES,
        max_recorded_anchor_bytes: MAX_SCALAR_BYTES,
        max_total_comment_bytes: MAX_DOCUMENT_BYTES,
    }
}

fn explain(error: &serde_saphyr::Error) -> DocumentError {
    let shown = error.without_snippet().to_string();
    // The library writes the position into the message as well; ours stands in its own field.
    let message = shown.split(" at line ").next().unwrap_or(&shown);
    let place = error.location().map(place).unwrap_or_default();
    DocumentError {
        place,
        path: String::new(),
        message: message.lines().next().unwrap_or_default().to_owned(),
    }
}

fn place(location: serde_saphyr::Location) -> Place {
    let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Place { line: narrow(location.line()), column: narrow(location.column()) }
}

/// A value as the library hands it over, before the places are sorted out.
enum Raw {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn located(raw: Spanned<Raw>, text: &str) -> Node {
    let kind = match raw.value {
        Raw::Null => Kind::Null,
        Raw::Bool(bool) => Kind::Bool(bool),
        Raw::Number(value) => {
            let text = written(raw.defined, text).unwrap_or_else(|| value.to_string());
            Kind::Number(Number { value, text })
        }
        Raw::Text(text) => Kind::Text(text),
        Raw::List(items) => Kind::List(items.into_iter().map(|item| located(item, text)).collect()),
        Raw::Map(entries) => Kind::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    key: key.value,
                    place: place(key.referenced),
                    value: located(value, text),
                })
                .collect(),
        ),
    };
    Node { place: place(raw.referenced), kind }
}

/// How a scalar was written.
fn written(location: serde_saphyr::Location, text: &str) -> Option<String> {
    let span = location.span();
    let from = usize::try_from(span.byte_offset()?).ok()?;
    let len = usize::try_from(span.byte_len()?).ok()?;
    let slice = text.get(from..from.checked_add(len)?)?.trim();
    (!slice.is_empty()).then(|| slice.to_owned())
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_bool<E>(self, bool: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(bool))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Number(number.into()))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Number(number.into()))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Raw, E> {
        match serde_json::Number::from_f64(number) {
            Some(number) => Ok(Raw::Number(number)),
            None => Err(E::custom("a number must be finite")),
        }
    }
    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }
    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}
