//! What `workflows test` answers.

use mainstay_kernel::rehearsal::{Miss, Verdict};
use serde::Serialize;

/// The cases of one document.
#[derive(Debug, Clone, Serialize)]
pub struct RehearsalView {
    /// The file.
    pub file: String,
    /// The workflow, with its version.
    pub workflow: String,
    /// The cases, in order.
    pub cases: Vec<CaseView>,
}

/// One case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseView {
    /// Its name.
    pub name: String,
    /// Whether everything was as expected.
    pub passed: bool,
    /// How its run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    /// How long it took in its own time, in milliseconds.
    pub elapsed_ms: u64,
    /// The calls that were begun, as `STEP CAPABILITY`, in order.
    pub calls: Vec<String>,
    /// What was not as expected.
    pub misses: Vec<Miss>,
}

impl CaseView {
    /// Whether everything was as expected.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.passed
    }
}

impl From<Verdict> for CaseView {
    fn from(verdict: Verdict) -> Self {
        Self {
            passed: verdict.passed(),
            status: verdict.status.map(|state| state.as_str()),
            name: verdict.name,
            elapsed_ms: verdict.elapsed_ms,
            calls: verdict.calls,
            misses: verdict.misses,
        }
    }
}
