//! Routing documents.

use mainstay_proto::pb;
use serde::Serialize;

use super::finding::FindingView;
use super::value::When;

/// A version of a routing document.
#[derive(Debug, Clone, Serialize)]
pub struct RoutingView {
    /// Its name.
    pub name: String,
    /// From 1.
    pub version: u32,
    /// BLAKE3 of the canonical document.
    pub hash: String,
    /// What it is for.
    pub description: String,
    /// How many rules it has.
    pub rule_count: u32,
    /// When it was put.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<When>,
    /// The document as it was put; left out of lists.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub document: String,
}

/// What `routes put` answers.
#[derive(Debug, Clone, Serialize)]
pub struct PutView {
    /// The routing document.
    pub routing: RoutingView,
    /// False if this very document was there already.
    pub created: bool,
    /// What it probably does not mean.
    pub warnings: Vec<FindingView>,
}

impl From<pb::Routing> for RoutingView {
    fn from(routing: pb::Routing) -> Self {
        Self {
            name: routing.name,
            version: routing.version,
            hash: routing.hash,
            description: routing.description,
            rule_count: routing.rule_count,
            created_at: When::of(routing.created_at.as_ref()),
            document: routing.document,
        }
    }
}
