//! Routing documents in the catalogue of documents.

use mainstay_kernel::document::{DocumentHash, Problem};
use mainstay_kernel::name::Name;
use mainstay_kernel::route::Routing;
use mainstay_proto::reason::Reason;

use crate::documents::{Document, Kind};
use crate::records::document::Keys;
use crate::records::key;

static ROUTES: Kind = Kind {
    keys: Keys { ordinal: key::ROUTES, noun: "routing document" },
    invalid: Reason::RouteInvalid,
    version_taken: Reason::RouteVersionTaken,
    not_found: Reason::RouteNotFound,
};

impl Document for Routing {
    const KIND: &'static Kind = &ROUTES;

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
        self.rules().len()
    }

    fn lint(&self) -> &[Problem] {
        self.lint()
    }
}
