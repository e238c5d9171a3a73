//! Values too large for a page of records, cut into parts in a tree of their own.

use super::{ConflictableTransactionError, IVec, MAX_INLINE, TransactionalTree};
use crate::commit::Version;
use crate::envelope::{self, Body};
use crate::feed::Change;
use crate::limits::MAX_VALUE;

/// Bytes in one part: what holds for the pages of records holds for those of parts.
pub(super) const PART: usize = MAX_INLINE;

/// The key of a part: version, number of the value in its group, number of the part.
pub(super) type PartKey = [u8; 14];

/// Writes one change and returns the record that was there.
pub(super) fn write(
    records: &TransactionalTree,
    parts: &TransactionalTree,
    change: &Change,
    id: u32,
) -> Result<Option<IVec>, ConflictableTransactionError<()>> {
    let key = change.key.as_ref();
    let Some(value) = &change.value else { return Ok(records.remove(key)?) };
    if value.len() <= MAX_INLINE {
        return Ok(records.insert(key, envelope::seal(key, change.version, value))?);
    }
    for (part, bytes) in
        keys(change.version, id, u32::try_from(value.len()).unwrap_or(u32::MAX)).zip(value.chunks(PART))
    {
        parts.insert(&part[..], bytes)?;
    }
    Ok(records.insert(key, envelope::seal_in_parts(key, change.version, value, id))?)
}

/// Removes the parts of a record that is gone. Parts of a record too damaged to name them stay behind, unseen.
pub(super) fn remove(
    parts: &TransactionalTree,
    record: Option<&[u8]>,
) -> Result<(), ConflictableTransactionError<()>> {
    let Some(Ok(envelope)) = record.map(envelope::open) else { return Ok(()) };
    if let Body::Parts { id, len } = envelope.body {
        for part in keys(envelope.version, id, len) {
            parts.remove(&part[..])?;
        }
    }
    Ok(())
}

/// The keys of the parts of a value, in order: appended versions grow, so new parts fill the last pages.
pub(super) fn keys(version: Version, id: u32, len: u32) -> impl Iterator<Item = PartKey> {
    // A damaged length must not become a long loop: no value is longer than the limit.
    let count = len.min(MAX_VALUE as u32).div_ceil(PART as u32) as u16;
    (0..count).map(move |part| {
        let mut key = [0; 14];
        key[..8].copy_from_slice(&version.to_be_bytes());
        key[8..12].copy_from_slice(&id.to_be_bytes());
        key[12..].copy_from_slice(&part.to_be_bytes());
        key
    })
}
