//! What is found in documents of any kind.

use mainstay_kernel::document::Problem;
use mainstay_proto::pb;
use serde::Serialize;

use super::value::word;

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

/// What `workflows lint` and `routes lint` answer for one document.
#[derive(Debug, Clone, Serialize)]
pub struct LintView {
    /// The file.
    pub file: String,
    /// What was found; empty means nothing to say.
    pub findings: Vec<FindingView>,
}

impl FindingView {
    fn new(severity: &str, problem: &Problem) -> Self {
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

    /// Problems for which a document is refused.
    #[must_use]
    pub fn errors(problems: &[Problem]) -> Vec<Self> {
        problems.iter().map(|problem| Self::new("error", problem)).collect()
    }

    /// Problems with which it is accepted.
    #[must_use]
    pub fn warnings(problems: &[Problem]) -> Vec<Self> {
        problems.iter().map(|problem| Self::new("warning", problem)).collect()
    }

    /// Whether the document is refused for it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == "error"
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
