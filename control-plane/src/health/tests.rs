use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::health::State;

use super::*;
use crate::registry::{Registered, Registration};
use crate::testbed::{Bed, Stub, registration, settle};

async fn register(bed: &Bed, stub: &Stub, instance: &str) -> Registered {
    let registration = registration("a", instance, &[("work", EffectClass::ReadOnly)]);
    bed.registry.register(Registration { address: stub.address(), ..registration }).await.unwrap()
}

fn poll(bed: &Bed, config: Config) {
    tokio::spawn(Service::new(config, bed.clock.clone(), bed.registry.clone()).run());
}

/// Waits until the instance is in this state.
async fn becomes(bed: &Bed, granted: Registered, wanted: State) {
    let mut changes = bed.registry.watch();
    while bed.registry.instance(granted.id).unwrap().verdict().state != wanted {
        changes.recv().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_polled_as_soon_as_it_registers() {
    let bed = Bed::new().await;
    poll(&bed, Config::default());
    settle().await;
    let (stub, began) = (Stub::start().await, bed.clock.mono());
    let granted = register(&bed, &stub, "i").await;
    becomes(&bed, granted, State::Healthy).await;
    assert!(bed.clock.mono() - began < Config::default().round, "at once, not in the next round");
    assert_eq!(stub.log().polls, 1);
}

#[tokio::test(start_paused = true)]
async fn a_sick_instance_leaves_routing_and_comes_back_when_it_is_well() {
    let bed = Bed::new().await;
    poll(&bed, Config::default());
    let stub = Stub::start().await;
    let granted = register(&bed, &stub, "i").await;
    becomes(&bed, granted, State::Healthy).await;
    stub.serving(Some(ServingStatus::NotServing));
    becomes(&bed, granted, State::Unhealthy).await;
    stub.serving(Some(ServingStatus::Serving));
    becomes(&bed, granted, State::Healthy).await;
    assert!(stub.log().polls >= 6, "three to fall, two to rise, one before");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_does_not_answer_has_timed_out() {
    let bed = Bed::new().await;
    poll(&bed, Config::default());
    let stub = Stub::start().await;
    stub.serving(None);
    let granted = register(&bed, &stub, "i").await;
    becomes(&bed, granted, State::Unhealthy).await;
    let reason = bed.registry.instance(granted.id).unwrap().verdict().reason.to_string();
    assert!(reason.contains("tim"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_instance_does_not_delay_the_polls_of_others() {
    let bed = Bed::new().await;
    poll(&bed, Config { concurrency: 2, ..Config::default() });
    let (slow, quick) = (Stub::start().await, Stub::start().await);
    slow.serving(None);
    register(&bed, &slow, "slow").await;
    slow.until(|log| log.polls == 1).await;
    let began = bed.clock.mono();
    for n in 0..20 {
        let granted = register(&bed, &quick, &format!("i{n}")).await;
        becomes(&bed, granted, State::Healthy).await;
    }
    assert!(bed.clock.mono() - began < Config::default().timeout, "past the one that hangs");
    assert_eq!(slow.log().polls, 1);
}

#[tokio::test(start_paused = true)]
async fn polls_under_way_are_bounded_and_all_have_their_turn() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    stub.serving(None);
    for n in 0..10 {
        register(&bed, &stub, &format!("i{n}")).await;
    }
    poll(&bed, Config { concurrency: 4, ..Config::default() });
    stub.until(|log| log.polls == 4).await;
    settle().await;
    assert_eq!(stub.log().polls, 4, "no more at once");
    stub.until(|log| log.polls >= 10).await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_a_lease_is_not_polled() {
    let bed = Bed::new().await;
    let (gone, here) = (Stub::start().await, Stub::start().await);
    let granted = register(&bed, &gone, "gone").await;
    bed.registry.deregister(granted.lease, None, "").await.unwrap();
    register(&bed, &here, "here").await;
    poll(&bed, Config::default());
    here.until(|log| log.polls == 3).await;
    assert_eq!(gone.log().polls, 0);
}
