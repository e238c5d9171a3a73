//! A permit that cannot be lost: it goes back to its lane when the call ends, or when the call is dropped.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::breaker::Change;
use mainstay_kernel::call::{Lane, Permit};
use mainstay_kernel::dice::Dice;
use mainstay_kernel::outcome::Class;
use mainstay_kernel::time::Mono;
use parking_lot::Mutex;

use crate::registry::{Place, Route};

/// Leave to call one instance, while it is held.
#[derive(Debug)]
pub(super) struct Held {
    lane: Arc<Mutex<Lane>>,
    route: Arc<Route>,
    place: Option<Place>,
    permit: Option<Permit>,
}

impl Held {
    pub(super) fn new(lane: Arc<Mutex<Lane>>, route: Arc<Route>, place: Place, permit: Permit) -> Self {
        Self { lane, route, place: Some(place), permit: Some(permit) }
    }

    /// Whether the call is a probe of a breaker.
    pub(super) fn is_probe(&self) -> bool {
        self.permit.as_ref().is_some_and(Permit::is_probe)
    }

    /// The call ended.
    pub(super) fn end(
        mut self,
        class: Class,
        latency: Duration,
        now: Mono,
        dice: &mut Dice,
    ) -> Option<Change> {
        let permit = self.permit.take()?;
        self.lane.lock().end(permit, class, latency, now, dice)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.lane.lock().abandon(permit);
        }
        // Before anybody is told that there is room.
        self.place = None;
        self.route.has_room();
    }
}
