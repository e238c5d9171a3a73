//! Reading a map field by field, and noting every mistake on the way instead of stopping at the first.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use mainstay_kernel::name::Name;
use mainstay_kernel::time::text::{self, Human};
use mainstay_kernel::yaml::{DocumentError, Kind, Node, Path, Place};

/// Most mistakes reported at once: beyond a screenful the first ones explain the rest.
const MAX_MISTAKES: usize = 32;

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Complaints(RefCell<Vec<DocumentError>>);

/// The fields of one map. Each is taken once; what is left at [`Fields::finish`] is unknown.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    place: Place,
    path: Path,
    left: BTreeMap<&'a str, (&'a Node, Place)>,
    known: Vec<&'static str>,
    complaints: &'a Complaints,
}

/// One value, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Value<'a> {
    pub(super) node: &'a Node,
    pub(super) path: Path,
    pub(super) complaints: &'a Complaints,
}

// === impl Complaints ===

impl Complaints {
    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(super) fn add(&self, place: Place, path: &Path, message: impl Into<String>) {
        let mut mistakes = self.0.borrow_mut();
        if mistakes.len() < MAX_MISTAKES {
            mistakes.push(DocumentError { place, path: path.to_string(), message: message.into() });
        }
    }

    /// Notes a complaint about a field of the registration (`capabilities[0].input_schema`) at the field of the manifest
    /// that it came from.
    pub(super) fn add_at_field(&self, root: &Node, field: &str, message: String) {
        let mut path = Path::default();
        for part in field.replace('[', ".[").split('.').filter(|part| !part.is_empty()) {
            let inner = part.trim_start_matches('[').trim_end_matches(']');
            path = match inner.parse() {
                Ok(index) if part.starts_with('[') => path.index(index),
                _ => path.key(match inner.trim_matches('"') {
                    "input_schema" => "input",
                    "output_schema" => "output",
                    "cost_hint_nano_usd" => "cost_usd",
                    other => other,
                }),
            };
        }
        self.add(root.locate(&path), &path, message);
    }

    pub(super) fn into_sorted(self) -> Vec<DocumentError> {
        let mut mistakes = self.0.into_inner();
        mistakes.sort_by_key(|mistake| mistake.place);
        mistakes
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    pub(super) fn of(node: &'a Node, path: Path, complaints: &'a Complaints) -> Option<Self> {
        let Some(entries) = node.entries() else {
            complaints.add(node.place, &path, format!("must be a map of fields, but is {}", node.describe()));
            return None;
        };
        let left = entries.iter().map(|entry| (entry.key.as_str(), (&entry.value, entry.place))).collect();
        Some(Self { place: node.place, path, left, known: vec![], complaints })
    }

    /// The value of a field that may be missing. A field without a value counts as missing.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        let (node, _) = self.left.remove(key)?;
        let value = Value { node, path: self.path.key(key), complaints: self.complaints };
        (node.kind != Kind::Null).then_some(value)
    }

    /// The value of a field that must be there; `why` completes the sentence "is missing; …".
    pub(super) fn require(&mut self, key: &'static str, why: &str) -> Option<Value<'a>> {
        let value = self.take(key);
        if value.is_none() {
            self.complaints.add(self.place, &self.path.key(key), format!("is missing; {why}"));
        }
        value
    }

    pub(super) fn complain(&self, message: impl Into<String>) {
        self.complaints.add(self.place, &self.path, message);
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.take(key)?.text()
    }

    pub(super) fn name(&mut self, key: &'static str) -> Option<Name> {
        self.take(key)?.name()
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.take(key)?;
        match value.node.kind {
            Kind::Bool(bool) => Some(bool),
            Kind::Null | Kind::Number(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => {
                value.mismatch("true or false")
            }
        }
    }

    pub(super) fn parsed<T: FromStr>(&mut self, key: &'static str, expected: &str) -> Option<T> {
        let value = self.take(key)?;
        let text = value.text()?;
        text.parse().ok().or_else(|| value.complain(format!("is {text:?}; write {expected}")))
    }

    pub(super) fn http_url(&mut self, key: &'static str) -> Option<Uri> {
        self.take(key)?.http_url()
    }

    pub(super) fn duration(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let value = self.take(key)?;
        let duration = text::parse(&value.text()?).map_err(|error| value.note(error.to_string())).ok()?;
        if bounds.contains(&duration) {
            return Some(duration);
        }
        let (least, most) = (Human(*bounds.start()), Human(*bounds.end()));
        value.complain(format!("is {}; it must be {least} to {most}", Human(duration)))
    }

    pub(super) fn integer(&mut self, key: &'static str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let value = self.take(key)?;
        match &value.node.kind {
            Kind::Number(number) => {
                let fits =
                    number.value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| bounds.contains(n));
                fits.or_else(|| {
                    let (least, most) = (bounds.start(), bounds.end());
                    value
                        .complain(format!("is {}; it must be a whole number, {least} to {most}", number.text))
                })
            }
            Kind::Null | Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => {
                value.mismatch("a whole number")
            }
        }
    }

    /// A number of bytes: `4MiB`, `512KiB` or a bare number.
    pub(super) fn size(&mut self, key: &'static str, bounds: RangeInclusive<usize>) -> Option<usize> {
        let value = self.take(key)?;
        let text = value.text()?;
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit: Option<usize> = match &text[digits.len()..] {
            "" | "B" => Some(1),
            "KiB" => Some(1024),
            "MiB" => Some(1024 * 1024),
            _ => None,
        };
        let bytes = unit.and_then(|unit| digits.parse::<usize>().ok()?.checked_mul(unit));
        bytes.filter(|bytes| bounds.contains(bytes)).or_else(|| {
            let (least, most) = (bounds.start(), bounds.end());
            value.complain(format!("is {text:?}; write a size like 512KiB or 4MiB, {least} to {most} bytes"))
        })
    }

    pub(super) fn section(&mut self, key: &'static str) -> Option<Self> {
        self.take(key)?.fields()
    }

    /// A list of texts; empty where the field is missing.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        let items = self.take(key).map(|value| value.items()).unwrap_or_default();
        items.into_iter().filter_map(|item| item.text()).collect()
    }

    /// A map of free keys to texts; empty where the field is missing.
    pub(super) fn text_map(&mut self, key: &'static str) -> BTreeMap<String, String> {
        let Some(value) = self.take(key) else { return BTreeMap::new() };
        value.entries().into_iter().filter_map(|(key, inner)| Some((key.to_owned(), inner.text()?))).collect()
    }

    /// Complains about every field that nobody took.
    pub(super) fn finish(self) {
        for (key, (_, place)) in &self.left {
            let known = self.known.join(", ");
            let message = format!("is not a field here; the fields are {known}");
            self.complaints.add(*place, &self.path.key(key), message);
        }
    }
}

// === impl Value ===

impl<'a> Value<'a> {
    pub(super) fn note(&self, message: impl Into<String>) {
        self.complaints.add(self.node.place, &self.path, message);
    }

    pub(super) fn complain<T>(&self, message: impl Into<String>) -> Option<T> {
        self.note(message);
        None
    }

    pub(super) fn mismatch<T>(&self, expected: &str) -> Option<T> {
        self.complain(format!("must be {expected}, but is {}", self.node.describe()))
    }

    /// A map of free keys; empty where it is something else.
    pub(super) fn entries(&self) -> Vec<(&'a str, Self)> {
        let Some(entries) = self.node.entries() else {
            return self.mismatch("a map").unwrap_or_default();
        };
        entries
            .iter()
            .map(|entry| {
                let path = self.path.key(&entry.key);
                (entry.key.as_str(), Self { node: &entry.value, path, complaints: self.complaints })
            })
            .collect()
    }

    /// Text; a number counts as what was written.
    pub(super) fn text(&self) -> Option<String> {
        match &self.node.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Number(number) => Some(number.text.clone()),
            Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => self.mismatch("text"),
        }
    }

    pub(super) fn name(&self) -> Option<Name> {
        let text = self.text()?;
        Name::new(&text).map_err(|error| self.note(error.to_string())).ok()
    }

    /// An `http://` URL. TLS towards an agent on the same machine protects nothing; a remote one needs its own sidecar.
    pub(super) fn http_url(&self) -> Option<Uri> {
        let text = self.text()?;
        let uri = text.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("http"));
        let uri =
            uri.filter(|uri| uri.authority().is_some_and(|authority| !authority.as_str().contains('@')));
        uri.or_else(|| self.complain(format!("is {text:?}; write a URL like http://127.0.0.1:8000")))
    }

    pub(super) fn fields(&self) -> Option<Fields<'a>> {
        Fields::of(self.node, self.path.clone(), self.complaints)
    }

    pub(super) fn items(&self) -> Vec<Value<'a>> {
        let Kind::List(items) = &self.node.kind else {
            return self.mismatch("a list").unwrap_or_default();
        };
        let item = |(at, node)| Value { node, path: self.path.index(at), complaints: self.complaints };
        items.iter().enumerate().map(item).collect()
    }
}
