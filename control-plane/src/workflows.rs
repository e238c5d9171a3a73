//! The catalogue of workflows: documents put once, pinned by runs for ever.

use mainstay_kernel::document::{DocumentHash, Problem};
use mainstay_kernel::name::Name;
use mainstay_kernel::workflow::Workflow;
use mainstay_proto::reason::Reason;

use crate::documents::{self, Document, Kind};
use crate::records::document::Keys;
use crate::records::key;

/// The catalogue. Cheap to clone.
pub type Handle = documents::Handle<Workflow>;

static WORKFLOW: Kind = Kind {
    keys: Keys { ordinal: key::WORKFLOW, noun: "workflow" },
    invalid: Reason::WorkflowInvalid,
    version_taken: Reason::WorkflowVersionTaken,
    not_found: Reason::WorkflowNotFound,
};

impl Document for Workflow {
    const KIND: &'static Kind = &WORKFLOW;

    fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        Self::parse(text)
    }

    fn name(&self) -> &Name {
        self.name()
    }

    fn version(&self) -> u32 {
        self.version()
    }

    fn description(&self) -> &str {
        self.description()
    }

    fn hash(&self) -> DocumentHash {
        self.hash()
    }

    fn parts(&self) -> usize {
        self.steps().len()
    }

    fn lint(&self) -> &[Problem] {
        self.lint()
    }
}
