//! Who is served first, and who is sent away, when there are more calls than places.

use mainstay_kernel::queue;
use mainstay_store::{Blobs, MemoryStore};

use super::*;
use crate::engine;

fn urgent(bed: &Bed, n: u8, priority: Priority) -> Call {
    Call { priority, ..call(bed, "work", n) }
}

/// With so many places in each queue.
async fn bounded(most: u32) -> Bed {
    let config = registry::Config { queue: queue::Config { most }, ..registry::Config::default() };
    Bed::with(MemoryStore::new(), Blobs::in_memory(), engine::Config::default(), config).await
}

/// A place that is taken until the gate opens, and what was served so far.
async fn one_place(bed: &Bed) -> (Stub, Arc<tokio::sync::Semaphore>) {
    let stub = Stub::start().await;
    let gate = stub.gate();
    bed.admit(&stub, narrow("a", "i", "work", READ)).await;
    (stub, gate)
}

fn served(stub: &Stub) -> Vec<String> {
    stub.log().calls.iter().map(|call| call.key.clone()).collect()
}

fn waiting(bed: &Bed) -> u32 {
    bed.registry.route(&name("default"), &name("work")).waiting()
}

#[tokio::test(start_paused = true)]
async fn the_urgent_are_served_before_who_came_earlier() {
    let bed = Bed::new().await;
    let (stub, gate) = one_place(&bed).await;
    let mut calls = vec![spawn(&bed, call(&bed, "work", 1))];
    until(|| stub.log().calls.len() == 1).await;
    let order = [
        (2, Priority::Sheddable),
        (3, Priority::Critical),
        (4, Priority::CriticalPlus),
        (5, Priority::Critical),
    ];
    for (waits, (n, priority)) in (1..).zip(order) {
        calls.push(spawn(&bed, urgent(&bed, n, priority)));
        until(|| waiting(&bed) == waits).await;
    }
    gate.add_permits(5);
    for call in calls {
        assert!(call.await.unwrap().result.is_ok());
    }
    assert_eq!(served(&stub), [1, 4, 3, 5, 2].map(key));
    assert_eq!(waiting(&bed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_room_for_the_urgent_and_tells_who_goes_when_to_come_back() {
    let bed = bounded(2).await;
    let (stub, gate) = one_place(&bed).await;
    let first = spawn(&bed, call(&bed, "work", 1));
    until(|| stub.log().calls.len() == 1).await;
    let early = spawn(&bed, urgent(&bed, 2, Priority::Sheddable));
    until(|| waiting(&bed) == 1).await;
    let late = spawn(&bed, urgent(&bed, 3, Priority::Sheddable));
    until(|| waiting(&bed) == 2).await;

    let equal = failed(bed.dispatch.call(urgent(&bed, 4, Priority::Sheddable)).await);
    assert!(equal.message.contains("no more may"), "{equal:?}");
    let pressing = spawn(&bed, urgent(&bed, 5, Priority::CriticalPlus));
    let gone = failed(late.await.unwrap());
    assert_eq!(gone.class, Class::Overload);
    assert!(gone.message.contains("more urgent") && gone.retry_after.is_some(), "{gone:?}");
    gate.add_permits(3);
    for call in [first, pressing, early] {
        assert!(call.await.unwrap().result.is_ok());
    }
    assert_eq!(served(&stub), [1, 5, 2].map(key));
}

#[tokio::test(start_paused = true)]
async fn at_five_times_the_capacity_the_urgent_are_served_and_the_place_is_never_idle() {
    let bed = bounded(10).await;
    let (stub, gate) = one_place(&bed).await;
    let mut calls: Vec<(Priority, JoinHandle<Report>)> = Vec::new();
    // In each round five come and one is served. One in ten is urgent: half of what the place can carry.
    for round in 0..40_u8 {
        for n in round * 5..(round + 1) * 5 {
            let priority = if n % 10 == 0 { Priority::CriticalPlus } else { Priority::Sheddable };
            calls.push((priority, spawn(&bed, urgent(&bed, n, priority))));
            let settled = || calls.iter().filter(|(_, call)| call.is_finished()).count();
            until(|| settled() + waiting(&bed) as usize + 1 == calls.len() && waiting(&bed) <= 10).await;
        }
        gate.add_permits(1);
        until(|| stub.log().calls.len() == usize::from(round) + 2).await;
    }
    gate.add_permits(50);
    let (mut good, mut pressing) = (0, 0);
    for (priority, call) in calls {
        let ok = call.await.unwrap().result.is_ok();
        good += usize::from(ok);
        pressing += u32::from(ok && priority == Priority::CriticalPlus);
    }
    assert_eq!(pressing, 20, "every urgent call was served");
    assert_eq!(good, 1 + 40 + 9, "a call was served in every round, and in the end those who waited");
    assert_eq!(waiting(&bed), 0);
}
