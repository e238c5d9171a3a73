//! Waiting for a condition, with a generous bound after which the test fails and says what it waited for.

use std::time::Duration;

/// How long anything may take before a test gives up. A loaded machine is slow; a hang is for ever.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
pub const PACE: Duration = Duration::from_millis(20);

/// Waits until `condition` gives something.
///
/// # Panics
/// After [`PATIENCE`], naming `what`.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let looking = async {
        let mut looks = tokio::time::interval(PACE);
        loop {
            looks.tick().await;
            if let Some(found) = condition().await {
                return found;
            }
        }
    };
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(found) => found,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}
