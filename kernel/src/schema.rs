//! JSON Schema (draft 2020-12) from people we do not trust.
//!
//! A schema is a program that strangers hand us and that runs on every call. Before it is compiled it is measured:
//! size, depth, nodes, patterns, and how many paths its references unfold to. Twenty lines in which each definition
//! refers twice to the next unfold to a million paths and seconds of work per call; counting them (memoised, without
//! unfolding) takes microseconds. What passes runs in time linear in the instance, at most [`MAX_PATHS`] steps for each
//! of its values, and never leaves the process: references point into the schema itself, patterns run on an engine
//! without backtracking.
//!
//! Recursive schemas are refused. What they cost depends on the instance, exponentially where a definition refers to
//! itself twice for the same value, and no limit on the schema alone can tell. A contract for a tree says how deep the
//! tree may be, or leaves the inside open.
//!
//! This is the only module that knows the validation library.

use std::fmt;
use std::sync::Arc;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use crate::json::Json;

mod measure;
#[cfg(test)]
mod tests;

/// Longest schema in bytes: the largest contracts of real tools take a tenth of it.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// Deepest nesting of objects and lists in a schema: half of what JSON may nest, far more than people write.
pub const MAX_SCHEMA_DEPTH: usize = 32;
/// Most objects and lists in a schema: bounds what compiling it costs.
pub const MAX_SCHEMA_NODES: usize = 1_000;
/// Most paths from the root once references are unfolded: bounds the work per value of an instance.
pub const MAX_PATHS: u64 = 10_000;
/// Most regular expressions in a schema; with [`MAX_PATTERN_BYTES`] they take at most 32 MiB compiled.
pub const MAX_PATTERNS: usize = 64;
/// Largest compiled regular expression in bytes: room for `^[\w-]{1,64}$`, none for `(a{1000}){1000}`.
pub const MAX_PATTERN_BYTES: usize = 512 * 1024;
/// Most violations reported for one instance: enough to mend it, short enough for a message.
pub const MAX_VIOLATIONS: usize = 8;
/// Longest message of a violation in characters: values of an instance may be megabytes, and secret.
const MAX_MESSAGE_CHARS: usize = 200;

/// The one dialect Mainstay speaks.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Why a schema is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// More than [`MAX_SCHEMA_BYTES`].
    #[error("the schema is {bytes} bytes long; at most {MAX_SCHEMA_BYTES} are allowed")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Nested deeper than [`MAX_SCHEMA_DEPTH`].
    #[error("the schema is nested more than {MAX_SCHEMA_DEPTH} deep at {path:?}")]
    TooDeep {
        /// JSON pointer into the schema.
        path: String,
    },
    /// More than [`MAX_SCHEMA_NODES`] objects and lists.
    #[error("the schema has more than {MAX_SCHEMA_NODES} objects and lists")]
    TooManyNodes,
    /// More than [`MAX_PATTERNS`] regular expressions.
    #[error("the schema has more than {MAX_PATTERNS} regular expressions")]
    TooManyPatterns,
    /// Its references unfold to more than [`MAX_PATHS`] paths.
    #[error("the references of the schema unfold to {paths} paths; at most {MAX_PATHS} are allowed")]
    TooManyPaths {
        /// How many paths there are.
        paths: u64,
    },
    /// A reference to another document.
    #[error(
        "{reference:?} at {path:?} refers to another document; only references within the schema (\"#/…\") are followed"
    )]
    RemoteReference {
        /// The reference.
        reference: String,
        /// JSON pointer into the schema.
        path: String,
    },
    /// A reference to nothing.
    #[error("{reference:?} at {path:?} refers to nothing in the schema")]
    UnknownReference {
        /// The reference.
        reference: String,
        /// JSON pointer into the schema.
        path: String,
    },
    /// A definition that leads back to itself.
    #[error(
        "the schema refers to itself through {reference:?} at {path:?}; say how deep it may nest, or leave the inside open"
    )]
    Recursive {
        /// The reference that closes the circle.
        reference: String,
        /// JSON pointer into the schema.
        path: String,
    },
    /// An `$id` below the root, which would change what references mean.
    #[error("\"$id\" at {path:?} is below the root; use \"$anchor\" or \"$defs\"")]
    EmbeddedId {
        /// JSON pointer into the schema.
        path: String,
    },
    /// A `$schema` other than draft 2020-12.
    #[error("\"$schema\" is {dialect:?}; only \"{DIALECT}\" is spoken")]
    UnknownDialect {
        /// What it says.
        dialect: String,
    },
    /// It breaks the rules of JSON Schema, or a pattern needs backtracking or is too large.
    #[error("the schema is invalid at {path:?}: {message}")]
    Invalid {
        /// JSON pointer into the schema.
        path: String,
        /// What is wrong.
        message: String,
    },
}

impl SchemaError {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "SCHEMA_TOO_LONG",
            Self::TooDeep { .. } => "SCHEMA_TOO_DEEP",
            Self::TooManyNodes => "SCHEMA_TOO_MANY_NODES",
            Self::TooManyPatterns => "SCHEMA_TOO_MANY_PATTERNS",
            Self::TooManyPaths { .. } => "SCHEMA_TOO_MANY_PATHS",
            Self::RemoteReference { .. } => "SCHEMA_REMOTE_REF",
            Self::UnknownReference { .. } => "SCHEMA_UNKNOWN_REF",
            Self::Recursive { .. } => "SCHEMA_RECURSIVE",
            Self::EmbeddedId { .. } => "SCHEMA_EMBEDDED_ID",
            Self::UnknownDialect { .. } => "SCHEMA_UNKNOWN_DIALECT",
            Self::Invalid { .. } => "SCHEMA_INVALID",
        }
    }
}

/// One way in which an instance breaks its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer to the value at fault.
    pub instance_path: String,
    /// JSON pointer to the rule it breaks.
    pub schema_path: String,
    /// What is wrong, shortened.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.instance_path.is_empty() { "/" } else { &self.instance_path };
        write!(f, "{at}: {}", self.message)
    }
}

/// A compiled schema. Cheap to clone.
#[derive(Clone)]
pub struct Schema {
    source: Json,
    /// Nothing where every value passes.
    validator: Option<Arc<Validator>>,
}

impl Schema {
    /// Measures and compiles `source`.
    pub fn compile(source: &Json) -> Result<Self, SchemaError> {
        let bytes = source.as_str().len();
        if bytes > MAX_SCHEMA_BYTES {
            return Err(SchemaError::TooLong { bytes });
        }
        let schema = source.value();
        measure::measure(&schema)?;
        if accepts_everything(&schema) {
            return Ok(Self { source: source.clone(), validator: None });
        }
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES))
            .offline()
            .build(&schema)
            .map_err(|error| SchemaError::Invalid {
                path: error.instance_path().to_string(),
                message: shorten(&error.to_string()),
            })?;
        Ok(Self { source: source.clone(), validator: Some(Arc::new(validator)) })
    }

    /// The schema every value meets.
    #[must_use]
    pub fn anything() -> Self {
        Self { source: Json::from(&Value::Bool(true)), validator: None }
    }

    /// Whether every value meets it, so that checking can be skipped.
    #[must_use]
    pub const fn accepts_anything(&self) -> bool {
        self.validator.is_none()
    }

    /// The schema as it was given.
    #[must_use]
    pub const fn source(&self) -> &Json {
        &self.source
    }

    /// Checks `instance`, which is parsed only if there is something to check. At most [`MAX_VIOLATIONS`] are reported.
    pub fn check(&self, instance: &Json) -> Result<(), Vec<Violation>> {
        if self.accepts_anything() { Ok(()) } else { self.check_value(&instance.value()) }
    }

    /// Checks `instance`. At most [`MAX_VIOLATIONS`] are reported.
    pub fn check_value(&self, instance: &Value) -> Result<(), Vec<Violation>> {
        let Some(validator) = &self.validator else { return Ok(()) };
        if validator.is_valid(instance) {
            return Ok(());
        }
        let violations = validator.iter_errors(instance).take(MAX_VIOLATIONS).map(|error| Violation {
            instance_path: error.instance_path().to_string(),
            schema_path: error.schema_path().to_string(),
            message: shorten(&error.to_string()),
        });
        Err(violations.collect())
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({})", self.source)
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Schema {}

/// `true`, `{}`, and objects that only describe.
fn accepts_everything(schema: &Value) -> bool {
    const DESCRIBING: [&str; 11] = [
        "$schema",
        "$id",
        "$comment",
        "$defs",
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
    ];
    match schema {
        Value::Bool(accepts) => *accepts,
        Value::Object(fields) => fields.keys().all(|key| DESCRIBING.contains(&key.as_str())),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}

fn shorten(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((at, _)) => format!("{}…", message.get(..at).unwrap_or_default()),
        None => message.to_owned(),
    }
}
