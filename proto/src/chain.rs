//! On whose behalf a call is made, said in a header so that it travels with every call made for it.
//!
//! The control plane sends it with each call, the sidecar shows it to the agent, and an agent that calls on sends it along.

use mainstay_kernel::chain::Chain;
use tonic::metadata::MetadataMap;

use crate::fault::Fault;

/// The header. Agents see it under the same name.
pub const HEADER: &str = "mainstay-chain";

/// Says on whose behalf a request is made.
pub fn set<T>(request: &mut tonic::Request<T>, chain: &Chain) {
    if let (false, Ok(value)) = (chain.is_empty(), chain.to_string().parse()) {
        request.metadata_mut().insert(HEADER, value);
    }
}

/// On whose behalf a request that arrived is made; nobody's if it does not say.
///
/// # Errors
/// If it says something that is no chain.
pub fn of(metadata: &MetadataMap) -> Result<Chain, Fault> {
    let Some(value) = metadata.get(HEADER) else { return Ok(Chain::default()) };
    // What is no text is no chain either: a link of it is named.
    let text = value.to_str().unwrap_or("?");
    text.parse().map_err(|error| Fault::invalid(HEADER, error))
}

#[cfg(test)]
mod tests {
    use mainstay_kernel::name::Name;
    use tonic::metadata::MetadataValue;

    use super::*;

    #[test]
    fn it_is_read_as_it_was_set_and_what_is_none_is_refused_by_name() {
        let mut request = tonic::Request::new(());
        set(&mut request, &Chain::default());
        assert!(request.metadata().get(HEADER).is_none());
        assert_eq!(of(request.metadata()).unwrap(), Chain::default());
        let name = |text| Name::new(text).unwrap();
        let chain = Chain::default().with(name("planner"), name("plan")).with(name("finder"), name("find"));
        set(&mut request, &chain);
        assert_eq!(of(request.metadata()).unwrap(), chain);
        request.metadata_mut().insert(HEADER, MetadataValue::from_static("planner"));
        assert!(of(request.metadata()).unwrap_err().message().contains("agent/capability"));
    }
}
