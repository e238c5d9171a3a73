//! What failures add to the load: retries are paid for, forbidden below, and on the record.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use mainstay_kernel::retry::Retries;
use mainstay_kernel::retry::budget::Leave;
use mainstay_proto::pb;
use mainstay_transport::retry;
use tonic::Request;

use super::*;
use crate::invoke;

/// Calls a second that clients make in a storm.
const RATE: u64 = 60;

fn retried(call: Call) -> Call {
    Call { policy: RetryPolicy::DEFAULT, ..call }
}

fn failing() -> Act {
    Act::Send(vec![failure(Class::AgentError, Began::Yes)])
}

/// The failure that opens no breaker: nothing but the budgets stands between it and a storm.
fn busy() -> Act {
    Act::Send(vec![failure(Class::Overload, Began::No)])
}

#[tokio::test(start_paused = true)]
async fn every_call_tells_those_below_not_to_repeat_it() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, offers("a", READ)).await;
    assert!(bed.dispatch.call(call(&bed, "work", 1)).await.result.is_ok());
    assert!(stub.log().calls[0].marked);
}

#[tokio::test(start_paused = true)]
async fn a_call_made_for_another_is_made_once_and_says_why() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    stub.always(failing());
    bed.admit(&stub, offers("a", READ)).await;
    let nested = Call { retries: Retries::Forbidden, ..retried(call(&bed, "work", 1)) };
    let report = bed.dispatch.call(nested).await;
    assert_eq!((stub.log().calls.len(), report.attempts.len()), (1, 1));
    let note = report.attempts[0].notes.last().unwrap();
    assert_eq!(note, "not tried again: the call was made for another one, whose caller retries");
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_on_record_with_what_was_left_and_a_spent_budget_ends_them_all() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    stub.always(failing());
    let granted = bed.admit(&stub, offers("a", READ)).await;
    let report = bed.dispatch.call(retried(call(&bed, "work", 1))).await;
    let note = report.attempts[0].notes.last().unwrap();
    assert!(note.starts_with("tried again after ") && note.contains("of the deadline and 19 of"), "{note}");
    let fleet = Arc::clone(&bed.registry.instance(granted.id).unwrap().fleet);
    while fleet.retry(bed.clock.mono(), Duration::ZERO) != Leave::Refused {}
    let before = stub.log().calls.len();
    let report = bed.dispatch.call(retried(call(&bed, "work", 2))).await;
    assert_eq!(stub.log().calls.len(), before + 1);
    assert_eq!(
        report.attempts[0].notes.last().unwrap(),
        "not tried again: the agent's retry budget is spent"
    );
}

/// An agent that calls `capability` through the control plane and hands on the mark it was sent.
fn asks(invoke: &invoke::Handle, capability: &'static str) -> Act {
    let invoke = invoke.clone();
    Act::Ask(Arc::new(move |marked| {
        let mut request =
            Request::new(pb::InvokeRequest { capability: capability.to_owned(), ..Default::default() });
        if marked {
            retry::forbid(&mut request);
        }
        let invoke = invoke.clone();
        async move { invoke.call(request, Priority::default()).await.is_ok() }.boxed()
    }))
}

/// Offers a load of calls of `front` for some seconds.
async fn offer(bed: &Bed, invoke: &invoke::Handle, seconds: u64) -> usize {
    let mut calls = Vec::new();
    for _ in 0..seconds * RATE {
        let (invoke, request) =
            (invoke.clone(), pb::InvokeRequest { capability: "front".into(), ..Default::default() });
        calls.push(tokio::spawn(async move {
            invoke.call(Request::new(request), Priority::default()).await.is_ok()
        }));
        bed.clock.sleep_until(bed.clock.mono() + Duration::from_micros(1_000_000 / RATE)).await;
    }
    let mut good = 0;
    for call in calls {
        good += usize::from(call.await.unwrap());
    }
    good
}

#[tokio::test(start_paused = true)]
async fn a_dependency_below_three_levels_of_agents_that_fails_altogether_gets_little_more_than_was_offered() {
    let bed = Bed::new().await;
    let invoke = bed.invoke();
    let (front, middle, back) = (Stub::start().await, Stub::start().await, Stub::start().await);
    front.always(asks(&invoke, "middle"));
    middle.always(asks(&invoke, "back"));
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = Arc::clone(&broken);
    back.script(
        move |_| {
            if is_broken.load(Ordering::Relaxed) { busy() } else { Act::Send(vec![answer("{}")]) }
        },
    );
    for (stub, agent) in [(&front, "front"), (&middle, "middle"), (&back, "back")] {
        let mut registration = registration(agent, "i", &[(agent, READ)]);
        registration.spec.capabilities[0].max_concurrency = 1_000;
        bed.admit(stub, registration).await;
    }
    assert_eq!(offer(&bed, &invoke, 5).await, 5 * RATE as usize, "all is well first");
    broken.store(true, Ordering::Relaxed);
    let before = back.log().calls.len();
    assert_eq!(offer(&bed, &invoke, 10).await, 0);
    let reached = back.log().calls.len() - before;
    assert!(reached >= 10 * RATE as usize, "every call was made, {reached}");
    assert!(reached * 10 <= 12 * 10 * RATE as usize, "{reached} calls reached it");
}
