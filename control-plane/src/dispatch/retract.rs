//! Telling a sidecar that nobody wants its work any more.
//!
//! A call that is dropped while it is under way leaves work behind at a sidecar. The sidecar cannot tell a caller who
//! lost interest from one who crashed and will ask again, so it is told. Not told is a call that is dropped although its
//! work is still owed: that one *will* be asked for again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay_kernel::id::AttemptId;
use mainstay_proto::pb;
use mainstay_transport::channel::Channel;
use mainstay_transport::deadline;
use pb::agent_sidecar_client::AgentSidecarClient;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Retractions under way at once. One that finds no place is left out: the sidecar's own timeout ends the work.
const MAX_UNDER_WAY: usize = 256;

/// Time for one. It is a courtesy, not a promise.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Sends retractions. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Retractor(Arc<Semaphore>);

/// Work at a sidecar that is retracted when this is dropped before it is over.
#[derive(Debug)]
pub(super) struct Begun {
    /// `None` once the work is over.
    work: Option<(Retractor, Channel, AttemptId)>,
    left: Arc<AtomicBool>,
}

impl Default for Retractor {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_UNDER_WAY)))
    }
}

impl Retractor {
    /// Watches over work that begins now.
    pub(super) fn guard(&self, channel: &Channel, key: AttemptId, left: Arc<AtomicBool>) -> Begun {
        Begun { work: Some((self.clone(), channel.clone(), key)), left }
    }

    fn retract(&self, channel: Channel, key: AttemptId) {
        let (Ok(place), Ok(runtime)) = (Arc::clone(&self.0).try_acquire_owned(), Handle::try_current())
        else {
            return;
        };
        runtime.spawn(async move {
            let mut request = tonic::Request::new(pb::CancelRequest {
                attempt_id: key.to_string(),
                reason: "the caller no longer waits".to_owned(),
            });
            deadline::set(&mut request, TIMEOUT);
            let cancelled =
                tokio::time::timeout(TIMEOUT, AgentSidecarClient::new(channel).cancel(request)).await;
            drop(place);
            tracing::debug!(%key, told = matches!(cancelled, Ok(Ok(_))), "work retracted");
        });
    }
}

impl Begun {
    /// The work has ended by itself.
    pub(super) fn over(mut self) {
        self.work = None;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some((retractor, channel, key)) = self.work.take()
            && !self.left.load(Ordering::Relaxed)
        {
            retractor.retract(channel, key);
        }
    }
}
