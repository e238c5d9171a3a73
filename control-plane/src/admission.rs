//! The door: who is let in, decided by [`mainstay_kernel::admission`] before anything of a request is read or stored.
//!
//! Clients' runs and direct calls go through it. What is asked for on behalf of a call under way (it carries the mark of
//! [`mainstay_transport::retry`]) was let in with that call, and so were the steps of a run; operators, sidecars and probes
//! never pass here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mainstay_kernel::admission::{self, Room};
use mainstay_kernel::priority::Priority;
use mainstay_kernel::share::WHOLE;
use mainstay_proto::fault::Fault;
use mainstay_proto::priority;
use mainstay_proto::reason::Reason;
use mainstay_transport::retry;
use tonic::metadata::MetadataMap;

use crate::metrics::Metrics;
use crate::{engine, modes};

/// The door. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Door {
    /// How many runs are open.
    pub engine: engine::Handle,
    /// The mode, and the memory in use.
    pub modes: modes::Handle,
    /// What counts who was not let in.
    pub metrics: Metrics,
    /// Direct calls that may be inside at once.
    pub max_calls: u32,
    /// Direct calls that are.
    pub calls: Arc<AtomicU32>,
}

/// A direct call that was let in; it is inside until this is dropped.
#[derive(Debug)]
#[must_use = "a call is inside only as long as this is held"]
pub struct Inside {
    calls: Arc<AtomicU32>,
    /// How urgent it is.
    pub priority: Priority,
}

impl Door {
    /// Lets a run in, or says when to come again. Returns how urgent it is.
    pub fn run(&self, metadata: &MetadataMap) -> Result<Priority, Fault> {
        let priority = priority::of(metadata)?;
        self.admit(priority, metadata, self.engine.fill_bp())?;
        Ok(priority)
    }

    /// Lets a direct call in, or says when to come again.
    pub fn call(&self, metadata: &MetadataMap) -> Result<Inside, Fault> {
        let priority = priority::of(metadata)?;
        let taken = u64::from(self.calls.load(Ordering::Relaxed)) * u64::from(WHOLE)
            / u64::from(self.max_calls.max(1));
        self.admit(priority, metadata, taken)?;
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Inside { calls: Arc::clone(&self.calls), priority })
    }

    fn admit(&self, priority: Priority, metadata: &MetadataMap, taken: u64) -> Result<(), Fault> {
        if retry::is_forbidden(metadata) {
            return Ok(());
        }
        let room = Room { taken, memory: self.modes.memory(), mode: self.modes.mode() };
        admission::admit(priority, room).map_err(|shed| {
            self.metrics.shed(priority);
            Fault::new(Reason::Overloaded, shed).with("priority", priority).retry_after(shed.retry_after)
        })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }
}
