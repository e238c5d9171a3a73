//! Workflow documents.

use mainstay_proto::pb;
use serde::Serialize;

use super::finding::FindingView;
use super::value::When;

/// A version of a workflow.
#[derive(Debug, Clone, Serialize)]
pub struct WorkflowView {
    /// Its name.
    pub name: String,
    /// From 1.
    pub version: u32,
    /// BLAKE3 of the canonical document.
    pub hash: String,
    /// What it is for.
    pub description: String,
    /// How many steps it has.
    pub step_count: u32,
    /// When it was put.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<When>,
    /// The document as it was put; left out of lists.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub document: String,
}

/// What `workflows put` answers.
#[derive(Debug, Clone, Serialize)]
pub struct PutView {
    /// The workflow.
    pub workflow: WorkflowView,
    /// False if this very document was there already.
    pub created: bool,
    /// What it probably does not mean.
    pub warnings: Vec<FindingView>,
}

impl From<pb::Workflow> for WorkflowView {
    fn from(workflow: pb::Workflow) -> Self {
        Self {
            name: workflow.name,
            version: workflow.version,
            hash: workflow.hash,
            description: workflow.description,
            step_count: workflow.step_count,
            created_at: When::of(workflow.created_at.as_ref()),
            document: workflow.document,
        }
    }
}
