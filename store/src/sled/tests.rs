//! Damage planted inside sled, where its own checksums are content, and the traps that need a look at its files.

use super::*;
use crate::limits::{MAX_KEY, MAX_PAGE, MAX_VALUE};

fn config(dir: &Path) -> Arc<SledConfig> {
    Arc::new(SledConfig { dir: dir.to_owned(), options: SledOptions::default(), syncs: AtomicU64::new(0) })
}

fn store(dir: &Path) -> SledStore {
    SledStore::open(dir, SledOptions::default()).unwrap()
}

/// Changes the raw records of a closed store.
fn tamper(dir: &Path, change: impl FnOnce(&SledEngine)) {
    let engine = SledEngine::open(&config(dir)).unwrap();
    change(&engine);
    engine.sync().unwrap();
}

fn key(n: u32) -> Bytes {
    Bytes::from(format!("run/{n:04}"))
}

fn filled(dir: &Path, records: u32) {
    let store = store(dir);
    for n in 0..records {
        let size = [10, 1_000, MAX_INLINE, 10_000][n as usize % 4];
        drop(store.commit(Batch::new().put(key(n), vec![n as u8; size])));
    }
    store.commit(Batch::new()).wait().unwrap();
}

#[test]
fn every_damaged_value_is_quarantined_and_the_rest_is_served() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 400);
    tamper(dir.path(), |engine| {
        for n in (0..400).step_by(5) {
            let mut record = engine.records.get(key(n)).unwrap().unwrap().to_vec();
            match n % 4 {
                0 => *record.last_mut().unwrap() ^= 1,
                1 => record.truncate(record.len() / 2),
                2 => record[0] = 9,
                // A sound record, but another key's.
                _ => record = engine.records.get(key(n + 1)).unwrap().unwrap().to_vec(),
            }
            engine.records.insert(key(n), record).unwrap();
        }
    });
    let store = store(dir.path());
    let page = store.scan(b"run/", None, MAX_PAGE).unwrap();
    let damaged: Vec<_> = page.damaged.iter().map(|damaged| damaged.key.clone()).collect();
    assert_eq!(damaged, (0..400).step_by(5).map(key).collect::<Vec<_>>(), "100 % detected");
    assert_eq!(page.entries.len(), 320);
    assert_eq!(store.quarantined().len(), 80);
    assert!(matches!(store.get(&key(5)), Err(ReadError::Damaged { .. })));

    // Neither absent nor at a version: only an unconditional write replaces it, and ends the quarantine.
    assert!(store.commit(Batch::new().absent(key(5)).put(key(5), "new")).wait().is_err());
    store.commit(Batch::new().put(key(5), "new").delete(key(10))).wait().unwrap();
    assert_eq!(store.get(&key(5)).unwrap().unwrap().value, "new");
    assert_eq!(store.get(&key(10)).unwrap(), None);
    assert_eq!((store.quarantined().len(), store.stats().damaged), (78, 80));
}

#[test]
fn a_missing_or_altered_part_of_a_large_value_is_detected() {
    let dir = tempfile::tempdir().unwrap();
    let large =
        |store: &SledStore, n| store.commit(Batch::new().put(key(n), vec![7; 20_000])).wait().unwrap();
    let (first, second) = {
        let store = store(dir.path());
        (large(&store, 1), large(&store, 2))
    };
    tamper(dir.path(), |engine| {
        let part = |version, at| parts::keys(version, 0, 20_000).nth(at).unwrap();
        engine.parts.remove(part(first, 2)).unwrap();
        engine.parts.insert(part(second, 0), vec![8; parts::PART]).unwrap();
    });
    let store = store(dir.path());
    let damage = |n| match store.get(&key(n)) {
        Err(ReadError::Damaged { damage, .. }) => damage,
        other => panic!("{other:?}"),
    };
    assert_eq!((damage(1), damage(2)), (Damage::Truncated, Damage::Checksum));
}

#[test]
fn parts_go_with_their_value() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = store(dir.path());
        for value in [vec![1; MAX_VALUE], vec![2; 10_000], vec![3; 10]] {
            store.commit(Batch::new().put("k", value)).wait().unwrap();
        }
        store.commit(Batch::new().put("a", vec![1; 50_000]).put("b", vec![1; 50_000])).wait().unwrap();
        store.commit(Batch::new().delete("a").put("b", "small")).wait().unwrap();
        store.commit(Batch::new().put("c", vec![1; 50_000])).wait().unwrap();
        store.commit(Batch::new().delete("c")).wait().unwrap();
    }
    tamper(dir.path(), |engine| assert_eq!(engine.parts.len(), 0));
}

#[test]
fn no_page_grows_so_large_that_sled_puts_it_into_an_unsynced_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let long = |n: u32| [vec![b'k'; MAX_KEY - 4], n.to_be_bytes().to_vec()].concat();
    for round in 0..6_u8 {
        for n in 0..200 {
            let size = if n % 2 == 0 { MAX_INLINE } else { MAX_VALUE / 4 };
            drop(store.commit(Batch::new().put(long(n), vec![round; size])));
        }
        store.commit(Batch::new()).wait().unwrap();
    }
    let files = fs::read_dir(dir.path().join("blobs")).unwrap().count();
    assert_eq!(files, 0);
}

#[test]
fn a_newer_format_is_refused_with_a_clear_text() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 1);
    tamper(dir.path(), |engine| {
        engine.meta.insert("format", &2_u64.to_be_bytes()).unwrap();
    });
    let refused = SledStore::open(dir.path(), SledOptions::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 2, known: 1, .. }));
    assert!(refused.to_string().contains("use a newer program"));
}

#[test]
fn a_path_that_cannot_be_a_store_is_refused_without_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let refused = SledStore::open(&file, SledOptions::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Io { .. }), "{refused:?}");
}
