//! News for everyone who waits, told in the order in which they came. tokio's `watch` wakes in an order that its own dice
//! decide, and those no seed reaches.

use std::pin::pin;

use tokio::sync::Notify;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Signal(Notify);

impl Signal {
    /// Whoever waits looks again.
    pub(crate) fn tell(&self) {
        self.0.notify_waiters();
    }

    /// Waits until there is what `look` looks for.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            let mut told = pin!(self.0.notified());
            told.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            told.await;
        }
    }
}
