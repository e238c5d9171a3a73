use std::collections::BTreeMap;

use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::json::Json;
use mainstay_kernel::outcome::{Began, Class};
use mainstay_kernel::retry::Retries;
use mainstay_kernel::run::{EndState, Event, FoldError, Input, Transition};
use mainstay_store::{Batch, CommitError, MemoryStore};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;
use crate::follow::follow;
use crate::records::spill;
use crate::registry::Registration;
use crate::testbed::{Act, Bed, Stub, answer, failure, name, registration, settle, until};

/// What breaks whatever takes a run up (without an input), or takes something in for it.
#[derive(Clone)]
pub(super) struct Planted(pub(super) Arc<Breaks>);

type Breaks = dyn Fn(&Run, Option<&Input>) + Send + Sync;

impl std::fmt::Debug for Planted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Planted")
    }
}

/// Two steps, one after the other: the first reads, the second has a side effect.
const TWO: &str = r#"
name: two
version: 1
input: { type: object }
steps:
  - id: read
    call: { capability: read }
    input: "${input}"
    retry: { max_attempts: 1 }
  - id: write
    after: [read]
    call: { capability: write }
    input: { from: "${steps.read.output}" }
    retry: { max_attempts: 1 }
output: "${steps.write.output}"
"#;

fn both() -> Registration {
    registration("a", "i", &[("read", EffectClass::ReadOnly), ("write", EffectClass::SideEffecting)])
}

fn request(key: Option<&str>) -> StartRequest {
    StartRequest {
        tenant: name("default"),
        workflow: name("two"),
        version: None,
        input: Json::from(&json!({"n": 1})),
        idempotency_key: key.map(str::to_owned),
        intent: "test".to_owned(),
        deadline: None,
        labels: BTreeMap::new(),
        retries: Retries::Allowed,
        chain: Default::default(),
        priority: mainstay_kernel::priority::Priority::default(),
    }
}

/// A stub that offers both capabilities, an engine that takes work, and the workflow.
pub(super) async fn ready() -> (Bed, Stub) {
    let mut bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, both()).await;
    bed.put(TWO).await;
    bed.start_engine().await;
    (bed, stub)
}

pub(super) async fn run(bed: &Bed, id: RunId) -> Run {
    bed.engine.get(&name("default"), id).await.unwrap()
}

pub(super) async fn end(bed: &Bed, id: RunId) -> EndState {
    run(bed, id).await.end.as_ref().expect("it has ended").state
}

pub(super) async fn start(bed: &Bed) -> RunId {
    bed.engine.start(request(None)).await.unwrap().id
}

/// A run whose first call does not return.
pub(super) async fn hanging() -> (Bed, Stub, RunId) {
    let (bed, stub) = ready().await;
    stub.always(Act::Hang);
    let id = start(&bed).await;
    stub.until(|log| log.calls.len() == 1).await;
    (bed, stub, id)
}

/// A run whose calls return one for each permit of the gate. The first is under way.
async fn gated() -> (Bed, Stub, Arc<Semaphore>, RunId) {
    let (bed, stub) = ready().await;
    let gate = stub.gate();
    let id = start(&bed).await;
    stub.until(|log| log.calls.len() == 1).await;
    (bed, stub, gate, id)
}

/// Cancels a run. The disk is held, and the cancellation waits for it.
async fn cancel_queued(bed: &Bed, id: RunId) -> JoinHandle<Result<(), TellError>> {
    bed.store.hold_commits();
    let engine = bed.engine.clone();
    let cancel = tokio::spawn(async move {
        engine.tell(&name("default"), id, Input::Cancel { reason: "enough".into() }).await
    });
    until(|| bed.store.stats().queued == 1).await;
    cancel
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_to_its_end_and_is_counted_once() {
    let (bed, stub) = ready().await;
    stub.script(|n| Act::Send(vec![answer(&format!("{{\"call\":{n}}}"))]));
    let id = start(&bed).await;
    bed.engine.wait(id).await;
    let run = run(&bed, id).await;
    let end = run.end.as_ref().unwrap();
    assert_eq!((end.state, end.output.as_ref().unwrap().as_str()), (EndState::Completed, "{\"call\":2}"));
    assert_eq!((stub.log().calls.len(), bed.engine.open_runs()), (2, 0));
    let text = bed.exposition();
    assert!(text.contains("mainstay_runs_started_total 1"), "{text}");
    assert!(text.contains("mainstay_runs_ended_total{state=\"completed\"} 1"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_side_effect_waits_until_what_led_to_it_is_on_disk() {
    let (bed, stub, gate, id) = gated().await;
    bed.store.hold_commits();
    gate.add_permits(2);
    until(|| bed.store.stats().queued == 1).await;
    settle().await;
    assert_eq!(stub.log().calls.len(), 1, "not before the disk has it");
    bed.store.release_commits();
    bed.engine.wait(id).await;
    assert_eq!(end(&bed, id).await, EndState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_store_fails_waits_for_the_disk_and_then_ends_once() {
    let (bed, stub, gate, id) = gated().await;
    let attempts_before = stub.log().calls.clone();
    bed.store.fail_commits("planted");
    bed.ready(false).await;
    until(|| bed.engine.open_runs() == 0).await;
    assert!(matches!(bed.engine.start(request(None)).await, Err(StartError::NotReady)));

    // However long it lasts: no call is made that could not be written down.
    tokio::time::advance(Duration::from_secs(20)).await;
    settle().await;
    assert_eq!((stub.log().calls.len(), bed.engine.is_ready()), (1, false));

    bed.store.heal();
    bed.ready(true).await;
    gate.add_permits(3);
    bed.engine.wait(id).await;
    assert_eq!(end(&bed, id).await, EndState::Completed);
    let calls = stub.log().calls;
    assert_eq!(calls[1].key, attempts_before[0].key, "the same attempt again");
    let ended = |transition: &Transition| transition.ends_run();
    let journal = bed.engine.transitions(&name("default"), id, None).await.unwrap();
    assert_eq!(journal.iter().filter(|t| ended(t)).count(), 1);
    assert!(bed.exposition().contains("mainstay_runs_ended_total{state=\"completed\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_parks_while_the_store_stays_read_only_is_not_taken_up() {
    let (bed, stub, gate, _) = gated().await;
    bed.store.fail_commits("planted");
    // The answer and the failure race; whichever is first, the run parks.
    gate.add_permits(10);
    bed.ready(false).await;
    bed.engine.0.fell.notify_one();
    for _ in 0..10 {
        tokio::time::advance(RECOVERY_RETRY).await;
        settle().await;
    }
    settle().await;
    assert_eq!((bed.engine.open_runs(), bed.engine.is_ready()), (0, false));
    assert_eq!(stub.log().calls.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_transition_that_was_lost_is_not_followed_by_another() {
    // No service: nobody but the task itself notices that the store failed.
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    let parallel = TWO.replace("after: [read]\n    ", "").replace("\"${steps.read.output}\"", "1");
    let reads = [("read", EffectClass::ReadOnly), ("write", EffectClass::ReadOnly)];
    bed.admit(&stub, registration("a", "i", &reads)).await;
    bed.put(&parallel).await;
    bed.engine.0.take_work();
    let gate = stub.gate();
    let id = start(&bed).await;
    stub.until(|log| log.calls.len() == 2).await;
    bed.store.hold_commits();
    gate.add_permits(1);
    until(|| bed.store.stats().queued == 1).await;
    bed.store.fail_commits("planted");
    bed.store.heal();
    bed.store.release_commits();
    gate.add_permits(1);
    bed.engine.wait(id).await;
    assert!(run(&bed, id).await.end.is_none(), "the journal folds, and goes on from where it was");
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_open_runs_go_on_under_the_same_keys() {
    let (bed, stub) = ready().await;
    stub.always(Act::Hang);
    let ids = [start(&bed).await, start(&bed).await];
    let before = stub.until(|log| log.calls.len() == 2).await;
    let (store, registered) = (bed.store.clone(), bed.registry.agents(&name("default"), None, 1));
    bed.engine.0.stopped.cancel();
    until(|| bed.engine.open_runs() == 0).await;
    assert_eq!(stub.log().cancelled, Vec::<String>::new(), "the work is still owed");

    stub.always(Act::Send(vec![answer("{}")]));
    let mut next = Bed::over(store, bed.blobs.clone()).await;
    next.healthy(registered[0].instances[0].id);
    next.start_engine().await;
    for id in ids {
        next.engine.wait(id).await;
        assert_eq!(end(&next, id).await, EndState::Completed);
    }
    let keys = |calls: &[crate::testbed::Seen]| {
        let mut keys: Vec<_> = calls.iter().map(|seen| seen.key.clone()).collect();
        keys.sort();
        keys
    };
    let after = stub.log();
    let reads =
        after.calls[2..].iter().filter(|seen| before.calls.iter().any(|b| b.key == seen.key)).cloned();
    assert_eq!(keys(&reads.collect::<Vec<_>>()), keys(&before.calls));
    assert_eq!(after.calls.len(), 6, "each write once");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_journal_is_left_alone_and_all_others_go_on() {
    let (bed, stub) = ready().await;
    let gate = stub.gate();
    let (damaged, whole) = (start(&bed).await, start(&bed).await);
    stub.until(|log| log.calls.len() == 2).await;
    bed.store.damage(&transition::key("default", damaged, 1));
    bed.engine.0.fell.notify_one();
    bed.store.fail_commits("planted");
    bed.ready(false).await;
    bed.store.heal();
    bed.ready(true).await;
    gate.add_permits(10);
    bed.engine.wait(whole).await;
    assert_eq!(end(&bed, whole).await, EndState::Completed);
    let error = bed.engine.get(&name("default"), damaged).await.unwrap_err();
    assert!(matches!(error, LoadError::Damaged(_)), "{error}");
    let recovered = recovery::recover(&bed.engine.0).await.unwrap();
    assert_eq!(recovered, Recovered { resumed: 0, parked: 0, unreadable: 1 });
}

#[tokio::test(start_paused = true)]
async fn what_is_on_record_and_does_not_follow_is_no_state_of_a_run() {
    let (bed, _stub, id) = hanging().await;
    let last = run(&bed, id).await;
    let events = vec![Event::CancelRequested { reason: "".into() }; 2];
    let twice = Transition { first_event: last.last_event + 1, at: last.last_at, events };
    let key = transition::key("default", id, twice.first_event);
    let value = spill::encode(transition::KIND, &key, &twice, &bed.blobs).await.unwrap();
    bed.store.commit(Batch::new().put(key, value)).await.unwrap();
    let error = bed.engine.get(&name("default"), id).await.unwrap_err();
    assert!(matches!(error, LoadError::Fold(FoldError::CancelledTwice)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn one_key_starts_one_run_however_many_ask_at_once() {
    let (bed, stub) = ready().await;
    stub.always(Act::Hang);
    let asking = (0..8).map(|_| {
        let engine = bed.engine.clone();
        tokio::spawn(async move { engine.start(request(Some("k"))).await.unwrap() })
    });
    let mut started = Vec::new();
    for asking in asking.collect::<Vec<_>>() {
        started.push(asking.await.unwrap());
    }
    assert_eq!(started.iter().filter(|started| started.created).count(), 1);
    assert!(started.iter().all(|other| other.id == started[0].id));
    assert_eq!(bed.engine.open_runs(), 1);
    let other = StartRequest { intent: "other".to_owned(), ..request(Some("k")) };
    let refused = bed.engine.start(other).await;
    assert!(matches!(refused, Err(StartError::KeyReused { run }) if run == started[0].id));
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_is_answered_when_it_is_on_disk_and_not_before() {
    let (bed, stub, id) = hanging().await;
    let cancel = cancel_queued(&bed, id).await;
    settle().await;
    assert!(!cancel.is_finished());
    bed.store.release_commits();
    cancel.await.unwrap().unwrap();
    assert_eq!(end(&bed, id).await, EndState::Cancelled);
    stub.until(|log| log.cancelled.len() == 1).await;
    bed.engine.wait(id).await;
    let again = bed.engine.tell(&name("default"), id, Input::Cancel { reason: "again".into() }).await;
    assert!(matches!(again, Err(TellError::NotOpen)));
    let stranger = start(&bed).await;
    let refused = bed.engine.tell(&name("acme"), stranger, Input::Cancel { reason: String::new() }).await;
    assert!(matches!(refused, Err(TellError::NotOpen)), "of another tenant");
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_that_the_disk_refuses_is_said_to_have_failed() {
    let (bed, _stub, id) = hanging().await;
    let cancel = cancel_queued(&bed, id).await;
    bed.store.fail_commits("planted");
    assert!(matches!(cancel.await.unwrap(), Err(TellError::Left)));
    assert!(run(&bed, id).await.end.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_a_run_lacks_is_said_before_anything_is_stored() {
    let bounds = Config { max_open_runs: 1, ..Config::default() };
    let mut bed = Bed::with(MemoryStore::new(), Blobs::in_memory(), bounds, Default::default()).await;
    bed.put(TWO).await;
    let stub = Stub::start().await;
    assert!(matches!(
        bed.engine.start(request(None)).await,
        Err(StartError::CapabilityUnknown { step, .. }) if step == "read"
    ));
    bed.admit(&stub, both()).await;
    assert!(matches!(bed.engine.start(request(None)).await, Err(StartError::NotReady)));
    bed.start_engine().await;
    let unknown = StartRequest { workflow: name("nobody"), ..request(None) };
    assert!(matches!(bed.engine.start(unknown).await, Err(StartError::Workflow(_))));
    let wrong = StartRequest { input: Json::from(&json!(1)), ..request(None) };
    assert!(matches!(bed.engine.start(wrong).await, Err(StartError::Refused(_))));
    assert_eq!(bed.engine.open_runs(), 0);
    stub.always(Act::Hang);
    start(&bed).await;
    assert!(matches!(bed.engine.start(request(None)).await, Err(StartError::TooManyOpen { open: 1 })));
}

#[tokio::test(start_paused = true)]
async fn a_run_on_its_way_to_the_disk_takes_a_place() {
    let bounds = Config { max_open_runs: 1, ..Config::default() };
    let mut bed = Bed::with(MemoryStore::new(), Blobs::in_memory(), bounds, Default::default()).await;
    bed.put(TWO).await;
    let stub = Stub::start().await;
    bed.admit(&stub, both()).await;
    bed.start_engine().await;
    stub.always(Act::Hang);
    bed.store.hold_commits();
    let engine = bed.engine.clone();
    let first = tokio::spawn(async move { engine.start(request(None)).await });
    until(|| bed.store.stats().queued == 1).await;
    assert!(matches!(bed.engine.start(request(None)).await, Err(StartError::TooManyOpen { open: 1 })));
    bed.store.fail_commits("planted");
    first.await.unwrap().unwrap_err();
    assert_eq!(bed.engine.0.starting.load(Ordering::Relaxed), 0, "given back");
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_disk_fails_is_refused_and_found_again_if_it_was_written() {
    let (bed, _stub) = ready().await;
    bed.store.hold_commits();
    let engine = bed.engine.clone();
    let client = tokio::spawn(async move { engine.start(request(None)).await });
    until(|| bed.store.stats().queued == 1).await;
    bed.store.fail_commits("planted");
    let error = client.await.unwrap().unwrap_err();
    let StartError::Append(AppendError::Commit(error)) = error else { panic!("{error}") };
    assert!(matches!(error, CommitError::Unknown { .. }));
    assert_eq!(bed.engine.open_runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_an_epoch_that_ends_and_leaves_no_run_behind() {
    let (bed, stub, id) = hanging().await;
    bed.engine.stop().await;
    assert_eq!((bed.engine.open_runs(), bed.engine.is_ready()), (0, false));
    // A recovery that is late by a moment drives nothing any more, and turns nothing ready.
    recovery::recover(&bed.engine.0).await.unwrap();
    bed.engine.0.take_work();
    until(|| bed.engine.open_runs() == 0).await;
    assert!(!bed.engine.is_ready());
    assert!(stub.log().cancelled.is_empty());
    assert!(run(&bed, id).await.end.is_none(), "the work is still owed");
}

#[tokio::test(start_paused = true)]
async fn a_run_accepted_while_an_epoch_ends_does_not_hold_up_the_next() {
    let (bed, _stub, id) = hanging().await;
    let shared = Arc::clone(&bed.engine.0);
    let held = run(&bed, id).await;
    shared.park_all().await;
    // As a start does whose commit came back just now.
    shared.spawn(held, false, None);
    shared.park_all().await;
    assert_eq!(bed.engine.open_runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_follower_is_told_each_event_once_from_wherever_it_begins() {
    let (bed, _stub, gate, id) = gated().await;
    let numbers = |from| {
        let engine = bed.engine.clone();
        async move {
            let events = follow(engine, name("default"), id, from).await.unwrap();
            events.map(|event| event.unwrap().number).collect::<Vec<_>>().await
        }
    };
    let (live, later) = (tokio::spawn(numbers(0)), tokio::spawn(numbers(4)));
    settle().await;
    gate.add_permits(2);
    bed.engine.wait(id).await;
    let last = run(&bed, id).await.last_event;
    let all: Vec<u64> = (1..=last).collect();
    assert_eq!(live.await.unwrap(), all);
    assert_eq!(later.await.unwrap(), all[3..]);
    assert_eq!(numbers(0).await, all, "after the end");
    assert_eq!(numbers(last).await, [last]);
    assert!(numbers(last + 1).await.is_empty());
    let nobody = RunId::from_bytes([9; 16]);
    let missing = follow(bed.engine.clone(), name("default"), nobody, 0).await.map(|_| ());
    assert!(matches!(missing, Err(LoadError::NotFound)));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_brings_the_run_down_with_its_cause() {
    let (bed, stub) = ready().await;
    stub.always(Act::Send(vec![failure(Class::AgentError, Began::Yes)]));
    let id = start(&bed).await;
    bed.engine.wait(id).await;
    let run = run(&bed, id).await;
    let end = run.end.as_ref().unwrap();
    assert_eq!((end.state, stub.log().calls.len()), (EndState::Failed, 1));
    assert!(end.failure.as_ref().unwrap().message.contains("PLANTED"));
    let journal = bed.engine.transitions(&name("default"), id, None).await.unwrap();
    assert!(journal.iter().flat_map(|t| &t.events).any(|e| matches!(e, Event::StepFailed { .. })));
}

#[tokio::test(start_paused = true)]
async fn every_side_effect_of_a_run_from_before_a_restore_is_asked_for_before_it_is_made() {
    let restored_at = Some(Wall::from_millis(1_800_000_000_000 + 60_000));
    let bounds = Config { restored_at, ..Config::default() };
    let mut bed =
        Bed::with(MemoryStore::new(), Blobs::in_memory(), bounds, crate::registry::Config::default()).await;
    let stub = Stub::start().await;
    bed.admit(&stub, both()).await;
    bed.put(TWO).await;
    bed.start_engine().await;
    stub.script(|_| Act::Send(vec![answer("{}")]));
    let before = start(&bed).await;
    bed.engine.wait(before).await;
    assert_eq!(end(&bed, before).await, EndState::Completed);
    let (asked, calls) = (stub.log().asked, stub.log().calls);
    assert_eq!(asked, [calls[1].key.clone()], "the write, which no restart had interrupted");
    tokio::time::advance(Duration::from_secs(61)).await;
    let after = start(&bed).await;
    bed.engine.wait(after).await;
    assert_eq!(stub.log().asked.len(), 1, "nothing is forgotten of a run from after it");
}
