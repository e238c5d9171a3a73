//! One worker for one request, found by a routing document.

use crate::name::Name;
use crate::workflow::Call;

/// A request that goes the way a routing document sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTo {
    /// The routing document.
    pub by: Name,
    /// Its version; the newest when the step begins, if none is named.
    pub version: Option<u32>,
    /// Who is called where the worker that was found fails.
    pub fallback: Option<Call>,
}
