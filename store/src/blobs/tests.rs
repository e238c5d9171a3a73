use std::fs;

use super::*;

fn everywhere(check: impl Fn(Blobs)) {
    check(Blobs::in_memory());
    let dir = tempfile::tempdir().unwrap();
    check(Blobs::open(dir.path().join("blobs")).unwrap());
}

#[test]
fn a_document_is_read_back_by_its_hash_until_it_is_removed() {
    everywhere(|blobs| {
        let document = vec![7; 100_000];
        let id = blobs.put(&document).unwrap();
        assert_eq!(id, BlobId::of(&document));
        assert_eq!(blobs.put(&document).unwrap(), id);
        assert_eq!(blobs.get(id).unwrap().unwrap(), document);
        assert_eq!(blobs.ids(id.as_bytes()[0]).unwrap(), [id]);
        assert!(blobs.remove(id).unwrap());
        assert!(!blobs.remove(id).unwrap());
        assert_eq!(blobs.get(id).unwrap(), None);
    });
}

#[test]
fn the_list_holds_every_document_once() {
    everywhere(|blobs| {
        let mut put: Vec<_> = (0..500_u32).map(|n| blobs.put(&n.to_be_bytes()).unwrap()).collect();
        let listed: Vec<_> = (0..=255).flat_map(|first| blobs.ids(first).unwrap()).collect();
        put.sort_unstable();
        assert_eq!(listed, put);
    });
}

#[test]
fn an_oversized_document_is_refused() {
    everywhere(|blobs| {
        let refused = blobs.put(&vec![0; MAX_BLOB + 1]);
        assert!(matches!(refused, Err(BlobError::TooLarge { size }) if size == MAX_BLOB + 1));
    });
}

#[test]
fn every_damaged_file_is_detected_and_replaced_by_the_next_put() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    let id = blobs.put(b"the document").unwrap();
    let name = id.to_string();
    let path = dir.path().join(&name[..2]).join(&name[2..]);
    for damaged in [&b"the d0cument"[..], b"the doc", b"", b"the document and more"] {
        fs::write(&path, damaged).unwrap();
        assert!(matches!(blobs.get(id), Err(BlobError::Damaged { id: named }) if named == id));
        blobs.put(b"the document").unwrap();
        assert_eq!(blobs.get(id).unwrap().unwrap(), &b"the document"[..]);
    }
}

#[test]
fn an_interrupted_write_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    drop(Blobs::open(dir.path()).unwrap());
    fs::write(dir.path().join("unfinished").join("0"), b"half a docu").unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("unfinished")).unwrap().count(), 0);
    let id = blobs.put(b"whole").unwrap();
    assert_eq!(blobs.get(id).unwrap().unwrap(), &b"whole"[..]);
}

#[test]
fn an_id_is_written_as_it_is_read_and_nothing_else_is_one() {
    let id = BlobId::of(b"x");
    assert_eq!(id.to_string().parse(), Ok(id));
    for text in ["", "abc", &id.to_string().to_uppercase(), &format!("{id}0"), "../../../../etc/passwd"] {
        assert_eq!(text.parse::<BlobId>(), Err(NotABlobId));
    }
}
