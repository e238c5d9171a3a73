use std::sync::atomic::Ordering;

use mainstay_kernel::breaker;
use mainstay_kernel::outcome::{Began, Class};
use mainstay_proto::pb;
use pb::agent_sidecar_invoke_response::{Event, Partial};
use tokio::task::JoinHandle;
use tonic::Status;

use super::*;
use crate::testbed::{Act, Bed, Stub, answer, call, failure, name, narrow, registration, settle, until};

mod doubt;
mod hedges;
mod limits;
mod priorities;
mod rates;
mod retries;

const READ: EffectClass = EffectClass::ReadOnly;
const SIDE: EffectClass = EffectClass::SideEffecting;

fn offers(agent: &str, effect: EffectClass) -> registry::Registration {
    registration(agent, "i", &[("work", effect)])
}

fn spawn(bed: &Bed, call: Call) -> JoinHandle<Report> {
    let dispatch = bed.dispatch.clone();
    tokio::spawn(async move { dispatch.call(call).await })
}

fn key(n: u8) -> String {
    AttemptId::from_bytes([n; 16]).to_string()
}

fn breaker_of(bed: &Bed, granted: registry::Registered) -> breaker::State {
    let instance = bed.registry.instance(granted.id).unwrap();
    let lane = instance.lane("work").unwrap().lock();
    lane.breaker().snapshot(bed.clock.now()).state
}

fn in_flight(bed: &Bed, granted: registry::Registered) -> u32 {
    bed.registry.instance(granted.id).unwrap().in_flight()
}

fn failed(report: Report) -> Failure {
    report.result.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_moves_on_to_the_next_instance_under_the_same_key() {
    let bed = Bed::new().await;
    let dead = registry::Registration { address: Stub::nowhere().await, ..offers("dead", SIDE) };
    let dead = bed.registry.register(dead).await.unwrap();
    bed.healthy(dead.id);
    // Until the dead one was tried: which instance is first is a roll of the dice.
    let stub = Stub::start().await;
    bed.admit(&stub, offers("live", SIDE)).await;
    for n in 1.. {
        let report = bed.dispatch.call(call(&bed, "work", n)).await;
        assert!(report.result.is_ok(), "{report:?}");
        assert_eq!(stub.log().calls.last().unwrap().key, key(n));
        if let [refused, taken] = &report.attempts[..] {
            assert_eq!((refused.agent.as_str(), refused.class), ("dead", Class::Transport));
            assert_eq!((taken.agent.as_str(), taken.attempt), ("live", refused.attempt));
            assert_eq!(refused.failure.as_ref().unwrap().began, Began::No);
            break;
        }
    }
    assert!(stub.log().asked.is_empty(), "what certainly did not begin leaves no doubt");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_looks_at_work_never_goes_to_an_agent_that_had_a_part_in_it() {
    let bed = Bed::new().await;
    let (worker, second, other) = (Stub::start().await, Stub::start().await, Stub::start().await);
    bed.admit(&worker, offers("worker", READ)).await;
    bed.admit(&second, registry::Registration { instance: name("two"), ..offers("worker", READ) }).await;
    let looks = |n| Call { not_by: vec![name("worker")], ..call(&bed, "work", n) };
    let nobody = failed(bed.dispatch.call(looks(1)).await);
    assert_eq!(nobody.code, "NO_OTHER_AGENT", "{nobody:?}");
    bed.admit(&other, offers("other", READ)).await;
    for n in 2..20 {
        let report = bed.dispatch.call(looks(n)).await;
        assert!(report.result.is_ok(), "{report:?}");
        assert_eq!(report.attempts[0].agent, "other");
    }
    assert!(worker.log().calls.is_empty() && second.log().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failing_instance_is_cut_off_and_others_go_on_until_its_probes_pass() {
    let bed = Bed::new().await;
    let (bad, good) = (Stub::start().await, Stub::start().await);
    bad.always(Act::Send(vec![failure(Class::AgentError, Began::Yes)]));
    let (bad_id, good_id) =
        (bed.admit(&bad, offers("bad", READ)).await, bed.admit(&good, offers("good", READ)).await);
    let only = |agent: &str| Call { agent: Some(name(agent)), ..call(&bed, "work", 1) };
    for _ in 0..5 {
        assert_eq!(failed(bed.dispatch.call(only("bad")).await).class, Class::AgentError);
    }
    assert_eq!(
        (breaker_of(&bed, bad_id), breaker_of(&bed, good_id)),
        (breaker::State::Open, breaker::State::Closed)
    );
    for _ in 0..20 {
        assert_eq!(bed.dispatch.call(call(&bed, "work", 1)).await.attempts[0].agent, "good");
    }
    assert_eq!(bad.log().calls.len(), 5, "not called while its breaker is open");

    // A call for that agent alone waits until probes are let through.
    bad.always(Act::Send(vec![answer("{}")]));
    let report =
        bed.dispatch.call(Call { deadline: bed.clock.mono() + Duration::from_secs(60), ..only("bad") }).await;
    assert!(report.result.is_ok() && report.attempts[0].waited > Duration::ZERO, "{report:?}");
    assert_eq!(breaker_of(&bed, bad_id), breaker::State::HalfOpen);
    for _ in 0..2 {
        assert!(bed.dispatch.call(only("bad")).await.result.is_ok());
    }
    assert_eq!(breaker_of(&bed, bad_id), breaker::State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_gives_its_place_back_and_its_sidecar_is_told() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    stub.always(Act::Hang);
    let granted = bed.admit(&stub, offers("a", READ)).await;
    let under_way = spawn(&bed, call(&bed, "work", 1));
    stub.until(|log| log.calls.len() == 1).await;
    assert_eq!(in_flight(&bed, granted), 1);
    under_way.abort();
    let log = stub.until(|log| log.over == 1 && !log.cancelled.is_empty()).await;
    assert_eq!((log.cancelled, in_flight(&bed, granted)), (vec![key(1)], 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_left_to_recovery_is_not_cancelled_at_its_sidecar() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    stub.always(Act::Hang);
    let granted = bed.admit(&stub, offers("a", READ)).await;
    let left = call(&bed, "work", 1);
    let flag = Arc::clone(&left.left);
    let under_way = spawn(&bed, left);
    stub.until(|log| log.calls.len() == 1).await;
    flag.store(true, Ordering::Relaxed);
    under_way.abort();
    stub.until(|log| log.over == 1).await;
    // One that is not left is told of, and would have come behind.
    let told = spawn(&bed, call(&bed, "work", 2));
    stub.until(|log| log.calls.len() == 2).await;
    told.abort();
    let log = stub.until(|log| !log.cancelled.is_empty()).await;
    assert_eq!((log.cancelled, in_flight(&bed, granted)), (vec![key(2)], 0));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_shrinks_on_its_way() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, offers("a", READ)).await;
    let deadline = bed.clock.mono() + Duration::from_secs(2);
    assert!(bed.dispatch.call(Call { deadline, ..call(&bed, "work", 1) }).await.result.is_ok());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(bed.dispatch.call(Call { deadline, ..call(&bed, "work", 2) }).await.result.is_ok());
    let times: Vec<_> = stub.log().calls.iter().map(|seen| seen.time).collect();
    assert!(times[0] < Duration::from_secs(2) && times[0] > Duration::from_secs(1), "{times:?}");
    assert!(times[1] < Duration::from_secs(1), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_answers_ends_by_its_deadline() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    stub.always(Act::Hang);
    bed.admit(&stub, offers("a", READ)).await;
    let deadline = bed.clock.mono() + Duration::from_secs(3);
    let slow = bed.dispatch.call(Call { deadline, ..call(&bed, "work", 1) }).await;
    assert_eq!(failed(slow).class, Class::Timeout);
    assert!(bed.clock.mono() <= deadline);
    let nobody = bed
        .dispatch
        .call(Call { deadline: bed.clock.mono() + Duration::from_secs(1), ..call(&bed, "rest", 1) })
        .await;
    assert_eq!(nobody.attempts.len(), 1, "also a call that nobody took is on record");
    assert_eq!(failed(nobody).code, "NO_INSTANCE");
}

#[tokio::test(start_paused = true)]
async fn every_lie_of_a_sidecar_has_its_class() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, offers("a", READ)).await;
    let large = format!("\"{}\"", "x".repeat(Limits::default().max_bytes));
    let huge = format!("\"{}\"", "x".repeat(2 * Limits::default().max_bytes));
    let part = Some(Event::Partial(Partial::default()));
    let empty = Some(Event::Outcome(pb::Outcome { result: None }));
    let (good, bad) = (answer("1"), failure(Class::AgentError, Began::Yes));
    let lies = [
        (vec![], Class::Transport, Began::Unknown),
        (vec![part.clone()], Class::Transport, Began::Unknown),
        (vec![None, good.clone()], Class::Transport, Began::Unknown),
        (vec![empty], Class::Transport, Began::Unknown),
        (vec![answer("{not json")], Class::ContractBreach, Began::Yes),
        (vec![answer(&large)], Class::ContractBreach, Began::Yes),
        (vec![answer(&huge)], Class::ContractBreach, Began::Yes),
        // The first outcome is the outcome.
        (vec![bad.clone(), good.clone()], Class::AgentError, Began::Yes),
        // A failure that calls itself a success is one all the same.
        (vec![failure(Class::Success, Began::No)], Class::AgentError, Began::No),
    ];
    for (n, (events, class, began)) in lies.into_iter().enumerate() {
        stub.always(Act::Send(events));
        // Each lie alone: the breaker must not answer for the sidecar.
        let again =
            registry::Registration { instance: name(&format!("i{n}")), ..offers(&format!("a{n}"), READ) };
        bed.admit(&stub, again).await;
        let only = Call { agent: Some(name(&format!("a{n}"))), ..call(&bed, "work", 1) };
        let failure = failed(bed.dispatch.call(only).await);
        assert_eq!((failure.class, failure.began), (class, began), "lie {n}: {failure:?}");
    }
    stub.always(Act::Send(vec![part, good, bad]));
    let fresh = Call { agent: Some(name("a8")), ..call(&bed, "work", 1) };
    assert_eq!(bed.dispatch.call(fresh).await.result.unwrap().output.as_str(), "1");
}

#[tokio::test(start_paused = true)]
async fn every_refusal_of_a_sidecar_has_its_class() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    let refusals = [
        (Status::not_found(""), Class::Unavailable, Began::No),
        (Status::unimplemented(""), Class::Unavailable, Began::No),
        (Status::invalid_argument(""), Class::CallerFault, Began::No),
        (Status::deadline_exceeded(""), Class::Timeout, Began::Unknown),
        (Status::unavailable(""), Class::Transport, Began::Unknown),
        (Status::internal(""), Class::Transport, Began::Unknown),
    ];
    for (n, (status, class, began)) in refusals.into_iter().enumerate() {
        stub.always(Act::Refuse(status.clone()));
        bed.admit(&stub, offers(&format!("a{n}"), READ)).await;
        let only = Call { agent: Some(name(&format!("a{n}"))), ..call(&bed, "work", 1) };
        let failure = failed(bed.dispatch.call(only).await);
        assert_eq!((failure.class, failure.began), (class, began), "{status:?}: {failure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_is_woken_by_the_registration_it_waits_for() {
    let bed = Bed::new().await;
    let waiting = spawn(&bed, call(&bed, "work", 1));
    settle().await;
    let began = bed.clock.mono();
    let stub = Stub::start().await;
    bed.admit(&stub, offers("a", READ)).await;
    let report = waiting.await.unwrap();
    assert!(report.result.is_ok(), "{report:?}");
    assert!(bed.clock.mono() - began < Duration::from_secs(1), "woken, not timed out");
}

/// Calls of a route whose only instance is busy, in the order in which they began to wait.
async fn queue(bed: &Bed, stub: &Stub, calls: Vec<Call>) -> Vec<JoinHandle<Report>> {
    let before = stub.log().calls.len();
    let mut queued = vec![spawn(bed, call(bed, "work", 100))];
    stub.until(|log| log.calls.len() == before + 1).await;
    for call in calls {
        queued.push(spawn(bed, call));
        settle().await;
    }
    queued
}

#[tokio::test(start_paused = true)]
async fn each_place_that_becomes_free_wakes_one_waiting_call() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    let gate = stub.gate();
    bed.admit(&stub, narrow("a", "i", "work", READ)).await;
    let waiting = (1..=5).map(|n| call(&bed, "work", n)).collect();
    let queued = queue(&bed, &stub, waiting).await;
    let began = bed.clock.mono();
    for n in 1..=5 {
        assert_eq!(stub.log().calls.len(), n, "one at a time");
        gate.add_permits(1);
        stub.until(|log| log.calls.len() == n + 1).await;
    }
    gate.add_permits(1);
    for call in queued {
        assert!(call.await.unwrap().result.is_ok());
    }
    assert!(bed.clock.mono() - began < Duration::from_secs(1), "woken, not timed out");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_use_the_free_place_does_not_swallow_the_wake_up_of_one_that_can() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    let gate = stub.gate();
    bed.admit(&stub, narrow("a", "i", "work", READ)).await;
    let for_another = |n| Call { agent: Some(name("absent")), ..call(&bed, "work", n) };
    let for_this = Call { agent: Some(name("a")), ..call(&bed, "work", 4) };
    let calls = vec![for_another(1), for_another(2), call(&bed, "work", 3), for_this];
    let mut queued = queue(&bed, &stub, calls).await;
    let began = bed.clock.mono();
    gate.add_permits(3);
    for at in [4, 3, 0] {
        assert!(queued.remove(at).await.unwrap().result.is_ok());
    }
    assert!(bed.clock.mono() - began < Duration::from_secs(1), "woken, not timed out");
    queued.iter().for_each(JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_woken_call_that_is_dropped_hands_its_wake_up_on() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    let gate = stub.gate();
    let granted = bed.admit(&stub, narrow("a", "i", "work", READ)).await;
    let queued = queue(&bed, &stub, vec![call(&bed, "work", 1), call(&bed, "work", 2)]).await;
    let [first, woken, next] = <[_; 3]>::try_from(queued).unwrap();
    let began = bed.clock.mono();
    first.abort();
    woken.abort();
    stub.until(|log| log.calls.len() == 2 && log.over == 1).await;
    gate.add_permits(1);
    assert!(next.await.unwrap().result.is_ok());
    assert!(bed.clock.mono() - began < Duration::from_secs(1), "woken, not timed out");
    until(|| in_flight(&bed, granted) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn every_attempt_is_counted_by_its_class() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, offers("a", READ)).await;
    assert!(bed.dispatch.call(call(&bed, "work", 1)).await.result.is_ok());
    stub.always(Act::Send(vec![failure(Class::AgentError, Began::Yes)]));
    assert!(bed.dispatch.call(call(&bed, "work", 2)).await.result.is_err());
    let text = bed.exposition();
    assert!(text.contains("mainstay_attempts_total{class=\"success\"} 1"), "{text}");
    assert!(text.contains("mainstay_attempts_total{class=\"agent-error\"} 1"), "{text}");
}
