//! Workflow documents and what is found in them.

use mainstay_kernel::workflow::Problem;
use mainstay_proto::pb;
use serde::Serialize;

use super::value::{When, word};

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

/// Something found in a document.
#[derive(Debug, Clone, Serialize)]
pub struct FindingView {
    /// `error` or `warning`.
    pub severity: String,
    /// The code; `mainstay explain CODE` prints its page.
    pub code: String,
    /// The field.
    pub path: String,
    /// From 1; 0 if not known.
    pub line: u32,
    /// From 1; 0 if not known.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// What `workflows lint` answers for one document.
#[derive(Debug, Clone, Serialize)]
pub struct LintView {
    /// The file.
    pub file: String,
    /// What was found; empty means nothing to say.
    pub findings: Vec<FindingView>,
}

impl FindingView {
    /// A problem that the kernel found.
    #[must_use]
    pub fn new(severity: &str, problem: &Problem) -> Self {
        Self {
            severity: severity.to_owned(),
            code: problem.code.to_string(),
            path: problem.path.clone(),
            line: problem.line().unwrap_or(0),
            column: problem.column().unwrap_or(0),
            message: problem.message.clone(),
            hint: problem.hint.clone(),
        }
    }

    /// Whether the document is refused for it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == "error"
    }
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

impl From<pb::Finding> for FindingView {
    fn from(finding: pb::Finding) -> Self {
        let severity = pb::Severity::try_from(finding.severity).ok().map(|severity| severity.as_str_name());
        Self {
            severity: word(severity, "SEVERITY_"),
            code: finding.code,
            path: finding.path,
            line: finding.line,
            column: finding.column,
            message: finding.message,
            hint: finding.hint,
        }
    }
}
