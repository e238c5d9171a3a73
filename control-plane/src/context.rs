//! Shared context on disk: what the kernel decides about a key, carried out in one batch.
//!
//! No lock is held: a put reads the entry, asks the kernel, and commits on the condition that the entry is still the one it
//! read. Whoever is overtaken reads again, so of many writers one wins each time and none overwrites what it has not seen.
//! Writers of different keys share the store's syncs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::context::{
    AsOf, Entry, Found, Key, MAX_KEYS, MAX_READS_OF_RUN, Owner, Pin, Pins, Put, PutRefused, Read,
    ReadRefused, Stamp,
};
use mainstay_kernel::json::Json;
use mainstay_kernel::name::Name;
use mainstay_kernel::time::Wall;
use mainstay_kernel::workflow::{Linked, Workflow};
use mainstay_store::{Batch, CommitError, ReadError, Store, Version};
use parking_lot::Mutex;

use crate::host::Clock;
use crate::records::{RecordError, context, tenants};

/// How often a write is tried that others overtake. One of all writers of a key wins each time, so a hundred at once are
/// through within as many tries.
const MAX_TRIES: usize = 128;

/// How often a read begins anew because the version it found was forgotten or removed before its value was read.
const MAX_READS: usize = 8;

/// Entries read at once.
const PAGE: usize = 500;

/// Shared context. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    store: Arc<dyn Store>,
    /// Keys of each tenant, with those on their way to the disk.
    keys: Mutex<HashMap<Name, usize>>,
}

/// A new value for a key.
#[derive(Debug, Clone)]
pub struct Write {
    /// Who writes.
    pub by: Owner,
    /// The version the writer has seen; see [`Put::expected`].
    pub expected: Option<u64>,
    /// How old it may be when it is read.
    pub max_age: Option<Duration>,
    /// The value.
    pub value: Json,
}

/// A value that was read.
#[derive(Debug, Clone)]
pub struct Value {
    /// Who owns the key.
    pub owner: Owner,
    /// The version.
    pub found: Found,
    /// The value.
    pub value: Json,
}

/// Why nothing was written or removed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The kernel says no.
    #[error("`{key}` {refused}")]
    Refused {
        /// The key.
        key: Key,
        /// Why.
        refused: PutRefused,
    },
    /// There is no such key to be removed.
    #[error("`{0}` does not exist")]
    NotFound(Key),
    /// The tenant has too many keys.
    #[error("the tenant has {MAX_KEYS} keys, as many as it may")]
    Full,
    /// Others were faster every time.
    #[error("`{0}` is written by so many at once that this write did not get its turn")]
    Overtaken(Key),
    /// The entry cannot be read.
    #[error(transparent)]
    Read(#[from] GetError),
    /// A record could not be encoded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store refused it.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// There is no such key.
    #[error("`{0}` does not exist")]
    NotFound(Key),
    /// The version is not kept, or too old.
    #[error("{}", refused_text(key, refused))]
    Refused {
        /// The key.
        key: Key,
        /// Why.
        refused: ReadRefused,
    },
    /// A run would read too many keys.
    #[error(
        "{count} keys are read by the workflow and those its steps run; at most {MAX_READS_OF_RUN} may be"
    )]
    TooMany {
        /// How many.
        count: usize,
    },
    /// One of its records is damaged.
    #[error("{0}")]
    Damaged(String),
    /// The store cannot be read now.
    #[error("the store cannot be read: {0}")]
    Unavailable(String),
}

/// Counts the keys there are.
///
/// # Errors
/// If the store cannot be read.
pub fn open(clock: Clock, store: Arc<dyn Store>) -> Result<Handle, ReadError> {
    let mut keys = HashMap::new();
    for tenant in tenants::all(&*store)? {
        let prefix = context::prefix(tenant.as_str());
        let (mut count, mut from) = (0, None);
        loop {
            let page = store.scan(&prefix, from.as_deref(), PAGE)?;
            count += page.entries.len() + page.damaged.len();
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        if count > 0 {
            keys.insert(tenant, count);
        }
    }
    Ok(Handle(Arc::new(Shared { clock, store, keys: Mutex::new(keys) })))
}

/// Reads for a run what its workflows want to know, each key as it is now.
///
/// # Errors
/// The first key that is missing, too old or damaged.
pub fn pins(store: &dyn Store, tenant: &Name, workflow: &Linked, now: Wall) -> Result<Pins, GetError> {
    let count = workflow.reads().count();
    if count > MAX_READS_OF_RUN {
        return Err(GetError::TooMany { count });
    }
    let pin = |(of, read): (Option<&Workflow>, &Read)| {
        let value = value(store, tenant, &read.key, AsOf::Now, read.max_age, now)?;
        Ok(Pin {
            of: of.map(ToString::to_string).unwrap_or_default().into(),
            name: Arc::clone(&read.name),
            key: read.key.clone(),
            version: value.found.stamp.version,
            at: value.found.stamp.at,
            value: value.value,
        })
    };
    workflow.reads().map(pin).collect::<Result<Vec<_>, _>>().map(Pins::new)
}

// === impl Handle ===

impl Handle {
    /// Writes a value; on disk when this returns. It is carried through even if the caller leaves.
    pub async fn put(&self, tenant: &Name, key: &Key, write: Write) -> Result<Stamp, WriteError> {
        let (handle, tenant, key) = (self.clone(), tenant.clone(), key.clone());
        let put = tokio::spawn(async move { handle.write(&tenant, &key, &write).await });
        put.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Removes a key with all its versions; off the disk when this returns. It is carried through even if the caller leaves.
    pub async fn remove(
        &self,
        tenant: &Name,
        key: &Key,
        by: Owner,
        expected: Option<u64>,
    ) -> Result<(), WriteError> {
        let (handle, tenant, key) = (self.clone(), tenant.clone(), key.clone());
        let removed = tokio::spawn(async move { handle.erase(&tenant, &key, &by, expected).await });
        removed.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// The value of the version asked for, if it is kept and fresh enough.
    pub fn get(
        &self,
        tenant: &Name,
        key: &Key,
        as_of: AsOf,
        max_age: Option<Duration>,
    ) -> Result<Value, GetError> {
        value(&*self.0.store, tenant, key, as_of, max_age, self.0.clock.wall())
    }

    /// Who owns a key, and its versions.
    pub fn entry(&self, tenant: &Name, key: &Key) -> Result<Entry, GetError> {
        let found = entry(&*self.0.store, tenant, key)?;
        found.map(|(entry, _)| entry).ok_or_else(|| GetError::NotFound(key.clone()))
    }

    /// Keys of a tenant in their order, behind `after`. One that cannot be read is left out and reported.
    pub fn list(
        &self,
        tenant: &Name,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, GetError> {
        let prefix = context::prefix(tenant.as_str());
        let mut from = after.map(|key| context::key(tenant.as_str(), key));
        let mut listed = Vec::new();
        loop {
            let left = limit.saturating_sub(listed.len()).clamp(1, PAGE);
            let page = self.0.store.scan(&prefix, from.as_deref(), left).map_err(unreadable)?;
            for damaged in &page.damaged {
                tracing::warn!(%tenant, %damaged, "a context entry is damaged and left out of the list");
            }
            for (at, entry) in &page.entries {
                let key = at.get(prefix.len()..).and_then(|key| std::str::from_utf8(key).ok());
                let key = key.and_then(|key| Key::new(key).ok());
                match (key, context::decode(&entry.value)) {
                    (Some(key), Ok(entry)) => listed.push((key, entry)),
                    (_, Err(error)) => {
                        tracing::warn!(%tenant, %error, "a context entry is left out of the list")
                    }
                    (None, Ok(_)) => tracing::warn!(%tenant, "a context entry lies under no key"),
                }
            }
            match page.next {
                Some(next) if listed.len() < limit => from = Some(next.to_vec()),
                Some(_) | None => return Ok(listed),
            }
        }
    }

    /// Now, as ages are judged.
    #[must_use]
    pub fn now(&self) -> Wall {
        self.0.clock.wall()
    }

    async fn write(&self, tenant: &Name, key: &Key, write: &Write) -> Result<Stamp, WriteError> {
        let (store, tenant_text) = (&self.0.store, tenant.as_str());
        let value = context::encode_value(&write.value)?;
        let bytes = write.value.as_str().len() as u64;
        let put = Put { by: &write.by, expected: write.expected, max_age: write.max_age, bytes };
        for _ in 0..MAX_TRIES {
            let before = entry(&**store, tenant, key)?;
            let known = before.as_ref().map(|(entry, _)| entry);
            let written = Entry::put(known, put, self.0.clock.wall())
                .map_err(|refused| WriteError::Refused { key: key.clone(), refused })?;
            let place = if before.is_none() { Some(self.place(tenant)?) } else { None };
            let at = context::key(tenant_text, key);
            let stamp = written.entry.newest();
            let batch = match &before {
                Some((_, version)) => Batch::new().version_is(at.clone(), *version),
                None => Batch::new().absent(at.clone()),
            };
            let mut batch = batch
                .put(at, context::encode(&written.entry)?)
                .put(context::value_key(tenant_text, key, stamp.version), value.clone());
            if let Some(forgotten) = written.forgets {
                batch = batch.delete(context::value_key(tenant_text, key, forgotten));
            }
            match store.commit(batch).await {
                Ok(_) => {
                    place.into_iter().for_each(Place::keep);
                    return Ok(stamp);
                }
                // Somebody else wrote meanwhile: what they left decides anew.
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(WriteError::Overtaken(key.clone()))
    }

    async fn erase(
        &self,
        tenant: &Name,
        key: &Key,
        by: &Owner,
        expected: Option<u64>,
    ) -> Result<(), WriteError> {
        for _ in 0..MAX_TRIES {
            let found = entry(&*self.0.store, tenant, key)?;
            let (entry, version) = found.ok_or_else(|| WriteError::NotFound(key.clone()))?;
            let allowed = entry.remove(by, expected);
            allowed.map_err(|refused| WriteError::Refused { key: key.clone(), refused })?;
            let at = context::key(tenant.as_str(), key);
            let batch = Batch::new().version_is(at.clone(), version).delete(at);
            let values = entry.versions().iter().map(|stamp| stamp.version);
            let batch = values.fold(batch, |batch, version| {
                batch.delete(context::value_key(tenant.as_str(), key, version))
            });
            match self.0.store.commit(batch).await {
                Ok(_) => {
                    self.0.give_back(tenant);
                    return Ok(());
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(WriteError::Overtaken(key.clone()))
    }

    fn place(&self, tenant: &Name) -> Result<Place<'_>, WriteError> {
        let mut keys = self.0.keys.lock();
        let count = keys.entry(tenant.clone()).or_default();
        if *count >= MAX_KEYS {
            return Err(WriteError::Full);
        }
        *count += 1;
        Ok(Place { of: &self.0, tenant: tenant.clone(), kept: false })
    }
}

/// A place among the keys of a tenant, given back unless the key is on disk.
struct Place<'a> {
    of: &'a Shared,
    tenant: Name,
    kept: bool,
}

impl Place<'_> {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.of.give_back(&self.tenant);
        }
    }
}

impl Shared {
    /// A key of `tenant` is gone, or did not come about.
    fn give_back(&self, tenant: &Name) {
        let mut keys = self.keys.lock();
        if let Some(count) = keys.get_mut(tenant) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                keys.remove(tenant);
            }
        }
    }
}

fn value(
    store: &dyn Store,
    tenant: &Name,
    key: &Key,
    as_of: AsOf,
    max_age: Option<Duration>,
    now: Wall,
) -> Result<Value, GetError> {
    for _ in 0..MAX_READS {
        let found = entry(store, tenant, key)?;
        let (entry, _) = found.ok_or_else(|| GetError::NotFound(key.clone()))?;
        let found = entry.read(key, as_of, max_age, now);
        let found = found.map_err(|refused| GetError::Refused { key: key.clone(), refused })?;
        let at = context::value_key(tenant.as_str(), key, found.stamp.version);
        if let Some(record) = store.get(&at).map_err(unreadable)? {
            let value = context::decode_value(&record.value);
            let value = value.map_err(|error| GetError::Damaged(error.to_string()))?;
            return Ok(Value { owner: entry.owner, found, value });
        }
        // Forgotten or removed since the entry was read: what is there now says so.
    }
    Err(GetError::Damaged(format!("the value of `{key}` is missing")))
}

fn entry(store: &dyn Store, tenant: &Name, key: &Key) -> Result<Option<(Entry, Version)>, GetError> {
    let record = store.get(&context::key(tenant.as_str(), key)).map_err(unreadable)?;
    let Some(record) = record else { return Ok(None) };
    let entry = context::decode(&record.value).map_err(|error| GetError::Damaged(error.to_string()))?;
    Ok(Some((entry, record.version)))
}

fn unreadable(error: ReadError) -> GetError {
    match error {
        ReadError::Damaged { .. } => GetError::Damaged(error.to_string()),
        ReadError::Unavailable { reason } => GetError::Unavailable(reason),
    }
}

/// What is stale names its key itself.
fn refused_text(key: &Key, refused: &ReadRefused) -> String {
    match refused {
        ReadRefused::NotKept(not_kept) => format!("`{key}` {not_kept}"),
        ReadRefused::Stale(stale) => stale.to_string(),
    }
}

#[cfg(test)]
mod tests;
