//! An upload: pieces are written as they come, and become an artifact with one batch at the end.
//!
//! Its record names a piece before the piece is written. So whatever ends it (its sender goes, the process is killed, the disk
//! is full), there is a record that says what lies there, and whoever finds the record without its upload removes both.

use bytes::{Bytes, BytesMut};
use mainstay_kernel::artifact::{ArtifactId, Hasher, Usage};
use mainstay_kernel::name::Name;
use mainstay_kernel::time::Wall;
use mainstay_store::{Batch, BlobId, CommitError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{GetError, Handle, PIECE, PutError, blocking, piece};
use crate::records::artifact::{self, OWNER_BYTES, Stored};
use crate::records::loose;

/// How often the end of an upload begins anew because the artifact came or went meanwhile.
const MAX_TRIES: usize = 8;

/// An artifact that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// Its name.
    pub id: ArtifactId,
    /// What is on record.
    pub stored: Stored,
    /// False if it was there already.
    pub created: bool,
}

/// An upload under way. Call [`Upload::finish`] or [`Upload::abandon`]; one that is dropped is found and removed by the
/// reconciler.
#[derive(Debug)]
#[must_use = "an upload that is dropped leaves pieces until they are found"]
pub struct Upload {
    handle: Handle,
    tenant: Name,
    media_type: String,
    expected: Option<ArtifactId>,
    id: [u8; OWNER_BYTES],
    began_at: Wall,
    /// What has come of the next piece, behind the upload's id.
    next: BytesMut,
    hash: Hasher,
    bytes: u64,
    pieces: Vec<BlobId>,
    /// It is counted as one of its tenant's, until it is one or is gone.
    reserved: bool,
    _transfer: OwnedSemaphorePermit,
}

// === impl Handle ===

impl Handle {
    /// Gives an artifact new time of grace, if it is there and sound.
    pub(super) async fn renew(&self, tenant: &Name, id: ArtifactId) -> Result<Option<Put>, PutError> {
        for _ in 0..MAX_TRIES {
            let Some((stored, version)) = self.stored(tenant, id)? else { return Ok(None) };
            if !self.is_sound(&stored).await? {
                return Ok(None);
            }
            let stored = Stored { put_at: self.0.clock.wall().max(stored.put_at), ..stored };
            let at = artifact::key(tenant.as_str(), id);
            let batch = Batch::new().version_is(at.clone(), version).put(at, stored.encode()?);
            match self.0.store.commit(batch).await {
                Ok(_) => return Ok(Some(Put { id, stored, created: false })),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Whether every piece is what its name says.
    async fn is_sound(&self, stored: &Stored) -> Result<bool, PutError> {
        for blob in stored.pieces.clone() {
            let blobs = self.0.blobs.clone();
            match blocking(move || piece(&blobs, blob)).await {
                Ok(_) => {}
                Err(GetError::Damaged(_)) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

// === impl Upload ===

impl Upload {
    pub(super) fn begin(
        handle: Handle,
        tenant: Name,
        media_type: String,
        expected: Option<ArtifactId>,
        transfer: OwnedSemaphorePermit,
    ) -> Result<Self, PutError> {
        let shared = &handle.0;
        {
            let mut used = shared.used.lock();
            let usage = used.entry(tenant.clone()).or_default();
            shared.policy.begins(*usage)?;
            usage.count += 1;
        }
        let id = *shared.clock.id().as_bytes();
        shared.under_way.lock().insert(id);
        let began_at = shared.clock.wall();
        let mut upload = Self {
            handle,
            tenant,
            media_type,
            expected,
            id,
            began_at,
            next: BytesMut::new(),
            hash: Hasher::default(),
            bytes: 0,
            pieces: Vec::new(),
            reserved: true,
            _transfer: transfer,
        };
        upload.begin_piece();
        Ok(upload)
    }

    /// Takes the next bytes. What makes a piece full is on disk when this returns.
    ///
    /// # Errors
    /// [`PutError`]; then the upload is to be abandoned.
    pub async fn write(&mut self, data: Bytes) -> Result<(), PutError> {
        let more = data.len() as u64;
        {
            let shared = &self.handle.0;
            let mut used = shared.used.lock();
            let usage = used.entry(self.tenant.clone()).or_default();
            shared.policy.takes(self.bytes, more, *usage)?;
            usage.bytes += more;
        }
        self.bytes += more;
        let mut data = data;
        while !data.is_empty() {
            let room = OWNER_BYTES + PIECE - self.next.len();
            let part = data.split_to(room.min(data.len()));
            self.next.extend_from_slice(&part);
            self.hash.update(&part);
            if self.next.len() == OWNER_BYTES + PIECE {
                self.write_piece().await?;
            }
        }
        Ok(())
    }

    /// Makes an artifact of what came; on disk when this returns.
    ///
    /// # Errors
    /// [`PutError`]; nothing of it stays.
    pub async fn finish(mut self) -> Result<Put, PutError> {
        match self.end().await {
            Ok(put) => Ok(put),
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// Takes everything that `parts` hands over, and makes an artifact of it when told of the end by `None`. To be spawned: a
    /// piece on its way to the disk must not be forgotten because whoever sent it has gone.
    ///
    /// # Errors
    /// [`PutError`]; nothing of it stays.
    pub async fn receive(mut self, mut parts: mpsc::Receiver<Option<Bytes>>) -> Result<Put, PutError> {
        while let Some(part) = parts.recv().await {
            let Some(data) = part else { return self.finish().await };
            if let Err(error) = self.write(data).await {
                self.abandon().await;
                return Err(error);
            }
        }
        self.abandon().await;
        Err(PutError::Abandoned)
    }

    /// Removes what came. If the store refuses that now, the reconciler does it later.
    pub async fn abandon(self) {
        if self.pieces.is_empty() {
            return;
        }
        let batch = loose::note(Batch::new(), &self.pieces).delete(self.key());
        if let Err(error) = self.handle.0.store.commit(batch).await {
            tracing::debug!(%error, "what came of an upload stays for now");
        }
    }

    async fn end(&mut self) -> Result<Put, PutError> {
        if self.next.len() > OWNER_BYTES {
            self.write_piece().await?;
        }
        let found = self.hash.finish();
        if let Some(expected) = self.expected.filter(|expected| *expected != found) {
            return Err(PutError::Mismatch { expected, found });
        }
        for _ in 0..MAX_TRIES {
            if let Some(known) = self.handle.renew(&self.tenant, found).await? {
                let batch = loose::note(Batch::new(), &self.pieces).delete(self.key());
                self.handle.0.store.commit(batch).await?;
                self.pieces.clear();
                return Ok(known);
            }
            match self.commit(found).await {
                Ok(stored) => {
                    self.pieces.clear();
                    return Ok(Put { id: found, stored, created: true });
                }
                // The same bytes were put, or removed, meanwhile.
                Err(PutError::Commit(CommitError::Conflict { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Err(PutError::Abandoned)
    }

    /// Puts the artifact in place of the upload, and of a damaged one of the same name.
    async fn commit(&mut self, id: ArtifactId) -> Result<Stored, PutError> {
        let shared = &self.handle.0;
        let stored = Stored {
            bytes: self.bytes,
            media_type: self.media_type.clone(),
            put_at: shared.clock.wall(),
            piece_bytes: PIECE as u64,
            pieces: self.pieces.clone(),
        };
        let at = artifact::key(self.tenant.as_str(), id);
        let before = self.handle.stored(&self.tenant, id)?;
        let batch = match &before {
            Some((_, version)) => Batch::new().version_is(at.clone(), *version),
            None => Batch::new().absent(at.clone()),
        };
        let damaged = before.as_ref().map_or(&[][..], |(stored, _)| &stored.pieces);
        let batch = loose::note(batch.put(at, stored.encode()?).delete(self.key()), damaged);
        shared.store.commit(batch).await?;
        // What it had reserved is the artifact's now, and goes with it. One that it replaces gives back its own.
        self.reserved = false;
        if let Some((stored, _)) = before {
            self.handle.give_back(&self.tenant, Usage { count: 1, bytes: stored.bytes });
        }
        Ok(stored)
    }

    /// Names the piece, then writes it.
    async fn write_piece(&mut self) -> Result<(), PutError> {
        let piece = self.next.split().freeze();
        self.begin_piece();
        self.pieces.push(BlobId::of(&piece));
        let record = artifact::Upload { began_at: self.began_at, pieces: self.pieces.clone() };
        let shared = &self.handle.0;
        shared.store.commit(Batch::new().put(self.key(), record.encode()?)).await?;
        let blobs = shared.blobs.clone();
        blocking(move || blobs.put(&piece)).await?;
        Ok(())
    }

    fn begin_piece(&mut self) {
        self.next.extend_from_slice(&self.id);
    }

    fn key(&self) -> Vec<u8> {
        artifact::upload_key(self.tenant.as_str(), self.id)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.handle.0.under_way.lock().remove(&self.id);
        if self.reserved {
            self.handle.give_back(&self.tenant, Usage { count: 1, bytes: self.bytes });
        }
    }
}
