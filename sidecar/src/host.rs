//! The only file that asks the operating system for the time of day, for randomness and for signals.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use mainstay_kernel::time::{Mono, Wall};
use tokio::time::Instant;

/// The monotonic clock. It is tokio's, so that a test that pauses the clock holds all of the sidecar.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Now, since the start.
    pub(crate) fn now(self) -> Mono {
        Mono::at(self.origin.elapsed())
    }

    /// The instant of a point, for a timer.
    pub(crate) fn instant(self, at: Mono) -> Instant {
        self.origin + at.since_origin()
    }
}

/// The time of day, for records.
#[expect(clippy::disallowed_methods, reason = "this is the file that asks")]
pub(crate) fn wall() -> Wall {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// A seed for dice: different in every process and at every call, and no secret.
pub(crate) fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Listens to SIGTERM and SIGINT from now on; the future resolves at the first of them.
///
/// # Errors
/// If the process may not listen to signals.
pub fn shutdown_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
