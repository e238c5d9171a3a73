//! Measuring a schema before it is compiled.
//!
//! The walk treats every object as a place where rules may stand, also under keywords it does not know: a JSON pointer
//! may refer to any of them. Only what can never be a rule is passed over: `const`, `enum`, `default` and `examples`
//! hold data, and the keys of `properties` and its kin are names.

use std::collections::HashMap;

use serde_json::Value;

use super::{DIALECT, MAX_PATHS, MAX_PATTERNS, MAX_SCHEMA_DEPTH, MAX_SCHEMA_NODES, SchemaError};

/// A value's address stands for it: the tree does not move while it is measured.
type Id = *const Value;

pub(super) fn measure(root: &Value) -> Result<(), SchemaError> {
    let mut survey = Survey::default();
    survey.visit(root, &mut Vec::new(), Position::Schema)?;
    let mut unfold = Unfold { root, survey: &survey, counted: HashMap::new(), standing: Vec::new() };
    let paths = unfold.paths(root)?;
    if paths > MAX_PATHS { Err(SchemaError::TooManyPaths { paths }) } else { Ok(()) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Rules may stand here.
    Schema,
    /// The keys are names, the values are schemas: `properties`.
    Names,
}

/// What the walk finds.
#[derive(Default)]
struct Survey<'a> {
    nodes: usize,
    patterns: usize,
    anchors: HashMap<&'a str, &'a Value>,
    /// Each object's references, and its children.
    places: HashMap<Id, Place<'a>>,
}

#[derive(Default)]
struct Place<'a> {
    pointer: String,
    references: Vec<&'a str>,
    children: Vec<&'a Value>,
}

impl<'a> Survey<'a> {
    fn visit(
        &mut self,
        value: &'a Value,
        path: &mut Vec<String>,
        position: Position,
    ) -> Result<(), SchemaError> {
        let (Value::Object(_) | Value::Array(_)) = value else { return Ok(()) };
        if path.len() >= MAX_SCHEMA_DEPTH {
            return Err(SchemaError::TooDeep { path: pointer(path) });
        }
        self.nodes += 1;
        if self.nodes > MAX_SCHEMA_NODES {
            return Err(SchemaError::TooManyNodes);
        }
        let mut place = Place { pointer: pointer(path), ..Place::default() };
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    place.children.push(item);
                    self.step(item, path, index.to_string(), Position::Schema)?;
                }
            }
            Value::Object(fields) => {
                for (key, field) in fields {
                    let inner = match position {
                        Position::Names => Position::Schema,
                        Position::Schema => match self.keyword(key, field, path, &mut place)? {
                            Some(inner) => inner,
                            None => continue,
                        },
                    };
                    place.children.push(field);
                    self.step(field, path, key.clone(), inner)?;
                }
                if position == Position::Schema {
                    self.anchor(fields, value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        self.places.insert(std::ptr::from_ref(value), place);
        Ok(())
    }

    fn step(
        &mut self,
        value: &'a Value,
        path: &mut Vec<String>,
        segment: String,
        position: Position,
    ) -> Result<(), SchemaError> {
        path.push(segment);
        let outcome = self.visit(value, path, position);
        path.pop();
        outcome
    }

    /// How the value of `key` is to be read; nothing if no rule can stand in it.
    fn keyword(
        &mut self,
        key: &str,
        field: &'a Value,
        path: &[String],
        place: &mut Place<'a>,
    ) -> Result<Option<Position>, SchemaError> {
        match (key, field) {
            ("$ref" | "$dynamicRef", Value::String(reference)) => {
                if !reference.starts_with('#') {
                    let (reference, path) = (reference.clone(), pointer(path));
                    return Err(SchemaError::RemoteReference { reference, path });
                }
                place.references.push(reference);
                Ok(None)
            }
            ("$schema", Value::String(dialect)) if dialect.trim_end_matches('#') != DIALECT => {
                Err(SchemaError::UnknownDialect { dialect: dialect.clone() })
            }
            ("$id", Value::String(_)) if !path.is_empty() => {
                Err(SchemaError::EmbeddedId { path: pointer(path) })
            }
            ("pattern", Value::String(_)) => self.patterns(1).map(|()| None),
            ("patternProperties", Value::Object(patterns)) => {
                self.patterns(patterns.len()).map(|()| Some(Position::Names))
            }
            ("const" | "enum" | "default" | "examples", _) => Ok(None),
            ("properties" | "$defs" | "definitions" | "dependentSchemas", _) => Ok(Some(Position::Names)),
            _ => Ok(Some(Position::Schema)),
        }
    }

    const fn patterns(&mut self, more: usize) -> Result<(), SchemaError> {
        self.patterns += more;
        if self.patterns > MAX_PATTERNS { Err(SchemaError::TooManyPatterns) } else { Ok(()) }
    }

    fn anchor(&mut self, fields: &'a serde_json::Map<String, Value>, value: &'a Value) {
        for key in ["$anchor", "$dynamicAnchor"] {
            if let Some(Value::String(name)) = fields.get(key) {
                self.anchors.insert(name, value);
            }
        }
    }
}

/// Counts the paths below each place once.
struct Unfold<'s, 'a> {
    root: &'a Value,
    survey: &'s Survey<'a>,
    counted: HashMap<Id, u64>,
    /// The places between the root and here: meeting one again means the schema is recursive.
    standing: Vec<Id>,
}

impl<'a> Unfold<'_, 'a> {
    fn paths(&mut self, value: &'a Value) -> Result<u64, SchemaError> {
        let id = std::ptr::from_ref(value);
        if let Some(&known) = self.counted.get(&id) {
            return Ok(known);
        }
        let survey = self.survey;
        let Some(place) = survey.places.get(&id) else { return Ok(1) };
        self.standing.push(id);
        let mut sum = 1_u64;
        for child in &place.children {
            sum = sum.saturating_add(self.paths(child)?);
        }
        for &reference in &place.references {
            let target = self.resolve(reference).ok_or_else(|| SchemaError::UnknownReference {
                reference: reference.to_owned(),
                path: place.pointer.clone(),
            })?;
            if self.standing.contains(&std::ptr::from_ref(target)) {
                let (reference, path) = (reference.to_owned(), place.pointer.clone());
                return Err(SchemaError::Recursive { reference, path });
            }
            sum = sum.saturating_add(self.paths(target)?);
        }
        self.standing.pop();
        self.counted.insert(id, sum);
        Ok(sum)
    }

    fn resolve(&self, reference: &str) -> Option<&'a Value> {
        let fragment = percent_decoded(reference.strip_prefix('#')?)?;
        if fragment.is_empty() || fragment.starts_with('/') {
            let target = self.root.pointer(&fragment)?;
            // Data (`const`, `enum` …) is no place for rules: the walk has not measured it.
            let measured = self.survey.places.contains_key(&std::ptr::from_ref(target));
            (measured || target.is_boolean()).then_some(target)
        } else {
            self.survey.anchors.get(fragment.as_str()).copied()
        }
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digit = |b: u8| char::from(b).to_digit(16);
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(out).ok()
}

fn pointer(path: &[String]) -> String {
    path.iter().map(|segment| format!("/{}", segment.replace('~', "~0").replace('/', "~1"))).collect()
}
