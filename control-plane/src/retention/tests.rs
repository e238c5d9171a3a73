use std::collections::BTreeMap;

use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::json::Json;
use mainstay_kernel::priority::Priority;
use mainstay_kernel::retention::SETTLED;
use mainstay_kernel::retry::Retries;
use mainstay_store::Batch;
use mainstay_store::limits::MAX_PAGE;
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::engine::{LoadError, StartRequest};
use crate::records::{key, loose, open_run, transition};
use crate::registry::{HISTORY, Registration};
use crate::testbed::{Act, Bed, Stub, answer, name, registration, until};

const ONE: &str = "name: one\nversion: 1\ninput: true\nsteps:\n  - { id: a, call: { capability: work }, input: \"${input}\" }\n";

/// Long enough to be kept outside of the journal.
fn large() -> Json {
    Json::from(&json!({ "text": "x".repeat(40_000) }))
}

async fn ready(policy: Policy) -> (Bed, Stub, Handle) {
    let mut bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, registration("a", "i", &[("work", EffectClass::ReadOnly)])).await;
    bed.put(ONE).await;
    bed.start_engine().await;
    stub.script(|_| Act::Send(vec![answer("1")]));
    let retention = retention_of(&bed, policy);
    (bed, stub, retention)
}

/// As a server that starts makes it.
fn retention_of(bed: &Bed, policy: Policy) -> Handle {
    let parts = Parts {
        clock: bed.clock.clone(),
        state: (Arc::new(bed.store.clone()), bed.blobs.clone()),
        hold: Hold::default(),
        engine: bed.engine.clone(),
        metrics: bed.metrics.clone(),
        events: bed.events.clone(),
    };
    new(policy, EVERY, parts).0
}

fn request(key: Option<&str>, input: Json) -> StartRequest {
    StartRequest {
        tenant: name("default"),
        workflow: name("one"),
        version: None,
        input,
        idempotency_key: key.map(str::to_owned),
        intent: String::new(),
        deadline: None,
        labels: BTreeMap::new(),
        retries: Retries::Allowed,
        chain: Default::default(),
        priority: Priority::default(),
    }
}

async fn finished(bed: &Bed, key: Option<&str>, input: Json) -> RunId {
    let id = bed.engine.start(request(key, input)).await.unwrap().id;
    bed.engine.wait(id).await;
    id
}

fn small() -> Json {
    Json::from(&json!(1))
}

fn policy(keep: u64, keep_for: u64) -> Policy {
    Policy { keep, keep_for: Duration::from_secs(keep_for) }
}

/// Keys of runs, and of what is written with them.
fn keys(bed: &Bed) -> usize {
    let kinds = [key::RUN_SUMMARY, key::IDEMPOTENCY].map(|kind| key::global("default", kind));
    let of_runs = [key::TRANSITION, key::OPEN_RUN].map(|kind| key::of_runs(kind).to_vec());
    let count = |prefix: &Vec<u8>| bed.store.scan(prefix, None, MAX_PAGE).unwrap().entries.len();
    kinds.iter().chain(&of_runs).map(count).sum()
}

fn documents(bed: &Bed) -> usize {
    (0..=u8::MAX).map(|first| bed.blobs.ids(first).unwrap().len()).sum()
}

#[tokio::test(start_paused = true)]
async fn the_oldest_go_beyond_the_number_with_journal_line_key_and_documents() {
    let (bed, _stub, retention) = ready(policy(2, 3600)).await;
    let before = documents(&bed);
    let mut runs = Vec::new();
    for number in 0..5 {
        runs.push(finished(&bed, Some(&format!("key {number}")), large()).await);
    }
    assert!(!retention.pass().unwrap());
    assert_eq!((retention.kept(), retention.removed()), (Some(5), 0), "none has settled");
    tokio::time::advance(SETTLED).await;
    assert!(!retention.pass().unwrap());
    assert_eq!((retention.kept(), retention.removed()), (Some(2), 3));
    for (at, run) in runs.iter().enumerate() {
        let read = bed.engine.get(&name("default"), *run).await;
        assert_eq!(read.is_ok(), at >= 3, "{read:?}");
        assert!(at >= 3 || matches!(read, Err(LoadError::NotFound)));
    }
    let per_run = keys(&bed) / 2;
    assert_eq!(keys(&bed), 2 * per_run, "nothing is left of the others");
    assert!(
        documents(&bed) > before && (documents(&bed) - before).is_multiple_of(2),
        "documents of two runs"
    );
    let again = bed.engine.start(request(Some("key 0"), large())).await.unwrap();
    assert!(again.created, "its key went with it");
    let known = bed.engine.start(request(Some("key 4"), large())).await.unwrap();
    assert_eq!((known.id, known.created), (runs[4], false));
}

#[tokio::test(start_paused = true)]
async fn runs_go_by_age_and_open_ones_never() {
    let (bed, stub, retention) = ready(policy(1_000, 3600)).await;
    let old = finished(&bed, None, small()).await;
    let gate = stub.gate();
    let open = bed.engine.start(request(None, small())).await.unwrap().id;
    tokio::time::advance(Duration::from_secs(3600)).await;
    let before = keys(&bed);
    assert!(!retention.pass().unwrap());
    assert!(matches!(bed.engine.get(&name("default"), old).await, Err(LoadError::NotFound)));
    assert!(bed.engine.get(&name("default"), open).await.is_ok());
    assert_eq!(retention.removed(), 1);
    assert!(keys(&bed) < before);
    gate.add_permits(1);
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_was_cut_short_reads_as_no_run_and_comes_to_its_end() {
    let (bed, _stub, retention) = ready(policy(1_000, 3600)).await;
    let (cut, whole) = (finished(&bed, None, small()).await, finished(&bed, None, small()).await);
    let head =
        Batch::new().delete(run_summary::key("default", cut)).delete(transition::key("default", cut, 1));
    bed.store.commit(head).await.unwrap();
    let read = bed.engine.get(&name("default"), cut).await;
    assert!(matches!(read, Err(LoadError::NotFound)), "{read:?}");
    retention.pass().unwrap();
    let left = bed.store.scan(&transition::prefix("default", cut), None, MAX_PAGE).unwrap();
    assert!(left.entries.is_empty());
    assert!(bed.engine.get(&name("default"), whole).await.is_ok());
    assert_eq!((retention.removed(), retention.kept()), (0, Some(1)), "it was no run any more");
}

#[tokio::test(start_paused = true)]
async fn a_long_run_goes_in_pieces_and_a_damaged_one_goes_too() {
    let (bed, _stub, retention) = ready(policy(1_000, 3600)).await;
    let (long, damaged) = (finished(&bed, None, small()).await, finished(&bed, None, small()).await);
    let copies =
        |number: u64| Batch::new().put(transition::key("default", long, 1_000 + number), &b"\0\x01{}"[..]);
    for number in 0..500 {
        bed.store.commit(copies(number)).await.unwrap();
    }
    bed.store.damage(&transition::key("default", damaged, 1));
    tokio::time::advance(Duration::from_secs(3600)).await;
    retention.pass().unwrap();
    assert_eq!((keys(&bed), retention.removed()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_run_on_a_torn_page_stays_and_those_behind_it_go() {
    let (bed, _stub, retention) = ready(policy(1_000, 3600)).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(finished(&bed, None, small()).await);
    }
    bed.store.tear(&transition::key("default", runs[0], 1));
    bed.store.tear(&run_summary::key("default", runs[1]));
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(!retention.pass().unwrap());
    assert_eq!((retention.removed(), retention.kept()), (1, Some(2)));
    assert!(matches!(bed.engine.get(&name("default"), runs[2]).await, Err(LoadError::NotFound)));
    assert!(matches!(bed.engine.get(&name("default"), runs[0]).await, Err(LoadError::Damaged(_))));
}

#[tokio::test(start_paused = true)]
async fn the_mark_of_an_open_run_that_cannot_be_read_keeps_the_run() {
    let (bed, _stub, retention) = ready(policy(1_000, 3600)).await;
    let run = finished(&bed, None, small()).await;
    bed.store.damage(&open_run::key("default", run));
    tokio::time::advance(Duration::from_secs(3600)).await;
    retention.pass().unwrap();
    assert_eq!(retention.removed(), 0);
    assert!(bed.engine.get(&name("default"), run).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_document_goes_while_a_backup_reads_them_and_all_go_after_it() {
    let (bed, _stub, retention) = ready(policy(1_000, 3600)).await;
    let before = documents(&bed);
    finished(&bed, None, large()).await;
    let full = documents(&bed);
    tokio::time::advance(Duration::from_secs(3600)).await;
    let reading = retention.0.parts.hold.turn().await;
    retention.pass().unwrap();
    assert_eq!((retention.removed(), documents(&bed)), (1, full));
    drop(reading);
    let after_a_crash = retention_of(&bed, policy(1_000, 3600));
    after_a_crash.pass().unwrap();
    assert_eq!((after_a_crash.removed(), documents(&bed)), (0, before), "they were noted on disk");
    assert_eq!(bed.store.scan(&loose::prefix(), None, 1).unwrap().entries, [], "and the notes went last");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_took_long_stays_for_its_time_and_holds_up_nothing_behind_it() {
    let (bed, stub, retention) = ready(policy(1_000, 3600)).await;
    let gate = Arc::new(Semaphore::new(0));
    stub.script(
        move |call| if call == 1 { Act::Wait(Arc::clone(&gate)) } else { Act::Send(vec![answer("1")]) },
    );
    let slow = bed.engine.start(request(None, small())).await.unwrap().id;
    until(|| stub.log().calls.len() == 1).await;
    let quick = finished(&bed, None, small()).await;
    tokio::time::advance(Duration::from_secs(3600)).await;
    bed.engine.wait(slow).await;
    retention.pass().unwrap();
    assert!(matches!(bed.engine.get(&name("default"), quick).await, Err(LoadError::NotFound)));
    assert!(bed.engine.get(&name("default"), slow).await.is_ok());
    let oldest = retention.oldest().unwrap();
    assert!(bed.clock.wall().saturating_since(oldest) < Duration::from_secs(60), "{oldest:?}");
}

#[tokio::test(start_paused = true)]
async fn of_an_instance_only_the_newest_description_is_kept_and_none_once_it_is_forgotten() {
    let (mut bed, _stub, retention) = ready(policy(1_000, 3600)).await;
    let before = documents(&bed);
    let mut large = registration("large", "i", &[("speak", EffectClass::ReadOnly)]);
    large.spec.capabilities[0].description = "d".repeat(20_000);
    let mut lease = None;
    for _ in 0..3 {
        let granted = bed.registry.register(Registration { lease, ..large.clone() }).await.unwrap();
        lease = Some(granted.lease);
    }
    retention.pass().unwrap();
    assert_eq!(documents(&bed), before + 1);
    tokio::spawn(bed.registry_service.take().unwrap().run());
    bed.registry.deregister(lease.unwrap(), None, "").await.unwrap();
    retention.pass().unwrap();
    assert_eq!(documents(&bed), before + 1);
    let mut changes = bed.registry.watch();
    tokio::time::advance(HISTORY + Duration::from_secs(1)).await;
    changes.recv().await.unwrap();
    retention.pass().unwrap();
    assert_eq!(documents(&bed), before);
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_told_of_once_before_it_is_met() {
    let (bed, _stub, retention) = ready(policy(10, 3600)).await;
    let mut service = Service { handle: retention.clone(), every: EVERY, near: BTreeSet::new() };
    let near = |bed: &Bed| {
        let filter = events::Filter { kind: "limit".to_owned(), ..events::Filter::default() };
        bed.events.list(&filter, None, 10)
    };
    for _ in 0..8 {
        finished(&bed, None, small()).await;
    }
    retention.pass().unwrap();
    service.tell_of_limits();
    assert!(near(&bed).is_empty());
    finished(&bed, None, small()).await;
    service.tell_of_limits();
    service.tell_of_limits();
    until(|| !near(&bed).is_empty()).await;
    let told = near(&bed);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].event.subject, "limit/--keep-runs");
    assert_eq!(told[0].event.reason, "9 finished runs of 10; at the limit the oldest are removed");
    assert!(bed.exposition().contains("mainstay_limit_used{limit=\"keep-runs\"} 9"), "{}", bed.exposition());
}
