use std::collections::BTreeMap;

use mainstay_kernel::id::RunId;
use mainstay_kernel::outcome::Usage;
use mainstay_kernel::run::EndState;
use mainstay_kernel::time::Wall;
use mainstay_store::{Batch, MemoryStore};

use super::*;
use crate::testbed::name;

/// Runs numbered by age, oldest first; every third has failed, the others go on.
async fn listing(runs: u16) -> (MemoryStore, Listing) {
    let store = MemoryStore::new();
    for n in 0..runs {
        let summary = RunSummary {
            run: id(n),
            workflow: name(if n % 2 == 0 { "even" } else { "odd" }),
            version: 1,
            end: (n % 3 == 0).then_some(EndState::Failed),
            intent: String::new(),
            labels: BTreeMap::new(),
            started_at: Wall::default(),
            deadline: Wall::default(),
            ended_at: None,
            failure: None,
            usage: Usage::default(),
            calls: 0,
        };
        let key = run_summary::key("default", id(n));
        store.commit(Batch::new().put(key, summary.encode().unwrap())).await.unwrap();
    }
    (store.clone(), Listing::new(Arc::new(store)))
}

/// Ids order by time, so a number in front orders them.
fn id(n: u16) -> RunId {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&n.to_be_bytes());
    RunId::from_bytes(id)
}

/// Every page from the first to the last.
async fn pages(listing: &Listing, filter: &Filter, size: usize) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let rows = listing.page(&name("default"), filter, cursor.as_deref(), size).await.unwrap();
        pages.push(rows.runs.into_iter().map(|run| run.run_id).collect());
        cursor = rows.cursor;
        if cursor.is_none() {
            return pages;
        }
    }
}

fn ids(numbers: impl Iterator<Item = u16>) -> Vec<String> {
    numbers.map(|n| id(n).to_string()).collect()
}

#[tokio::test]
async fn pages_go_from_the_newest_to_the_oldest_and_hold_each_run_once() {
    let (_, listing) = listing(25).await;
    let pages = pages(&listing, &Filter::default(), 10).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    assert_eq!(pages.concat(), ids((0..25).rev()));
}

#[tokio::test]
async fn the_last_full_page_has_no_token() {
    let (_, listing) = listing(20).await;
    assert_eq!(pages(&listing, &Filter::default(), 10).await.len(), 2);
    assert_eq!(pages(&listing, &Filter::default(), 20).await.len(), 1);
}

#[tokio::test]
async fn filters_hold_together_and_across_pages() {
    let (_, listing) = listing(40).await;
    let filter = Filter { workflow: Some(name("odd")), states: vec![pb::RunState::Failed] };
    let wanted = ids((0..40).rev().filter(|n| n % 2 == 1 && n % 3 == 0));
    assert_eq!(pages(&listing, &filter, 2).await.concat(), wanted);
}

#[tokio::test]
async fn a_filter_that_matches_little_ends_its_page_early_and_goes_on_from_there() {
    let scanned = u16::try_from(MAX_SCANNED).unwrap();
    let (_, listing) = listing(scanned + 10).await;
    let filter = Filter { workflow: Some(name("nobody")), ..Filter::default() };
    let first = listing.page(&name("default"), &filter, None, 10).await.unwrap();
    assert!(first.runs.is_empty());
    let cursor = first.cursor.expect("there is more");
    assert_eq!(cursor, run_summary::key("default", id(10)), "looked at so many, and no more");
    let rest = listing.page(&name("default"), &filter, Some(&cursor), 10).await.unwrap();
    assert_eq!(rest.cursor, None);
}

#[tokio::test]
async fn a_damaged_line_is_left_out_and_all_others_are_listed() {
    let (store, listing) = listing(5).await;
    store.damage(&run_summary::key("default", id(2)));
    assert_eq!(pages(&listing, &Filter::default(), 2).await.concat(), ids([4, 3, 1, 0].into_iter()));
    let strange = listing.page(&name("acme"), &Filter::default(), None, 10).await.unwrap();
    assert!(strange.runs.is_empty(), "of another tenant");
}
