//! What the instances of one agent share: what must be bounded over all of them together.

use mainstay_kernel::retry::budget::{Budget, Leave};
use mainstay_kernel::time::Mono;
use parking_lot::Mutex;

/// An agent's instances, as one. It lasts as long as any of them is on record.
#[derive(Debug, Default)]
pub struct Fleet {
    budget: Mutex<Budget>,
}

impl Fleet {
    /// A call went well: it pays for a share of a retry.
    pub fn succeeded(&self, now: Mono) {
        self.budget.lock().deposit(now);
    }

    /// Asks leave to call the agent again after a failure.
    pub fn retry(&self, now: Mono) -> Leave {
        self.budget.lock().withdraw(now)
    }

    /// Retries that could be made now.
    #[must_use]
    pub fn retries_left(&self, now: Mono) -> u32 {
        self.budget.lock().left(now)
    }
}
