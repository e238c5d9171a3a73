use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_store::MemoryStore;

use super::*;
use crate::records::restored::{self, Restored};
use crate::records::{key, open_run};
use mainstay_kernel::time::Wall;

const RUN: RunId = RunId::from_bytes([7; 16]);

fn put(store: &MemoryStore, key: Vec<u8>, value: Vec<u8>) {
    store.commit(Batch::new().put(key, value)).wait().unwrap();
}

/// A store with a sound record, one that makes no sense, one of a newer program, and one that is damaged.
fn sick() -> (MemoryStore, Blobs) {
    let store = MemoryStore::new();
    put(&store, open_run::key("default", RUN), open_run::encode(&Name::new("default").unwrap()).unwrap());
    put(&store, crate::records::pause::prefix("default"), record::seal(1, b"[nonsense"));
    put(&store, restored::key(), record::seal(9, b"{}"));
    let damaged = key::global("default", key::SECRET);
    put(&store, damaged.clone(), vec![1; 32]);
    store.damage(&damaged);
    (store, Blobs::in_memory())
}

fn findings(store: &MemoryStore, blobs: &Blobs) -> (Vec<Finding>, Examined) {
    let mut all = Vec::new();
    let examined = examine(store, blobs, |finding| {
        all.push(finding);
        ControlFlow::Continue(())
    });
    (all, examined.unwrap())
}

#[test]
fn everything_that_cannot_be_used_is_found_with_what_it_describes() {
    let (store, blobs) = sick();
    let (found, examined) = findings(&store, &blobs);
    let lines: Vec<String> =
        found.iter().map(|f| format!("{}: {} ({})", f.described.kind, f.problem, f.newer)).collect();
    assert_eq!(examined, Examined { sound: 1, damaged: 3 });
    assert!(lines[0].starts_with("pause: pause record is malformed"), "{lines:?}");
    assert_eq!(
        lines[1],
        "restore: restore record has schema 9, this program reads up to 1; start a newer version of it (true)"
    );
    assert_eq!(lines[2], "secret: the checksum does not match (false)");
}

#[test]
fn a_record_is_shown_as_far_as_it_can_be_and_a_secret_is_not() {
    let (store, blobs) = sick();
    let sound = inspect(&store, &blobs, &open_run::key("default", RUN)).unwrap().unwrap();
    assert_eq!(sound.problem, None);
    assert!(sound.content.contains("\"run\": \"run_0707"), "{}", sound.content);
    let broken = inspect(&store, &blobs, &crate::records::pause::prefix("default")).unwrap().unwrap();
    assert_eq!(broken.content, "[nonsense");
    assert_eq!(&broken.bytes[..], b"\0\x01[nonsense");
    let secret = inspect(&store, &blobs, &key::global("default", key::SECRET)).unwrap().unwrap();
    assert!(secret.content.is_empty() && secret.bytes.is_empty());
    assert_eq!(inspect(&store, &blobs, b"nothing").unwrap(), None);
}

#[test]
fn only_what_cannot_be_used_is_dropped() {
    let (store, blobs) = sick();
    let sound = open_run::key("default", RUN);
    assert!(matches!(drop_record(&store, &blobs, &sound), Err(DropError::Sound)));
    assert!(matches!(drop_record(&store, &blobs, b"nothing"), Err(DropError::NotFound)));
    for finding in findings(&store, &blobs).0 {
        assert_eq!(drop_record(&store, &blobs, &finding.key).unwrap(), finding.described);
    }
    assert_eq!(findings(&store, &blobs), (vec![], Examined { sound: 1, damaged: 0 }));
    assert!(store.get(&sound).unwrap().is_some());
}

#[test]
fn a_run_with_a_hole_in_its_journal_is_dropped_whole_and_one_on_a_torn_page_is_not() {
    let (store, blobs) = (MemoryStore::new(), Blobs::in_memory());
    let line = crate::records::run_summary::key("default", RUN);
    let journal = [1, 4, 9].map(|first| crate::records::transition::key("default", RUN, first));
    let mark = open_run::key("default", RUN);
    for key in journal.iter().chain([&line, &mark]) {
        put(&store, key.clone(), record::seal(1, b"{}"));
    }
    store.tear(&journal[1]);
    assert!(matches!(drop_record(&store, &blobs, &journal[1]), Err(DropError::OutOfReach)));
    assert!(store.get(&line).unwrap().is_some());
    store.damage(&journal[1]);
    assert_eq!(drop_record(&store, &blobs, &journal[1]).unwrap().kind, "transition");
    assert_eq!(findings(&store, &blobs), (vec![], Examined::default()), "nothing is left of it");
}

#[test]
fn a_key_is_read_as_it_is_written_and_nothing_else_is_one() {
    assert_eq!(unhex(&hex(b"\0\xffkey")), Some(b"\0\xffkey".to_vec()));
    for text in ["", "0", "0g", "zz", &"00".repeat(MAX_KEY + 1), "é0"] {
        assert_eq!(unhex(text), None, "{text}");
    }
}

#[test]
fn a_folder_without_a_store_and_one_that_is_held_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(open(folder.path()), Err(FolderError::NoStore(_))));
    let held = SledStore::open(folder.path().join("store"), SledOptions::default()).unwrap();
    let mark = Restored { at: Wall::from_millis(1), first_start: None };
    held.commit(Batch::new().put(restored::key(), mark.encode().unwrap())).wait().unwrap();
    let refused = open(folder.path()).unwrap_err();
    assert!(matches!(refused, FolderError::Held(_)), "{refused}");
    drop(held);
    let examined = open(folder.path()).unwrap().examine(|_| ControlFlow::Continue(())).unwrap();
    assert_eq!(examined, Examined { sound: 1, damaged: 0 });
}
