//! The one suite that every backend passes. Nothing above the trait may be able to tell which backend runs, so a new
//! backend is one line at the end of this file.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mainstay_store::dump::{DumpError, Report, dump, restore, verify};
use mainstay_store::limits::{MAX_BATCH, MAX_KEY, MAX_OPERATIONS, MAX_PAGE, MAX_VALUE, MAX_WATCH_LAG};
use mainstay_store::{
    Batch, Blobs, Change, CommitError, Entry, MemoryStore, Page, SledOptions, SledStore, Status, Store,
    Version, Watch, WatchEvent,
};
use proptest::prelude::*;

type Key = Vec<u8>;
type Writes = Vec<(Key, Option<Vec<u8>>)>;

/// A store to test and whatever must outlive it.
struct Fixture {
    store: Arc<dyn Store>,
    _dir: Option<tempfile::TempDir>,
}

fn memory() -> Fixture {
    Fixture { store: Arc::new(MemoryStore::new()), _dir: None }
}

fn embedded() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SledStore::open(dir.path().join("store"), SledOptions::default()).unwrap());
    Fixture { store, _dir: Some(dir) }
}

fn put(store: &dyn Store, key: &'static str, value: &'static str) -> Version {
    store.commit(Batch::new().put(key, value)).wait().unwrap()
}

fn value(store: &dyn Store, key: &str) -> Option<Bytes> {
    store.get(key.as_bytes()).unwrap().map(|entry| entry.value)
}

fn all_pages(store: &dyn Store, prefix: &[u8], limit: usize) -> Vec<Page> {
    let mut pages: Vec<Page> = Vec::new();
    loop {
        let after = pages.last().map(|page| page.next.clone().unwrap());
        let page = store.scan(prefix, after.as_deref(), limit).unwrap();
        let done = page.next.is_none();
        pages.push(page);
        if done {
            return pages;
        }
    }
}

fn waiting(watch: &mut Watch) -> Vec<WatchEvent> {
    std::iter::from_fn(|| watch.try_next()).collect()
}

fn changed(key: &'static str, value: Option<&'static str>, version: Version) -> WatchEvent {
    WatchEvent::Changed(Change { key: key.into(), value: value.map(Bytes::from), version })
}

fn what_is_put_is_read_until_it_is_deleted(store: &dyn Store) {
    assert_eq!(store.get(b"k").unwrap(), None);
    let version = put(store, "k", "one");
    assert_eq!(store.get(b"k").unwrap(), Some(Entry { value: "one".into(), version }));
    let second = put(store, "k", "two");
    assert!(second > version);
    assert_eq!(store.get(b"k").unwrap(), Some(Entry { value: "two".into(), version: second }));
    store.commit(Batch::new().delete("k")).wait().unwrap();
    assert_eq!(store.get(b"k").unwrap(), None);
    assert_eq!(store.status(), Status::Writable);
}

fn a_value_of_every_size_comes_back_whole(store: &dyn Store) {
    for len in [0, 1, 4095, 4096, 4097, 8192, 8193, 16 * 1024, 50_000, MAX_VALUE] {
        let payload: Vec<u8> = (0..len).map(|at| (at * 31 % 251) as u8).collect();
        store.commit(Batch::new().put("sized", payload.clone())).wait().unwrap();
        assert_eq!(value(store, "sized").unwrap(), payload);
        assert_eq!(store.scan(b"sized", None, 1).unwrap().entries[0].1.value, payload);
    }
    store.commit(Batch::new().delete("sized")).wait().unwrap();
    assert_eq!(value(store, "sized"), None);
}

fn a_batch_commits_wholly_or_not_at_all(store: &dyn Store) {
    put(store, "taken", "x");
    let refused =
        store.commit(Batch::new().absent("free").absent("taken").put("free", "y").delete("taken")).wait();
    assert_eq!(refused, Err(CommitError::Conflict { key: "taken".into() }));
    assert_eq!(value(store, "free"), None);
    assert_eq!(value(store, "taken").unwrap(), "x");
    assert_eq!(store.stats().conflicts, 1);
    store.commit(Batch::new().absent("free").put("free", "y").delete("taken")).wait().unwrap();
    assert_eq!(value(store, "free").unwrap(), "y");
    assert_eq!(value(store, "taken"), None);
}

fn a_version_is_never_used_twice_so_a_deleted_key_does_not_fool_a_precondition(store: &dyn Store) {
    let first = put(store, "k", "one");
    store.commit(Batch::new().version_is("k", first).delete("k")).wait().unwrap();
    let second = put(store, "k", "one");
    assert_ne!(first, second);
    let stale = store.commit(Batch::new().version_is("k", first).put("k", "stale")).wait();
    assert_eq!(stale, Err(CommitError::Conflict { key: "k".into() }));
    store.commit(Batch::new().version_is("k", second).put("k", "fresh")).wait().unwrap();
    assert_eq!(value(store, "k").unwrap(), "fresh");
}

fn batches_handed_over_without_waiting_commit_in_order_and_see_each_other(store: &dyn Store) {
    let first = store.commit(Batch::new().absent("k").put("k", "1"));
    let second = store.commit(Batch::new().absent("k").put("k", "2"));
    let third = store.commit(Batch::new().delete("k"));
    let fourth = store.commit(Batch::new().absent("k").put("k", "4"));
    let (first, fourth) = (first.wait().unwrap(), fourth.wait().unwrap());
    assert!(matches!(second.wait(), Err(CommitError::Conflict { .. })));
    assert!(first < third.wait().unwrap() && first < fourth);
    assert_eq!(value(store, "k").unwrap(), "4");
}

fn a_dropped_commit_still_happens(store: &dyn Store) {
    drop(store.commit(Batch::new().put("k", "dropped")));
    store.commit(Batch::new()).wait().unwrap();
    assert_eq!(value(store, "k").unwrap(), "dropped");
}

fn a_patient_commit_keeps_its_place_and_needs_no_other(store: &dyn Store) {
    let patient = store.commit(Batch::new().put("k", "patient").patient());
    let hasty = store.commit(Batch::new().put("k", "hasty")).wait().unwrap();
    assert!(patient.wait().unwrap() < hasty);
    assert_eq!(value(store, "k").unwrap(), "hasty");
    store.commit(Batch::new().put("k", "alone").patient()).wait().unwrap();
    assert_eq!(value(store, "k").unwrap(), "alone");
}

fn of_many_that_race_for_a_key_one_wins(store: &dyn Store) {
    let winners: usize = std::thread::scope(|scope| {
        let claims: Vec<_> = (0..16_u8)
            .map(|me| {
                scope.spawn(move || store.commit(Batch::new().absent("lock").put("lock", vec![me])).wait())
            })
            .collect();
        claims.into_iter().map(|claim| usize::from(claim.join().unwrap().is_ok())).sum()
    });
    assert_eq!(winners, 1);
}

fn concurrent_counters_lose_no_increment(store: &dyn Store) {
    const WRITERS: u64 = 8;
    const EACH: u64 = 25;
    store.commit(Batch::new().put("n", 0_u64.to_be_bytes().to_vec())).wait().unwrap();
    let increment = || {
        let entry = store.get(b"n").unwrap().unwrap();
        let n = u64::from_be_bytes(entry.value[..].try_into().unwrap()) + 1;
        store.commit(Batch::new().version_is("n", entry.version).put("n", n.to_be_bytes().to_vec())).wait()
    };
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| (0..EACH).for_each(|_| while increment().is_err() {}));
        }
    });
    assert_eq!(value(store, "n").unwrap(), (WRITERS * EACH).to_be_bytes().to_vec());
}

fn a_scan_stays_within_its_prefix_and_page(store: &dyn Store) {
    for key in ["a", "b", "b1", "b2", "b\u{7f}", "c"] {
        put(store, key, key);
    }
    let keys = |page: &Page| page.entries.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    let page = store.scan(b"b", None, 3).unwrap();
    assert_eq!(keys(&page), ["b", "b1", "b2"]);
    assert_eq!(page.next, Some("b2".into()));
    let page = store.scan(b"b", page.next.as_deref(), 3).unwrap();
    assert_eq!(keys(&page), ["b\u{7f}"]);
    assert_eq!(page.next, None);
    assert_eq!(store.scan(b"b", None, 4).unwrap().next, None, "an exactly full last page promises nothing");
    assert_eq!(keys(&store.scan(b"b", Some(b"a"), 9).unwrap()), ["b", "b1", "b2", "b\u{7f}"]);
    assert_eq!(store.scan(b"b", Some(b"c"), 9).unwrap(), Page::default());
    assert_eq!(store.scan(b"", None, 0).unwrap().entries.len(), 1, "a page holds at least one entry");
}

fn a_page_is_bounded_in_entries_and_bytes(store: &dyn Store) {
    for chunk in (0..1_100_u32).collect::<Vec<_>>().chunks(100) {
        let small = |batch: Batch, n: &u32| batch.put([b"s", &n.to_be_bytes()[..]].concat(), "v");
        store.commit(chunk.iter().fold(Batch::new(), small)).wait().unwrap();
    }
    assert_eq!(store.scan(b"s", None, usize::MAX).unwrap().entries.len(), MAX_PAGE);
    for n in 0..70_u8 {
        drop(store.commit(Batch::new().put(vec![b'l', n], vec![n; MAX_VALUE])));
    }
    store.commit(Batch::new()).wait().unwrap();
    let pages = all_pages(store, b"l", MAX_PAGE);
    assert_eq!(pages.len(), 2);
    assert_eq!(pages.iter().map(|page| page.entries.len()).sum::<usize>(), 70);
}

fn a_watch_tells_durable_changes_under_its_prefix_in_order(store: &dyn Store) {
    put(store, "a/before", "x");
    let mut watch = store.watch(b"a/");
    let first =
        store.commit(Batch::new().put("a/1", "one").put("b/1", "no").put("a/2", "two")).wait().unwrap();
    let second = store.commit(Batch::new().delete("a/1")).wait().unwrap();
    assert!(store.commit(Batch::new().absent("a/2").put("a/3", "never")).wait().is_err());
    assert_eq!(
        waiting(&mut watch),
        [
            changed("a/1", Some("one"), first),
            changed("a/2", Some("two"), first),
            changed("a/1", None, second)
        ]
    );
}

fn a_watch_wakes_its_task_and_ends_with_the_store(fixture: Fixture) {
    use futures::{StreamExt, executor::block_on};
    let mut watch = fixture.store.watch(b"");
    let follower = std::thread::spawn(move || block_on(watch.by_ref().collect::<Vec<_>>()));
    let version = put(&*fixture.store, "k", "v");
    drop(fixture);
    assert_eq!(follower.join().unwrap(), [changed("k", Some("v"), version)]);
}

fn a_watcher_that_falls_behind_is_told_to_list_again_once(store: &dyn Store) {
    let mut watch = store.watch(b"");
    let one_too_many = MAX_WATCH_LAG + 1;
    for n in 0..one_too_many {
        drop(store.commit(Batch::new().put("k", n.to_string())));
    }
    let last = store.commit(Batch::new().put("k", "last")).wait().unwrap();
    assert_eq!(waiting(&mut watch), [WatchEvent::Compacted, changed("k", Some("last"), last)]);
}

fn every_limit_is_enforced_at_its_edge(store: &dyn Store) {
    let too_large = |batch: Batch, what: &str| match store.commit(batch).wait() {
        Err(CommitError::TooLarge { what: said, size, limit }) => assert_eq!((said, size), (what, limit + 1)),
        other => panic!("{what}: {other:?}"),
    };
    store.commit(Batch::new().put(vec![1; MAX_KEY], vec![2; MAX_VALUE])).wait().unwrap();
    too_large(Batch::new().put(vec![1; MAX_KEY + 1], "v"), "key bytes");
    too_large(Batch::new().absent(vec![1; MAX_KEY + 1]), "key bytes");
    too_large(Batch::new().put("k", vec![2; MAX_VALUE + 1]), "value bytes");
    let deletes = |n: usize| (0..n).fold(Batch::new(), |batch, n| batch.delete(n.to_string()));
    store.commit(deletes(MAX_OPERATIONS)).wait().unwrap();
    too_large(deletes(MAX_OPERATIONS + 1), "operations");
    let full = (0..15_u8).fold(Batch::new(), |batch, n| batch.put(vec![n], vec![n; MAX_VALUE]));
    let rest = MAX_BATCH - full.bytes() - 1;
    store.commit(full.clone().put("x", vec![0; rest])).wait().unwrap();
    too_large(full.put("x", vec![0; rest + 1]), "batch bytes");
    let twice = store.commit(Batch::new().put("k", "1").delete("k")).wait();
    assert_eq!(twice, Err(CommitError::WrittenTwice { key: "k".into() }));
}

fn a_flood_of_commits_is_refused_before_it_fills_memory(store: &dyn Store) {
    let commits: Vec<_> = (0..2_000_u32)
        .map(|n| store.commit(Batch::new().put(n.to_be_bytes().to_vec(), vec![0; MAX_VALUE])))
        .collect();
    let outcomes: Vec<_> = commits.into_iter().map(mainstay_store::Commit::wait).collect();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(CommitError::Busy))));
    let (mut stored, mut after) = (0, None);
    loop {
        let page = store.scan(b"", after.as_deref(), MAX_PAGE).unwrap();
        stored += page.entries.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(stored, outcomes.iter().filter(|outcome| outcome.is_ok()).count());
    put(store, "after", "the flood");
}

fn a_commit_can_be_awaited(store: &dyn Store) {
    let outcome = futures::executor::block_on(async {
        let first = store.commit(Batch::new().put("k", "1")).await?;
        let second = store.commit(Batch::new().version_is("k", first).put("k", "2")).await?;
        Ok::<_, CommitError>((first, second))
    });
    let (first, second) = outcome.unwrap();
    assert!(first < second);
}

fn a_dump_restores_to_the_same_records(store: &dyn Store) {
    for n in 0..1_500_u32 {
        drop(store.commit(Batch::new().put(n.to_be_bytes().to_vec(), vec![n as u8; n as usize % 6_000])));
    }
    store.commit(Batch::new().delete(7_u32.to_be_bytes().to_vec())).wait().unwrap();
    let (blobs, restored) = (Blobs::in_memory(), Blobs::in_memory());
    let documents = [&b"small"[..], &[7; 300_000], b""].map(|document| blobs.put(document).unwrap());
    let mut file = Vec::new();
    let report = dump(store, &blobs, &mut file).unwrap();
    assert_eq!(report, Report { records: 1_499, blobs: 3, damaged: 0 });
    assert_eq!(verify(&mut &file[..]).unwrap(), report);
    let copy = MemoryStore::new();
    assert_eq!(restore(&copy, &restored, &mut &file[..]).unwrap(), report);
    assert_eq!(contents(&copy), contents(store));
    assert!(documents.iter().all(|id| restored.get(*id).unwrap() == blobs.get(*id).unwrap()));
    assert!(matches!(restore(&copy, &restored, &mut &file[..]), Err(DumpError::NotEmpty)));
}

fn contents(store: &dyn Store) -> Vec<(Bytes, Bytes)> {
    let pages = all_pages(store, b"", MAX_PAGE);
    pages.into_iter().flat_map(|page| page.entries).map(|(key, entry)| (key, entry.value)).collect()
}

/// Pages concatenate to what an ordered map holds, whatever was written and however it is paged.
fn pages_agree_with_an_ordered_map(open: fn() -> Fixture) {
    let key = || prop::collection::vec(prop::sample::select(vec![0_u8, 1, 0x61, 0xff]), 0..5);
    let write = (key(), prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..20)));
    let case = (prop::collection::vec(write, 0..80), key(), 1..12_usize, prop::option::of(key()));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(40));
    let law = |(writes, prefix, limit, after): (Writes, Key, usize, Option<Key>)| {
        let fixture = open();
        let store = &*fixture.store;
        let mut model = BTreeMap::new();
        for (key, value) in writes {
            drop(store.commit(match value.clone() {
                Some(value) => Batch::new().put(key.clone(), value),
                None => Batch::new().delete(key.clone()),
            }));
            match value {
                Some(value) => model.insert(key, value),
                None => model.remove(&key),
            };
        }
        store.commit(Batch::new()).wait().unwrap();
        let expected: Vec<_> = model.iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
        let pages = all_pages(store, &prefix, limit);
        for page in &pages {
            prop_assert!(page.entries.len() <= limit);
            prop_assert_eq!(&page.damaged, &[]);
        }
        let scanned: Vec<_> = pages.iter().flat_map(|page| &page.entries).collect();
        prop_assert_eq!(scanned.len(), expected.len());
        for ((key, entry), (expected_key, expected_value)) in scanned.iter().zip(&expected) {
            prop_assert_eq!(key, &expected_key[..]);
            prop_assert_eq!(&entry.value, &expected_value[..]);
        }
        if let Some(after) = after {
            let page = store.scan(&prefix, Some(&after), MAX_PAGE).unwrap();
            let behind = expected.iter().filter(|(key, _)| **key > after).count();
            prop_assert_eq!(page.entries.len(), behind);
        }
        Ok(())
    };
    runner.run(&case, law).unwrap();
}

macro_rules! conformance {
    ($($law:ident,)*) => {
        conformance! { @backend memory $($law)* }
        conformance! { @backend embedded $($law)* }
    };
    (@backend $backend:ident $($law:ident)*) => {
        mod $backend {
            $(
                #[test]
                fn $law() {
                    super::$law(&*super::$backend().store);
                }
            )*

            #[test]
            fn a_watch_wakes_its_task_and_ends_with_the_store() {
                super::a_watch_wakes_its_task_and_ends_with_the_store(super::$backend());
            }

            #[test]
            fn pages_agree_with_an_ordered_map() {
                super::pages_agree_with_an_ordered_map(super::$backend);
            }
        }
    };
}

conformance! {
    what_is_put_is_read_until_it_is_deleted,
    a_value_of_every_size_comes_back_whole,
    a_batch_commits_wholly_or_not_at_all,
    a_version_is_never_used_twice_so_a_deleted_key_does_not_fool_a_precondition,
    batches_handed_over_without_waiting_commit_in_order_and_see_each_other,
    a_dropped_commit_still_happens,
    a_patient_commit_keeps_its_place_and_needs_no_other,
    of_many_that_race_for_a_key_one_wins,
    concurrent_counters_lose_no_increment,
    a_scan_stays_within_its_prefix_and_page,
    a_page_is_bounded_in_entries_and_bytes,
    a_watch_tells_durable_changes_under_its_prefix_in_order,
    a_watcher_that_falls_behind_is_told_to_list_again_once,
    every_limit_is_enforced_at_its_edge,
    a_flood_of_commits_is_refused_before_it_fills_memory,
    a_commit_can_be_awaited,
    a_dump_restores_to_the_same_records,
}
