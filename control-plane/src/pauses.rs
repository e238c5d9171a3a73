//! The one owner of what is paused: on disk before it is acknowledged, read back at the start, asked before every call
//! and every run.
//!
//! A call asks twice: before it looks for an instance, and again when it holds a permit. The second question is what makes
//! a drain honest. A pause is visible before anybody counts what is under way, so a call whose permit was not counted yet
//! sees the pause and gives the permit back; a call that does not see it has been counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_kernel::name::Name;
use mainstay_kernel::pause::{Pause, Paused, Pauses, Target};
use mainstay_store::{Batch, CommitError, ReadError, Store};
use parking_lot::RwLock;

use crate::records::{RecordError, pause, tenants};

/// Most entries of all tenants together. A person writes them; ten thousand are a program that went wrong.
const MAX_PAUSES: usize = 10_000;

/// Records read at once.
const PAGE: usize = 500;

/// What is paused. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    pauses: RwLock<Pauses>,
    /// Grows with every change, after it: whoever sees the same version twice saw the same pauses.
    version: AtomicU64,
    /// Held from the decision to its last effect, so that memory and disk agree.
    turn: tokio::sync::Mutex<()>,
}

/// What was paused of one tenant at one time.
#[derive(Debug, Clone)]
pub struct Look {
    version: u64,
    paused: Option<Arc<Paused>>,
}

/// Why nothing was paused or resumed.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// It is not paused.
    #[error("{0} is not paused")]
    NotPaused(Target),
    /// Too much is paused.
    #[error("{paused} entries are on record, as many as this server takes")]
    Full {
        /// How many.
        paused: usize,
    },
    /// It could not be encoded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store refused it.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Reads what is paused. An entry that cannot be read is left out and reported: what it named is in service.
///
/// # Errors
/// If the store cannot be read.
pub fn open(store: Arc<dyn Store>) -> Result<Handle, ReadError> {
    let mut pauses = Pauses::default();
    for tenant in tenants::all(&*store)? {
        let prefix = pause::prefix(tenant.as_str());
        let mut from = None;
        loop {
            let page = store.scan(&prefix, from.as_deref(), PAGE)?;
            for damaged in &page.damaged {
                tracing::error!(%tenant, %damaged, "a pause is damaged, and what it named is in service");
            }
            for (_, entry) in &page.entries {
                match pause::decode(&entry.value) {
                    Ok(pause) => drop(pauses.put(tenant.clone(), pause)),
                    Err(error) => {
                        tracing::error!(%tenant, %error, "a pause cannot be read, and what it named is in service");
                    }
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
    }
    Ok(Handle(Arc::new(Shared {
        store,
        pauses: RwLock::new(pauses),
        version: AtomicU64::new(0),
        turn: tokio::sync::Mutex::default(),
    })))
}

// === impl Handle ===

impl Handle {
    /// Puts an entry on record; on disk when this returns. It is carried through even if the caller leaves.
    pub async fn put(&self, tenant: &Name, pause: Pause) -> Result<Arc<Pause>, PauseError> {
        let (handle, tenant) = (self.clone(), tenant.clone());
        let put = tokio::spawn(async move {
            let shared = &handle.0;
            let _turn = shared.turn.lock().await;
            let entry = {
                let pauses = shared.pauses.read();
                let known = pauses.of(&tenant).is_some_and(|paused| paused.get(&pause.target).is_some());
                if !known && pauses.len() >= MAX_PAUSES {
                    return Err(PauseError::Full { paused: pauses.len() });
                }
                pauses.amended(&tenant, pause)
            };
            let key = pause::key(tenant.as_str(), &entry.target);
            shared.store.commit(Batch::new().put(key, pause::encode(&entry)?)).await?;
            let entry = shared.pauses.write().put(tenant, entry);
            shared.version.fetch_add(1, Ordering::Release);
            Ok(entry)
        });
        put.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Lifts an entry; off the disk when this returns. It is carried through even if the caller leaves.
    pub async fn lift(&self, tenant: &Name, target: &Target) -> Result<Arc<Pause>, PauseError> {
        let (handle, tenant, target) = (self.clone(), tenant.clone(), target.clone());
        let lifted = tokio::spawn(async move {
            let shared = &handle.0;
            let _turn = shared.turn.lock().await;
            if handle.get(&tenant, &target).is_none() {
                return Err(PauseError::NotPaused(target));
            }
            shared.store.commit(Batch::new().delete(pause::key(tenant.as_str(), &target))).await?;
            let lifted = shared.pauses.write().lift(&tenant, &target);
            shared.version.fetch_add(1, Ordering::Release);
            lifted.ok_or(PauseError::NotPaused(target))
        });
        lifted.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// What is paused of a tenant now.
    #[must_use]
    pub fn look(&self, tenant: &Name) -> Look {
        // The version first: a change in between makes the look seem older than it is, and it is taken again.
        let version = self.0.version.load(Ordering::Acquire);
        Look { version, paused: self.0.pauses.read().of(tenant).cloned() }
    }

    /// A newer look, if anything changed since `look`.
    #[must_use]
    pub fn since(&self, look: &Look, tenant: &Name) -> Option<Look> {
        (self.0.version.load(Ordering::Acquire) != look.version).then(|| self.look(tenant))
    }

    /// The entry of exactly this target.
    #[must_use]
    pub fn get(&self, tenant: &Name, target: &Target) -> Option<Arc<Pause>> {
        self.0.pauses.read().of(tenant)?.get(target).cloned()
    }

    /// The entry that keeps runs of `workflow` from being accepted, if there is one.
    #[must_use]
    pub fn start(&self, tenant: &Name, workflow: &Name) -> Option<Arc<Pause>> {
        self.0.pauses.read().of(tenant)?.start(tenant, workflow).cloned()
    }

    /// Every entry of one tenant, or of all.
    #[must_use]
    pub fn all(&self, tenant: Option<&Name>) -> Vec<(Name, Arc<Pause>)> {
        let pauses = self.0.pauses.read();
        let wanted = pauses.iter().filter(|(of, _)| tenant.is_none_or(|tenant| *of == tenant));
        wanted.map(|(tenant, pause)| (tenant.clone(), Arc::clone(pause))).collect()
    }
}

// === impl Look ===

impl Look {
    /// See [`Paused::call`].
    #[must_use]
    pub fn call(&self, tenant: &Name, capability: &Name) -> Option<Arc<Pause>> {
        self.paused.as_ref()?.call(tenant, capability).cloned()
    }

    /// See [`Paused::candidate`].
    #[must_use]
    pub fn candidate(&self, agent: &Name, instance: &Name) -> Option<Arc<Pause>> {
        self.paused.as_ref()?.candidate(agent, instance).cloned()
    }
}

#[cfg(test)]
mod tests;
