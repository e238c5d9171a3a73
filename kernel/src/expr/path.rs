//! Paths into JSON text, followed without parsing what lies beside them.

use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Most keys named in the message about one that is missing.
const MAX_KEYS_SHOWN: usize = 8;

/// A step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Field(String),
    Item(u64),
}

impl Segment {
    /// The field it leads to, if it is one.
    pub(super) fn field(&self) -> Option<&str> {
        match self {
            Self::Field(name) => Some(name),
            Self::Item(_) => None,
        }
    }
}

/// The text of the value that `segments` lead to in `text`.
pub(super) fn follow<'a>(text: &'a str, segments: &[Segment]) -> Result<&'a str, String> {
    segments.iter().try_fold(text, |text, segment| {
        let kind = describe(text);
        let found = match (segment, kind) {
            (Segment::Field(name), "a map") => field(text, name)?,
            (Segment::Item(index), "a list") => item(text, *index)?,
            (Segment::Field(name), _) => {
                return Err(format!("has no field `{name}`: it is {kind}, not a map"));
            }
            (Segment::Item(index), _) => {
                return Err(format!("has no item {index}: it is {kind}, not a list"));
            }
        };
        Ok(found)
    })
}

/// What the JSON `text` is, for a message.
pub(super) fn describe(text: &str) -> &'static str {
    match text.trim_start().bytes().next() {
        Some(b'{') => "a map",
        Some(b'[') => "a list",
        Some(b'"') => "text",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn field<'a>(text: &'a str, name: &str) -> Result<&'a str, String> {
    let visitor = Field { name, others: Vec::new() };
    // A text that is not JSON cannot be here; if it were, its error is the message.
    let found = serde_json::Deserializer::from_str(text).deserialize_map(visitor);
    found.map(RawValue::get).map_err(|error| without_position(&error))
}

fn item(text: &str, index: u64) -> Result<&str, String> {
    let found = serde_json::Deserializer::from_str(text).deserialize_seq(Item { index });
    found.map(RawValue::get).map_err(|error| without_position(&error))
}

fn without_position(error: &serde_json::Error) -> String {
    let shown = error.to_string();
    shown.rsplit_once(" at line ").map_or(shown.clone(), |(message, _)| message.to_owned())
}

struct Field<'n> {
    name: &'n str,
    others: Vec<String>,
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = &'de RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = entries.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == self.name {
                // Reading on to the end keeps the reader in step; keys come once, as `Json::parse` made sure.
                found = Some(entries.next_value()?);
                continue;
            }
            if self.others.len() < MAX_KEYS_SHOWN {
                self.others.push(format!("`{}`", super::shorten(&key)));
            }
            entries.next_value::<IgnoredAny>()?;
        }
        found.ok_or_else(|| {
            let others = if self.others.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", self.others.join(", "))
            };
            A::Error::custom(format_args!("has no field `{}`; {others}", self.name))
        })
    }
}

struct Item {
    index: u64,
}

impl<'de> Visitor<'de> for Item {
    type Value = &'de RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let (mut found, mut length) = (None, 0_u64);
        while let Some(item) = items.next_element::<&RawValue>()? {
            if length == self.index {
                found = Some(item);
            }
            length += 1;
        }
        found.ok_or_else(|| A::Error::custom(format_args!("has no item {}; it has {length}", self.index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"a": [1, {"b\"c": 123456789012345678901234567890}], "d": null}"#;

    fn field(name: &str) -> Segment {
        Segment::Field(name.to_owned())
    }

    #[test]
    fn a_path_leads_to_the_very_text() {
        assert_eq!(follow(TEXT, &[]), Ok(TEXT));
        let path = [field("a"), Segment::Item(1), field("b\"c")];
        assert_eq!(follow(TEXT, &path), Ok("123456789012345678901234567890"));
    }

    #[test]
    fn a_path_that_ends_early_says_where_and_what_is_there() {
        assert_eq!(follow(TEXT, &[field("x")]).unwrap_err(), "has no field `x`; it has `a`, `d`");
        assert_eq!(
            follow(TEXT, &[field("d"), field("x")]).unwrap_err(),
            "has no field `x`: it is null, not a map"
        );
        assert_eq!(follow(TEXT, &[field("a"), Segment::Item(2)]).unwrap_err(), "has no item 2; it has 2");
    }
}
