use std::time::Duration;

use mainstay_kernel::json::Json;
use mainstay_kernel::outcome::{Class, Usage};
use mainstay_kernel::time::Wall;
use mainstay_proto::reason::Reason;
use mainstay_store::MemoryStore;
use tokio::sync::oneshot;

use super::durable::Retention;
use super::table::{MAX_KEPT, MAX_KEPT_BYTES};
use super::*;
use crate::{failure, host};

const A: AttemptId = AttemptId::from_bytes([0xa; 16]);
const ASK: Ask = Ask { id: A, digest: [1; 32], effect: EffectClass::SideEffecting, epoch: 1 };
const LOOK: Ask = Ask { effect: EffectClass::ReadOnly, ..ASK };
const SET: Ask = Ask { effect: EffectClass::Idempotent, ..ASK };

fn id(n: u32) -> AttemptId {
    let mut bytes = [0; 16];
    bytes[12..].copy_from_slice(&n.to_be_bytes());
    AttemptId::from_bytes(bytes)
}

fn answer(text: &str) -> Ended {
    let output = Json::from(&serde_json::Value::from(text));
    Ok(Answer { output, usage: Usage::default(), confidence_bp: None, warnings: vec![] })
}

fn in_memory() -> Ledger {
    Ledger::new(None)
}

fn on_disk() -> (Ledger, MemoryStore) {
    let store = MemoryStore::new();
    (Ledger::new(Some(Durable::over(Arc::new(store.clone())))), store)
}

/// Starts work that ends with what is sent; panics if the ledger starts none.
fn begin(ledger: &Ledger, ask: Ask) -> (Work, oneshot::Sender<Ended>) {
    let (tell, told) = oneshot::channel();
    let verdict = ledger.decide(ask, |claim| {
        let (cancel, _) = AbortHandle::new_pair();
        let work = async move {
            if let Err(failure) = claim.begin().await {
                return claim.abandon(failure);
            }
            let outcome = told.await.unwrap();
            claim.settle(outcome).await
        };
        (work.boxed(), cancel)
    });
    match verdict {
        Ok(Verdict::Wait { work, fresh: true }) => (work, tell),
        other => panic!("{other:?}"),
    }
}

async fn work(ledger: &Ledger, ask: Ask, outcome: Ended) -> Arc<Ended> {
    let (work, tell) = begin(ledger, ask);
    tell.send(outcome).unwrap();
    work.await
}

/// What a call finds that must not start work.
fn find(ledger: &Ledger, ask: Ask) -> Result<Verdict, Failure> {
    ledger.decide(ask, |_| panic!("it started work"))
}

fn recorded(ledger: &Ledger, ask: Ask) -> Ended {
    match find(ledger, ask) {
        Ok(Verdict::Answer(outcome)) => (*outcome).clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_is_new_then_running_then_answered() {
    let ledger = in_memory();
    assert!(matches!(ledger.known(A), Ok(Known::Nothing)));
    let (first, tell) = begin(&ledger, LOOK);
    assert!(matches!(ledger.known(A), Ok(Known::Running)));
    let Ok(Verdict::Wait { work: second, fresh: false }) = find(&ledger, LOOK) else { panic!("not joined") };
    tell.send(answer("x")).unwrap();
    assert_eq!((&*second.await, &*first.await), (&answer("x"), &answer("x")));
    assert_eq!(recorded(&ledger, LOOK), answer("x"));
}

#[tokio::test]
async fn work_goes_on_while_anyone_waits_and_is_cut_with_the_last() {
    let ledger = in_memory();
    let (mut first, tell) = begin(&ledger, LOOK);
    assert!(futures::poll!(&mut first).is_pending());
    let Ok(Verdict::Wait { work: mut second, .. }) = find(&ledger, LOOK) else { panic!("not joined") };
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    assert!(!tell.is_closed() && futures::poll!(&mut second).is_pending());
    drop(second);
    assert!(tell.is_closed(), "the work was dropped");
    assert!(matches!(ledger.known(A), Ok(Known::Nothing)), "and the key is free");
    assert_eq!(*work(&ledger, LOOK, answer("again")).await, answer("again"));
}

#[tokio::test]
async fn whoever_joined_goes_on_with_the_work_when_the_first_goes_away() {
    let ledger = in_memory();
    let (mut first, tell) = begin(&ledger, LOOK);
    assert!(futures::poll!(&mut first).is_pending());
    let Ok(Verdict::Wait { work: second, .. }) = find(&ledger, LOOK) else { panic!("not joined") };
    let second = tokio::spawn(second);
    tokio::task::yield_now().await;
    drop(first);
    tell.send(answer("x")).unwrap();
    assert_eq!(*second.await.unwrap(), answer("x"));
}

#[tokio::test]
async fn only_side_effects_replay_a_failure() {
    let failed = || Err(failure::agent_failed("no"));
    let (ledger, _store) = on_disk();
    work(&ledger, ASK, failed()).await;
    assert_eq!(recorded(&ledger, ASK), failed());
    for ask in [LOOK, SET] {
        let ledger = in_memory();
        work(&ledger, ask, failed()).await;
        assert!(matches!(ledger.known(A), Ok(Known::Ended(_))), "it can be asked for");
        assert_eq!(*work(&ledger, ask, answer("x")).await, answer("x"), "and it can be worked for again");
    }
}

#[tokio::test]
async fn work_that_did_not_begin_leaves_no_trace() {
    let (ledger, store) = on_disk();
    work(&ledger, ASK, Err(failure::unreachable(Began::No, "nobody there"))).await;
    assert!(matches!(ledger.known(A), Ok(Known::Nothing)));
    assert!(mainstay_store::Store::get(&store, &record::key(A)).unwrap().is_none());
}

#[tokio::test]
async fn a_side_effect_is_on_disk_before_it_begins_and_before_it_is_answered() {
    let (ledger, store) = on_disk();
    let began = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&began);
    store.hold_commits();
    let Ok(Verdict::Wait { mut work, .. }) = ledger.decide(ASK, |claim| {
        let work = async move {
            claim.begin().await.unwrap();
            seen.store(true, std::sync::atomic::Ordering::SeqCst);
            claim.settle(answer("paid")).await
        };
        (work.boxed(), AbortHandle::new_pair().0)
    }) else {
        panic!("no work")
    };
    assert!(futures::poll!(&mut work).is_pending());
    assert!(!began.load(std::sync::atomic::Ordering::SeqCst), "the agent waits for the disk");
    store.release_commits();
    store.hold_commits();
    assert!(futures::poll!(&mut work).is_pending(), "the answer waits for the disk");
    assert!(began.load(std::sync::atomic::Ordering::SeqCst));
    store.release_commits();
    assert_eq!(*work.await, answer("paid"));
    let after_a_restart = Ledger::new(Some(Durable::over(Arc::new(store))));
    assert_eq!(recorded(&after_a_restart, ASK), answer("paid"));
}

#[tokio::test]
async fn a_side_effect_that_was_begun_before_a_crash_is_lost_for_good() {
    let (ledger, store) = on_disk();
    let (mut under_way, _tell) = begin(&ledger, ASK);
    assert!(futures::poll!(&mut under_way).is_pending());
    let after_the_crash = Ledger::new(Some(Durable::over(Arc::new(store))));
    assert!(matches!(after_the_crash.known(A), Ok(Known::Lost)));
    let failure = find(&after_the_crash, ASK).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.began), ("OUTCOME_UNKNOWN", Began::Unknown));
}

#[tokio::test]
async fn a_disk_that_fails_keeps_the_agent_from_being_called() {
    let (ledger, store) = on_disk();
    store.fail_commits("no room");
    let (refused, _tell) = begin(&ledger, ASK);
    let Err(failure) = &*refused.await else { panic!("it went on") };
    assert_eq!((failure.class, failure.began), (Class::Transport, Began::No));
    assert_eq!(failure.code, "STORE_READ_ONLY");
    store.heal();
    assert_eq!(*work(&ledger, Ask { epoch: 2, ..ASK }, answer("x")).await, answer("x"));
}

#[tokio::test]
async fn an_outcome_that_cannot_be_recorded_is_answered_and_never_worked_for_again() {
    let (ledger, store) = on_disk();
    let (mut under_way, tell) = begin(&ledger, ASK);
    assert!(futures::poll!(&mut under_way).is_pending());
    store.fail_commits("no room");
    tell.send(answer("paid")).unwrap();
    assert_eq!(*under_way.await, answer("paid"));
    assert_eq!(recorded(&ledger, ASK), answer("paid"), "while the process lives");
    let after_a_restart = Ledger::new(Some(Durable::over(Arc::new(store))));
    assert_eq!(find(&after_a_restart, ASK).unwrap_err().code, "OUTCOME_UNKNOWN");
}

#[tokio::test]
async fn a_damaged_record_counts_as_unknown_and_not_as_new() {
    let (ledger, store) = on_disk();
    store.damage(&record::key(A));
    assert_eq!(find(&ledger, ASK).unwrap_err().code, "OUTCOME_UNKNOWN");
    assert!(ledger.known(A).is_err());
}

#[tokio::test]
async fn a_straggler_cannot_begin_what_was_reported_as_never_seen() {
    let ledger = in_memory();
    assert!(matches!(ledger.known_for_good(A, 2), Ok(Known::Nothing)));
    for epoch in [0, 1, 2] {
        let failure = find(&ledger, Ask { epoch, ..SET }).unwrap_err();
        assert_eq!((failure.class, failure.began), (Class::Overload, Began::No), "{epoch}");
    }
    assert!(matches!(ledger.known_for_good(A, 1), Ok(Known::Nothing)), "an older question lowers no fence");
    assert!(find(&ledger, Ask { epoch: 2, ..SET }).is_err());
    assert_eq!(*work(&ledger, Ask { epoch: 3, ..SET }, answer("x")).await, answer("x"));
    assert!(matches!(ledger.known_for_good(A, 9), Ok(Known::Ended(_))), "what has ended is not fenced");
    assert_eq!(recorded(&ledger, SET), answer("x"));
}

#[tokio::test]
async fn a_sending_that_was_refused_cannot_begin_when_a_copy_of_it_comes_later() {
    let (ledger, _store) = on_disk();
    let busy = failure::failure(Class::Overload, Reason::AgentBusy, Began::No, "busy");
    let refused = ledger.decide(ASK, |claim| {
        let work = async move { claim.abandon(busy) };
        (work.boxed(), AbortHandle::new_pair().0)
    });
    let Ok(Verdict::Wait { work: refused, .. }) = refused else { panic!("not refused by the work") };
    assert_eq!(refused.await.as_ref().as_ref().unwrap_err().class, Class::Overload);
    let copy = find(&ledger, ASK).unwrap_err();
    assert_eq!((copy.class, copy.began), (Class::Overload, Began::No));
    assert_eq!(*work(&ledger, Ask { epoch: 2, ..ASK }, answer("x")).await, answer("x"), "a later one may");
}

#[tokio::test]
async fn a_question_without_an_epoch_fences_nothing() {
    let ledger = in_memory();
    assert!(matches!(ledger.known_for_good(A, 0), Ok(Known::Nothing)));
    work(&ledger, Ask { epoch: 0, ..SET }, answer("x")).await;
}

#[tokio::test]
async fn outcomes_in_memory_are_bounded_in_number_and_the_least_used_go_first() {
    let ledger = in_memory();
    let ask = |n| Ask { id: id(n), ..LOOK };
    let kept = u32::try_from(MAX_KEPT).unwrap();
    for n in 0..kept {
        work(&ledger, ask(n), answer("x")).await;
    }
    assert_eq!(recorded(&ledger, ask(0)), answer("x"), "used again");
    work(&ledger, ask(kept), answer("x")).await;
    assert!(matches!(ledger.known(id(0)), Ok(Known::Ended(_))));
    assert!(matches!(ledger.known(id(1)), Ok(Known::Nothing)));
    assert!(matches!(ledger.known(id(2)), Ok(Known::Ended(_))));
}

#[tokio::test]
async fn outcomes_in_memory_are_bounded_in_bytes() {
    let ledger = in_memory();
    let large = "x".repeat(MAX_KEPT_BYTES / 4);
    for n in 0..5 {
        work(&ledger, Ask { id: id(n), ..LOOK }, answer(&large)).await;
    }
    let kept = (0..5).filter(|n| matches!(ledger.known(id(*n)), Ok(Known::Ended(_)))).count();
    assert_eq!(kept, 3, "each costs a little more than its text");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_in_memory_is_kept_for_an_hour() {
    let ledger = in_memory();
    work(&ledger, LOOK, answer("x")).await;
    tokio::time::advance(Duration::from_secs(3599)).await;
    assert_eq!(recorded(&ledger, LOOK), answer("x"));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(matches!(ledger.known(A), Ok(Known::Nothing)));
}

#[tokio::test]
async fn the_disk_forgets_after_its_time_also_large_outcomes_and_lost_ones() {
    let (ledger, store) = on_disk();
    let large = "x".repeat(100_000);
    work(&ledger, ASK, answer("x")).await;
    work(&ledger, Ask { id: id(1), ..ASK }, answer(&large)).await;
    let (mut under_way, _tell) = begin(&ledger, Ask { id: id(2), ..ASK });
    assert!(futures::poll!(&mut under_way).is_pending());
    let after_a_restart = Durable::over(Arc::new(store));
    let durable = ledger.durable().unwrap();
    let almost = Wall::from_millis(host::wall().as_millis()) + (RETENTION.kept_for - Duration::from_secs(60));
    assert_eq!(durable.clean(almost, RETENTION), Ok(0));
    assert_eq!(durable.clean(almost + Duration::from_secs(120), RETENTION), Ok(3));
    for id in [A, id(1), id(2)] {
        assert!(after_a_restart.get(id).unwrap().is_none());
    }
}

#[tokio::test]
async fn the_disk_forgets_outcomes_beyond_their_number_but_never_a_lost_one() {
    let (ledger, store) = on_disk();
    let (mut under_way, _tell) = begin(&ledger, ASK);
    assert!(futures::poll!(&mut under_way).is_pending());
    for n in 0..5 {
        work(&ledger, Ask { id: id(n), ..ASK }, answer("x")).await;
    }
    let few = Retention { max_ended: 2, ..RETENTION };
    assert_eq!(ledger.durable().unwrap().clean(host::wall(), few), Ok(3));
    let after_a_restart = Ledger::new(Some(Durable::over(Arc::new(store))));
    let ended = (0..5).filter(|n| matches!(after_a_restart.known(id(*n)), Ok(Known::Ended(_)))).count();
    assert_eq!(ended, 2);
    assert!(matches!(after_a_restart.known(A), Ok(Known::Lost)));
}
