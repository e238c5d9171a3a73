//! How much an agent is sent at once.

use super::*;

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
