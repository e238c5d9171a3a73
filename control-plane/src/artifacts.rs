//! Artifacts on disk: put in a stream, in pieces, under the hash of the whole; read in a stream, every piece verified.
//!
//! A piece is a blob (see `records::artifact`), so an artifact is written, verified, backed up and removed by the means that
//! every large document has. In memory there is one piece of each transfer, and a bounded number of transfers.
//!
//! Equal bytes are one artifact: an upload that turns out to be there already takes its pieces back and gives the one that
//! is there new time of grace. If that one is damaged, the upload takes its place, so putting a document again mends it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use mainstay_kernel::artifact::{ArtifactId, Policy, Refused, Usage};
use mainstay_kernel::name::Name;
use mainstay_store::blobs::BlobError;
use mainstay_store::{BlobId, Blobs, CommitError, ReadError, Store, Version};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::host::Clock;
use crate::records::artifact::{self, OWNER_BYTES, Stored};
use crate::records::{RecordError, tenants};

mod collect;
mod upload;

pub use collect::Service;
pub use upload::{Put, Upload};

/// Bytes of a piece: few records and files for a large artifact, and little memory for each transfer. One message takes it.
pub const PIECE: usize = 2 * 1024 * 1024;

/// Transfers at once. Each holds a few pieces in memory, so all of them take less than a tenth of a small server's.
const MAX_TRANSFERS: usize = 16;

/// Records read at once.
const PAGE: usize = 500;

/// Artifacts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    store: Arc<dyn Store>,
    blobs: Blobs,
    policy: Policy,
    /// What each tenant has, with what is under way.
    used: Mutex<HashMap<Name, Usage>>,
    /// Uploads of this process. All others ended with theirs.
    under_way: Mutex<HashSet<[u8; OWNER_BYTES]>>,
    transfers: Arc<Semaphore>,
}

/// An artifact that is being read.
#[derive(Debug)]
pub struct Reading {
    /// The artifact.
    pub stored: Stored,
    blobs: Blobs,
    /// The next byte.
    at: u64,
    _transfer: OwnedSemaphorePermit,
}

/// Why an artifact was not put. Nothing of it stays.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// It is too large, or the tenant has too much.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// What came is not what was announced.
    #[error("the bytes that came are {found}, and {expected} was announced")]
    Mismatch {
        /// What was announced.
        expected: ArtifactId,
        /// What came.
        found: ArtifactId,
    },
    /// Whoever sent it went away.
    #[error("the upload ended before the artifact did")]
    Abandoned,
    /// Too many transfers are under way.
    #[error("{MAX_TRANSFERS} transfers are under way, as many as there may be")]
    Busy,
    /// A record cannot be read.
    #[error(transparent)]
    Read(#[from] GetError),
    /// A record could not be encoded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A piece could not be written.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The store refused it.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Why an artifact was not read.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// There is none of that name.
    #[error("{0} is not there")]
    NotFound(ArtifactId),
    /// The offset lies behind its end.
    #[error("is {offset}, and the artifact has {bytes} bytes")]
    Offset {
        /// What was asked for.
        offset: u64,
        /// Its bytes.
        bytes: u64,
    },
    /// Too many transfers are under way.
    #[error("{MAX_TRANSFERS} transfers are under way, as many as there may be")]
    Busy,
    /// A piece or a record of it is damaged or gone.
    #[error("the artifact is damaged: {0}")]
    Damaged(String),
    /// The disk cannot be read now.
    #[error("the store cannot be read: {0}")]
    Unavailable(String),
}

/// Counts what there is.
///
/// # Errors
/// If the store cannot be read.
pub fn open(
    clock: Clock,
    (store, blobs): (Arc<dyn Store>, Blobs),
    policy: Policy,
) -> Result<(Handle, Service), ReadError> {
    let mut used = HashMap::new();
    for tenant in tenants::all(&*store)? {
        let mut usage = Usage::default();
        each(&*store, &artifact::prefix(tenant.as_str()), |_, stored: Result<Stored, _>, _| {
            usage.count += 1;
            usage.bytes += stored.map_or(0, |stored| stored.bytes);
        })?;
        if usage.count > 0 {
            used.insert(tenant, usage);
        }
    }
    let shared = Shared {
        clock,
        store,
        blobs,
        policy,
        used: Mutex::new(used),
        under_way: Mutex::default(),
        transfers: Arc::new(Semaphore::new(MAX_TRANSFERS)),
    };
    let handle = Handle(Arc::new(shared));
    Ok((handle.clone(), Service::new(handle)))
}

// === impl Handle ===

impl Handle {
    /// Begins an upload, unless `expected` is there already and sound: then it has new time of grace, and is the answer.
    pub async fn put(
        &self,
        tenant: &Name,
        media_type: String,
        expected: Option<ArtifactId>,
    ) -> Result<Result<Put, Upload>, PutError> {
        let transfers = Arc::clone(&self.0.transfers);
        let transfer = transfers.try_acquire_owned().map_err(|_| PutError::Busy)?;
        if let Some(id) = expected
            && let Some(known) = self.renew(tenant, id).await?
        {
            return Ok(Ok(known));
        }
        Ok(Err(Upload::begin(self.clone(), tenant.clone(), media_type, expected, transfer)?))
    }

    /// Opens an artifact from byte `offset` on.
    pub fn get(&self, tenant: &Name, id: ArtifactId, offset: u64) -> Result<Reading, GetError> {
        let (stored, _) = self.stored(tenant, id)?.ok_or(GetError::NotFound(id))?;
        if offset > stored.bytes {
            return Err(GetError::Offset { offset, bytes: stored.bytes });
        }
        let transfer = Arc::clone(&self.0.transfers).try_acquire_owned().map_err(|_| GetError::Busy)?;
        Ok(Reading { stored, blobs: self.0.blobs.clone(), at: offset, _transfer: transfer })
    }

    /// Artifacts of a tenant by their hashes, behind `after`.
    pub fn list(
        &self,
        tenant: &Name,
        after: Option<ArtifactId>,
        limit: usize,
    ) -> Result<Vec<(ArtifactId, Stored)>, GetError> {
        let prefix = artifact::prefix(tenant.as_str());
        let mut from = after.map(|id| artifact::key(tenant.as_str(), id));
        let mut listed = Vec::new();
        loop {
            let left = limit.saturating_sub(listed.len()).clamp(1, PAGE);
            let page = self.0.store.scan(&prefix, from.as_deref(), left).map_err(unreadable)?;
            for (at, entry) in &page.entries {
                match (at.get(prefix.len()..).and_then(artifact::id), Stored::decode(&entry.value)) {
                    (Some(id), Ok(stored)) => listed.push((id, stored)),
                    (_, Err(error)) => {
                        tracing::warn!(%tenant, %error, "an artifact is left out of the list");
                    }
                    (None, Ok(_)) => tracing::warn!(%tenant, "an artifact lies under no name"),
                }
            }
            match page.next {
                Some(next) if listed.len() < limit => from = Some(next.to_vec()),
                Some(_) | None => return Ok(listed),
            }
        }
    }

    /// What a tenant has, with what is under way.
    #[must_use]
    pub fn usage(&self, tenant: &Name) -> Usage {
        self.0.used.lock().get(tenant).copied().unwrap_or_default()
    }

    /// What may be kept.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.0.policy
    }

    fn stored(&self, tenant: &Name, id: ArtifactId) -> Result<Option<(Stored, Version)>, GetError> {
        let record = self.0.store.get(&artifact::key(tenant.as_str(), id)).map_err(unreadable)?;
        let Some(record) = record else { return Ok(None) };
        let stored = Stored::decode(&record.value).map_err(|error| GetError::Damaged(error.to_string()))?;
        Ok(Some((stored, record.version)))
    }

    /// Gives back what a tenant no longer has.
    fn give_back(&self, tenant: &Name, gone: Usage) {
        let mut used = self.0.used.lock();
        if let Some(usage) = used.get_mut(tenant) {
            usage.bytes = usage.bytes.saturating_sub(gone.bytes);
            usage.count = usage.count.saturating_sub(gone.count);
            if *usage == Usage::default() {
                used.remove(tenant);
            }
        }
    }
}

// === impl Reading ===

impl Reading {
    /// The next bytes, verified, at most a piece; nothing at the end. Not a byte of a damaged piece is handed over.
    ///
    /// # Errors
    /// [`GetError::Damaged`] or [`GetError::Unavailable`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, GetError> {
        if self.at >= self.stored.bytes {
            return Ok(None);
        }
        let (number, skip) =
            (self.at / self.stored.piece_bytes.max(1), self.at % self.stored.piece_bytes.max(1));
        let blob = usize::try_from(number).ok().and_then(|number| self.stored.pieces.get(number).copied());
        let blob = blob.ok_or_else(|| GetError::Damaged("its record names too few pieces".to_owned()))?;
        let blobs = self.blobs.clone();
        let piece = blocking(move || piece(&blobs, blob)).await?;
        let wanted = self.stored.piece_bytes.min(self.stored.bytes - number * self.stored.piece_bytes);
        if piece.len() as u64 != wanted {
            return Err(GetError::Damaged(format!("piece {number} has another length")));
        }
        self.at += wanted - skip;
        Ok(Some(piece.slice(usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len())..)))
    }
}

/// The data of a piece, verified. Blocks.
fn piece(blobs: &Blobs, blob: BlobId) -> Result<Bytes, GetError> {
    let found = blobs.get(blob).map_err(|error| match error {
        BlobError::Io { .. } => GetError::Unavailable(error.to_string()),
        BlobError::TooLarge { .. } | BlobError::Damaged { .. } => GetError::Damaged(error.to_string()),
    })?;
    let found = found.filter(|found| found.len() >= OWNER_BYTES);
    found
        .map(|found| found.slice(OWNER_BYTES..))
        .ok_or_else(|| GetError::Damaged(format!("blob {blob} is missing")))
}

/// Hands over each record under `prefix`: what is behind the prefix, the record if it can be decoded, its version. Damaged ones
/// are left out.
fn each<T>(
    store: &dyn Store,
    prefix: &[u8],
    mut found: impl FnMut(&[u8], Result<T, RecordError>, Version),
) -> Result<(), ReadError>
where
    T: Decode,
{
    let mut from: Option<Bytes> = None;
    loop {
        let page = store.scan(prefix, from.as_deref(), PAGE)?;
        for (at, entry) in &page.entries {
            found(at.get(prefix.len()..).unwrap_or_default(), T::decode(&entry.value), entry.version);
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(()),
        }
    }
}

/// A record that is walked over.
trait Decode: Sized {
    fn decode(bytes: &[u8]) -> Result<Self, RecordError>;
}

impl Decode for Stored {
    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        Self::decode(bytes)
    }
}

impl Decode for artifact::Upload {
    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        Self::decode(bytes)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn unreadable(error: ReadError) -> GetError {
    match error {
        ReadError::Damaged { .. } => GetError::Damaged(error.to_string()),
        ReadError::Unavailable { reason } => GetError::Unavailable(reason),
    }
}

#[cfg(test)]
mod tests;
