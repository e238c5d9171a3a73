//! JSON text to CEL values and back.
//!
//! Whole numbers stay whole: `1` becomes a CEL `int` and comes back as `1`, `1.0` a `double` that comes back as `1.0`;
//! what is beyond 64 bits becomes a double. There is no JSON for bytes, types, infinities or keys that are not text, so
//! a result that holds one is an error instead of a guess.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cel::Value;
use cel::objects::{Key, Map};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// The CEL value of the JSON `text`; `longest` grows to the length of its longest list or map.
pub(super) fn from_json(text: &str, longest: &mut usize) -> Result<Value, String> {
    Reader { longest }
        .deserialize(&mut serde_json::Deserializer::from_str(text))
        .map_err(|error| error.to_string())
}

struct Reader<'l> {
    longest: &'l mut usize,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, bool: bool) -> Result<Value, E> {
        Ok(Value::Bool(bool))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::UInt(number), Value::Int))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(Arc::new(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Reader { longest: self.longest })? {
            list.push(item);
        }
        *self.longest = (*self.longest).max(list.len());
        Ok(Value::List(Arc::new(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = HashMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            map.insert(
                Key::String(Arc::new(key)),
                entries.next_value_seed(Reader { longest: self.longest })?,
            );
        }
        *self.longest = (*self.longest).max(map.len());
        Ok(Value::Map(Map { map: Arc::new(map) }))
    }
}

/// The JSON of a CEL value.
pub(super) fn to_json(value: &Value) -> Result<serde_json::Value, String> {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "what has no JSON is refused, whatever the library adds"
    )]
    match value {
        Value::Null => Ok(serde_json::Value::Null),
        Value::Bool(bool) => Ok((*bool).into()),
        Value::Int(number) => Ok((*number).into()),
        Value::UInt(number) => Ok((*number).into()),
        Value::Float(number) => serde_json::Number::from_f64(*number)
            .map(Into::into)
            .ok_or_else(|| format!("its value is {number}, which JSON cannot hold")),
        Value::String(text) => Ok(text.as_str().into()),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(map) => {
            // In order, so that of several keys that cannot be, the same one is named each time.
            let mut entries: Vec<_> = map.map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            let fields = entries.into_iter().map(|(key, value)| match key {
                Key::String(key) => Ok((key.to_string(), to_json(value)?)),
                Key::Int(_) | Key::Uint(_) | Key::Bool(_) => {
                    Err(format!("its value has the key {key}; keys of JSON are text: write string({key})"))
                }
            });
            fields.collect::<Result<serde_json::Map<_, _>, _>>().map(serde_json::Value::Object)
        }
        other => Err(format!("its value is of type {}, which JSON does not have", other.type_of())),
    }
}
