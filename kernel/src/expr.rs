//! Expressions and mappings: how one step's output becomes the next one's input.
//!
//! A [`Mapping`] is a JSON value in whose strings `${ … }` holds an expression in CEL, the Common Expression Language:
//! it has no loops but bounded ones, no side effects, and people know it from Kubernetes and Envoy. A string that is
//! one expression becomes its value, whatever its type; text around it makes it text. `$${` writes a literal `${`.
//!
//! Expressions see `input` (the run's), `steps.<id>.output` and `steps.<id>.ok` of steps before them, `context.<name>`
//! that the run read of the shared context, `run.id` and `run.intent`. The output of an optional step that was skipped or failed is `null` and its `ok` is false.
//!
//! A mapping that is evaluated for each item of a list ([`Mapping::compile_for_items`]) also sees `item` and `index`.
//!
//! A [`Condition`] is one expression that is true or false of a request: it sees `input`, `labels` and `tenant`, and
//! nothing of a run.
//!
//! # Most expressions are only a way into a value
//! `${steps.research.output.options}` moves data; it computes nothing. Such a path never becomes a tree: it is followed
//! in the JSON text, and the text it leads to is copied. That is fast, and it is exact: a number of 30 digits arrives
//! with its 30 digits. Everything else goes through CEL, for which only the values it mentions are parsed.
//!
//! # What a stranger's expression may cost
//! Its source is bounded, comprehensions nest at most twice, and before one runs the work it could do is bounded from
//! the sizes of the very values it would read ([`MAX_COST`]): the expression that would take a minute or a gigabyte is
//! refused, not stopped. Names and functions it does not know are found when the document is read, not in the run. The
//! library is the only foreign code that sees the text; should it panic, that is an error of this expression.
//!
//! This is the only module that knows the CEL library.

use std::collections::BTreeMap;
use std::fmt;

use crate::id::RunId;
use crate::json::Json;
use crate::yaml::Path;

mod condition;
mod convert;
mod cost;
mod eval;
mod expression;
mod mapping;
mod order;
mod path;
mod template;
#[cfg(test)]
mod tests;

pub use self::condition::{Condition, Ended, Facts};
pub use self::mapping::{Mapping, Shape};

/// Longest expression in bytes. What is longer belongs into an agent.
pub const MAX_SOURCE_BYTES: usize = 4 * 1024;
/// How deep comprehensions may nest: over lists of [`MAX_ITEMS`] two are a million steps, three would be a billion.
pub const MAX_COMPREHENSION_DEPTH: usize = 2;
/// Longest list that may stand in a value an expression with a comprehension reads.
pub const MAX_ITEMS: usize = 1_000;
/// Deepest nesting of an expression itself. The library recurses where it evaluates, and without optimisation this much
/// takes half of a thread's 2 MiB of stack; people write five.
pub const MAX_EXPRESSION_DEPTH: usize = 24;
/// The most work one expression may do, in bytes of values touched and built, an operation counting as a few. In the
/// worst case 64 MiB are a fraction of a second, and memory of that order.
pub const MAX_COST: u64 = 64 * 1024 * 1024;
/// Most values and expressions in one mapping: a mapping describes a message, it does not contain a data set.
pub const MAX_MAPPING_NODES: usize = 10_000;
/// Largest JSON a mapping may build in bytes: the largest message an agent may be sent.
pub const MAX_OUTPUT_BYTES: usize = crate::json::Limits::DEFAULT_MAX_BYTES;

/// An expression that cannot be compiled, or a mapping that is too large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// Where in the mapping.
    pub path: Path,
    /// The expression, shortened; empty if it is not about one.
    pub expression: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(f, &self.path.to_string(), &self.expression, &self.message)
    }
}

impl std::error::Error for CompileError {}

/// An expression that has no value for this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExprError {
    /// Where in the mapping, like `options[0].price`.
    pub path: String,
    /// The expression, shortened.
    pub expression: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(f, &self.path, &self.expression, &self.message)
    }
}

impl std::error::Error for ExprError {}

fn display(f: &mut fmt::Formatter<'_>, path: &str, expression: &str, message: &str) -> fmt::Result {
    if !path.is_empty() {
        write!(f, "{path}: ")?;
    }
    if !expression.is_empty() {
        write!(f, "`{expression}`: ")?;
    }
    f.write_str(message)
}

/// What a mapping touches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct References {
    /// Whether it reads the run's input.
    pub input: bool,
    /// Whether it reads the run's id or intent.
    pub run: bool,
    /// What it reads of the shared context, and where in the mapping first.
    pub context: BTreeMap<String, Path>,
    /// The steps it reads, and how.
    pub steps: BTreeMap<String, StepUse>,
}

/// How a mapping reads a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUse {
    /// Where in the mapping it is read first.
    pub path: Path,
    /// Where it is read in a way that fails if there is no output: a field of it, in an expression that asks neither
    /// `steps.<id>.ok` nor `has(…)` nor compares with `null`.
    pub unguarded: Option<Path>,
}

/// What has become of the steps of a run, as far as mappings are concerned.
pub trait Outputs {
    /// The output of `step`; nothing if it was skipped or failed, or has not ended.
    fn output(&self, step: &str) -> Option<&Json>;
}

impl Outputs for BTreeMap<String, Json> {
    fn output(&self, step: &str) -> Option<&Json> {
        self.get(step)
    }
}

/// The values a mapping is evaluated over.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The run's input.
    pub input: &'a Json,
    /// The run's id.
    pub run: RunId,
    /// The run's intent.
    pub intent: &'a str,
    /// What the run read of the shared context: an object, by names.
    pub context: &'a Json,
    /// The steps' outputs.
    pub outputs: &'a dyn Outputs,
}

/// An item of a list, for mappings that are evaluated for each.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// The item, as `item`.
    pub value: &'a Json,
    /// Its place in the list, from 0, as `index`.
    pub index: usize,
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("input", self.input).field("run", &self.run).finish_non_exhaustive()
    }
}

/// An expression or a value for a message.
fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 160;
    match text.char_indices().nth(MAX_CHARS) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
