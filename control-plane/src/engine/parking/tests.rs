use std::sync::atomic::{AtomicUsize, Ordering};

use mainstay_kernel::event::Kind;
use mainstay_kernel::run::{EndState, Input};
use mainstay_store::Store;

use super::*;
use crate::engine::tests::{Planted, end, hanging, run, start};
use crate::engine::{RECOVERY_RETRY, TellError};
use crate::events::Filter;
use crate::follow::follow;
use crate::testbed::{Act, Bed, answer, name, until};

/// Breaks every taking-in of one run, and counts how often it did.
fn breaking(victim: RunId) -> (Planted, Arc<AtomicUsize>) {
    let times = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&times);
    let planted = move |run: &Run, input: Option<&Input>| {
        if run.id == victim && input.is_some() {
            counted.fetch_add(1, Ordering::Relaxed);
            panic!("index out of bounds");
        }
    };
    (Planted(Arc::new(planted)), times)
}

fn plant(bed: &Bed, planted: Option<Planted>) {
    *bed.engine.0.planted.lock() = planted;
}

/// A run whose first call has returned, and which breaks each time it is told so.
async fn parked() -> (Bed, crate::testbed::Stub, RunId, Arc<AtomicUsize>) {
    let (bed, stub, id) = hanging().await;
    let (planted, times) = breaking(id);
    plant(&bed, Some(planted));
    stub.script(|n| Act::Send(vec![answer(&format!("{{\"call\":{n}}}"))]));
    let mut parkings = bed.engine.parkings();
    bed.engine.tell(&name("default"), id, Input::Woken).await.unwrap_err();
    parkings.changed().await.unwrap();
    (bed, stub, id, times)
}

async fn after_restart(bed: &Bed) -> Bed {
    let agents = bed.registry.agents(&name("default"), None, 1);
    let next = Bed::over(bed.store.clone(), bed.blobs.clone()).await;
    next.healthy(agents[0].instances[0].id);
    next
}

fn told(bed: &Bed, kind: Kind) -> usize {
    bed.events.list(&Filter::default(), None, 100).iter().filter(|event| event.event.kind == kind).count()
}

#[tokio::test(start_paused = true)]
async fn a_run_that_panics_is_parked_after_three_tries_and_its_neighbours_do_not_notice() {
    let (bed, stub, id, times) = parked().await;
    let falls = bed.engine.parking(id).unwrap();
    assert_eq!((times.load(Ordering::Relaxed), falls.here), (3, 3));
    assert_eq!(falls.reason, "panicked: index out of bounds");
    assert!(!bed.engine.drives(id) && bed.engine.is_ready());
    assert_eq!((bed.engine.open_runs(), told(&bed, Kind::RunParked)), (1, 1));
    assert!(bed.exposition().contains("mainstay_parked_runs 1"));
    let before = stub.log().calls.len();
    let neighbour = start(&bed).await;
    bed.engine.wait(neighbour).await;
    assert_eq!(end(&bed, neighbour).await, EndState::Completed);
    assert_eq!(stub.log().calls.len(), before + 2, "the parked run calls nobody");
}

#[tokio::test(start_paused = true)]
async fn a_parked_run_stays_parked_across_a_restart_and_goes_on_when_a_person_says_so() {
    let (bed, stub, id, _) = parked().await;
    bed.engine.stop().await;
    let mut bed = after_restart(&bed).await;
    bed.start_engine().await;
    assert_eq!(bed.engine.parking(id).unwrap().in_all, 3);
    assert!(!bed.engine.drives(id));
    let tenant = name("default");
    assert!(matches!(bed.engine.unpark(&name("other"), id, "me").await, Err(UnparkError::NotParked)));
    bed.engine.unpark(&tenant, id, "me").await.unwrap();
    bed.engine.wait(id).await;
    assert_eq!(end(&bed, id).await, EndState::Completed);
    assert!(bed.engine.parking(id).is_none() && told(&bed, Kind::RunUnparked) == 1);
    assert!(matches!(bed.engine.unpark(&tenant, id, "me").await, Err(UnparkError::NotParked)));
    let left = bed.store.scan(&key::of_runs(key::FALLS), None, 10).unwrap();
    assert!(left.entries.is_empty(), "nothing is left of it");
    drop(stub);
}

#[tokio::test(start_paused = true)]
async fn a_parked_run_takes_a_cancel_before_anything_else_and_nothing_but_a_cancel() {
    let (bed, stub, id, _) = parked().await;
    plant(&bed, None);
    let tenant = name("default");
    let signal = Input::Signal { name: name("go"), value: mainstay_kernel::json::Json::null() };
    assert!(matches!(bed.engine.tell(&tenant, id, signal).await, Err(TellError::Parked(_))));
    let before = stub.log().calls.len();
    let cancel = Input::Cancel { reason: "it is stuck".into() };
    assert!(matches!(bed.engine.tell(&name("other"), id, cancel.clone()).await, Err(TellError::NotOpen)));
    bed.engine.tell(&tenant, id, cancel).await.unwrap();
    bed.engine.wait(id).await;
    assert_eq!((end(&bed, id).await, stub.log().calls.len()), (EndState::Cancelled, before));
    assert_eq!((bed.engine.open_runs(), bed.engine.parked_runs()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_follows_a_run_is_told_when_it_is_parked() {
    let (bed, _stub, id) = hanging().await;
    let mut events = follow(bed.engine.clone(), name("default"), id, 0).await.unwrap();
    let (planted, _) = breaking(id);
    plant(&bed, Some(planted));
    bed.engine.tell(&name("default"), id, Input::Woken).await.unwrap_err();
    let error = loop {
        match futures::StreamExt::next(&mut events).await.expect("it does not end without a word") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LoadError::Parked(falls) if falls.in_all == 3));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_panics_when_it_is_taken_up_is_parked_and_the_others_go_on() {
    let (bed, stub, id) = hanging().await;
    let neighbour = start(&bed).await;
    bed.engine.stop().await;
    let mut bed = after_restart(&bed).await;
    plant(&bed, Some(Planted(Arc::new(move |run, _| assert!(run.id != id, "it does not fold")))));
    stub.script(|n| Act::Send(vec![answer(&format!("{{\"call\":{n}}}"))]));
    let mut parkings = bed.engine.parkings();
    bed.start_engine().await;
    bed.engine.wait(neighbour).await;
    assert_eq!(end(&bed, neighbour).await, EndState::Completed);
    parkings.changed().await.unwrap();
    assert_eq!(bed.engine.parking(id).unwrap().reason, "panicked: it does not fold");
    assert!(run(&bed, id).await.end.is_none(), "it can be read all the same");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_falls_once_is_taken_up_again_and_asks_for_its_call_by_the_same_key() {
    let (bed, stub, id) = hanging().await;
    let (planted, times) = breaking(id);
    plant(&bed, Some(planted));
    bed.engine.tell(&name("default"), id, Input::Woken).await.unwrap_err();
    until(|| times.load(Ordering::Relaxed) == 1).await;
    plant(&bed, None);
    stub.script(|n| Act::Send(vec![answer(&format!("{{\"call\":{n}}}"))]));
    bed.engine.wait(id).await;
    tokio::time::advance(RECOVERY_RETRY).await;
    until(|| bed.engine.drives(id)).await;
    bed.engine.wait(id).await;
    assert_eq!(end(&bed, id).await, EndState::Completed);
    let log = stub.log();
    assert_eq!(log.calls[0].key, log.calls[1].key, "asked again under the key it was asked under");
    assert!(log.cancelled.is_empty(), "nobody was told that the work is not wanted");
}

#[tokio::test(start_paused = true)]
async fn what_ended_meanwhile_leaves_no_falls_behind() {
    let (bed, stub, id, _) = parked().await;
    plant(&bed, None);
    let cancel = Input::Cancel { reason: "enough".into() };
    bed.engine.tell(&name("default"), id, cancel).await.unwrap();
    bed.engine.wait(id).await;
    let fallen =
        Fallen { tenant: name("default"), falls: Falls::after(None, 1, "left over", bed.clock.wall()) };
    put(&bed.engine.0, id, &fallen).await.unwrap();
    bed.engine.stop().await;
    let mut bed = after_restart(&bed).await;
    bed.start_engine().await;
    let prefix = key::of_runs(key::FALLS);
    until(|| bed.store.scan(&prefix, None, 10).unwrap().entries.is_empty()).await;
    drop(stub);
}
