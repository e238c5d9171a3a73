//! What the instances of one agent share: what must be bounded over all of them together.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::bulkhead::{Bulkhead, Config, Full, Wall};
use mainstay_kernel::retry::budget::{Budget, Leave};
use mainstay_kernel::time::Mono;
use parking_lot::Mutex;

use crate::rates::Meters;

/// An agent's instances, as one. It lasts as long as any of them is on record.
#[derive(Debug)]
pub struct Fleet {
    budget: Mutex<Budget>,
    places: Mutex<Bulkhead>,
    /// Shared with all fleets of the tenant.
    tenant: Arc<Mutex<Bulkhead>>,
    /// Shared with all fleets.
    whole: Arc<Mutex<Bulkhead>>,
    /// Of the tenant, and shared with all its fleets.
    rates: Arc<Meters>,
}

/// A place within all walls around an agent, given back when it is dropped.
#[derive(Debug)]
#[must_use = "dropped, the place is free again"]
pub struct Place(Arc<Fleet>);

impl Fleet {
    pub(super) fn new(
        config: &Config,
        tenant: Arc<Mutex<Bulkhead>>,
        whole: Arc<Mutex<Bulkhead>>,
        rates: Arc<Meters>,
    ) -> Self {
        let places = Mutex::new(config.bulkhead(Wall::Agent));
        Self { budget: Mutex::default(), places, tenant, whole, rates }
    }

    /// Takes a place for a call.
    ///
    /// # Errors
    /// The wall within which no place is left.
    pub fn enter(self: &Arc<Self>) -> Result<Place, (Wall, Full)> {
        self.places.lock().enter().map_err(|full| (Wall::Agent, full))?;
        if let Err(full) = self.tenant.lock().enter() {
            self.places.lock().leave();
            return Err((Wall::Tenant, full));
        }
        if let Err(full) = self.whole.lock().enter() {
            self.places.lock().leave();
            self.tenant.lock().leave();
            return Err((Wall::Whole, full));
        }
        Ok(Place(Arc::clone(self)))
    }

    /// The rates that calls to the agent are subject to.
    pub(crate) fn rates(&self) -> &Arc<Meters> {
        &self.rates
    }

    /// A call went well: it pays for a share of a retry.
    pub fn succeeded(&self, now: Mono) {
        self.budget.lock().deposit(now);
    }

    /// Asks leave to call the agent again after a failure, in less than `patience`.
    pub fn retry(&self, now: Mono, patience: Duration) -> Leave {
        self.budget.lock().withdraw(now, patience)
    }

    /// Retries that could be made now.
    #[must_use]
    pub fn retries_left(&self, now: Mono) -> u32 {
        self.budget.lock().left(now)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.lock().leave();
        self.0.tenant.lock().leave();
        self.0.whole.lock().leave();
    }
}
