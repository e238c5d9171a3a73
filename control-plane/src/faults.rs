//! The fault layer: where the outside world would fail, it can be made to.
//!
//! It is there only if the server was started with `--allow-drills`; else nobody holds one, and the path of a call pays
//! one branch. It acts at the edge alone (the exchange with a sidecar, a health poll, a question to a ledger, the sync of the
//! disk), so that everything above is the real thing. Whether a sending is struck is the kernel's [`Plan`]'s to say; here it
//! is counted, asked and carried out.
//!
//! A fault ends when its time is over even if whoever should lift it is late: each strike looks at the clock.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use mainstay_kernel::drill::{Kind, Plan, Whom};
use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::{Answer, Began, Class, Failure};
use mainstay_kernel::route::{Decision, Rung};
use mainstay_kernel::time::Mono;
use mainstay_proto::reason::Reason;
use parking_lot::RwLock;

use crate::host::Clock;
use crate::registry::Instance;

mod disk;
mod lies;
mod traffic;

pub use disk::Disk;
pub(crate) use traffic::Counted;

use traffic::Traffic;

/// Pushback of an agent that is busy on purpose: what sidecars ask for.
const BUSY_FOR: Duration = Duration::from_millis(100);

/// What the memory is made to look like, in basis points of its soft limit: beyond it, and below the marks at which the
/// door shuts for what is critical and the server hands over to its next start.
const USED_UP: u64 = 10_500;

/// The fault layer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    /// Whether a drill is watched: asked by every call, without a lock.
    watching: AtomicBool,
    watched: RwLock<Option<Arc<Watched>>>,
    disk: Arc<Disk>,
}

/// A drill whose traffic is watched. Its fault acts until it is lifted or its time is over.
#[derive(Debug)]
pub(crate) struct Watched {
    clock: Clock,
    plan: Plan,
    acting: AtomicBool,
    until: Mono,
    sendings: AtomicU64,
    polls: AtomicU64,
    pub(crate) traffic: Traffic,
}

/// One sending to the target of a drill.
#[derive(Debug)]
pub(crate) struct Sending {
    watched: Arc<Watched>,
    strike: Option<Strike>,
}

/// What a struck sending meets.
#[derive(Debug, Clone)]
pub(crate) enum Strike {
    /// It is held back so long before it is sent.
    Hold(Duration),
    /// It is not sent; this is its end.
    Fail(Failure),
    /// It is not sent; this is the answer.
    Lie(Answer),
}

// === impl Faults ===

impl Faults {
    /// A layer that does nothing yet. `disk` is the one that stands before the store's syncs.
    #[must_use]
    pub fn new(clock: Clock, disk: Arc<Disk>) -> Self {
        Self(Arc::new(Shared { clock, watching: AtomicBool::new(false), watched: RwLock::default(), disk }))
    }

    /// The fault of `plan` acts from now on, and the traffic is watched. `offers` are the capabilities of its target.
    pub(crate) fn begin(&self, plan: Plan, offers: Vec<Name>) -> Arc<Watched> {
        let until = self.0.clock.mono() + plan.lasts;
        if plan.kind == Kind::StoreReadOnly {
            let reason = format!("drill {}: the disk refuses writes on purpose", plan.id);
            self.0.disk.refuse(reason, self.0.clock.clone(), until);
        }
        let watched = Arc::new(Watched {
            clock: self.0.clock.clone(),
            traffic: Traffic::new(plan.tenant.clone(), offers),
            plan,
            acting: AtomicBool::new(true),
            until,
            sendings: AtomicU64::new(0),
            polls: AtomicU64::new(0),
        });
        *self.0.watched.write() = Some(Arc::clone(&watched));
        self.0.watching.store(true, Relaxed);
        watched
    }

    /// The fault acts no more. The traffic is still watched.
    pub(crate) fn lift(&self) {
        self.0.disk.accept();
        if let Some(watched) = &*self.0.watched.read() {
            watched.acting.store(false, Relaxed);
            watched.traffic.close();
        }
    }

    /// Nothing is watched any more.
    pub(crate) fn end(&self) {
        self.lift();
        self.0.watching.store(false, Relaxed);
        *self.0.watched.write() = None;
    }

    /// A call is to be sent to an instance. `None` if no drill aims at it.
    pub(crate) fn sending(&self, instance: &Instance, capability: &Name) -> Option<Sending> {
        let watched = self.watched()?;
        if !watched.covers(instance, Some(capability)) {
            return None;
        }
        watched.traffic.sent();
        let sla = instance.spec.capability(capability.as_str()).map_or(Duration::ZERO, |c| c.sla);
        let strike = watched.strike(sla);
        Some(Sending { watched, strike })
    }

    /// Whether a poll of this instance finds nobody.
    pub(crate) fn poll_fails(&self, instance: &Instance) -> bool {
        let dead = self.watched().filter(|watched| watched.is_dead(instance));
        dead.is_some_and(|watched| watched.plan.strikes(watched.polls.fetch_add(1, Relaxed)))
    }

    /// What a reading of memory is to say, in basis points of the soft limit, if a drill forges it.
    pub(crate) fn memory(&self) -> Option<u64> {
        let watched = self.watched().filter(|watched| watched.plan.kind == Kind::EmergencyMode)?;
        watched.acts().then_some(USED_UP)
    }

    /// Whether this instance's ledger does not answer.
    pub(crate) fn is_silent(&self, instance: &Instance) -> bool {
        self.watched().is_some_and(|watched| watched.is_dead(instance))
    }

    /// A call begins. `None` if no drill is watched.
    pub(crate) fn call(&self, tenant: &Name, capability: &Name, deadline: Mono) -> Option<Counted> {
        Some(Counted::begin(self.watched()?, tenant, capability, deadline))
    }

    /// A run was accepted: it is on disk, and its client is about to be told.
    pub(crate) fn accepted(&self, tenant: &Name, id: RunId) {
        if let Some(watched) = self.watched() {
            watched.traffic.accepted(tenant, id);
        }
    }

    /// A request was routed, and this is how.
    pub(crate) fn routed(&self, decision: &Decision) {
        let lies = self.watched().filter(|watched| watched.plan.kind == Kind::LyingRouter);
        if let Some(watched) = lies
            && decision
                .passed
                .iter()
                .any(|passed| passed.rung == Rung::Router && lies::is_disbelief(passed.why))
        {
            watched.traffic.disbelieved();
        }
    }

    fn watched(&self) -> Option<Arc<Watched>> {
        if !self.0.watching.load(Relaxed) {
            return None;
        }
        self.0.watched.read().clone()
    }
}

// === impl Watched ===

impl Watched {
    fn covers(&self, instance: &Instance, capability: Option<&Name>) -> bool {
        let (tenant, agent, name) = (&instance.tenant, &instance.spec.name, &instance.name);
        self.plan.covers(Whom { tenant, agent, instance: name, capability })
    }

    fn acts(&self) -> bool {
        self.acting.load(Relaxed) && self.clock.mono() < self.until
    }

    fn is_dead(&self, instance: &Instance) -> bool {
        self.plan.kind == Kind::DeadAgent && self.acts() && self.covers(instance, None)
    }

    fn strike(&self, sla: Duration) -> Option<Strike> {
        if !self.acts() {
            return None;
        }
        let nth = self.sendings.fetch_add(1, Relaxed);
        if !self.plan.strikes(nth) {
            return None;
        }
        let strike = match self.plan.kind {
            Kind::SlowAgent => Strike::Hold(self.plan.delay(sla)),
            Kind::FailingAgent => {
                self.failure(Class::AgentError, Reason::AgentFailed, "the agent failed", Began::Yes)
            }
            Kind::DeadAgent => {
                self.failure(Class::Transport, Reason::AgentUnreachable, "nobody answers", Began::No)
            }
            Kind::Overload => {
                self.failure(Class::Overload, Reason::AgentBusy, "the agent is busy", Began::No)
            }
            Kind::LyingRouter => Strike::Lie(lies::lie(nth)),
            Kind::StoreReadOnly | Kind::EmergencyMode => return None,
        };
        self.traffic.struck(matches!(&strike, Strike::Fail(failure) if failure.class == Class::Overload));
        Some(strike)
    }

    fn failure(&self, class: Class, reason: Reason, text: &str, began: Began) -> Strike {
        Strike::Fail(Failure {
            class,
            code: reason.as_str().to_owned(),
            message: format!("drill {}: {text}, on purpose", self.plan.id),
            began,
            retry_after: (class == Class::Overload).then_some(BUSY_FOR),
        })
    }
}

// === impl Sending ===

impl Sending {
    /// What it meets.
    pub(crate) const fn strike(&self) -> Option<&Strike> {
        self.strike.as_ref()
    }

    /// It ended, and what the record of the call should say of it.
    pub(crate) fn ended(self, class: Class) -> Option<String> {
        let Some(strike) = self.strike else {
            self.watched.traffic.flowed(class == Class::Success);
            return None;
        };
        let Plan { id, kind, .. } = &self.watched.plan;
        Some(match strike {
            Strike::Hold(delay) => format!("drill {id} ({kind}): held back {delay:?}"),
            Strike::Fail(_) | Strike::Lie(_) => format!("drill {id} ({kind}): not sent; the fault answered"),
        })
    }
}

#[cfg(test)]
mod tests;
