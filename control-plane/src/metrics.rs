//! Prometheus metrics. Counters are counted where things happen; gauges are read off the handles when somebody looks.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mainstay_kernel::mode::Mode;
use mainstay_kernel::outcome::Class;
use mainstay_kernel::pause::Target;
use mainstay_kernel::priority::Priority;
use mainstay_kernel::retry::budget::Leave;
use mainstay_kernel::run::EndState;
use mainstay_store::Store;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::modes::Vitals;
use crate::retention::Use;
use crate::{engine, registry};

/// All metrics of a control plane. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    runs_started: Counter,
    runs_ended: Family<State, Counter>,
    runs_removed: Counter,
    limit_used: Family<Limit, Gauge>,
    limit: Family<Limit, Gauge>,
    attempts: Family<Outcome, Counter>,
    vitals: Vitals,
    mode: Gauge,
    breaker_changes: Family<State, Counter>,
    open_breakers: Gauge,
    lowered_limits: Gauge,
    ejected: Gauge,
    ejections: Counter,
    panicking: Gauge,
    panics: Counter,
    events_lost: Counter,
    version_calls: Family<VersionOutcome, Counter>,
    rollout_weight: Family<Rollout, Gauge>,
    refused_calls: Counter,
    rated_calls: Family<Verdict, Counter>,
    shed: Family<Urgency, Counter>,
    waiting_calls: Gauge,
    retries: Family<Verdict, Counter>,
    hedges: Family<Verdict, Counter>,
    routed: Family<Rung, Counter>,
    decisions_lost: Counter,
    open_runs: Gauge,
    parked_runs: Gauge,
    parkings: Counter,
    instances: Gauge,
    paused: Family<Kind, Gauge>,
    drill_active: Gauge,
    ready: Gauge,
    store_writable: Gauge,
    store_commits: Counter,
    store_syncs: Counter,
    store_queued: Gauge,
    store_damaged: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verdict {
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limit {
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rung {
    rung: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionOutcome {
    rollout: String,
    side: &'static str,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rollout {
    rollout: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Urgency {
    priority: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("mainstay");
        let inner = Inner {
            registry: Registry::default(),
            runs_started: Counter::default(),
            runs_ended: Family::default(),
            runs_removed: Counter::default(),
            limit_used: Family::default(),
            limit: Family::default(),
            attempts: Family::default(),
            vitals: Vitals::default(),
            mode: Gauge::default(),
            breaker_changes: Family::default(),
            open_breakers: Gauge::default(),
            lowered_limits: Gauge::default(),
            ejected: Gauge::default(),
            ejections: Counter::default(),
            panicking: Gauge::default(),
            panics: Counter::default(),
            events_lost: Counter::default(),
            version_calls: Family::default(),
            rollout_weight: Family::default(),
            refused_calls: Counter::default(),
            rated_calls: Family::default(),
            shed: Family::default(),
            waiting_calls: Gauge::default(),
            retries: Family::default(),
            hedges: Family::default(),
            routed: Family::default(),
            decisions_lost: Counter::default(),
            open_runs: Gauge::default(),
            parked_runs: Gauge::default(),
            parkings: Counter::default(),
            instances: Gauge::default(),
            paused: Family::default(),
            drill_active: Gauge::default(),
            ready: Gauge::default(),
            store_writable: Gauge::default(),
            store_commits: Counter::default(),
            store_syncs: Counter::default(),
            store_queued: Gauge::default(),
            store_damaged: Counter::default(),
        };
        registry.register("runs_started", "Runs accepted since the start", inner.runs_started.clone());
        registry.register("runs_ended", "Runs ended since the start, by state", inner.runs_ended.clone());
        registry.register(
            "runs_removed",
            "Finished runs removed since the start because they were too old or too many",
            inner.runs_removed.clone(),
        );
        registry.register(
            "limit_used",
            "How much there is of what a setting limits",
            inner.limit_used.clone(),
        );
        registry.register("limit", "How much there may be of it", inner.limit.clone());
        registry.register(
            "attempts",
            "Attempts on instances since the start, by outcome class",
            inner.attempts.clone(),
        );
        registry.register("mode", "The operating mode: 0 full, 1 degraded, 2 emergency", inner.mode.clone());
        registry.register(
            "breaker_changes",
            "Breakers that changed since the start, by the state they changed to",
            inner.breaker_changes.clone(),
        );
        registry.register(
            "open_breakers",
            "Breakers of leased instances that are open",
            inner.open_breakers.clone(),
        );
        registry.register(
            "retries",
            "Retries asked of the agents' budgets since the start, by verdict",
            inner.retries.clone(),
        );
        registry.register(
            "hedges",
            "Hedges of read-only calls since the start, by what became of them",
            inner.hedges.clone(),
        );
        registry.register(
            "routed",
            "Requests routed by a document since the start, by the rung that decided",
            inner.routed.clone(),
        );
        registry.register(
            "decisions_lost",
            "Routing decisions that came faster than the disk took them, since the start",
            inner.decisions_lost.clone(),
        );
        registry.register(
            "lowered_limits",
            "Capabilities of instances that get fewer calls at once than they declare",
            inner.lowered_limits.clone(),
        );
        registry.register(
            "ejected",
            "Instances left out of a capability because they do worse than their siblings",
            inner.ejected.clone(),
        );
        registry.register("ejections", "Ejections since the start", inner.ejections.clone());
        registry.register(
            "panicking",
            "Capabilities most of whose instances look unusable, so that all are used",
            inner.panicking.clone(),
        );
        registry.register("panics", "Times routing of a capability began to panic", inner.panics.clone());
        registry.register(
            "refused_calls",
            "Direct calls refused since the start because their turn could not come in time",
            inner.refused_calls.clone(),
        );
        registry.register(
            "shed",
            "Runs and direct calls that were not let in since the start, by priority",
            inner.shed.clone(),
        );
        registry.register("waiting_calls", "Calls that wait for an instance", inner.waiting_calls.clone());
        registry.register(
            "events_lost",
            "Events that came faster than the disk took them, since the start",
            inner.events_lost.clone(),
        );
        registry.register(
            "rated_calls",
            "Calls over a declared rate since the start, by verdict",
            inner.rated_calls.clone(),
        );
        registry.register(
            "version_calls",
            "Calls whose version a rollout chose since the start, by version and outcome class",
            inner.version_calls.clone(),
        );
        registry.register(
            "rollout_weight_basis_points",
            "Share of calls that the candidate of a rollout gets",
            inner.rollout_weight.clone(),
        );
        registry.register("open_runs", "Runs that have not ended", inner.open_runs.clone());
        registry.register(
            "parked_runs",
            "Open runs that nobody drives because they broke what drove them",
            inner.parked_runs.clone(),
        );
        registry.register("run_parkings", "Runs parked since the start", inner.parkings.clone());
        registry.register("instances", "Instances with a live lease", inner.instances.clone());
        registry.register("paused", "Targets that are paused, by kind", inner.paused.clone());
        registry.register("drill_active", "1 while a drill injects a fault", inner.drill_active.clone());
        registry.register("ready", "1 while open runs are driven", inner.ready.clone());
        registry.register("store_writable", "1 while the store takes writes", inner.store_writable.clone());
        registry.register(
            "store_commits",
            "Batches committed since the store was opened",
            inner.store_commits.clone(),
        );
        registry.register(
            "store_syncs",
            "Times data reached the disk since the store was opened",
            inner.store_syncs.clone(),
        );
        registry.register("store_queued", "Batches waiting for the disk", inner.store_queued.clone());
        registry.register(
            "store_damaged",
            "Damaged records met since the store was opened",
            inner.store_damaged.clone(),
        );
        Self(Arc::new(Inner { registry, ..inner }))
    }
}

impl Metrics {
    pub(crate) fn run_started(&self) {
        self.0.runs_started.inc();
    }

    /// Runs accepted since the start.
    /// A run was parked.
    pub(crate) fn run_parked(&self) {
        self.0.parkings.inc();
    }

    pub(crate) fn runs_started(&self) -> u64 {
        self.0.runs_started.get()
    }

    /// What is kept, and what was removed since the start.
    pub(crate) fn retention(&self, limits: &[Use], removed: u64) {
        self.0.runs_removed.inner().store(removed, Relaxed);
        for Use { limit, used, most, .. } in limits {
            let of = Limit { limit: limit.trim_start_matches("--") };
            self.0.limit_used.get_or_create(&of).set(i64::try_from(*used).unwrap_or(i64::MAX));
            self.0.limit.get_or_create(&of).set(i64::try_from(*most).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn run_ended(&self, state: EndState) {
        self.0.runs_ended.get_or_create(&State { state: state.as_str() }).inc();
    }

    /// An attempt on an instance ended.
    pub(crate) fn attempt(&self, class: Class, took: Duration) {
        self.0.vitals.ended(class, took);
        self.0.attempts.get_or_create(&Outcome { class: class.as_str() }).inc();
    }

    /// A hedge ended.
    pub(crate) fn hedge(&self, class: Class) {
        let verdict = match class {
            Class::Success => "won",
            Class::Cancelled => "lost",
            Class::Transport
            | Class::Timeout
            | Class::Overload
            | Class::AgentError
            | Class::ContractBreach
            | Class::LowConfidence
            | Class::OverBudget
            | Class::CallerFault
            | Class::Unavailable => "failed",
        };
        self.0.hedges.get_or_create(&Verdict { verdict }).inc();
    }

    /// A hedge was not made because there was no leave.
    pub(crate) fn hedge_refused(&self) {
        self.0.hedges.get_or_create(&Verdict { verdict: "refused" }).inc();
    }

    /// How attempts went lately.
    pub(crate) fn vitals(&self) -> &Vitals {
        &self.0.vitals
    }

    pub(crate) fn mode(&self, mode: Mode) {
        self.0.mode.set(match mode {
            Mode::Full => 0,
            Mode::Degraded => 1,
            Mode::Emergency => 2,
        });
    }

    pub(crate) fn drill(&self, acts: bool) {
        self.0.drill_active.set(i64::from(acts));
    }

    /// A call whose version a rollout chose has ended.
    pub(crate) fn version(&self, rollout: &str, side: &'static str, class: Class) {
        let labels = VersionOutcome { rollout: rollout.to_owned(), side, class: class.as_str() };
        self.0.version_calls.get_or_create(&labels).inc();
    }

    pub(crate) fn rollout_weight(&self, rollout: &str, weight_bp: u32) {
        self.0
            .rollout_weight
            .get_or_create(&Rollout { rollout: rollout.to_owned() })
            .set(i64::from(weight_bp));
    }

    pub(crate) fn refused(&self) {
        self.0.refused_calls.inc();
    }

    pub(crate) fn routed(&self, rung: mainstay_kernel::route::Rung) {
        self.0.routed.get_or_create(&Rung { rung: rung.as_str() }).inc();
    }

    pub(crate) fn decision_lost(&self) {
        self.0.decisions_lost.inc();
    }

    /// Requests that were not let in, of all priorities.
    pub(crate) fn shed_so_far(&self) -> u64 {
        let of =
            |priority: Priority| self.0.shed.get_or_create(&Urgency { priority: priority.as_str() }).get();
        Priority::ALL.into_iter().map(of).sum()
    }

    pub(crate) fn shed(&self, priority: Priority) {
        self.0.shed.get_or_create(&Urgency { priority: priority.as_str() }).inc();
    }

    pub(crate) fn retry(&self, leave: Leave) {
        let verdict = match leave {
            Leave::Granted { .. } => "granted",
            Leave::Later { .. } => "delayed",
            Leave::Refused => "refused",
        };
        self.0.retries.get_or_create(&Verdict { verdict }).inc();
    }

    /// The exposition, in OpenMetrics text.
    #[must_use]
    pub fn text(&self, store: &dyn Store, engine: &engine::Handle, registry: &registry::Handle) -> String {
        let inner = &*self.0;
        let stats = store.stats();
        inner.open_runs.set(count(engine.open_runs()));
        inner.parked_runs.set(count(engine.parked_runs()));
        inner.instances.set(count(registry.live_instances()));
        inner.waiting_calls.set(i64::try_from(registry.waiting_calls()).unwrap_or(i64::MAX));
        inner.open_breakers.set(count(registry.open_breakers()));
        inner.lowered_limits.set(count(registry.lowered_limits()));
        inner.ejected.set(count(registry.ejected()));
        inner.ejections.inner().store(registry.ejections(), Relaxed);
        let (panicking, panics) = registry.panics();
        inner.panicking.set(count(panicking));
        inner.panics.inner().store(panics, Relaxed);
        for (state, changes) in registry.breaker_changes() {
            let counter = inner.breaker_changes.get_or_create(&State { state: state.as_str() }).clone();
            counter.inner().store(changes, Relaxed);
        }
        for (verdict, calls) in registry.rates().counts() {
            inner.rated_calls.get_or_create(&Verdict { verdict }).inner().store(calls, Relaxed);
        }
        let pauses = registry.pauses().all(None);
        for kind in Target::KINDS {
            let of = pauses.iter().filter(|(_, pause)| pause.target.kind() == kind).count();
            inner.paused.get_or_create(&Kind { kind }).set(count(of));
        }
        inner.events_lost.inner().store(registry.events_lost(), Relaxed);
        inner.ready.set(i64::from(engine.is_ready()));
        inner.store_writable.set(i64::from(store.status().is_writable()));
        // The store counts for itself; these show its count.
        inner.store_commits.inner().store(stats.commits, Relaxed);
        inner.store_syncs.inner().store(stats.syncs, Relaxed);
        inner.store_queued.set(count(stats.queued));
        inner.store_damaged.inner().store(stats.damaged, Relaxed);
        let mut exposition = String::new();
        // Writing to a string cannot fail.
        text::encode(&mut exposition, &inner.registry).ok();
        exposition
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
