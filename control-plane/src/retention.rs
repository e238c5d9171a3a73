//! Finished runs are kept for a time and up to a number; then they go, the oldest first, with all that belongs to them.
//!
//! One reconciler compares what is kept with what should be, in passes. It walks the journals from the oldest run on (ids
//! grow with time) and stops where no run behind can be due. What it removes, it removes in small batches, one at a time,
//! so that it never stands between a run and the disk for longer than one commit (see `removal`).
//!
//! A run goes from its head: the line in the listing, the idempotency key and the first transitions with the first batch,
//! the rest after it. Whoever reads it meanwhile, or after a crash in between, finds a run without a beginning and without
//! a line in the listing, which is no run. The next pass removes what is left.
//!
//! Counting a million runs on disk takes seconds, so they are counted once, when the server starts; then what starts and
//! what goes is counted as it happens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use mainstay_kernel::event::Kind;
use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::retention::{Policy, is_near};
use mainstay_kernel::time::Wall;
use mainstay_store::{Blobs, ReadError, Store};
use parking_lot::Mutex;

use crate::backup::Hold;
use crate::host::Clock;
use crate::metrics::Metrics;
use crate::records::run_summary::RunSummary;
use crate::records::{run_summary, tenants};
use crate::{engine, events};

mod removal;
mod walk;

use removal::Remover;
pub(crate) use removal::{RemoveError, remove_run};
use walk::Walk;

/// Runs removed before the reconciler looks up: a server that stops waits for no more than this.
const AT_ONCE: usize = 500;

/// Rows of the listing counted at once.
const COUNTED: usize = 1000;

/// Runs passed over in one pass because they ended later than ones behind them, or cannot be reached on the disk. Behind more
/// than these, runs wait for the first of them to go: so many long ones at once, or torn ones, are not what a pass is spent on.
const PASSED: usize = 1000;

/// How often the reconciler looks, unless told otherwise. A look that finds nothing costs a few reads.
pub const EVERY: Duration = Duration::from_secs(5);

/// What it works on.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The clock.
    pub clock: Clock,
    /// The store, and the documents beside it.
    pub state: (Arc<dyn Store>, Blobs),
    /// Keeps documents while a backup reads them.
    pub hold: Hold,
    /// Which runs are open, and how many may be.
    pub engine: engine::Handle,
    /// Counts.
    pub metrics: Metrics,
    /// Told when a limit comes near.
    pub events: events::Handle,
}

/// A limit, and how much of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// The setting.
    pub limit: &'static str,
    /// What is counted.
    pub what: &'static str,
    /// How much of it there is.
    pub used: u64,
    /// How much of it there may be.
    pub most: u64,
    /// What happens then.
    pub then: &'static str,
}

/// What is kept now. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

/// What removes what need not be kept.
#[derive(Debug)]
pub struct Service {
    handle: Handle,
    every: Duration,
    /// Limits that were told of as near.
    near: BTreeSet<&'static str>,
}

#[derive(Debug)]
struct Shared {
    policy: Policy,
    parts: Parts,
    /// False until the runs on disk are counted.
    counted: AtomicBool,
    base: Mutex<Base>,
    removed: AtomicU64,
    /// When the oldest finished run that is kept ended, in milliseconds; 0 while there is none or it is not known.
    oldest: AtomicI64,
}

/// The count of runs when they were counted.
#[derive(Debug, Default, Clone, Copy)]
struct Base {
    /// Runs in the listing.
    listed: u64,
    /// Runs started until then, of those this server started.
    started: u64,
}

/// A reconciler; nothing is removed until [`Service::run`].
#[must_use]
pub fn new(policy: Policy, every: Duration, parts: Parts) -> (Handle, Service) {
    let handle = Handle(Arc::new(Shared {
        policy,
        parts,
        counted: AtomicBool::new(false),
        base: Mutex::default(),
        removed: AtomicU64::new(0),
        oldest: AtomicI64::new(0),
    }));
    (handle.clone(), Service { handle, every, near: BTreeSet::new() })
}

// === impl Handle ===

impl Handle {
    /// Finished runs that are kept; `None` until they are counted.
    #[must_use]
    pub fn kept(&self) -> Option<u64> {
        let shared = &self.0;
        if !shared.counted.load(Relaxed) {
            return None;
        }
        let base = *shared.base.lock();
        let started = shared.parts.metrics.runs_started().saturating_sub(base.started);
        let gone = shared.removed.load(Relaxed) + shared.parts.engine.open_runs() as u64;
        Some((base.listed + started).saturating_sub(gone))
    }

    /// Runs removed since the start.
    #[must_use]
    pub fn removed(&self) -> u64 {
        self.0.removed.load(Relaxed)
    }

    /// What is kept.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.0.policy
    }

    /// When the oldest finished run that is kept ended, as of the last pass.
    #[must_use]
    pub fn oldest(&self) -> Option<Wall> {
        let millis = self.0.oldest.load(Relaxed);
        (millis > 0).then(|| Wall::from_millis(millis))
    }

    /// The limits that somebody should know of before they are met.
    #[must_use]
    pub fn limits(&self) -> Vec<Use> {
        let engine = &self.0.parts.engine;
        vec![
            Use {
                limit: "--keep-runs",
                what: "finished runs",
                used: self.kept().unwrap_or(0),
                most: self.0.policy.keep,
                then: "the oldest are removed",
            },
            Use {
                limit: "--max-open-runs",
                what: "open runs",
                used: engine.open_runs() as u64,
                most: engine.max_open_runs() as u64,
                then: "new runs are refused",
            },
        ]
    }

    /// Counts what is on disk, newest first: what starts meanwhile lies before the first row and is not counted twice.
    fn count(&self) -> Result<(), ReadError> {
        let shared = &self.0;
        let (store, started) = (&*shared.parts.state.0, shared.parts.metrics.runs_started());
        let mut listed = 0;
        for tenant in tenants::all(store)? {
            let prefix = run_summary::prefix(tenant.as_str());
            let mut from: Option<Bytes> = None;
            loop {
                let page = store.scan(&prefix, from.as_deref(), COUNTED)?;
                listed += (page.entries.len() + page.damaged.len()) as u64;
                match page.next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
        }
        *shared.base.lock() = Base { listed, started };
        shared.counted.store(true, Relaxed);
        Ok(())
    }

    /// Removes what need not be kept, up to [`AT_ONCE`] runs; says whether there may be more. Blocks.
    fn pass(&self) -> Result<bool, RemoveError> {
        let shared = &self.0;
        if !shared.counted.load(Relaxed) {
            self.count()?;
        }
        let (store, blobs) = (&*shared.parts.state.0, &shared.parts.state.1);
        let (mut walk, mut remover) = (Walk::new(store)?, Remover::new(store, blobs, &shared.removed));
        let (mut going, mut staying, mut oldest) = (0, 0, None);
        while going < AT_ONCE && staying < PASSED {
            let Some((tenant, run)) = walk.next()? else { break };
            if let Some(ended) = self.ended(&tenant, run)? {
                let kept = self.kept().map(|kept| kept.saturating_sub(remover.begun()));
                let now = shared.parts.clock.wall();
                if shared.policy.goes(kept, ended, now).is_none() {
                    oldest = oldest.or(Some(ended));
                    if !shared.policy.reaches(kept, made_at(run), now) {
                        break;
                    }
                    staying += 1;
                    continue;
                }
            }
            if remover.remove(&tenant, run)? {
                going += 1;
            } else {
                staying += 1;
            }
        }
        remover.finish()?;
        if going < AT_ONCE {
            shared.oldest.store(oldest.map_or(0, Wall::as_millis), Relaxed);
        }
        removal::sweep(store, blobs, &shared.parts.hold)?;
        Ok(going == AT_ONCE)
    }

    /// When a finished run ended; `None` if its head is gone already.
    fn ended(&self, tenant: &Name, run: RunId) -> Result<Option<Wall>, ReadError> {
        match self.0.parts.state.0.get(&run_summary::key(tenant.as_str(), run)) {
            Ok(Some(entry)) => {
                let summary = RunSummary::decode(&entry.value).ok();
                Ok(Some(summary.and_then(|summary| summary.ended_at).unwrap_or_else(|| made_at(run))))
            }
            Ok(None) => Ok(None),
            Err(ReadError::Damaged { .. }) => Ok(Some(made_at(run))),
            Err(error) => Err(error),
        }
    }
}

/// When a run was made: its id says so (RFC 9562, 5.7).
fn made_at(run: RunId) -> Wall {
    let millis = run.as_bytes()[..6].iter().fold(0, |millis, byte| millis << 8 | i64::from(*byte));
    Wall::from_millis(millis)
}

// === impl Service ===

impl Service {
    /// Removes what need not be kept, until it is dropped.
    pub async fn run(mut self) {
        loop {
            let handle = self.handle.clone();
            let passed = tokio::task::spawn_blocking(move || handle.pass()).await;
            let more = match passed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
                Ok(more) => more,
                Err(error) => {
                    tracing::debug!(%error, "finished runs are not removed now");
                    false
                }
            };
            self.tell_of_limits();
            if !more {
                tokio::time::sleep(self.every).await;
            }
        }
    }

    /// Tells of limits that have come near, and of those that are near no longer.
    fn tell_of_limits(&mut self) {
        let parts = &self.handle.0.parts;
        let limits = self.handle.limits();
        for Use { limit, what, used, most, then } in &limits {
            let was = self.near.contains(limit);
            if is_near(*used, *most, was) == was {
                continue;
            }
            let reason = format!("{used} {what} of {most}; at the limit {then}");
            if was {
                self.near.remove(limit);
                parts.events.tell(Kind::LimitClear, format!("limit/{limit}"), reason);
            } else {
                self.near.insert(limit);
                parts.events.tell(Kind::LimitNear, format!("limit/{limit}"), reason);
            }
        }
        parts.metrics.retention(&limits, self.handle.removed());
    }
}

#[cfg(test)]
mod tests;
