//! The catalogue of rollout documents.

use mainstay_kernel::document::{DocumentHash, Problem};
use mainstay_kernel::name::Name;
use mainstay_kernel::rollout::Rollout;
use mainstay_proto::reason::Reason;

use crate::documents::{self, Document, Kind};
use crate::records::document::Keys;
use crate::records::key;

/// The catalogue. Cheap to clone.
pub type Catalog = documents::Handle<Rollout>;

static ROLLOUTS: Kind = Kind {
    keys: Keys { ordinal: key::ROLLOUT, noun: "rollout" },
    invalid: Reason::RolloutInvalid,
    version_taken: Reason::RolloutVersionTaken,
    not_found: Reason::RolloutNotFound,
};

impl Document for Rollout {
    const KIND: &'static Kind = &ROLLOUTS;

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
