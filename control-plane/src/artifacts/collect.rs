//! What nobody needs goes: uploads that no process carries on, and artifacts that no kept run names.
//!
//! A reconciler. It looks at what is on record, never at what somebody told it, so that a crash anywhere costs one look more.
//! Which artifacts runs name stands in records beside their journals, written with the transition that names them and
//! removed with the run; a look reads those and no journal.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use mainstay_kernel::artifact::{ArtifactId, Usage};
use mainstay_kernel::name::Name;
use mainstay_store::{Batch, CommitError, ReadError};

use super::{Handle, PAGE, each};
use crate::records::artifact::{self, Stored};
use crate::records::{RecordError, key, loose, tenants};

/// Shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(500);

/// Longest time between two looks, however long the time of grace is: what a killed upload left is found within it.
const LONGEST: Duration = Duration::from_secs(60);

/// Looks in a time of grace: an artifact stays little longer than it must.
const LOOKS: u32 = 8;

/// How much longer a look is waited for than one took: looks cost at most a twentieth of one processor.
const REST: u32 = 20;

/// The reconciler.
#[derive(Debug)]
pub struct Service {
    handle: Handle,
    /// What the look before found to be due and named by nobody.
    unnamed: HashSet<(Name, ArtifactId)>,
}

/// Why a look ended early. The next one begins anew.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl Service {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, unnamed: HashSet::new() }
    }

    /// Removes what nobody needs, until it is dropped.
    pub async fn run(mut self) {
        let clock = self.handle.0.clock.clone();
        let usual = (self.handle.0.policy.grace / LOOKS).clamp(SHORTEST, LONGEST);
        loop {
            let began = clock.mono();
            self = super::blocking(move || {
                if let Err(error) = self.look() {
                    tracing::debug!(%error, "artifacts that nobody needs stay for now");
                }
                self
            })
            .await;
            tokio::time::sleep(usual.max((clock.mono() - began) * REST)).await;
        }
    }

    /// One look. Blocks.
    pub(super) fn look(&mut self) -> Result<(), LookError> {
        let due = self.due()?;
        let named = if due.is_empty() { HashSet::new() } else { self.named()? };
        let unnamed: HashSet<_> = due.into_iter().filter(|artifact| !named.contains(artifact)).collect();
        for (tenant, id) in unnamed.intersection(&self.unnamed) {
            self.remove(tenant, *id)?;
        }
        self.unnamed = unnamed;
        Ok(())
    }

    /// Ends uploads that no process carries on; what of artifacts is past its time of grace.
    fn due(&self) -> Result<HashSet<(Name, ArtifactId)>, LookError> {
        let shared = &self.handle.0;
        let (now, mut due) = (shared.clock.wall(), HashSet::new());
        for tenant in tenants::all(&*shared.store)? {
            self.end_uploads(&tenant)?;
            each(
                &*shared.store,
                &artifact::prefix(tenant.as_str()),
                |rest, stored: Result<Stored, _>, _| {
                    if let (Some(id), Ok(stored)) = (artifact::id(rest), stored)
                        && shared.policy.is_due(stored.put_at, now)
                    {
                        due.insert((tenant.clone(), id));
                    }
                },
            )?;
        }
        Ok(due)
    }

    fn end_uploads(&self, tenant: &Name) -> Result<(), LookError> {
        let shared = &self.handle.0;
        let prefix = artifact::uploads(tenant.as_str());
        let mut ended = Vec::new();
        each(&*shared.store, &prefix, |rest, upload: Result<artifact::Upload, _>, version| {
            let carried_on =
                rest.try_into().is_ok_and(|id| shared.under_way.lock().contains::<[u8; 16]>(&id));
            if let (false, Ok(upload)) = (carried_on, upload) {
                ended.push(([&prefix, rest].concat(), version, upload));
            }
        })?;
        for (key, version, upload) in ended {
            let batch = Batch::new().version_is(key.clone(), version).delete(key);
            match shared.store.commit(loose::note(batch, &upload.pieces)).wait() {
                Ok(_) | Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Everything that runs name.
    fn named(&self) -> Result<HashSet<(Name, ArtifactId)>, LookError> {
        let shared = &self.handle.0;
        let (mut named, mut from) = (HashSet::new(), None::<Bytes>);
        loop {
            let page = shared.store.scan(&key::of_runs(key::NAMED), from.as_deref(), PAGE)?;
            if let Some(damaged) = page.damaged.first() {
                let key = damaged.key.clone();
                return Err(ReadError::Damaged { key, damage: damaged.damage.clone() }.into());
            }
            for (at, entry) in &page.entries {
                let tenant = artifact::named_tenant(at).and_then(|tenant| Name::new(tenant).ok());
                let Some(tenant) = tenant else { continue };
                // Of one that cannot be read nobody can tell what it names, so nothing goes.
                let ids = artifact::decode_named(&entry.value)?;
                named.extend(ids.into_iter().map(|id| (tenant.clone(), id)));
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(named),
            }
        }
    }

    /// Removes an artifact, unless it was put again meanwhile.
    fn remove(&self, tenant: &Name, id: ArtifactId) -> Result<(), LookError> {
        let shared = &self.handle.0;
        let at = artifact::key(tenant.as_str(), id);
        let Some(entry) = shared.store.get(&at)? else { return Ok(()) };
        let Ok(stored) = Stored::decode(&entry.value) else { return Ok(()) };
        if !shared.policy.is_due(stored.put_at, shared.clock.wall()) {
            return Ok(());
        }
        let batch = Batch::new().version_is(at.clone(), entry.version).delete(at);
        match shared.store.commit(loose::note(batch, &stored.pieces)).wait() {
            Ok(_) => {
                self.handle.give_back(tenant, Usage { count: 1, bytes: stored.bytes });
                Ok(())
            }
            Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
