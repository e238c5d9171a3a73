//! Looking into a store: what in it is damaged or unreadable, what it describes, and what is lost with it.
//!
//! The same on a data folder that no server holds and inside a running server: everything here reads through the store's
//! trait. Only what nobody can use may be dropped; a sound record is never taken for a damaged one, because the store
//! itself is asked again at the moment of dropping.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use mainstay_proto::pb;
use mainstay_store::blobs::BlobError;
use mainstay_store::limits::MAX_KEY;
use mainstay_store::{
    Batch, Blobs, CommitError, Damage, Damaged, OpenError, ReadError, SledOptions, SledStore, Store, record,
};
use serde_json::Value;

use crate::records::describe::{self, Described, Unusable};
use crate::records::loose;
use crate::retention::{self, RemoveError};

/// Memory for the page cache of a store that is only looked into.
const CACHE: u64 = 16 * 1024 * 1024;

/// Records read at once.
const PAGE: usize = 500;

/// Something in the store that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Key of the record. Of an unreadable range, its first position.
    pub key: Bytes,
    /// What it describes, and what is lost with it.
    pub described: Described,
    /// What is wrong with it.
    pub problem: String,
    /// It is whole, and of a newer program: nothing is wrong with it.
    pub newer: bool,
    /// Where an unreadable range ends, if it is one and has an end.
    pub until: Option<Bytes>,
}

/// What an examination looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Examined {
    /// Sound records, with the documents that they name.
    pub sound: u64,
    /// Records that cannot be used, and unreadable ranges.
    pub damaged: u64,
}

/// A record, looked at closely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// What it describes, and what is lost with it.
    pub described: Described,
    /// What is wrong with it; `None` if it is sound.
    pub problem: Option<String>,
    /// What it says, decoded as far as possible.
    pub content: String,
    /// Its bytes as far as they can be reached; none of a secret.
    pub bytes: Bytes,
}

/// A data folder that no server holds.
#[derive(Debug)]
pub struct Folder {
    store: SledStore,
    blobs: Blobs,
}

/// Why a folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no store in it.
    #[error("there is no store in {}; give the folder that `mainstay serve --data` has", .0.display())]
    NoStore(PathBuf),
    /// A server holds it.
    #[error(
        "a server holds {}; stop it, or leave `--data` out to ask the server itself", .0.display()
    )]
    Held(PathBuf),
    /// The store does not open.
    #[error(transparent)]
    Open(OpenError),
    /// The documents cannot be reached.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

/// Why a record was not dropped.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// Nothing lies under the key.
    #[error("no record lies under this key")]
    NotFound,
    /// It is in order.
    #[error("the record is sound: only what is damaged can be dropped")]
    Sound,
    /// Its page on the disk can be neither read nor written.
    #[error(
        "it lies on a page of the disk that can be neither read nor written; back up and restore: a backup leaves it out"
    )]
    OutOfReach,
    /// The store cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// The store refused it.
    #[error(transparent)]
    Commit(CommitError),
}

impl From<CommitError> for DropError {
    fn from(error: CommitError) -> Self {
        if matches!(error, CommitError::Damaged { .. }) { Self::OutOfReach } else { Self::Commit(error) }
    }
}

/// Opens a data folder that no server holds. Blocks.
///
/// # Errors
/// [`FolderError`].
pub fn open(data: &Path) -> Result<Folder, FolderError> {
    let folder = data.join("store");
    if !folder.join("db").exists() {
        return Err(FolderError::NoStore(data.to_owned()));
    }
    let options = SledOptions { cache_bytes: CACHE, ..SledOptions::default() };
    let store = SledStore::open(folder, options).map_err(|error| match error {
        OpenError::Locked { .. } => FolderError::Held(data.to_owned()),
        error @ (OpenError::Damaged { .. } | OpenError::Newer { .. } | OpenError::Io { .. }) => {
            FolderError::Open(error)
        }
    })?;
    Ok(Folder { store, blobs: Blobs::open(data.join("blobs"))? })
}

impl Folder {
    /// See [`examine`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn examine(&self, found: impl FnMut(Finding) -> ControlFlow<()>) -> Result<Examined, ReadError> {
        examine(&self.store, &self.blobs, found)
    }

    /// See [`inspect`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn inspect(&self, key: &[u8]) -> Result<Option<Inspected>, ReadError> {
        inspect(&self.store, &self.blobs, key)
    }

    /// See [`drop_record`].
    ///
    /// # Errors
    /// [`DropError`].
    pub fn drop_record(&self, key: &[u8]) -> Result<Described, DropError> {
        drop_record(&self.store, &self.blobs, key)
    }
}

/// Reads every record, with the document that it names if it names one, and hands over what cannot be used, in key order,
/// until `found` has enough. Blocks, for as long as it takes to read everything.
///
/// # Errors
/// [`ReadError`] if the disk cannot be read at all.
pub fn examine(
    store: &dyn Store,
    blobs: &Blobs,
    mut found: impl FnMut(Finding) -> ControlFlow<()>,
) -> Result<Examined, ReadError> {
    let mut examined = Examined::default();
    let mut from: Option<Bytes> = None;
    loop {
        let page = store.scan(b"", from.as_deref(), PAGE)?;
        let mut findings: Vec<Finding> = page.damaged.iter().map(damaged).collect();
        for (key, entry) in &page.entries {
            match describe::read(key, &entry.value, blobs) {
                Ok(_) => examined.sound += 1,
                Err(unusable) => findings.push(finding(key, &unusable)),
            }
        }
        findings.sort_by(|a, b| a.key.cmp(&b.key));
        for finding in findings {
            examined.damaged += 1;
            if found(finding).is_break() {
                return Ok(examined);
            }
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(examined),
        }
    }
}

/// Looks at one record, sound or not. `None` if there is none. Blocks.
///
/// # Errors
/// [`ReadError`] if the disk cannot be read at all.
pub fn inspect(store: &dyn Store, blobs: &Blobs, key: &[u8]) -> Result<Option<Inspected>, ReadError> {
    let described = describe::describe(key);
    let (problem, content, bytes) = match store.get(key) {
        Ok(None) => return Ok(None),
        Ok(Some(entry)) => match describe::read(key, &entry.value, blobs) {
            Ok(content) => (None, pretty(&content), entry.value),
            Err(unusable) => (Some(unusable.to_string()), text(&entry.value), entry.value),
        },
        Err(ReadError::Damaged { damage, .. }) => {
            let left = store.remains(key).unwrap_or_default();
            (Some(damage.to_string()), text(&left), left)
        }
        Err(error @ ReadError::Unavailable { .. }) => return Err(error),
    };
    let bytes = if described.kind == "secret" { Bytes::new() } else { bytes };
    let content = if described.kind == "secret" { String::new() } else { content };
    Ok(Some(Inspected { described, problem, content, bytes }))
}

/// Removes a record that cannot be used, and the document that it alone names. A run goes whole: with a hole in its journal
/// what is left of it would be read by nobody, or be read as another run. Says what it described. Blocks.
///
/// # Errors
/// [`DropError`]. Of all but a run nothing was removed then; a run may be half gone, and reads as none.
pub fn drop_record(store: &dyn Store, blobs: &Blobs, key: &[u8]) -> Result<Described, DropError> {
    let batch = match store.get(key) {
        Ok(None) => return Err(DropError::NotFound),
        Ok(Some(entry)) => {
            if describe::read(key, &entry.value, blobs).is_ok() {
                return Err(DropError::Sound);
            }
            // Whoever replaced it meanwhile has mended it.
            let batch = Batch::new().version_is(key.to_vec(), entry.version);
            loose::note_of(batch, key, &entry.value, None)
        }
        Err(ReadError::Damaged { .. }) => Batch::new(),
        Err(error @ ReadError::Unavailable { .. }) => return Err(DropError::Read(error)),
    };
    let described = describe::describe(key);
    match describe::journal_of(key) {
        Some((tenant, run)) => match retention::remove_run(store, blobs, &tenant, run) {
            Ok(true) => {}
            Ok(false) => return Err(DropError::OutOfReach),
            Err(RemoveError::Read(error)) => return Err(DropError::Read(error)),
            Err(RemoveError::Commit(error)) => return Err(error.into()),
        },
        None => drop(store.commit(batch.delete(key.to_vec())).wait()?),
    }
    tracing::warn!(
        kind = described.kind,
        subject = described.subject,
        "dropped a record that could not be used"
    );
    Ok(described)
}

/// A finding, as it is told.
#[must_use]
pub fn view(finding: &Finding) -> pb::DamagedRecord {
    let until = finding.until.as_deref().map(hex).unwrap_or_default();
    pb::DamagedRecord { until, ..record_view(&hex(&finding.key), &finding.described, &finding.problem) }
}

/// A record that was looked at, as it is told.
#[must_use]
pub fn inspected_view(key: &str, inspected: Inspected) -> pb::InspectRecordResponse {
    let Inspected { described, problem, content, bytes } = inspected;
    let record = record_view(key, &described, problem.as_deref().unwrap_or_default());
    pb::InspectRecordResponse { record: Some(record), content, bytes }
}

/// What a record is about, as it is told.
pub(crate) fn record_view(key: &str, described: &Described, problem: &str) -> pb::DamagedRecord {
    pb::DamagedRecord {
        key: key.to_owned(),
        kind: described.kind.to_owned(),
        subject: described.subject.clone(),
        loss: described.loss.to_owned(),
        problem: problem.to_owned(),
        until: String::new(),
    }
}

/// A key as it is written for people and read back: hexadecimal.
#[must_use]
pub fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a key as [`hex`] writes it.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.is_empty() || digits.len() % 2 == 1 || digits.len() > 2 * MAX_KEY {
        return None;
    }
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn finding(key: &Bytes, unusable: &Unusable) -> Finding {
    Finding {
        key: key.clone(),
        described: describe::describe(key),
        problem: unusable.to_string(),
        newer: matches!(unusable, Unusable::Newer(_)),
        until: None,
    }
}

fn pretty(content: &Value) -> String {
    serde_json::to_string_pretty(content).unwrap_or_default()
}

/// What can be read of bytes that do not decode: the text behind the schema version, with everything else escaped.
fn text(bytes: &[u8]) -> String {
    let payload = record::open(bytes).map_or(bytes, |(_, payload)| payload);
    String::from_utf8_lossy(payload).into_owned()
}

fn damaged(damaged: &Damaged) -> Finding {
    let until = match &damaged.damage {
        Damage::Unreadable { until, .. } => until.clone(),
        Damage::Truncated | Damage::UnknownFormat(_) | Damage::Checksum => None,
    };
    let described = describe::describe(&damaged.key);
    Finding { key: damaged.key.clone(), described, problem: damaged.damage.to_string(), newer: false, until }
}

#[cfg(test)]
mod tests;
