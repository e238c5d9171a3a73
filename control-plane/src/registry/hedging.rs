//! When calls of a capability are hedged. All who offer it to a tenant share what it is decided by: a call that one is slow
//! to answer may go to any of them.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::hedge::{Hedge, Policy, Watch};
use mainstay_kernel::outcome::Class;
use mainstay_kernel::time::Mono;
use parking_lot::Mutex;

/// What one of them declares, and what they share.
#[derive(Debug, Clone)]
pub struct Hedging {
    policy: Policy,
    watch: Arc<Mutex<Watch>>,
}

impl Hedging {
    /// As the newest registration declares it: successes pay for hedges at its share from now on.
    pub(super) fn new(policy: Policy, watch: Arc<Mutex<Watch>>) -> Self {
        watch.lock().declare(&policy);
        Self { policy, watch }
    }

    /// When to hedge a call that begins now; `None` as long as nobody can tell.
    #[must_use]
    pub fn hedge(&self, now: Mono) -> Option<Hedge> {
        self.watch.lock().hedge(&self.policy, now)
    }

    /// A sending ended.
    pub fn ended(&self, class: Class, latency: Duration, now: Mono) {
        self.watch.lock().ended(&self.policy, class, latency, now);
    }
}
