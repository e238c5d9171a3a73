//! The traffic while a drill is watched: what was sent to the target, and how calls ended for their callers.
//!
//! A call is lost if it was accepted and never answered: its handler broke, or its deadline is long over and it still has
//! not ended. One that its caller dropped is neither answered nor lost. Runs are remembered as they are accepted; what
//! becomes of them is for whoever watches to find out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mainstay_kernel::drill::{Calls, Tally};
use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::{Class, Failure};
use mainstay_kernel::time::Mono;
use parking_lot::Mutex;

use super::Watched;

/// How long after its deadline a call may take to end: dispatch needs a timer's turn, a loaded machine some more.
const OVERDUE: Duration = Duration::from_secs(5);

/// Runs that are looked after to their end: those of a minute of brisk business. What is accepted beyond is not looked after.
const MAX_RUNS: usize = 10_000;

/// Counts since a drill began.
#[derive(Debug)]
pub(crate) struct Traffic {
    tenant: Name,
    /// What the target offers.
    offers: Vec<Name>,
    sent: AtomicU64,
    struck: AtomicU64,
    pushed_back: AtomicU64,
    flowed: AtomicU64,
    disbelieved: AtomicU64,
    inside: Ends,
    outside: Ends,
    broken: AtomicU64,
    open: Mutex<Open>,
    /// Runs that were accepted and are not known to have ended.
    runs: Mutex<Vec<(Name, RunId)>>,
}

#[derive(Debug, Default)]
struct Ends {
    ended: AtomicU64,
    failed: AtomicU64,
}

/// Calls that began before the fault ended and have not ended, by a number, with their deadlines. Those that begin later are
/// counted when they end, and not waited for: under steady traffic some call is always under way.
#[derive(Debug, Default)]
struct Open {
    next: u64,
    is_closed: bool,
    deadlines: HashMap<u64, Mono>,
}

/// A call that is counted until it ends or is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    watched: Arc<Watched>,
    number: u64,
    is_inside: bool,
}

// === impl Traffic ===

impl Traffic {
    pub(super) fn new(tenant: Name, offers: Vec<Name>) -> Self {
        Self {
            tenant,
            offers,
            sent: AtomicU64::new(0),
            struck: AtomicU64::new(0),
            pushed_back: AtomicU64::new(0),
            flowed: AtomicU64::new(0),
            disbelieved: AtomicU64::new(0),
            inside: Ends::default(),
            outside: Ends::default(),
            broken: AtomicU64::new(0),
            open: Mutex::default(),
            runs: Mutex::default(),
        }
    }

    pub(super) fn accepted(&self, tenant: &Name, id: RunId) {
        let mut runs = self.runs.lock();
        if runs.len() < MAX_RUNS {
            runs.push((tenant.clone(), id));
        }
    }

    /// Takes the runs that were accepted since this was asked last.
    pub(crate) fn take_runs(&self) -> Vec<(Name, RunId)> {
        std::mem::take(&mut self.runs.lock())
    }

    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    pub(super) fn struck(&self, pushed_back: bool) {
        self.struck.fetch_add(1, Relaxed);
        self.pushed_back.fetch_add(u64::from(pushed_back), Relaxed);
    }

    /// The fault has ended.
    pub(super) fn close(&self) {
        self.open.lock().is_closed = true;
    }

    pub(super) fn disbelieved(&self) {
        self.disbelieved.fetch_add(1, Relaxed);
    }

    pub(super) fn flowed(&self, well: bool) {
        self.flowed.fetch_add(u64::from(well), Relaxed);
    }

    /// Everything counted so far.
    pub(crate) fn tally(&self, now: Mono) -> Tally {
        let (overdue, under_way) = {
            let open = self.open.lock();
            let overdue = open.deadlines.values().filter(|deadline| now > **deadline + OVERDUE).count();
            (overdue as u64, (open.deadlines.len() - overdue) as u64)
        };
        Tally {
            sent: self.sent.load(Relaxed),
            struck: self.struck.load(Relaxed),
            flowed: self.flowed.load(Relaxed),
            pushed_back: self.pushed_back.load(Relaxed),
            disbelieved: self.disbelieved.load(Relaxed),
            inside: self.inside.calls(),
            outside: self.outside.calls(),
            under_way,
            lost: overdue + self.broken.load(Relaxed),
        }
    }
}

// === impl Ends ===

impl Ends {
    fn count(&self, failed: bool) {
        self.ended.fetch_add(1, Relaxed);
        self.failed.fetch_add(u64::from(failed), Relaxed);
    }

    fn calls(&self) -> Calls {
        Calls { ended: self.ended.load(Relaxed), failed: self.failed.load(Relaxed) }
    }
}

// === impl Counted ===

impl Counted {
    pub(super) fn begin(watched: Arc<Watched>, tenant: &Name, capability: &Name, deadline: Mono) -> Self {
        let traffic = &watched.traffic;
        let is_inside = traffic.tenant == *tenant && traffic.offers.contains(capability);
        let number = {
            let mut open = traffic.open.lock();
            open.next += 1;
            let number = open.next;
            if !open.is_closed {
                open.deadlines.insert(number, deadline);
            }
            number
        };
        Self { watched, number, is_inside }
    }

    /// It was answered.
    pub(crate) fn ended(self, failure: Option<&Failure>) {
        let failed =
            failure.is_some_and(|failure| !matches!(failure.class, Class::CallerFault | Class::Cancelled));
        let traffic = &self.watched.traffic;
        if self.is_inside { &traffic.inside } else { &traffic.outside }.count(failed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let traffic = &self.watched.traffic;
        traffic.open.lock().deadlines.remove(&self.number);
        // Dropped while its handler unwinds: nobody will answer it.
        if std::thread::panicking() {
            traffic.broken.fetch_add(1, Relaxed);
        }
    }
}
