//! Budgets over time, and what was spent.
//!
//! The one owner of both, because they are two looks at the same sums: what the runs of a workflow used on a day. What
//! operators set is on disk before it is acknowledged. What was used needs no disk of its own: it is read off the runs'
//! journals and off what they leave behind when they end ([`mod@spend`]).
//!
//! # What is exact, and what is bounded
//! Every attempt on record counts once. In memory a call counts from the moment it has ended, which is milliseconds before
//! it is on record, and until then what it may take is held; so a limit is never exceeded by more than the calls under way
//! use beyond what their capabilities declare. After a crash the windows are counted anew from the records and the open
//! runs: a call whose end was not on record is made again under its key, answered from its agent's ledger, and counted then.
//!
//! A tenant without any budget over time costs a call one look at a flag and one sum.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay_kernel::budget::spend::{self as sums, Rows, Spend};
use mainstay_kernel::budget::window::{Day, Held, Near, Over, Period, Standing, Target, Windows};
use mainstay_kernel::budget::{Amount, Limits};
use mainstay_kernel::event::Kind;
use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::run::{AttemptRecord, Run, Transition};
use mainstay_kernel::time::Wall;
use mainstay_store::{Batch, CommitError, ReadError, Store};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::events;
use crate::host::Clock;
use crate::records::{RecordError, budget as record, tenants};

pub mod spend;

pub use spend::{By, Line, Query, Report, Service};

/// Most budgets of all tenants together. A person writes them; ten thousand are a program that went wrong.
const MAX_SET: usize = 10_000;

/// Records read at once.
const PAGE: usize = 500;

/// All budgets over time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    store: Arc<dyn Store>,
    events: events::Handle,
    set: RwLock<BTreeMap<(Name, Target, Period), Arc<SetByHand>>>,
    tenants: RwLock<HashMap<Name, Arc<Tenant>>>,
    /// What the runs that have not ended used, as it is on record.
    open: Mutex<HashMap<RunId, Open>>,
    /// Held from the decision to its last effect, so that memory and disk agree.
    turn: tokio::sync::Mutex<()>,
    /// Held while what runs left behind is added up, and while it is read.
    adding_up: tokio::sync::Mutex<()>,
}

/// A budget that an operator set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetByHand {
    /// How much; time is not limited.
    pub limits: Limits,
    /// Why, in the words of whoever did it.
    pub reason: String,
    /// Who did it, as they said; empty if they did not.
    #[serde(default)]
    pub by: String,
    /// When.
    pub since: Wall,
}

/// A budget that holds.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Whose.
    pub tenant: Name,
    /// How it stands.
    pub standing: Standing,
    /// Who set it; nothing if it was lifted meanwhile.
    pub set: Option<Arc<SetByHand>>,
}

/// The windows of one tenant.
#[derive(Debug, Default)]
struct Tenant {
    any: AtomicBool,
    windows: Mutex<Windows>,
    /// Told when something held was settled or a limit changed.
    settled: Notify,
}

#[derive(Debug)]
struct Open {
    tenant: Name,
    workflow: Name,
    rows: Rows,
}

/// What a call may take, held until it has ended.
#[derive(Debug)]
#[must_use = "what is held is given back when this is dropped"]
pub struct Hold {
    handle: Handle,
    tenant: Arc<Tenant>,
    name: Name,
    workflow: Name,
    held: Option<Amount>,
}

/// Why no budget was set or lifted.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// Nobody set one.
    #[error("no budget of {target} per {} was set", period.as_str())]
    NotSet {
        /// Whose.
        target: Target,
        /// Per what.
        period: Period,
    },
    /// Too many are set.
    #[error("{set} budgets are set, as many as this server takes")]
    Full {
        /// How many.
        set: usize,
    },
    /// It could not be encoded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store refused it.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Reads what operators set and what was used in the windows that are open. A record that cannot be read is left out and
/// reported.
///
/// # Errors
/// If the store cannot be read.
pub fn open(
    clock: Clock,
    store: Arc<dyn Store>,
    events: events::Handle,
) -> Result<(Handle, Service), ReadError> {
    let handle = Handle(Arc::new(Shared {
        clock,
        store,
        events,
        set: RwLock::default(),
        tenants: RwLock::default(),
        open: Mutex::default(),
        turn: tokio::sync::Mutex::default(),
        adding_up: tokio::sync::Mutex::default(),
    }));
    let now = handle.0.clock.wall();
    let today = Day::of(now);
    for name in tenants::all(&*handle.0.store)? {
        // First what was used: a limit that is nearly met was warned of before.
        spend::each(
            &*handle.0.store,
            &name,
            today.first_of_month(),
            today,
            &mut |workflow, source, spend| {
                handle.tenant(&name).windows.lock().add(workflow, source.day, spend.amount(), now);
            },
        )?;
        handle.load_set(&name)?;
    }
    Ok((handle.clone(), Service::new(handle)))
}

// === impl Handle ===

impl Handle {
    fn load_set(&self, tenant: &Name) -> Result<(), ReadError> {
        let (prefix, mut from) = (record::prefix(tenant.as_str()), None);
        loop {
            let page = self.0.store.scan(&prefix, from.as_deref(), PAGE)?;
            for damaged in &page.damaged {
                tracing::error!(%tenant, %damaged, "a budget is damaged and does not hold");
            }
            for (key, entry) in &page.entries {
                match (record::place(&key[prefix.len()..]), record::decode(&entry.value)) {
                    (Some((target, period)), Ok(set)) => {
                        self.tenant(tenant)
                            .change(|windows| windows.set(target.clone(), period, Some(set.limits)));
                        self.0.set.write().insert((tenant.clone(), target, period), Arc::new(set));
                    }
                    (None, _) => tracing::error!(%tenant, "a budget of nothing known does not hold"),
                    (_, Err(error)) => {
                        tracing::error!(%tenant, %error, "a budget cannot be read and does not hold")
                    }
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Sets a budget; on disk when this returns. It is carried through even if the caller leaves.
    pub async fn set(
        &self,
        tenant: &Name,
        target: Target,
        period: Period,
        set: SetByHand,
    ) -> Result<(), BudgetError> {
        let (handle, at) = (self.clone(), (tenant.clone(), target, period));
        let done = tokio::spawn(async move {
            let _turn = handle.0.turn.lock().await;
            let (known, many) = {
                let set = handle.0.set.read();
                (set.contains_key(&at), set.len())
            };
            if !known && many >= MAX_SET {
                return Err(BudgetError::Full { set: many });
            }
            let (tenant, target, period) = &at;
            let key = record::key(tenant.as_str(), target, *period);
            handle.0.store.commit(Batch::new().put(key, record::encode(&set)?)).await?;
            handle.tenant(tenant).change(|windows| windows.set(target.clone(), *period, Some(set.limits)));
            handle.tell(Kind::LimitSet, tenant, target, *period, &set.reason, &set.by);
            handle.0.set.write().insert(at, Arc::new(set));
            Ok(())
        });
        done.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Lifts a budget; off the disk when this returns. It is carried through even if the caller leaves.
    pub async fn lift(
        &self,
        tenant: &Name,
        target: Target,
        period: Period,
        by: String,
    ) -> Result<Arc<SetByHand>, BudgetError> {
        let (handle, at) = (self.clone(), (tenant.clone(), target, period));
        let done = tokio::spawn(async move {
            let _turn = handle.0.turn.lock().await;
            let (tenant, target, period) = &at;
            let Some(set) = handle.0.set.read().get(&at).cloned() else {
                return Err(BudgetError::NotSet { target: target.clone(), period: *period });
            };
            let key = record::key(tenant.as_str(), target, *period);
            handle.0.store.commit(Batch::new().delete(key)).await?;
            handle.tenant(tenant).change(|windows| windows.set(target.clone(), *period, None));
            handle.tell(Kind::LimitCleared, tenant, target, *period, "its budget was lifted", &by);
            handle.0.set.write().remove(&at);
            Ok(set)
        });
        done.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Every budget that holds, of one tenant or of all.
    #[must_use]
    pub fn all(&self, tenant: Option<&Name>) -> Vec<Shown> {
        let now = self.0.clock.wall();
        let names: std::collections::BTreeSet<Name> = self
            .0
            .set
            .read()
            .keys()
            .map(|(of, ..)| of.clone())
            .filter(|of| tenant.is_none_or(|one| one == of))
            .collect();
        let mut all = Vec::new();
        for tenant in names {
            for standing in self.tenant(&tenant).windows.lock().standings(now) {
                let at = (tenant.clone(), standing.target.clone(), standing.period);
                let set = self.0.set.read().get(&at).cloned();
                all.push(Shown { tenant: tenant.clone(), standing, set });
            }
        }
        all
    }

    /// Whether a run of `workflow` may begin.
    ///
    /// # Errors
    /// The budget that is used up.
    pub(crate) fn admit(&self, tenant: &Name, workflow: &Name) -> Result<(), Over> {
        match self.0.tenants.read().get(tenant) {
            Some(tenant) if tenant.any.load(Ordering::Relaxed) => {
                tenant.windows.lock().admit(workflow, self.0.clock.wall())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Takes note of a run that is driven from now on. One that was open before this process began has used something
    /// already.
    pub(crate) fn take_up(&self, run: &Run) {
        let (tenant, workflow, rows) = (run.tenant.clone(), run.workflow.name().clone(), sums::of_run(run));
        let known = {
            let open = Open { tenant: tenant.clone(), workflow: workflow.clone(), rows: rows.clone() };
            self.0.open.lock().insert(run.id, open).is_some()
        };
        if !known {
            for (source, spend) in rows {
                self.count(&self.tenant(&tenant), &tenant, &workflow, source.day, spend.amount());
            }
        }
    }

    /// Takes note of what a transition that `run` has folded puts on record.
    pub(crate) fn record(&self, run: &Run, transition: &Transition) {
        let rows = sums::of_transition(run, transition);
        if let Some(open) = self.0.open.lock().get_mut(&run.id).filter(|_| !rows.is_empty()) {
            sums::add(&mut open.rows, rows);
        }
    }

    /// A run has ended, and what it used is on record with its end.
    pub(crate) fn ended(&self, run: RunId) {
        self.0.open.lock().remove(&run);
    }

    /// Holds what a call may take, waiting for others to settle for as long as `patience`; `estimate` is asked for only
    /// where something is limited.
    ///
    /// # Errors
    /// The budget that has no room before a window ends.
    pub(crate) async fn hold(
        &self,
        name: &Name,
        workflow: &Name,
        patience: Duration,
        estimate: impl Fn() -> Amount,
    ) -> Result<Hold, Over> {
        let tenant = self.tenant(name);
        let hold = |held| self.holding(Arc::clone(&tenant), name, workflow, held);
        let until = self.0.clock.now().mono + patience;
        while tenant.any.load(Ordering::Relaxed) {
            // Made before looking, so that nothing is missed.
            let settled = tenant.settled.notified();
            let (amount, now) = (estimate(), self.0.clock.now());
            let held = tenant.windows.lock().hold(workflow, amount, now.wall);
            match held {
                Held::Now => return Ok(hold(Some(amount))),
                Held::Never(over) => return Err(over),
                Held::Later => {
                    let left = until.saturating_since(now.mono);
                    if left.is_zero() || tokio::time::timeout(left, settled).await.is_err() {
                        // Its own time is over: dispatch says so, better than a budget could.
                        break;
                    }
                }
            }
        }
        Ok(hold(None))
    }

    /// For a call that is made whatever is left: what it uses is counted when it has ended.
    pub(crate) fn count_only(&self, name: &Name, workflow: &Name) -> Hold {
        self.holding(self.tenant(name), name, workflow, None)
    }

    fn holding(&self, tenant: Arc<Tenant>, name: &Name, workflow: &Name, held: Option<Amount>) -> Hold {
        Hold { handle: self.clone(), tenant, name: name.clone(), workflow: workflow.clone(), held }
    }

    fn tenant(&self, name: &Name) -> Arc<Tenant> {
        if let Some(tenant) = self.0.tenants.read().get(name) {
            return Arc::clone(tenant);
        }
        Arc::clone(self.0.tenants.write().entry(name.clone()).or_default())
    }

    /// Counts what was used, and warns of limits that are near because of it.
    fn count(&self, tenant: &Tenant, name: &Name, workflow: &Name, day: Day, used: Amount) {
        if used == Amount::NONE {
            return;
        }
        let near = tenant.windows.lock().add(workflow, day, used, self.0.clock.wall());
        for Near { over } in near {
            tracing::warn!(tenant = %name, %over, "a budget is nearly used up");
            self.tell(Kind::LimitNear, name, &over.target, over.period, &over.to_string(), "");
        }
    }

    fn tell(&self, kind: Kind, tenant: &Name, target: &Target, period: Period, reason: &str, by: &str) {
        let subject = format!("budget/{target}/{}", period.as_str());
        self.0.events.tell_by(by, tenant, kind, subject, reason);
    }
}

// === impl Tenant ===

impl Tenant {
    fn change(&self, change: impl FnOnce(&mut Windows)) {
        let mut windows = self.windows.lock();
        change(&mut windows);
        self.any.store(!windows.is_empty(), Ordering::Relaxed);
        self.settled.notify_waiters();
    }
}

// === impl Hold ===

impl Hold {
    /// The call has ended: what it used takes the place of what was held for it.
    pub(crate) fn settle(mut self, attempts: &[AttemptRecord]) {
        self.release();
        for attempt in attempts.iter().filter(|attempt| !attempt.agent.is_empty()) {
            let used = Spend::of_call(attempt).amount();
            self.handle.count(&self.tenant, &self.name, &self.workflow, Day::of(attempt.started_at), used);
        }
        self.tenant.settled.notify_waiters();
    }

    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.tenant.windows.lock().release(&self.workflow, held);
        }
    }
}

/// A call that was dropped gives back what was held for it; what it used all the same is on no record of ours.
impl Drop for Hold {
    fn drop(&mut self) {
        if self.held.is_some() {
            self.release();
            self.tenant.settled.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
