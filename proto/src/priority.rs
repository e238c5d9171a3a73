//! How urgent a request is, said in a header so that it travels with every call made for it.
//!
//! A client says it once. The control plane sends it with each call, the sidecar shows it to the agent, and an agent that
//! calls on sends it along: what is asked for on the way to an urgent answer is as urgent.

use mainstay_kernel::priority::{HEADER, Priority};
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::fault::Fault;

/// Says how urgent a request is.
pub fn set<T>(request: &mut tonic::Request<T>, priority: Priority) {
    request.metadata_mut().insert(HEADER, MetadataValue::from_static(priority.as_str()));
}

/// How urgent a request is that arrived; the default if it does not say.
///
/// # Errors
/// If it says something that is no priority.
pub fn of(metadata: &MetadataMap) -> Result<Priority, Fault> {
    let Some(value) = metadata.get(HEADER) else { return Ok(Priority::default()) };
    let text = value.to_str().unwrap_or_default();
    text.parse().map_err(|error| Fault::invalid(HEADER, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_set_and_a_word_that_is_none_is_named() {
        let mut request = tonic::Request::new(());
        assert_eq!(of(request.metadata()).unwrap(), Priority::Critical);
        for priority in Priority::ALL {
            set(&mut request, priority);
            assert_eq!(of(request.metadata()).unwrap(), priority);
        }
        request.metadata_mut().insert(HEADER, MetadataValue::from_static("high"));
        assert!(of(request.metadata()).unwrap_err().message().contains("critical-plus"));
    }
}
