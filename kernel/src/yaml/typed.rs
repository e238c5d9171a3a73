//! Reading a tree into a typed document, so that an error knows its field and its place.
//!
//! Each level hands its value to serde together with its path; the first error notes where it happened, and outer
//! levels leave the note alone.

use std::cell::RefCell;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{DocumentError, Entry, Kind, Node, Path, Place};

pub(super) fn read<T: DeserializeOwned>(root: &Node) -> Result<T, DocumentError> {
    let (path, noted) = (Path::default(), RefCell::new(None));
    let outcome = Reader { node: root, path: &path, noted: &noted }.hand_to(std::marker::PhantomData::<T>);
    outcome.map_err(|Complaint(message)| {
        let (place, path) = noted.into_inner().unwrap_or((root.place, path.clone()));
        DocumentError { place, path: path.to_string(), message }
    })
}

/// What serde complains about; the place is noted beside it.
#[derive(Debug)]
struct Complaint(String);

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Complaint {}

impl serde::de::Error for Complaint {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    path: &'a Path,
    noted: &'a RefCell<Option<(Place, Path)>>,
}

impl<'a> Reader<'a> {
    fn note<T>(self, place: Place, outcome: Result<T, Complaint>) -> Result<T, Complaint> {
        if outcome.is_err() {
            self.noted.borrow_mut().get_or_insert_with(|| (place, self.path.clone()));
        }
        outcome
    }

    /// Hands the value to serde; whatever goes wrong there has happened here, unless it happened further in.
    fn hand_to<'de, T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Complaint> {
        self.note(self.node.place, seed.deserialize(self))
    }

    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        match &self.node.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(bool) => visitor.visit_bool(*bool),
            Kind::Number(number) => match (number.value.as_u64(), number.value.as_i64()) {
                (Some(n), _) => visitor.visit_u64(n),
                (None, Some(n)) => visitor.visit_i64(n),
                (None, None) => visitor.visit_f64(number.value.as_f64().unwrap_or(f64::MAX)),
            },
            Kind::Text(text) => visitor.visit_str(text),
            Kind::List(items) => visitor.visit_seq(Items { of: self, items: items.iter().enumerate() }),
            Kind::Map(entries) => {
                visitor.visit_map(Fields { of: self, entries: entries.iter(), current: None })
            }
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Complaint;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        self.visit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        match self.node.kind {
            Kind::Null => visitor.visit_none(),
            Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => {
                visitor.visit_some(self)
            }
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        match &self.node.kind {
            // Where text is wanted, `version: 1.10` is the text that was written.
            Kind::Number(number) => visitor.visit_str(&number.text),
            Kind::Null | Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => {
                self.deserialize_any(visitor)
            }
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        self.deserialize_str(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Complaint> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Complaint> {
        match &self.node.kind {
            Kind::Text(variant) => visitor.visit_enum(variant.as_str().into_deserializer()),
            Kind::Map(entries) => match entries.as_slice() {
                [entry] => visitor.visit_enum(Variant { of: self, entry }),
                _ => Err(Complaint::custom("expected exactly one field, which names the kind")),
            },
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) => Err(Complaint::custom(
                format_args!("expected a name or a map, found {}", self.node.describe()),
            )),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'a> {
    of: Reader<'a>,
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Complaint;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Complaint> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let path = self.of.path.index(index);
        Reader { node, path: &path, noted: self.of.noted }.hand_to(seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Fields<'a> {
    of: Reader<'a>,
    entries: std::slice::Iter<'a, Entry>,
    current: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Complaint;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Complaint> {
        self.current = self.entries.next();
        let Some(entry) = self.current else { return Ok(None) };
        let path = self.of.path.key(&entry.key);
        let key = Reader { path: &path, ..self.of };
        // An unknown field is refused here: the note points at its key.
        key.note(entry.place, seed.deserialize(entry.key.as_str().into_deserializer())).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Complaint> {
        let entry =
            self.current.take().ok_or_else(|| Complaint::custom("a value was asked for before its key"))?;
        let path = self.of.path.key(&entry.key);
        Reader { node: &entry.value, path: &path, noted: self.of.noted }.hand_to(seed)
    }
}

/// `{ kind: { … } }`: the single field names the variant.
struct Variant<'a> {
    of: Reader<'a>,
    entry: &'a Entry,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Complaint;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Complaint> {
        let name = seed.deserialize(self.entry.key.as_str().into_deserializer());
        Ok((self.of.note(self.entry.place, name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Complaint;

    fn unit_variant(self) -> Result<(), Complaint> {
        Err(Complaint::custom(format_args!("{:?} takes no fields", self.entry.key)))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Complaint> {
        let path = self.of.path.key(&self.entry.key);
        Reader { node: &self.entry.value, path: &path, noted: self.of.noted }.hand_to(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Complaint> {
        let path = self.of.path.key(&self.entry.key);
        let reader = Reader { node: &self.entry.value, path: &path, noted: self.of.noted };
        reader.note(reader.node.place, reader.visit(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Complaint> {
        self.tuple_variant(0, visitor)
    }
}
