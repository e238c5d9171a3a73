//! Side effects in doubt: the ledgers of those who may have got the call decide whether it is made again.

use mainstay_kernel::outcome::OUTCOME_UNKNOWN;
use pb::outcome_response::{Lost, Running, State};

use super::*;

fn resumed(bed: &Bed, n: u8) -> Call {
    Call { resumed: Some(bed.clock.wall()), ..call(bed, "work", n) }
}

#[tokio::test(start_paused = true)]
async fn a_resumed_side_effect_is_taken_from_the_ledger_that_knows_it() {
    let bed = Bed::new().await;
    let (knows, other) = (Stub::start().await, Stub::start().await);
    bed.admit(&knows, offers("a", SIDE)).await;
    bed.admit(&other, offers("b", SIDE)).await;
    let Some(Event::Outcome(ended)) = answer("7") else { panic!("an outcome") };
    knows.ledger(&key(1), Some(State::Ended(ended)));
    assert_eq!(bed.dispatch.call(resumed(&bed, 1)).await.result.unwrap().output.as_str(), "7");
    assert_eq!((knows.log().calls.len(), other.log().calls.len()), (0, 0));
    assert_eq!((knows.log().asked, other.log().asked), (vec![key(1)], vec![key(1)]));
}

#[tokio::test(start_paused = true)]
async fn a_resumed_side_effect_that_nobody_saw_is_made_once() {
    let bed = Bed::new().await;
    let (a, b) = (Stub::start().await, Stub::start().await);
    bed.admit(&a, offers("a", SIDE)).await;
    bed.admit(&b, offers("b", SIDE)).await;
    assert!(bed.dispatch.call(resumed(&bed, 1)).await.result.is_ok());
    assert_eq!(a.log().calls.len() + b.log().calls.len(), 1);
    assert_eq!((a.log().asked.len(), b.log().asked.len()), (1, 1), "both were asked first");
}

#[tokio::test(start_paused = true)]
async fn a_resumed_side_effect_is_never_made_while_one_ledger_is_silent() {
    let bed = Bed::new().await;
    let (silent, other) = (Stub::start().await, Stub::start().await);
    let gone = bed.admit(&silent, offers("a", SIDE)).await;
    bed.admit(&other, offers("b", SIDE)).await;
    silent.ledger(&key(1), None);
    // Also one that lost its lease may have got the call.
    bed.registry.deregister(gone.lease, None, "").await.unwrap();
    let deadline = bed.clock.mono() + Duration::from_secs(7);
    let failure = failed(bed.dispatch.call(Call { deadline, ..resumed(&bed, 1) }).await);
    assert_eq!((failure.code.as_str(), failure.began), (OUTCOME_UNKNOWN, Began::Unknown));
    assert_eq!((silent.log().calls.len(), other.log().calls.len()), (0, 0));
    assert!(other.log().asked.len() > 1, "asked again and again");
    assert!(bed.clock.mono() <= deadline + Duration::from_millis(50), "by its deadline");
}

#[tokio::test(start_paused = true)]
async fn one_that_left_before_the_call_was_decided_is_not_asked() {
    let bed = Bed::new().await;
    let (left, here) = (Stub::start().await, Stub::start().await);
    let gone = bed.admit(&left, offers("a", SIDE)).await;
    bed.admit(&here, offers("b", SIDE)).await;
    left.ledger(&key(1), None);
    bed.registry.deregister(gone.lease, None, "").await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(bed.dispatch.call(resumed(&bed, 1)).await.result.is_ok());
    assert_eq!((left.log().asked.len(), here.log().asked.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_resumed_side_effect_that_still_runs_is_waited_for_and_one_that_is_lost_is_not_repeated() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, offers("a", SIDE)).await;
    stub.ledger(&key(1), Some(State::Running(Running {})));
    let under_way = spawn(&bed, resumed(&bed, 1));
    stub.until(|log| log.asked.len() == 2).await;
    let Some(Event::Outcome(ended)) = answer("7") else { panic!("an outcome") };
    stub.ledger(&key(1), Some(State::Ended(ended)));
    assert_eq!(under_way.await.unwrap().result.unwrap().output.as_str(), "7");

    stub.ledger(&key(2), Some(State::Lost(Lost {})));
    assert_eq!(failed(bed.dispatch.call(resumed(&bed, 2)).await).code, OUTCOME_UNKNOWN);
    assert!(stub.log().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_resumed_call_that_only_reads_is_made_again_without_asking() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, offers("a", READ)).await;
    assert!(bed.dispatch.call(resumed(&bed, 1)).await.result.is_ok());
    assert_eq!((stub.log().asked.len(), stub.log().calls.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_in_doubt_asks_the_ledger_of_the_instance_that_got_it() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, offers("a", SIDE)).await;
    stub.script(
        |n| if n == 1 { Act::Refuse(Status::internal("crash")) } else { Act::Send(vec![answer("7")]) },
    );
    let report = bed.dispatch.call(call(&bed, "work", 1)).await;
    assert_eq!(report.result.unwrap().output.as_str(), "7");
    let log = stub.log();
    assert_eq!((log.asked, log.calls.len()), (vec![key(1)], 2));
    assert!(log.calls[1].epoch > log.calls[0].epoch, "a straggler of the first is older");
    assert_eq!(log.calls[0].key, log.calls[1].key);
}
