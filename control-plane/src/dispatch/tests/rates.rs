//! Calls over a declared rate.

use mainstay_kernel::rate::{Rate, Target};
use mainstay_kernel::time::Wall;
use mainstay_store::Blobs;
use mainstay_transport::deadline::Deadline;
use tonic::{Code, Request};

use super::*;
use crate::rates::{LimitError, SetByHand};

fn takes(agent: &str, rate: &str) -> registry::Registration {
    let mut offer = registration(agent, "i", &[("work", READ)]);
    offer.spec.rate = Rate::read(rate, Some(1)).ok();
    offer
}

fn by_hand(rate: &str) -> SetByHand {
    let rate = Rate::read(rate, Some(1)).unwrap();
    SetByHand { rate, reason: "quota".into(), by: "ops".into(), since: Wall::from_millis(5) }
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn rates(bed: &Bed) -> Vec<String> {
    let all = bed.registry.rates().all(Some(&name("default")), bed.clock.mono());
    all.iter().map(|(_, held)| format!("{} {} {}", held.target, held.rate, held.set.is_some())).collect()
}

/// Spends the rates that calls of `work` to `a` are subject to.
async fn spend(bed: &Bed, stub: &Stub) {
    let calls = stub.log().calls.len();
    assert!(bed.dispatch.call(call(bed, "work", 200)).await.result.is_ok());
    assert_eq!(stub.log().calls.len(), calls + 1);
}

async fn in_line(bed: &Bed, count: u32) {
    until(|| bed.registry.route(&name("default"), &name("work")).waiting() == count).await;
}

#[tokio::test(start_paused = true)]
async fn calls_over_a_rate_go_one_each_interval_and_their_records_say_why() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, takes("a", "2/s")).await;
    spend(&bed, &stub).await;
    let began = bed.clock.mono();
    let step = Some((RunId::from_bytes([1; 16]), "draft".to_owned()));
    let of_a_run = spawn(&bed, Call { step, ..call(&bed, "work", 1) });
    in_line(&bed, 1).await;
    let run = RunId::from_bytes([1; 16]);
    assert_eq!(bed.dispatch.waiting(run, "draft").unwrap(), "over the rate of agent/a, 2/s");
    let direct = spawn(&bed, call(&bed, "work", 2));
    let report = of_a_run.await.unwrap();
    assert!(bed.clock.mono() - began >= Duration::from_millis(500));
    let notes = report.attempts[0].notes.join("; ");
    assert_eq!(notes, "waited 500ms: over the rate of agent/a, 2/s");
    assert!(direct.await.unwrap().result.is_ok());
    assert!(bed.clock.mono() - began >= Duration::from_secs(1));
    assert!(bed.exposition().contains("mainstay_rated_calls_total{verdict=\"delayed\"} 2"));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_turn_comes_after_its_deadline_is_refused_at_once_with_the_time_to_come_back() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, takes("a", "2/m")).await;
    spend(&bed, &stub).await;
    let began = bed.clock.mono();
    let refused = failed(bed.dispatch.call(call(&bed, "work", 1)).await);
    assert_eq!((refused.class, refused.code.as_str()), (Class::Overload, "RATE_LIMITED"));

    let invoke = bed.invoke();
    let mut request = Request::new(pb::InvokeRequest { capability: "work".into(), ..Default::default() });
    request.extensions_mut().insert(Deadline::after(Duration::from_secs(3)));
    let status = Status::from(invoke.call(request, Priority::default()).await.unwrap_err());
    let seen = mainstay_proto::fault::Seen::of(&status);
    assert_eq!((status.code(), seen.reason.as_str()), (Code::ResourceExhausted, "RATE_LIMITED"));
    let soon = Duration::from_secs(25)..=Duration::from_secs(30);
    assert!(soon.contains(&seen.retry_after.unwrap()), "{seen:?}");
    assert_eq!(bed.clock.mono(), began, "at once");
    assert_eq!(stub.log().calls.len(), 1);
    assert!(bed.exposition().contains("mainstay_rated_calls_total{verdict=\"refused\"} 2"));
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_to_another_agent_rather_than_wait_and_a_tenants_rate_is_over_both() {
    let bed = Bed::new().await;
    let (slow, fast) = (Stub::start().await, Stub::start().await);
    bed.admit(&slow, takes("a", "1/h")).await;
    spend(&bed, &slow).await;
    bed.admit(&fast, offers("b", READ)).await;
    for n in 1..5 {
        assert!(bed.dispatch.call(call(&bed, "work", n)).await.result.is_ok());
    }
    assert_eq!((slow.log().calls.len(), fast.log().calls.len()), (1, 4));
    let default = name("default");
    bed.registry.set_rate(&default, target("tenant/default"), by_hand("2/h")).await.unwrap();
    assert!(bed.dispatch.call(call(&bed, "work", 6)).await.result.is_ok());
    let refused = failed(bed.dispatch.call(call(&bed, "work", 7)).await);
    assert!(refused.message.starts_with("tenant/default takes 2/h"), "{}", refused.message);
}

#[tokio::test(start_paused = true)]
async fn a_rate_set_while_calls_wait_for_their_turn_lets_them_go() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, takes("a", "10/m")).await;
    spend(&bed, &stub).await;
    let began = bed.clock.mono();
    let waiting = spawn(&bed, call(&bed, "work", 1));
    in_line(&bed, 1).await;
    bed.registry.set_rate(&name("default"), target("agent/a"), by_hand("1000/s")).await.unwrap();
    assert!(waiting.await.unwrap().result.is_ok());
    assert!(bed.clock.mono() - began < Duration::from_secs(1), "not the six seconds that were booked");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_turn_does_not_take_the_news_of_a_free_place_from_another() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    let gate = stub.gate();
    let mut offer = takes("a", "20/m");
    offer.spec.capabilities[0].max_concurrency = 1;
    bed.admit(&stub, offer).await;
    let first = spawn(&bed, call(&bed, "work", 1));
    stub.until(|log| log.calls.len() == 1).await;
    let in_turn = spawn(&bed, call(&bed, "work", 2));
    in_line(&bed, 1).await;
    let mut other = narrow("b", "i", "work", READ);
    other.address = stub.address();
    let other = bed.registry.register(other).await.unwrap();
    bed.healthy(other.id);
    stub.until(|log| log.calls.len() == 2).await;
    let busy = spawn(&bed, call(&bed, "work", 3));
    in_line(&bed, 1).await;
    gate.add_permits(3);
    for call in [first, in_turn, busy] {
        assert!(call.await.unwrap().result.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_sets_survives_a_restart_and_what_is_cleared_does_not() {
    let bed = Bed::new().await;
    let default = name("default");
    bed.registry.register(takes("a", "2/s")).await.unwrap();
    for of in ["agent/a", "tenant/default", "capability/work"] {
        bed.registry.set_rate(&default, target(of), by_hand("5/s")).await.unwrap();
    }
    let cleared = bed.registry.clear_rate(&default, &target("capability/work"), "ops").await.unwrap();
    assert_eq!(cleared.reason, "quota");
    let next = Bed::over(bed.store.clone(), Blobs::in_memory()).await;
    assert_eq!(rates(&next), ["tenant/default 5/s true", "agent/a 5/s true"]);
    next.registry.clear_rate(&default, &target("agent/a"), "").await.unwrap();
    assert_eq!(rates(&next), ["tenant/default 5/s true", "agent/a 2/s false"]);
    let again = next.registry.clear_rate(&default, &target("agent/a"), "").await.unwrap_err();
    assert!(matches!(again, LimitError::NotSet(_)), "{again:?}");

    next.store.fail_commits("planted");
    next.registry.set_rate(&default, target("agent/a"), by_hand("9/s")).await.unwrap_err();
    next.registry.clear_rate(&default, &target("tenant/default"), "").await.unwrap_err();
    assert_eq!(
        rates(&next),
        ["tenant/default 5/s true", "agent/a 2/s false"],
        "what is refused changes nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_registers_anew_changes_its_rate_and_one_that_is_gone_takes_it_along() {
    let mut bed = Bed::new().await;
    tokio::spawn(bed.registry_service.take().unwrap().run());
    bed.registry.register(takes("a", "2/s")).await.unwrap();
    let granted = bed.registry.register(takes("a", "3/s")).await.unwrap();
    assert_eq!(rates(&bed), ["agent/a 3/s false"]);
    bed.registry.deregister(granted.lease, None, "").await.unwrap();
    let mut changes = bed.registry.watch();
    tokio::time::advance(registry::HISTORY + Duration::from_secs(1)).await;
    changes.recv().await.unwrap();
    assert_eq!(rates(&bed), Vec::<String>::new());
}
