//! The mark on a call that forbids everyone below to repeat it.
//!
//! Whoever began the work repeats it where that is worth while, with what it knows of deadlines, budgets and side effects.
//! If those it calls repeated their own calls too, three levels with three attempts each would make 27 calls of the last.
//! So the control plane sends every call with this mark, the sidecar shows it to the agent, an agent that calls on sends
//! it along, and a control plane that receives it makes each call once.

use tonic::metadata::{MetadataMap, MetadataValue};

/// The header. Agents see it under the same name.
pub const HEADER: &str = "mainstay-retry";

/// Its only value. Anything else is as good as no mark.
pub const FORBIDDEN: &str = "forbidden";

/// Marks a request: nobody below is to repeat it.
pub fn forbid<T>(request: &mut tonic::Request<T>) {
    request.metadata_mut().insert(HEADER, MetadataValue::from_static(FORBIDDEN));
}

/// Whether a request that arrived may not be repeated.
#[must_use]
pub fn is_forbidden(metadata: &MetadataMap) -> bool {
    metadata.get(HEADER).is_some_and(|value| value.as_bytes() == FORBIDDEN.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_set_and_nothing_else_is_one() {
        let mut request = tonic::Request::new(());
        assert!(!is_forbidden(request.metadata()));
        request.metadata_mut().insert(HEADER, MetadataValue::from_static("allowed"));
        assert!(!is_forbidden(request.metadata()));
        forbid(&mut request);
        assert!(is_forbidden(request.metadata()));
    }
}
