//! Documents people write: workflows and manifests, as YAML or as JSON (which YAML contains).
//!
//! The text becomes a tree of [`Node`]s that know where they stand, and everything else reads the tree: a typed
//! document through [`from_str`], a workflow node by node so that *all* its mistakes are reported together. Either way
//! an error says line, column and field. This is the only module that knows the YAML library.
//!
//! YAML from strangers is dangerous in known ways, closed here: aliases that multiply (a few hundred bytes unfolding to
//! gigabytes) run into a budget of replayed nodes and bytes; depth is bounded before recursion; a key given twice is an
//! error, not a silent choice; `yes` and `no` are text, not booleans, so Norway may stay a country.

use std::fmt;

use serde::de::DeserializeOwned;

mod node;
#[cfg(test)]
mod tests;
mod typed;

pub use self::node::{Entry, Kind, Node, Number, Path, Segment};

/// Longest document in bytes. A workflow of 500 steps with schemas stays well below; reading one takes milliseconds.
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// Deepest nesting, twice what people write. The reader recurses, and without optimisation takes 40 KiB of stack a level:
/// this much fits the 2 MiB of a thread, twice as much does not.
pub const MAX_DEPTH: usize = 32;
/// Most values in a document, aliases unfolded: ten times a workflow of 500 steps with eight fields each.
pub const MAX_NODES: usize = 65_536;
/// Most text in a document in bytes, aliases unfolded: four times what it may be long itself.
const MAX_SCALAR_BYTES: usize = 4 * MAX_DOCUMENT_BYTES;
/// Most values that come from unfolding aliases. Sharing a retry policy among 500 steps needs 3,000.
const MAX_REPLAYED: usize = 16_384;

/// Where something begins in a document, counted from 1. Zero where the place is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentError {
    /// Where.
    pub place: Place,
    /// The field, like `steps[2].after[0]`; empty for the document as a whole.
    pub path: String,
    /// What is wrong, in a sentence without a full stop.
    pub message: String,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.line > 0 {
            write!(f, "line {}, column {}: ", self.place.line, self.place.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for DocumentError {}

/// Reads a document into a `T`. Unknown fields are errors where `T` denies them (`#[serde(deny_unknown_fields)]`).
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, DocumentError> {
    typed::read(&parse(text)?)
}

/// Reads a part of a document into a `T`; paths in errors begin at `node`.
pub fn from_node<T: DeserializeOwned>(node: &Node) -> Result<T, DocumentError> {
    typed::read(node)
}

/// Reads a document into a tree that knows its places.
pub fn parse(text: &str) -> Result<Node, DocumentError> {
    if text.len() > MAX_DOCUMENT_BYTES {
        let message = format!("is {} bytes long; at most {MAX_DOCUMENT_BYTES} are allowed", text.len());
        return Err(DocumentError { place: Place::default(), path: String::new(), message });
    }
    node::read(text)
}
