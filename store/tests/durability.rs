//! What the embedded store promises about the disk: an answer only after the sync, one sync for all that wait, read-only
//! after an error, and healing by itself. The disk of these tests obeys the test.

#![allow(clippy::unwrap_used)]

use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use futures::executor::block_on;
use futures::{FutureExt, StreamExt};
use mainstay_store::sled::DiskFault;
use mainstay_store::{Batch, Commit, CommitError, SledOptions, SledStore, Status, Store, WatchEvent};
use parking_lot::{Condvar, Mutex};

/// A disk that syncs when it is told to.
#[derive(Debug, Default)]
struct Disk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    mode: Mode,
    /// Syncs that have begun.
    begun: u64,
}

#[derive(Debug, Default, PartialEq)]
enum Mode {
    #[default]
    Fine,
    Stopped,
    Broken,
}

impl Disk {
    fn set(&self, mode: Mode) {
        self.state.lock().mode = mode;
        self.changed.notify_all();
    }

    fn wait_for_sync(&self, number: u64) {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.begun < number);
    }
}

impl DiskFault for Disk {
    fn before_sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.begun += 1;
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |state| state.mode == Mode::Stopped);
        if state.mode == Mode::Broken { Err(io::Error::other("the disk is broken")) } else { Ok(()) }
    }

    fn before_reopen(&self) -> io::Result<()> {
        if self.state.lock().mode == Mode::Fine { Ok(()) } else { Err(io::Error::other("still broken")) }
    }
}

/// The test's end of the disk. It lets go when a test fails, or closing the store would wait for ever.
struct Handle(Arc<Disk>);

impl Deref for Handle {
    type Target = Disk;

    fn deref(&self) -> &Disk {
        &self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.state.lock().mode == Mode::Stopped {
            self.set(Mode::Fine);
        }
    }
}

fn open(dir: &Path) -> (SledStore, Handle) {
    let disk = Handle(Arc::default());
    let disk_fault: Arc<dyn DiskFault> = Arc::clone(&disk.0) as _;
    let options = SledOptions { disk_fault: Some(disk_fault), ..Default::default() };
    (SledStore::open(dir, options).unwrap(), disk)
}

fn put(store: &SledStore, key: &'static str, value: &'static str) -> Commit {
    store.commit(Batch::new().put(key, value))
}

fn value(store: &SledStore, key: &str) -> Option<String> {
    store.get(key.as_bytes()).unwrap().map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
}

fn listed(store: &SledStore) -> Vec<String> {
    let page = store.scan(b"", None, 100).unwrap();
    page.entries
        .iter()
        .map(|(key, entry)| format!("{}={}", key.escape_ascii(), entry.value.escape_ascii()))
        .collect()
}

#[test]
fn nothing_is_answered_read_or_watched_before_the_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (store, disk) = open(dir.path());
    put(&store, "b", "old").wait().unwrap();
    put(&store, "c", "old").wait().unwrap();
    let mut watch = store.watch(b"");

    disk.set(Mode::Stopped);
    let mut commit = store.commit(Batch::new().put("a", "new").put("b", "new").delete("c"));
    disk.wait_for_sync(3);
    assert!((&mut commit).now_or_never().is_none());
    assert_eq!(watch.try_next(), None);
    assert_eq!((value(&store, "a"), value(&store, "b").as_deref()), (None, Some("old")));
    assert_eq!(listed(&store), ["b=old", "c=old"]);

    disk.set(Mode::Fine);
    commit.wait().unwrap();
    assert_eq!(listed(&store), ["a=new", "b=new"]);
    assert!(watch.try_next().is_some());
}

#[test]
fn all_that_wait_share_one_sync_and_no_group_goes_without() {
    let dir = tempfile::tempdir().unwrap();
    let (store, disk) = open(dir.path());
    disk.set(Mode::Stopped);
    let first = put(&store, "first", "x");
    disk.wait_for_sync(1);
    let rest: Vec<_> = (0..100_u8).map(|n| store.commit(Batch::new().put(vec![n], "x"))).collect();
    disk.set(Mode::Fine);
    first.wait().unwrap();
    assert!(rest.into_iter().all(|commit| commit.wait().is_ok()));
    let stats = store.stats();
    assert_eq!((stats.commits, stats.groups, stats.syncs), (101, 2, 2));
}

#[test]
fn a_lone_commit_has_a_sync_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _disk) = open(dir.path());
    for n in 1..=20 {
        put(&store, "k", "v").wait().unwrap();
        assert!(store.stats().syncs >= n);
    }
}

#[test]
fn a_broken_disk_makes_the_store_read_only_and_it_heals_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (store, disk) = open(dir.path());
    let before = put(&store, "kept", "acknowledged").wait().unwrap();
    let mut watch = store.watch(b"");
    let mut changes = store.status_changes();
    assert_eq!(block_on(changes.next()), Some(Status::Writable));

    disk.set(Mode::Broken);
    let failed = store.commit(Batch::new().put("kept", "unsure").put("other", "unsure")).wait();
    assert!(
        matches!(&failed, Err(CommitError::Unknown { reason }) if reason.contains("broken")),
        "{failed:?}"
    );
    let status = block_on(changes.next()).unwrap();
    assert!(matches!(&status, Status::ReadOnly { reason, .. } if reason.contains("broken")));
    assert_eq!(store.status(), status);
    assert!(matches!(put(&store, "k", "v").wait(), Err(CommitError::ReadOnly { .. })));
    assert_eq!(listed(&store), ["kept=acknowledged"], "what is unsure is not shown");

    disk.set(Mode::Fine);
    assert_eq!(block_on(changes.next()), Some(Status::Writable));
    assert_eq!(watch.try_next(), Some(WatchEvent::Compacted));
    assert_eq!(store.stats().reopened, 1);
    let kept = value(&store, "kept").unwrap();
    assert_eq!(
        kept == "unsure",
        value(&store, "other").is_some(),
        "the unsure batch is there wholly or not at all"
    );
    let after = put(&store, "k", "v").wait().unwrap();
    assert!(after > before + 1, "the version of the unsure batch is not used again");
}

#[test]
fn what_was_handed_over_is_committed_before_the_store_closes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _disk) = open(dir.path());
    let commits: Vec<_> = (0..200_u8).map(|n| store.commit(Batch::new().put(vec![n], "x"))).collect();
    drop(store);
    assert!(commits.into_iter().all(|commit| commit.wait().is_ok()));
    let (store, _disk) = open(dir.path());
    assert_eq!(store.scan(b"", None, 1000).unwrap().entries.len(), 200);
}

#[test]
fn versions_go_on_growing_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for _ in 0..3 {
        let (store, _disk) = open(dir.path());
        let version = put(&store, "k", "v").wait().unwrap();
        assert!(version > last);
        assert_eq!(store.get(b"k").unwrap().unwrap().version, version);
        last = version;
    }
}

#[test]
fn closing_does_not_wait_for_a_broken_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (store, disk) = open(dir.path());
    disk.set(Mode::Broken);
    assert!(put(&store, "k", "v").wait().is_err());
    drop(store);
}
