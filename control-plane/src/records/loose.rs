//! Documents whose records are gone, and that are to be removed next.
//!
//! A document goes after the record that names it: the other way round, a crash in between leaves a record that names what is
//! gone. So that no crash leaves a document that nobody names either, the batch that takes the record away notes its
//! document here. Whoever removes the documents (see [`crate::retention`]) takes the note away last.

use mainstay_store::{Batch, BlobId, record};

use super::{RecordError, bring_up, describe, key, malformed, upcasts};

const KIND: &str = "loose documents";

/// Prefix of all notes.
#[must_use]
pub fn prefix() -> Vec<u8> {
    key::global("default", key::LOOSE)
}

/// Notes documents in the batch that takes their records away. The first one names the note: a document belongs to one
/// record, so it is in one note.
pub fn note(batch: Batch, documents: &[BlobId]) -> Batch {
    let Some(first) = documents.first() else { return batch };
    let mut key = prefix();
    key.extend_from_slice(first.as_bytes());
    let names: Vec<u8> = documents.iter().flat_map(|document| *document.as_bytes()).collect();
    batch.put(key, record::seal(record::newest(upcasts::of(KIND)), &names))
}

/// Notes the documents of the record under `key` in the batch that deletes it or puts `after` in its place.
pub fn note_of(batch: Batch, key: &[u8], before: &[u8], after: Option<&[u8]>) -> Batch {
    let stay = after.map(|after| describe::own_blobs(key, after)).unwrap_or_default();
    let mut go = describe::own_blobs(key, before);
    go.retain(|document| !stay.contains(document));
    note(batch, &go)
}

/// The documents of a note.
pub fn decode(bytes: &[u8]) -> Result<Vec<BlobId>, RecordError> {
    let (found, names) = record::open(bytes).map_err(|error| malformed(KIND, error))?;
    let names = bring_up(KIND, found, names, upcasts::of(KIND))?;
    let (names, rest) = names.as_chunks();
    if names.is_empty() || !rest.is_empty() {
        return Err(malformed(KIND, "it is not a list of names of 32 bytes"));
    }
    Ok(names.iter().copied().map(BlobId::from).collect())
}

#[cfg(test)]
mod tests {
    use mainstay_store::{MemoryStore, Store};

    use super::*;

    #[test]
    fn documents_are_noted_as_they_are_named_and_none_needs_no_note() {
        let store = MemoryStore::new();
        let documents = [BlobId::of(b"one"), BlobId::of(b"two")];
        store.commit(note(note(Batch::new(), &documents), &[])).wait().unwrap();
        let notes = store.scan(&prefix(), None, 10).unwrap().entries;
        assert_eq!(notes.len(), 1);
        assert_eq!(decode(&notes[0].1.value).unwrap(), documents);
        for wrong in [&b""[..], b"\0\x01", b"\0\x01no name", b"\0\0"] {
            assert!(matches!(decode(wrong), Err(RecordError::Malformed { .. })), "{wrong:?}");
        }
        assert!(matches!(decode(b"\0\x02"), Err(RecordError::Schema { found: 2, .. })));
    }
}
