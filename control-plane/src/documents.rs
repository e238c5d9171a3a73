//! Catalogues of documents that people put: workflows, routing documents. A version is put once and pinned for ever.
//!
//! Parsed documents are kept in memory by name and version, because everyone who pins one shares it and a stored version
//! never changes. The store is the truth; the cache may be dropped at any time. What a kind of document adds is said by
//! [`Document`]: how it is read, where it lies and what its errors are called.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use mainstay_kernel::document::{DocumentHash, Problem};
use mainstay_kernel::name::Name;
use mainstay_proto::reason::Reason;
use mainstay_store::blobs::BlobError;
use mainstay_store::{Batch, BlobId, Blobs, CommitError, ReadError, Store};
use parking_lot::RwLock;

use crate::host::Clock;
use crate::records::RecordError;
use crate::records::document::{Keys, Stored};

/// Parsed documents of a kind kept. One takes some tens of kilobytes with its schemas and programs.
const MAX_CACHED: usize = 512;

/// Most documents of a tenant on one page.
pub const MAX_PAGE: usize = 1000;

/// A kind of document.
pub trait Document: fmt::Debug + Sized + Send + Sync + 'static {
    /// Where documents of this kind lie and what their errors are called.
    const KIND: &'static Kind;

    /// Reads one, YAML or JSON.
    ///
    /// # Errors
    /// Every problem there is, in the order of the text.
    fn parse(text: &str) -> Result<Self, Vec<Problem>>;
    /// Its name.
    fn name(&self) -> &Name;
    /// Its version, from 1.
    fn version(&self) -> u32;
    /// What it is for, in words.
    fn description(&self) -> &str;
    /// What identifies its content.
    fn hash(&self) -> DocumentHash;
    /// How many parts it has, for lists: steps, rules.
    fn parts(&self) -> usize;
    /// What its author may not have meant.
    fn lint(&self) -> &[Problem];
}

/// What is the same for all documents of a kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Where they lie, and the noun of their errors.
    pub keys: Keys,
    /// The reason that a document with errors is refused with.
    pub invalid: Reason,
    /// The reason that another content under a version which exists is refused with.
    pub version_taken: Reason,
    /// The reason that one which is not there is answered with.
    pub not_found: Reason,
}

/// A catalogue. Cheap to clone.
#[derive(Debug)]
pub struct Handle<D>(Arc<Shared<D>>);

impl<D> Clone for Handle<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Shared<D> {
    clock: Clock,
    store: Arc<dyn Store>,
    blobs: Blobs,
    parsed: RwLock<HashMap<(Name, Name, u32), Arc<D>>>,
    /// The newest version of each document met so far, so that using one reads no record.
    newest: RwLock<HashMap<(Name, Name), u32>>,
}

/// A document that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No such name, or no such version of it.
    #[error("{} {name}{} is not stored", kind.keys.noun, version.map_or_else(String::new, |v| format!(" version {v}")))]
    NotFound {
        /// The kind of document.
        kind: &'static Kind,
        /// The name asked for.
        name: Name,
        /// The version asked for.
        version: Option<u32>,
    },
    /// Its record or document is damaged.
    #[error("{0}")]
    Damaged(String),
    /// The store cannot be read now.
    #[error("the store cannot be read: {0}")]
    Unavailable(String),
}

/// A document that was not put. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The document has errors.
    #[error("the document has {} errors", .1.len())]
    Invalid(&'static Kind, Vec<Problem>),
    /// The version exists with another content.
    #[error("version {version} of {name} exists with another content")]
    VersionTaken {
        /// The kind of document.
        kind: &'static Kind,
        /// The document.
        name: Name,
        /// The version.
        version: u32,
    },
    /// The catalogue cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A record could not be encoded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The document could not be written.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The store refused it.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A document that is stored.
#[derive(Debug)]
pub struct Put {
    /// Its record.
    pub stored: Stored,
    /// False if this very document was there already.
    pub created: bool,
    /// What its author may not have meant.
    pub warnings: Vec<Problem>,
}

// === impl Handle ===

impl<D: Document> Handle<D> {
    /// A catalogue over a store.
    #[must_use]
    pub fn new(clock: Clock, store: Arc<dyn Store>, blobs: Blobs) -> Self {
        Self(Arc::new(Shared { clock, store, blobs, parsed: RwLock::default(), newest: RwLock::default() }))
    }

    /// Stores a version of a document; durable when this returns.
    pub async fn put(&self, tenant: &Name, document: &str) -> Result<Put, PutError> {
        let parsed =
            parse::<D>(document.to_owned()).await.map_err(|problems| PutError::Invalid(D::KIND, problems))?;
        let warnings = parsed.lint().to_vec();
        let (name, version) = (parsed.name().clone(), parsed.version());
        if let Some(stored) = self.read(tenant, &name, version)? {
            return same_or_taken(stored, &parsed, warnings);
        }
        let blob = self.write_document(document.to_owned()).await?;
        let stored = Stored {
            name: name.clone(),
            version,
            hash: parsed.hash().to_string(),
            description: parsed.description().to_owned(),
            parts: u32::try_from(parsed.parts()).unwrap_or(u32::MAX),
            created_at: self.0.clock.wall(),
            document: blob.to_string(),
        };
        let key = D::KIND.keys.key(tenant.as_str(), name.as_str(), version);
        let batch = Batch::new().absent(key.clone()).put(key, D::KIND.keys.encode(&stored)?);
        match self.0.store.commit(batch).await {
            Ok(_) => {}
            // Somebody else put this version meanwhile.
            Err(CommitError::Conflict { .. }) => {
                let stored = self.read(tenant, &name, version)?;
                let stored =
                    stored.ok_or(CatalogError::NotFound { kind: D::KIND, name, version: Some(version) })?;
                return same_or_taken(stored, &parsed, warnings);
            }
            Err(error) => return Err(error.into()),
        }
        self.remember(tenant, &Arc::new(parsed));
        Ok(Put { stored, created: true, warnings })
    }

    async fn write_document(&self, document: String) -> Result<BlobId, BlobError> {
        let blobs = self.0.blobs.clone();
        let put = tokio::task::spawn_blocking(move || blobs.put(document.as_bytes())).await;
        put.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// This version, or the newest, if it is in memory.
    #[must_use]
    pub fn cached(&self, tenant: &Name, name: &Name, version: Option<u32>) -> Option<Arc<D>> {
        let newest = || self.0.newest.read().get(&(tenant.clone(), name.clone())).copied();
        let version = version.or_else(newest)?;
        self.0.parsed.read().get(&(tenant.clone(), name.clone(), version)).cloned()
    }

    /// This version, or the newest. Blocks on the disk unless it is [`Handle::cached`].
    pub fn resolve(&self, tenant: &Name, name: &Name, version: Option<u32>) -> Result<Arc<D>, CatalogError> {
        match version {
            Some(version) => self.version(tenant, name, version),
            None => self.version(tenant, name, self.newest(tenant, name)?),
        }
    }

    /// This very version. Blocks on the disk unless it is [`Handle::cached`].
    pub fn version(&self, tenant: &Name, name: &Name, version: u32) -> Result<Arc<D>, CatalogError> {
        let key = (tenant.clone(), name.clone(), version);
        if let Some(parsed) = self.0.parsed.read().get(&key) {
            return Ok(Arc::clone(parsed));
        }
        let stored = self.stored(tenant, name, Some(version))?;
        let document = self.document(&stored)?;
        let parsed = D::parse(&document).map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            CatalogError::Damaged(format!(
                "{} {name} version {version} no longer parses: {first}",
                D::KIND.keys.noun
            ))
        })?;
        let parsed = Arc::new(parsed);
        self.cache(key, &parsed);
        Ok(parsed)
    }

    /// The record of this version, or of the newest.
    pub fn stored(&self, tenant: &Name, name: &Name, version: Option<u32>) -> Result<Stored, CatalogError> {
        let found = match version {
            Some(version) => self.read(tenant, name, version)?,
            None => {
                let prefix = D::KIND.keys.versions(tenant.as_str(), name.as_str());
                let page = self.0.store.scan(&prefix, None, 1).map_err(unreadable)?;
                if let Some(damaged) = page.damaged.first() {
                    return Err(CatalogError::Damaged(damaged.to_string()));
                }
                page.entries.first().map(|(_, entry)| decode::<D>(&entry.value)).transpose()?
            }
        };
        found.ok_or_else(|| CatalogError::NotFound { kind: D::KIND, name: name.clone(), version })
    }

    /// The document of a stored version, as its author wrote it.
    pub fn document(&self, stored: &Stored) -> Result<String, CatalogError> {
        let damaged = |what: &dyn std::fmt::Display| {
            CatalogError::Damaged(format!(
                "document of {} {} version {}: {what}",
                D::KIND.keys.noun,
                stored.name,
                stored.version
            ))
        };
        let id: BlobId = stored.document.parse().map_err(|error| damaged(&error))?;
        let bytes = self.0.blobs.get(id).map_err(|error| damaged(&error))?;
        let bytes = bytes.ok_or_else(|| damaged(&"is missing"))?;
        String::from_utf8(bytes.to_vec()).map_err(|error| damaged(&error))
    }

    /// The newest version of each document, by name, behind `after`. Skips from name to name.
    pub fn list(
        &self,
        tenant: &Name,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Stored>, CatalogError> {
        let prefix = D::KIND.keys.prefix(tenant.as_str());
        let mut listed: Vec<Stored> = Vec::new();
        let mut from = after.map(|name| D::KIND.keys.behind(tenant.as_str(), name));
        while listed.len() < limit.min(MAX_PAGE) {
            let page = self.0.store.scan(&prefix, from.as_deref(), 1).map_err(unreadable)?;
            let Some((_, entry)) = page.entries.first() else {
                let Some(damaged) = page.damaged.first() else { break };
                tracing::warn!(%damaged, noun = D::KIND.keys.noun, "a document is damaged and left out of the list");
                from = Some(damaged.key.to_vec());
                continue;
            };
            let stored = decode::<D>(&entry.value)?;
            from = Some(D::KIND.keys.behind(tenant.as_str(), stored.name.as_str()));
            listed.push(stored);
        }
        Ok(listed)
    }

    fn read(&self, tenant: &Name, name: &Name, version: u32) -> Result<Option<Stored>, CatalogError> {
        let key = D::KIND.keys.key(tenant.as_str(), name.as_str(), version);
        let entry = self.0.store.get(&key).map_err(unreadable)?;
        entry.map(|entry| decode::<D>(&entry.value)).transpose()
    }

    /// The newest stored version. It is read and noted under one lock, so that a version put meanwhile is not overlooked.
    fn newest(&self, tenant: &Name, name: &Name) -> Result<u32, CatalogError> {
        let key = (tenant.clone(), name.clone());
        if let Some(version) = self.0.newest.read().get(&key) {
            return Ok(*version);
        }
        let mut newest = self.0.newest.write();
        let version = self.stored(tenant, name, None)?.version;
        if newest.len() >= MAX_CACHED {
            newest.clear();
        }
        newest.insert(key, version);
        Ok(version)
    }

    /// Keeps a version that was put. It becomes the newest only over one that is known: what is not known is on disk.
    fn remember(&self, tenant: &Name, parsed: &Arc<D>) {
        let (name, version) = (parsed.name().clone(), parsed.version());
        if let Some(newest) = self.0.newest.write().get_mut(&(tenant.clone(), name.clone())) {
            *newest = version.max(*newest);
        }
        self.cache((tenant.clone(), name, version), parsed);
    }

    fn cache(&self, key: (Name, Name, u32), document: &Arc<D>) {
        let mut parsed = self.0.parsed.write();
        if parsed.len() >= MAX_CACHED {
            // Rare, and all of it can be parsed again.
            parsed.clear();
        }
        parsed.insert(key, Arc::clone(document));
    }
}

/// Parses a document off the async threads: documents come from strangers, and their schemas may take a while to compile.
pub(crate) async fn parse<D: Document>(document: String) -> Result<D, Vec<Problem>> {
    let parsed = tokio::task::spawn_blocking(move || D::parse(&document)).await;
    parsed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn same_or_taken<D: Document>(stored: Stored, parsed: &D, warnings: Vec<Problem>) -> Result<Put, PutError> {
    if stored.hash == parsed.hash().to_string() {
        return Ok(Put { stored, created: false, warnings });
    }
    Err(PutError::VersionTaken { kind: D::KIND, name: stored.name, version: stored.version })
}

fn decode<D: Document>(bytes: &[u8]) -> Result<Stored, CatalogError> {
    D::KIND.keys.decode(bytes).map_err(|error| CatalogError::Damaged(error.to_string()))
}

fn unreadable(error: ReadError) -> CatalogError {
    match error {
        ReadError::Damaged { .. } => CatalogError::Damaged(error.to_string()),
        ReadError::Unavailable { reason } => CatalogError::Unavailable(reason),
    }
}

#[cfg(test)]
mod tests;
