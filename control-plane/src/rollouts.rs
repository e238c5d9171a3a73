//! Rollouts: documents put, trials under way, and what became of them.
//!
//! Where a rollout stands is the newest entry of its history, and the history is on disk. A change takes effect at once
//! (a bad candidate must not keep its calls until the disk is done) and is handed to the store while the trial is locked,
//! so that the last change is the last one written. A person's word is waited for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_kernel::breaker;
use mainstay_kernel::document::Problem;
use mainstay_kernel::event::Kind;
use mainstay_kernel::name::Name;
use mainstay_kernel::rollout::machine::{Machine, Refusal};
use mainstay_kernel::rollout::{Change, Rollout, Side, contract};
use mainstay_kernel::time::Mono;
use mainstay_store::{Batch, Commit, CommitError, Store};
use parking_lot::RwLock;

use crate::documents::Document;
use crate::host::Clock;
use crate::metrics::Metrics;
use crate::records::RecordError;
use crate::records::rollout::{self as record, StoredChange};
use crate::registry::{self, Instance};
use crate::{documents, events};

mod divide;
mod document;
mod load;
mod trial;

pub use divide::{Arranged, Division};
pub use document::Catalog;
pub use load::open;
pub use trial::{Seen, Shadowed, Trial};

/// Most rollouts at once. A person writes them; a thousand are a program that went wrong.
const MAX_ROLLOUTS: usize = 1_000;

/// Changes kept of each rollout, the newest: a ladder of twenty steps climbed ten times.
pub const MAX_CHANGES: u64 = 200;

/// How often it is looked whether a step's time is up. Steps last minutes.
const SWEEP: Duration = Duration::from_millis(500);

/// What is rolled out. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

/// What lets steps end when their time is up.
#[derive(Debug)]
pub struct Service(Handle);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    store: Arc<dyn Store>,
    catalog: Catalog,
    events: events::Handle,
    metrics: Metrics,
    /// By tenant and name.
    trials: RwLock<BTreeMap<Name, BTreeMap<Name, Arc<Trial>>>>,
    /// How many there are, so that a call where there are none takes no lock.
    count: AtomicUsize,
    /// By tenant and capability: which of them divide a route.
    routes: RwLock<HashMap<Name, HashMap<Name, Arc<divide::Divided>>>>,
    /// Held from the decision to put a document to its last effect.
    turn: tokio::sync::Mutex<()>,
}

/// A document that was put.
#[derive(Debug)]
pub struct Put {
    /// The rollout as it is now.
    pub trial: Arc<Trial>,
    /// False if this very document was there already.
    pub created: bool,
    /// What its author may not have meant.
    pub warnings: Vec<Problem>,
    /// What could not be compared.
    pub notes: Vec<String>,
}

/// What a person wants of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    /// To the next step, or to the end.
    Promote {
        /// To the end.
        fully: bool,
    },
    /// No calls for the candidate any more.
    RollBack,
    /// The weight stays where it is.
    Pause,
    /// It rises by itself again.
    Resume,
}

/// A document that was not put. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The document was not stored.
    #[error(transparent)]
    Document(#[from] documents::PutError),
    /// A newer version is in force.
    #[error("version {version} of {name} is in force, and older ones are history")]
    Older {
        /// The rollout.
        name: Name,
        /// The version in force.
        version: u32,
    },
    /// Another rollout divides the same calls.
    #[error("divides the calls of {agent}, as rollout {other} does already")]
    Overlaps {
        /// The agent.
        agent: Name,
        /// The other rollout.
        other: Name,
    },
    /// Callers of the stable version cannot be served by the candidate.
    #[error("breaks the contract of {stable}: {first}", first = breaks.join("; "))]
    Contract {
        /// The stable version.
        stable: String,
        /// In which ways.
        breaks: Vec<String>,
    },
    /// Too many.
    #[error("{0} rollouts are on record, as many as this server takes")]
    Full(usize),
    /// It could not be encoded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store refused it.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A rollout that was not turned.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// There is none of that name.
    #[error("rollout {0} is not stored")]
    NotFound(Name),
    /// It cannot be followed.
    #[error("{0}")]
    Refused(Refusal),
    /// The change holds, but it is not on disk.
    #[error("it holds until a restart only, because the disk refuses it")]
    NotOnRecord,
}

// === impl Handle ===

impl Handle {
    /// Stores a version of a rollout and begins it; on disk when this returns. What the versions declare is compared over
    /// the instances that `registry` knows.
    pub async fn put(
        &self,
        tenant: &Name,
        document: &str,
        by: &str,
        registry: &registry::Handle,
    ) -> Result<Put, PutError> {
        // On a task: what a caller who leaves has begun is carried through.
        let (handle, tenant, document) = (self.clone(), tenant.clone(), document.to_owned());
        let (by, registry) = (by.to_owned(), registry.clone());
        let put = tokio::spawn(async move { handle.put_now(&tenant, document, &by, &registry).await });
        put.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    async fn put_now(
        &self,
        tenant: &Name,
        document: String,
        by: &str,
        registry: &registry::Handle,
    ) -> Result<Put, PutError> {
        let parsed = documents::parse::<Rollout>(document.clone()).await;
        let rollout = parsed.map_err(|problems| documents::PutError::Invalid(Rollout::KIND, problems))?;
        let shared = &self.0;
        let _turn = shared.turn.lock().await;
        let (name, before) = (rollout.name().clone(), self.get(tenant, rollout.name()));
        if let Some(before) = &before {
            if before.rollout.hash() == rollout.hash() {
                let warnings = rollout.lint().to_vec();
                return Ok(Put { trial: Arc::clone(before), created: false, warnings, notes: Vec::new() });
            }
            if rollout.version() < before.rollout.version() {
                return Err(PutError::Older { name, version: before.rollout.version() });
            }
        }
        let others = self.list(tenant);
        if let Some(other) =
            others.iter().find(|it| *it.rollout.name() != name && it.rollout.overlaps(&rollout))
        {
            let (agent, other) = (rollout.agent().clone(), other.rollout.name().clone());
            return Err(PutError::Overlaps { agent, other });
        }
        let count = shared.count.load(Ordering::Relaxed);
        if before.is_none() && count >= MAX_ROLLOUTS {
            return Err(PutError::Full(count));
        }
        let notes = compare(tenant, &rollout, registry)?;
        // The document first. Should a crash come between the two, the version before it is still in force.
        let documents::Put { warnings, .. } = shared.catalog.put(tenant, &document).await?;
        let trial =
            Arc::new(Trial::begin(tenant.clone(), rollout, before.as_deref(), by, shared.clock.now()));
        let newest = trial.newest();
        shared.store.commit(with_change(&trial, &newest)?).await?;
        self.install(&trial);
        let words = format_args!(
            "{}: {} tries {}",
            newest.reason,
            trial.rollout.agent(),
            trial.rollout.of(Side::Candidate)
        );
        shared.events.tell_by(by, tenant, Kind::RolloutStarted, trial.subject(), words);
        Ok(Put { trial, created: true, warnings, notes })
    }

    /// Follows a person's word; on disk when this returns.
    pub async fn turn(
        &self,
        tenant: &Name,
        name: &Name,
        hand: Hand,
        note: String,
        by: &str,
    ) -> Result<Arc<Trial>, TurnError> {
        let trial = self.get(tenant, name).ok_or_else(|| TurnError::NotFound(name.clone()))?;
        let now = self.0.clock.now();
        let mut commit = None;
        trial
            .change(
                (now, by),
                |machine| hand.turn(machine, note, now.mono),
                |change, entry| {
                    commit = self.put_on_record(&trial, change, entry, by);
                },
            )
            .map_err(TurnError::Refused)?;
        let Some(commit) = commit else { return Err(TurnError::NotOnRecord) };
        commit.await.map_err(|_| TurnError::NotOnRecord)?;
        Ok(trial)
    }

    /// The rollout of this name.
    #[must_use]
    pub fn get(&self, tenant: &Name, name: &Name) -> Option<Arc<Trial>> {
        self.0.trials.read().get(tenant)?.get(name).cloned()
    }

    /// All of a tenant, by name.
    #[must_use]
    pub fn list(&self, tenant: &Name) -> Vec<Arc<Trial>> {
        self.0.trials.read().get(tenant).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// The documents.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    /// A call whose key chose its version ended there.
    pub fn observe(&self, trial: &Arc<Trial>, seen: Seen) {
        self.0.metrics.version(trial.rollout.name().as_str(), seen.side.as_str(), seen.class);
        let now = self.0.clock.now();
        trial.observe(seen, now, |change, entry| drop(self.put_on_record(trial, change, entry, "")));
    }

    /// A breaker changed. A candidate whose breaker opened by itself may lose its calls for it.
    pub(crate) fn breaker_changed(&self, instance: &Instance, capability: &Name, change: &breaker::Change) {
        if self.0.count.load(Ordering::Relaxed) == 0 || !opened_by_itself(change) {
            return;
        }
        let of_this = |trial: &&Arc<Trial>| {
            let rollout = &trial.rollout;
            *rollout.agent() == instance.spec.name
                && rollout.covers(capability)
                && rollout.side(&instance.spec.version) == Some(Side::Candidate)
        };
        let trials = self.list(&instance.tenant);
        let Some(trial) = trials.iter().find(of_this) else { return };
        let words =
            format!("{}/{} for {capability}, because {}", instance.spec.name, instance.name, change.reason);
        let now = self.0.clock.now();
        trial.breaker_opened(words, now, |change, entry| drop(self.put_on_record(trial, change, entry, "")));
    }

    /// Puts a change on its way to the disk and then tells of it, so that an event on record is of a change on record; `None` if it cannot go there.
    fn put_on_record(
        &self,
        trial: &Trial,
        change: &Change,
        entry: &StoredChange,
        by: &str,
    ) -> Option<Commit> {
        let shared = &self.0;
        let commit = match with_change(trial, entry) {
            Ok(batch) => Some(shared.store.commit(batch)),
            Err(error) => {
                tracing::error!(%error, rollout = %trial.rollout.name(), "a rollout's change is not on record");
                None
            }
        };
        let words = format_args!("{} to {}: {}", change.from, change.to, change.reason);
        shared.events.tell_by(by, &trial.tenant, Kind::of_rollout(change), trial.subject(), words);
        shared.metrics.rollout_weight(trial.rollout.name().as_str(), change.to.weight_bp);
        commit
    }

    /// Puts a trial in force.
    fn install(&self, trial: &Arc<Trial>) {
        let shared = &self.0;
        let mut trials = shared.trials.write();
        let of_tenant = trials.entry(trial.tenant.clone()).or_default();
        of_tenant.insert(trial.rollout.name().clone(), Arc::clone(trial));
        shared.count.store(trials.values().map(BTreeMap::len).sum(), Ordering::Relaxed);
        drop(trials);
        // Calls that begin from here on are divided anew.
        shared.routes.write().remove(&trial.tenant);
        shared.metrics.rollout_weight(trial.rollout.name().as_str(), trial.weight_bp());
    }
}

impl Service {
    /// Lets steps end when their time is up. Runs until it is dropped.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let handle = &self.0;
            let now = handle.0.clock.now();
            let trials: Vec<_> =
                handle.0.trials.read().values().flat_map(BTreeMap::values).cloned().collect();
            for trial in trials {
                trial.tick(now, |change, entry| drop(handle.put_on_record(&trial, change, entry, "")));
            }
        }
    }
}

impl Hand {
    fn turn(self, machine: &mut Machine, note: String, now: Mono) -> Result<Change, Refusal> {
        match self {
            Self::Promote { fully } => machine.promote(fully, note, now),
            Self::RollBack => machine.roll_back(note, now),
            Self::Pause => machine.pause(note, now),
            Self::Resume => machine.unpause(note, now),
        }
    }
}

/// What writes a change down, and forgets the oldest.
fn with_change(trial: &Trial, entry: &StoredChange) -> Result<Batch, RecordError> {
    let (tenant, name) = (trial.tenant.as_str(), trial.rollout.name().as_str());
    let batch = Batch::new().put(record::change_key(tenant, name, entry.number), entry.encode()?);
    Ok(match entry.number.checked_sub(MAX_CHANGES).filter(|oldest| *oldest > 0) {
        Some(oldest) => batch.delete(record::change_key(tenant, name, oldest)),
        None => batch,
    })
}

/// Whether traffic opened a breaker. One that a person opened says nothing about a version.
fn opened_by_itself(change: &breaker::Change) -> bool {
    change.to == breaker::State::Open && !matches!(change.reason, breaker::Reason::TrippedByHand(_))
}

/// Compares what the two versions declare. What cannot be compared yet is said.
fn compare(tenant: &Name, rollout: &Rollout, registry: &registry::Handle) -> Result<Vec<String>, PutError> {
    let instances = registry.agent(tenant, rollout.agent()).map(|agent| agent.instances).unwrap_or_default();
    let of = |side| {
        let newest = instances.iter().filter(|instance| instance.spec.version == rollout.of(side));
        newest.max_by_key(|instance| instance.registered_at)
    };
    let (stable, candidate) = (of(Side::Stable), of(Side::Candidate));
    if let (Some(stable), Some(candidate)) = (stable, candidate) {
        let breaks = contract::breaks(&stable.spec, &candidate.spec, rollout.capability());
        if !breaks.is_empty() {
            return Err(PutError::Contract { stable: rollout.of(Side::Stable).to_owned(), breaks });
        }
    }
    let missing = [(Side::Stable, stable), (Side::Candidate, candidate)];
    let missing = missing.into_iter().filter(|(_, found)| found.is_none());
    Ok(missing
        .map(|(side, _)| {
            let (version, agent) = (rollout.of(side), rollout.agent());
            format!(
                "no instance of {agent} {version} ({}) is on record yet, so the contracts were not compared",
                side.as_str()
            )
        })
        .collect())
}

#[cfg(test)]
mod tests;
