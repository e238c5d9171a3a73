//! How much an agent is sent at once.

use mainstay_kernel::bulkhead;
use mainstay_store::{Blobs, MemoryStore};
use mainstay_transport::deadline::Deadline;
use tonic::{Code, Request};

use super::*;
use crate::engine;

fn limit(bed: &Bed, granted: registry::Registered) -> (u32, u32) {
    let instance = bed.registry.instance(granted.id).unwrap();
    instance.lane("work").unwrap().lock().limit()
}

#[tokio::test(start_paused = true)]
async fn who_says_it_is_busy_is_sent_less_until_it_is_not() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    let granted = bed.admit(&stub, offers("a", READ)).await;
    stub.always(Act::Send(vec![failure(Class::Overload, Began::No)]));
    assert_eq!(failed(bed.dispatch.call(call(&bed, "work", 1)).await).class, Class::Overload);
    assert_eq!(limit(&bed, granted), (3, 4));
    assert!(bed.exposition().contains("mainstay_lowered_limits 1"));
    let gate = stub.gate();
    for second in 0..30 {
        let calls: Vec<_> = (0..12).map(|n| spawn(&bed, call(&bed, "work", second * 4 + n))).collect();
        settle().await;
        gate.add_permits(12);
        for call in calls {
            assert!(call.await.unwrap().result.is_ok());
        }
        bed.clock.sleep_until(bed.clock.mono() + Duration::from_secs(1)).await;
    }
    assert_eq!(limit(&bed, granted), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn one_stuck_agent_takes_its_share_and_leaves_the_rest_to_others() {
    let bulkheads = bulkhead::Config { whole: 8, agent_bp: 2_500, tenant_bp: 5_000 };
    let config = registry::Config { bulkheads, ..registry::Config::default() };
    let bed = Bed::with(MemoryStore::new(), Blobs::in_memory(), engine::Config::default(), config).await;
    let stub = Stub::start().await;
    stub.always(Act::Hang);
    let stuck = bed.admit(&stub, offers("stuck", READ)).await;
    let calls: Vec<_> = (0..4).map(|n| spawn(&bed, call(&bed, "work", n))).collect();
    stub.until(|log| log.calls.len() == 2).await;
    settle().await;
    assert_eq!(in_flight(&bed, stuck), 2, "of the four it declares");

    let fine = Stub::start().await;
    bed.admit(&fine, registration("fine", "i", &[("other", READ)])).await;
    assert!(bed.dispatch.call(call(&bed, "other", 9)).await.result.is_ok());
    let gate = fine.gate();
    let two: Vec<_> = (0..2).map(|n| spawn(&bed, call(&bed, "other", 10 + n))).collect();
    fine.until(|log| log.calls.len() == 3).await;
    let third = spawn(&bed, call(&bed, "other", 12));
    settle().await;
    assert_eq!(fine.log().calls.len(), 3, "the tenant has all it may have");
    gate.add_permits(3);
    for call in two.into_iter().chain([third]) {
        assert!(call.await.unwrap().result.is_ok());
    }
    calls.iter().for_each(JoinHandle::abort);
    until(|| in_flight(&bed, stuck) == 0).await;
    let fleet = Arc::clone(&bed.registry.instance(stuck.id).unwrap().fleet);
    let places: Vec<_> = std::iter::repeat_with(|| fleet.enter().ok()).map_while(|place| place).collect();
    assert_eq!(places.len(), 2, "every place came back");
}

#[tokio::test(start_paused = true)]
async fn a_direct_call_whose_turn_cannot_come_in_time_is_refused_at_once_and_a_runs_call_waits() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    let gate = stub.gate();
    bed.admit(&stub, narrow("a", "i", "work", READ)).await;
    for n in 0..12 {
        let one = spawn(&bed, call(&bed, "work", 200 + n));
        stub.until(|log| log.calls.len() == usize::from(n) + 1).await;
        bed.clock.sleep_until(bed.clock.mono() + Duration::from_millis(1_050)).await;
        gate.add_permits(1);
        assert!(one.await.unwrap().result.is_ok());
    }
    // A call takes a second: with eight of them waiting, too little is left of ten.
    let queued = queue(&bed, &stub, (1..=8).map(|n| call(&bed, "work", n)).collect()).await;
    let began = bed.clock.mono();
    let refused = failed(bed.dispatch.call(call(&bed, "work", 50)).await);
    assert_eq!((refused.class, refused.code.as_str()), (Class::Overload, "OVERLOADED"));
    let soon = Duration::from_secs(8)..Duration::from_secs(10);
    assert!(soon.contains(&refused.retry_after.unwrap()), "{refused:?}");
    assert!(bed.exposition().contains("mainstay_refused_calls_total 1"));

    let invoke = bed.invoke();
    let mut request = Request::new(pb::InvokeRequest { capability: "work".into(), ..Default::default() });
    request.extensions_mut().insert(Deadline::after(Duration::from_secs(3)));
    let status = Status::from(invoke.call(request, Priority::default()).await.unwrap_err());
    assert_eq!(status.code(), Code::ResourceExhausted);
    let seen = mainstay_proto::fault::Seen::of(&status);
    assert_eq!(seen.reason, "OVERLOADED");
    assert!(soon.contains(&seen.retry_after.unwrap()), "{seen:?}");
    assert_eq!(bed.clock.mono(), began, "at once");

    let step = Some((RunId::from_bytes([1; 16]), "a".to_owned()));
    let of_a_run = spawn(&bed, Call { step, ..call(&bed, "work", 60) });
    settle().await;
    assert!(!of_a_run.is_finished());
    queued.iter().chain([&of_a_run]).for_each(JoinHandle::abort);
}
