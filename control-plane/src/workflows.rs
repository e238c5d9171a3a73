//! The catalogue of workflows: documents put once, pinned by runs for ever.
//!
//! Parsed workflows are kept in memory by name and version, because every run of one shares it and a stored version
//! never changes. The store is the truth; the cache may be dropped at any time.

use std::collections::HashMap;
use std::sync::Arc;

use mainstay_kernel::name::Name;
use mainstay_kernel::workflow::{Problem, Workflow};
use mainstay_store::blobs::BlobError;
use mainstay_store::{Batch, BlobId, Blobs, CommitError, ReadError, Store};
use parking_lot::RwLock;

use crate::host::Clock;
use crate::records::RecordError;
use crate::records::workflow::{self, StoredWorkflow};

/// Parsed workflows kept. One takes some tens of kilobytes with its schemas and programs.
const MAX_CACHED: usize = 512;

/// Most workflows of a tenant on one page.
pub const MAX_PAGE: usize = 1000;

/// The catalogue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    store: Arc<dyn Store>,
    blobs: Blobs,
    parsed: RwLock<HashMap<(Name, Name, u32), Arc<Workflow>>>,
    /// The newest version of each workflow met so far, so that starting a run reads no record.
    newest: RwLock<HashMap<(Name, Name), u32>>,
}

/// A workflow that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No such name, or no such version of it.
    #[error("workflow {name}{} is not stored", version.map_or_else(String::new, |v| format!(" version {v}")))]
    NotFound {
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

/// A workflow that was not put. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The document has errors.
    #[error("the document has {} errors", .0.len())]
    Invalid(Vec<Problem>),
    /// The version exists with another content.
    #[error("version {version} of {name} exists with another content")]
    VersionTaken {
        /// The workflow.
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

/// A workflow that is stored.
#[derive(Debug)]
pub struct Put {
    /// Its record.
    pub stored: StoredWorkflow,
    /// False if this very document was there already.
    pub created: bool,
    /// What its author may not have meant.
    pub warnings: Vec<Problem>,
}

// === impl Handle ===

impl Handle {
    /// A catalogue over a store.
    #[must_use]
    pub fn new(clock: Clock, store: Arc<dyn Store>, blobs: Blobs) -> Self {
        Self(Arc::new(Shared { clock, store, blobs, parsed: RwLock::default(), newest: RwLock::default() }))
    }

    /// Stores a version of a workflow; durable when this returns.
    pub async fn put(&self, tenant: &Name, document: &str) -> Result<Put, PutError> {
        let workflow = parse(document.to_owned()).await.map_err(PutError::Invalid)?;
        let warnings = workflow.lint().to_vec();
        let (name, version) = (workflow.name().clone(), workflow.version());
        if let Some(stored) = self.read(tenant, &name, version)? {
            return same_or_taken(stored, &workflow, warnings);
        }
        let blob = self.write_document(document.to_owned()).await?;
        let stored = StoredWorkflow {
            name: name.clone(),
            version,
            hash: workflow.hash().to_string(),
            description: workflow.description().to_owned(),
            steps: u32::try_from(workflow.steps().len()).unwrap_or(u32::MAX),
            created_at: self.0.clock.wall(),
            document: blob.to_string(),
        };
        let key = workflow::key(tenant.as_str(), name.as_str(), version);
        let batch = Batch::new().absent(key.clone()).put(key, stored.encode()?);
        match self.0.store.commit(batch).await {
            Ok(_) => {}
            // Somebody else put this version meanwhile.
            Err(CommitError::Conflict { .. }) => {
                let stored = self.read(tenant, &name, version)?;
                let stored = stored.ok_or(CatalogError::NotFound { name, version: Some(version) })?;
                return same_or_taken(stored, &workflow, warnings);
            }
            Err(error) => return Err(error.into()),
        }
        self.remember(tenant, &Arc::new(workflow));
        Ok(Put { stored, created: true, warnings })
    }

    async fn write_document(&self, document: String) -> Result<BlobId, BlobError> {
        let blobs = self.0.blobs.clone();
        let put = tokio::task::spawn_blocking(move || blobs.put(document.as_bytes())).await;
        put.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// The workflow a new run pins, if it is in memory.
    #[must_use]
    pub fn cached(&self, tenant: &Name, name: &Name, version: Option<u32>) -> Option<Arc<Workflow>> {
        let newest = || self.0.newest.read().get(&(tenant.clone(), name.clone())).copied();
        let version = version.or_else(newest)?;
        self.0.parsed.read().get(&(tenant.clone(), name.clone(), version)).cloned()
    }

    /// The workflow a new run pins: this version, or the newest. Blocks on the disk unless it is [`Handle::cached`].
    pub fn resolve(
        &self,
        tenant: &Name,
        name: &Name,
        version: Option<u32>,
    ) -> Result<Arc<Workflow>, CatalogError> {
        match version {
            Some(version) => self.version(tenant, name, version),
            None => self.version(tenant, name, self.newest(tenant, name)?),
        }
    }

    /// The workflow a run pinned. Blocks on the disk unless it is [`Handle::cached`].
    pub fn version(&self, tenant: &Name, name: &Name, version: u32) -> Result<Arc<Workflow>, CatalogError> {
        let key = (tenant.clone(), name.clone(), version);
        if let Some(workflow) = self.0.parsed.read().get(&key) {
            return Ok(Arc::clone(workflow));
        }
        let stored = self.stored(tenant, name, Some(version))?;
        let document = self.document(&stored)?;
        let parsed = Workflow::parse(&document).map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            CatalogError::Damaged(format!("workflow {name} version {version} no longer parses: {first}"))
        })?;
        let workflow = Arc::new(parsed);
        self.cache(key, &workflow);
        Ok(workflow)
    }

    /// The record of this version, or of the newest.
    pub fn stored(
        &self,
        tenant: &Name,
        name: &Name,
        version: Option<u32>,
    ) -> Result<StoredWorkflow, CatalogError> {
        let found = match version {
            Some(version) => self.read(tenant, name, version)?,
            None => {
                let prefix = workflow::versions(tenant.as_str(), name.as_str());
                let page = self.0.store.scan(&prefix, None, 1).map_err(unreadable)?;
                if let Some(damaged) = page.damaged.first() {
                    return Err(CatalogError::Damaged(damaged.to_string()));
                }
                page.entries.first().map(|(_, entry)| decode(&entry.value)).transpose()?
            }
        };
        found.ok_or_else(|| CatalogError::NotFound { name: name.clone(), version })
    }

    /// The document of a stored version, as its author wrote it.
    pub fn document(&self, stored: &StoredWorkflow) -> Result<String, CatalogError> {
        let damaged = |what: &dyn std::fmt::Display| {
            CatalogError::Damaged(format!(
                "document of workflow {} version {}: {what}",
                stored.name, stored.version
            ))
        };
        let id: BlobId = stored.document.parse().map_err(|error| damaged(&error))?;
        let bytes = self.0.blobs.get(id).map_err(|error| damaged(&error))?;
        let bytes = bytes.ok_or_else(|| damaged(&"is missing"))?;
        String::from_utf8(bytes.to_vec()).map_err(|error| damaged(&error))
    }

    /// The newest version of each workflow, by name, behind `after`. Skips from name to name.
    pub fn list(
        &self,
        tenant: &Name,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredWorkflow>, CatalogError> {
        let prefix = workflow::prefix(tenant.as_str());
        let mut listed: Vec<StoredWorkflow> = Vec::new();
        let mut from = after.map(|name| workflow::behind(tenant.as_str(), name));
        while listed.len() < limit.min(MAX_PAGE) {
            let page = self.0.store.scan(&prefix, from.as_deref(), 1).map_err(unreadable)?;
            let Some((_, entry)) = page.entries.first() else {
                let Some(damaged) = page.damaged.first() else { break };
                tracing::warn!(%damaged, "a workflow is damaged and left out of the list");
                from = Some(damaged.key.to_vec());
                continue;
            };
            let stored = decode(&entry.value)?;
            from = Some(workflow::behind(tenant.as_str(), stored.name.as_str()));
            listed.push(stored);
        }
        Ok(listed)
    }

    fn read(&self, tenant: &Name, name: &Name, version: u32) -> Result<Option<StoredWorkflow>, CatalogError> {
        let key = workflow::key(tenant.as_str(), name.as_str(), version);
        let entry = self.0.store.get(&key).map_err(unreadable)?;
        entry.map(|entry| decode(&entry.value)).transpose()
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
    fn remember(&self, tenant: &Name, workflow: &Arc<Workflow>) {
        let (name, version) = (workflow.name().clone(), workflow.version());
        if let Some(newest) = self.0.newest.write().get_mut(&(tenant.clone(), name.clone())) {
            *newest = version.max(*newest);
        }
        self.cache((tenant.clone(), name, version), workflow);
    }

    fn cache(&self, key: (Name, Name, u32), workflow: &Arc<Workflow>) {
        let mut parsed = self.0.parsed.write();
        if parsed.len() >= MAX_CACHED {
            // Rare, and all of it can be parsed again.
            parsed.clear();
        }
        parsed.insert(key, Arc::clone(workflow));
    }
}

/// Parses a document off the async threads: documents come from strangers, and their schemas may take a while to compile.
pub(crate) async fn parse(document: String) -> Result<Workflow, Vec<Problem>> {
    let parsed = tokio::task::spawn_blocking(move || Workflow::parse(&document)).await;
    parsed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn same_or_taken(
    stored: StoredWorkflow,
    workflow: &Workflow,
    warnings: Vec<Problem>,
) -> Result<Put, PutError> {
    if stored.hash == workflow.hash().to_string() {
        return Ok(Put { stored, created: false, warnings });
    }
    Err(PutError::VersionTaken { name: stored.name, version: stored.version })
}

fn decode(bytes: &[u8]) -> Result<StoredWorkflow, CatalogError> {
    StoredWorkflow::decode(bytes).map_err(|error| CatalogError::Damaged(error.to_string()))
}

fn unreadable(error: ReadError) -> CatalogError {
    match error {
        ReadError::Damaged { .. } => CatalogError::Damaged(error.to_string()),
        ReadError::Unavailable { reason } => CatalogError::Unavailable(reason),
    }
}

#[cfg(test)]
mod tests;
