//! Instances of one capability beside each other: the broken one loses its traffic, and a pool that looks dead is used all the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::pb;
use mainstay_tests::wait::until;
use mainstay_tests::world::World;

const WORK: (&str, &str) = ("work", "effect: read-only");

async fn told(world: &World, kind: &str) -> Vec<pb::Event> {
    let filter = Some(pb::EventFilter { kind: kind.into(), ..Default::default() });
    let request = pb::ListEventsRequest { filter, ..Default::default() };
    world.operations().list_events(request).await.unwrap().into_inner().events
}

#[tokio::test]
async fn when_most_instances_are_unreachable_all_are_used_and_it_is_said() {
    let world = World::start().await;
    let mut one = world.agent("one", &[WORK]).await;
    let mut two = world.agent("two", &[WORK]).await;
    let _three = world.agent("three", &[WORK]).await;
    one.sidecar.kill();
    two.sidecar.kill();
    let began = until("the panic to begin", || async { told(&world, "panic.began").await.pop() }).await;
    assert_eq!(began.subject, "capability/work");
    assert!(began.reason.starts_with("1 of 3 instances usable, fewer than 50%"), "{}", began.reason);
    world.until_agent("three", "to show the panic", |agent| agent.panicking == ["work"]).await;
    // Who is sent to an instance that is gone moves on: nobody is lost.
    for x in 0..50 {
        assert_eq!(world.invoke("work", &format!("{{\"x\": {x}}}")).await.unwrap().agent, "three");
    }

    one.restart_sidecar();
    two.restart_sidecar();
    let ended = until("the panic to end", || async { told(&world, "panic.ended").await.pop() }).await;
    assert_eq!(ended.subject, "capability/work");
    world.until_agent("three", "to be calm", |agent| agent.panicking.is_empty()).await;
    assert_eq!(told(&world, "panic").await.len(), 2, "told once each");
}

#[tokio::test]
async fn at_most_one_call_in_a_hundred_reaches_a_broken_instance_once_its_breaker_is_open() {
    const CALLS: usize = 1_000;
    let world = World::start().await;
    let _good = [world.agent("one", &[WORK]).await, world.agent("two", &[WORK]).await];
    let breaks = ("work", "effect: read-only, output: { type: object, required: [never] }");
    let broken = world.agent("broken", &[breaks]).await;
    until("the breaker to open", || async {
        world.invoke("work", r#"{"x": 1}"#).await.ok();
        told(&world, "breaker.opened").await.pop()
    })
    .await;
    let before = broken.begun();
    let mut failed = 0;
    for x in 0..CALLS {
        failed += usize::from(world.invoke("work", &format!("{{\"x\": {x}}}")).await.is_err());
    }
    let reached = broken.begun() - before;
    assert!(reached * 100 <= CALLS && failed <= reached, "{reached} of {CALLS} reached it, {failed} failed");
}
