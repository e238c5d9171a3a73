use mainstay_store::{MemoryStore, record};

use super::*;
use crate::records::key;

const NOW: Wall = Wall::from_millis(1_000);

/// A handle over a store with this many events and one document.
fn kept(events: u64) -> (MemoryStore, Handle) {
    let (store, blobs) = (MemoryStore::new(), Blobs::in_memory());
    blobs.put(&[7; 100_000]).unwrap();
    for number in 0..events {
        let event =
            record::seal(1, br#"{"at":1,"kind":"server.started","subject":"server","reason":"test"}"#);
        store.commit(Batch::new().put(crate::records::event::key(number), event)).wait().unwrap();
    }
    (store.clone(), Handle::new(Arc::new(store), blobs, Hold::default()))
}

async fn taken(handle: &Handle, folder: &Path) -> (PathBuf, Report) {
    let (mut pieces, mut bytes) = (handle.begin().unwrap(), Vec::new());
    loop {
        match pieces.recv().await.unwrap().unwrap() {
            Piece::Bytes(piece) => bytes.extend_from_slice(&piece),
            Piece::Complete(report) => {
                let file = folder.join("backup");
                fs::write(&file, bytes).unwrap();
                return (file, report);
            }
        }
    }
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_was_backed_up_is_restored_and_the_folder_remembers_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_, handle) = kept(1_500);
    let (file, report) = taken(&handle, folder.path()).await;
    assert_eq!(report, Report { records: 1_500, blobs: 1, damaged: 0 });
    let data = folder.path().join("data");
    let restored = restore(&file, &data, NOW).unwrap();
    assert_eq!((restored.report, restored.examined.sound), (report, 1_500));
    assert_eq!(restored.findings, []);
    assert_eq!(entries(&data), ["blobs", "store"]);
    let store = SledStore::open(data.join("store"), SledOptions::default()).unwrap();
    let mark = store.get(&restored::key()).unwrap().unwrap();
    assert_eq!(Restored::decode(&mark.value).unwrap(), Restored { at: NOW, first_start: None });
    assert!(store.get(&crate::records::event::key(7)).unwrap().is_some());
}

#[tokio::test]
async fn a_cut_an_altered_and_a_foreign_file_are_refused_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_, handle) = kept(50);
    let (file, _) = taken(&handle, folder.path()).await;
    let whole = fs::read(&file).unwrap();
    let data = folder.path().join("data");
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 1;
    for bytes in [&whole[..whole.len() - 1], &altered, b"", b"a file of another kind, longer than a head"] {
        fs::write(&file, bytes).unwrap();
        let refused = restore(&file, &data, NOW).unwrap_err();
        assert!(matches!(refused, RestoreError::File { .. }), "{refused}");
        assert!(!data.exists());
    }
}

#[tokio::test]
async fn a_folder_with_anything_in_it_is_left_alone_but_for_the_remains_of_a_restore() {
    let folder = tempfile::tempdir().unwrap();
    let (_, handle) = kept(3);
    let (file, _) = taken(&handle, folder.path()).await;
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("note"), "mine").unwrap();
    assert!(matches!(restore(&file, &data, NOW), Err(RestoreError::NotEmpty(_))));
    assert_eq!(entries(&data), ["note"]);
    fs::remove_file(data.join("note")).unwrap();
    fs::write(data.join(UNFINISHED), "").unwrap();
    fs::create_dir(data.join("store")).unwrap();
    fs::write(data.join("store/db"), "half of a store").unwrap();
    restore(&file, &data, NOW).unwrap();
    assert_eq!(entries(&data), ["blobs", "store"]);
}

#[tokio::test]
async fn a_backup_of_a_newer_program_is_refused_whole_and_the_folder_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (store, handle) = kept(3);
    store.commit(Batch::new().put(restored::key(), record::seal(2, b"{}"))).wait().unwrap();
    let (file, _) = taken(&handle, folder.path()).await;
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    assert!(matches!(restore(&file, &data, NOW), Err(RestoreError::Newer(_))));
    assert_eq!(entries(&data), [""; 0]);
}

#[tokio::test]
async fn what_the_server_could_not_use_is_told_of_and_damage_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (store, handle) = kept(3);
    store.commit(Batch::new().put(key::global("default", key::PAUSE), &b"\0\x01[]"[..])).wait().unwrap();
    store.damage(&crate::records::event::key(1));
    let (file, report) = taken(&handle, folder.path()).await;
    assert_eq!(report.damaged, 1);
    let restored = restore(&file, &folder.path().join("data"), NOW).unwrap();
    assert_eq!(restored.findings.len(), 1);
    assert_eq!(restored.findings[0].described.kind, "pause");
}

#[tokio::test]
async fn one_backup_is_taken_at_a_time_and_one_that_nobody_reads_ends() {
    let (_, handle) = kept(5_000);
    let first = handle.begin().unwrap();
    assert_eq!(handle.begin().unwrap_err(), UnderWay);
    drop(first);
    crate::testbed::until(|| handle.begin().is_ok()).await;
}

#[tokio::test]
async fn a_store_that_refuses_writes_is_backed_up_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (store, handle) = kept(10);
    store.fail_commits("the disk is full");
    assert_eq!(taken(&handle, folder.path()).await.1.records, 10);
}
