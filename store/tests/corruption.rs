//! Bytes of the store's files flipped, zeroed and cut off: whatever happens to them, the store opens or says why not,
//! and no wrong value is ever read.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mainstay_store::dump::{dump, restore, verify};
use mainstay_store::limits::MAX_PAGE;
use mainstay_store::{Batch, Blobs, Damage, Damaged, MemoryStore, OpenError, SledOptions, SledStore, Store};

const RECORDS: u32 = 1_000;

fn key(n: u32) -> String {
    format!("run/{n:06}")
}

fn payload(n: u32) -> Vec<u8> {
    vec![(n % 251) as u8; [20, 300, 1_000, 6_000][n as usize % 4]]
}

fn open(dir: &Path) -> Result<SledStore, OpenError> {
    SledStore::open(dir, SledOptions::default())
}

fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for n in 0..RECORDS {
        drop(store.commit(Batch::new().put(key(n), payload(n))));
    }
    store.commit(Batch::new()).wait().unwrap();
    drop(store);
    // Opened once more, so that sled leaves a snapshot beside its log.
    drop(open(dir.path()).unwrap());
    dir
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.path().join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            // sled's own folder for large pages, which stays empty, and the snapshot's copy, which these tests do without.
            fs::create_dir(&target).unwrap();
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
    to
}

fn snapshots(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap.")).collect()
}

/// Reads everything, in a bounded number of pages, checks every value, and that what is missing lies where the store
/// says that something is damaged. Returns sound and damaged records.
fn read_all(store: &dyn Store) -> (u32, usize) {
    let (mut sound, mut damaged, mut after) = (BTreeSet::new(), Vec::new(), None);
    for _page in 0..RECORDS {
        let page = store.scan(b"", after.as_deref(), 100).unwrap();
        for (key, entry) in page.entries {
            let n: u32 = key.strip_prefix(b"run/").unwrap().escape_ascii().to_string().parse().unwrap();
            assert_eq!(entry.value, payload(n), "a wrong value was read");
            sound.insert(n);
        }
        damaged.extend(page.damaged);
        after = page.next;
        if after.is_none() {
            let told = |n: &u32| damaged.iter().any(|damaged| covers(damaged, key(*n).as_bytes()));
            let silent: Vec<_> = (0..RECORDS).filter(|n| !sound.contains(n) && !told(n)).collect();
            assert!(silent.is_empty(), "vanished without a word: {silent:?}, told: {damaged:?}");
            return (sound.len() as u32, damaged.len());
        }
    }
    panic!("the scan has no end");
}

/// Reads everything one record at a time: a range that cannot be read must not hold up whoever reads so.
fn read_one_by_one(store: &dyn Store) -> usize {
    let (mut entries, mut after) = (0, None);
    for _page in 0..2 * RECORDS {
        let page = store.scan(b"", after.as_deref(), 1).unwrap();
        entries += page.entries.len();
        after = page.next;
        if after.is_none() {
            return entries;
        }
    }
    panic!("the scan has no end");
}

fn covers(damaged: &Damaged, key: &[u8]) -> bool {
    match &damaged.damage {
        Damage::Unreadable { until: Some(until), .. } => damaged.key <= key && key < &until[..],
        Damage::Unreadable { until: None, .. } => damaged.key <= key,
        Damage::Truncated | Damage::UnknownFormat(_) | Damage::Checksum => damaged.key == key,
    }
}

#[test]
fn no_flipped_bit_leads_to_a_panic_an_endless_scan_or_a_wrong_value() {
    let original = filled();
    let length = fs::metadata(original.path().join("db")).unwrap().len();
    let (mut whole, mut confined, mut wide, mut refused) = (0, 0, 0, 0);
    let mut dice = 0x51_7cc1_b727_u64;
    for _ in 0..60 {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let dir = copy(original.path());
        let mut bytes = fs::read(dir.path().join("db")).unwrap();
        let at = (dice % length) as usize;
        match dice >> 60 {
            0..8 => bytes[at] ^= 1 << (dice >> 40 & 7),
            _ => {
                let end = bytes.len().min(at + 512);
                bytes[at..end].fill(0);
            }
        }
        fs::write(dir.path().join("db"), bytes).unwrap();
        match open(dir.path()) {
            Err(OpenError::Damaged { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
            Ok(store) => match (read_all(&store), read_one_by_one(&store)) {
                ((sound, _), one_by_one) if sound as usize != one_by_one => {
                    panic!("{sound} records in large pages, {one_by_one} in small ones")
                }
                ((RECORDS, 0), _) => whole += 1,
                ((sound, _), _) => {
                    assert!(!store.quarantined().is_empty());
                    // A page of an index takes everything below it along: said, but not confined.
                    if sound > RECORDS * 9 / 10 {
                        confined += 1;
                    } else {
                        wide += 1;
                    }
                }
            },
        }
    }
    println!("60 damaged copies: {whole} whole, {confined} lost a page, {wide} more, {refused} refused");
    assert!(
        whole > 0 && confined > wide,
        "{whole} whole, {confined} lost a page, {wide} more, {refused} refused"
    );
}

#[test]
fn a_store_cut_short_is_refused_or_holds_no_wrong_value() {
    let original = filled();
    let length = fs::metadata(original.path().join("db")).unwrap().len();
    for eighths in 0..8 {
        let dir = copy(original.path());
        let file = fs::File::options().write(true).open(dir.path().join("db")).unwrap();
        file.set_len(length * eighths / 8).unwrap();
        match open(dir.path()) {
            Err(OpenError::Damaged { detail, .. }) => println!("{eighths}/8: {detail}"),
            Err(other) => panic!("{other}"),
            Ok(store) => println!("{eighths}/8: opened, {:?}", read_all(&store)),
        }
    }
}

fn flip_the_middle(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_damaged_snapshot_is_replaced_by_its_copy_and_nothing_is_lost() {
    let dir = filled();
    let snapshots = snapshots(dir.path());
    assert!(!snapshots.is_empty());
    for snapshot in snapshots {
        flip_the_middle(&snapshot);
    }
    assert_eq!(read_all(&open(dir.path()).unwrap()), (RECORDS, 0));
    assert_eq!(read_all(&open(dir.path()).unwrap()), (RECORDS, 0), "and it stays mended");
    for snapshot in self::snapshots(dir.path()) {
        fs::remove_file(snapshot).unwrap();
    }
    assert_eq!(read_all(&open(dir.path()).unwrap()), (RECORDS, 0), "also if it was taken away");
}

#[test]
fn a_snapshot_that_was_being_written_at_a_kill_is_done_without() {
    let dir = filled();
    let store = open(dir.path()).unwrap();
    let again = (0..100).fold(Batch::new(), |again, n| again.put(key(n), payload(n)));
    store.commit(again).wait().unwrap();
    drop(store);
    // What the next opening leaves, of which a kill leaves a part under another name.
    let opened = copy(dir.path());
    drop(open(opened.path()).unwrap());
    let [snapshot] = &snapshots(opened.path())[..] else { panic!("one snapshot") };
    let (name, whole) = (snapshot.file_name().unwrap().to_str().unwrap(), fs::read(snapshot).unwrap());
    for written in [0, 1, 12, 13, whole.len() / 2, whole.len() - 1, whole.len()] {
        let killed = copy(dir.path());
        fs::write(killed.path().join(format!("{name}.generating")), &whole[..written]).unwrap();
        for time in ["first", "second"] {
            let store =
                open(killed.path()).unwrap_or_else(|error| panic!("{written} bytes, {time}: {error}"));
            assert_eq!(read_all(&store), (RECORDS, 0), "{written} bytes, {time}");
        }
    }
}

#[test]
fn with_snapshot_and_copy_damaged_the_store_is_refused_unchanged() {
    let dir = filled();
    for snapshot in snapshots(dir.path()).into_iter().chain(snapshots(&dir.path().join("snapshot-copy"))) {
        flip_the_middle(&snapshot);
    }
    let log = || fs::read(dir.path().join("db")).unwrap();
    let before = log();
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
    assert!(refused.to_string().contains("Delete nothing"), "{refused}");
    assert!(before == log());
}

#[test]
fn every_flipped_byte_and_every_cut_of_a_dump_is_detected() {
    let store = MemoryStore::new();
    for n in 0..20 {
        drop(store.commit(Batch::new().put(key(n), vec![n as u8; 5])));
    }
    let blobs = Blobs::in_memory();
    blobs.put(b"a document").unwrap();
    let mut file = Vec::new();
    dump(&store, &blobs, &mut file).unwrap();
    let restored = |file: &[u8]| {
        let restored = restore(&MemoryStore::new(), &Blobs::in_memory(), &mut &file[..]);
        assert_eq!(restored.is_ok(), verify(&mut &file[..]).is_ok());
        restored
    };
    assert_eq!(restored(&file).unwrap().records, 20);
    assert!(restored(&[&file[..], b"!"].concat()).is_err(), "something behind the end");
    for at in 0..file.len() {
        let mut flipped = file.clone();
        flipped[at] ^= 0x10;
        assert!(restored(&flipped).is_err(), "byte {at}");
        assert!(restored(&file[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn a_dump_skips_what_is_damaged_and_says_so() {
    let store = MemoryStore::new();
    for n in 0..10 {
        drop(store.commit(Batch::new().put(key(n), payload(n))));
    }
    store.damage(key(3).as_bytes());
    let mut file = Vec::new();
    let report = dump(&store, &Blobs::in_memory(), &mut file).unwrap();
    assert_eq!((report.records, report.damaged), (9, 1));
    let copy = MemoryStore::new();
    restore(&copy, &Blobs::in_memory(), &mut &file[..]).unwrap();
    assert_eq!(copy.scan(b"", None, MAX_PAGE).unwrap().entries.len(), 9);
}
