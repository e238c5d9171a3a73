use std::pin::Pin;

use futures::StreamExt;
use mainstay_kernel::effect::EffectClass;

use super::*;
use crate::registry::{HISTORY, WATCH_LAG};
use crate::testbed::{Bed, name, registration};

type Told = Pin<Box<dyn Stream<Item = pb::WatchAgentsResponse> + Send>>;

fn watch(bed: &Bed) -> Told {
    Box::pin(Watcher::new(bed.registry.clone(), bed.clock.clone(), name("default")).stream())
}

async fn next(told: &mut Told) -> Event {
    told.next().await.unwrap().event.unwrap()
}

fn echo(agent: &str) -> crate::registry::Registration {
    registration(agent, "a", &[("text.echo", EffectClass::ReadOnly)])
}

fn told_of(event: &Event) -> &str {
    match event {
        Event::Agent(agent) => &agent.spec.as_ref().unwrap().name,
        Event::Gone(gone) => &gone.name,
        Event::CaughtUp(_) | Event::Again(_) => "",
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_is_told_who_is_there_and_then_who_comes_and_who_is_forgotten() {
    let mut bed = Bed::new().await;
    tokio::spawn(bed.registry_service.take().unwrap().run());
    let granted = bed.registry.register(echo("first")).await.unwrap();
    let mut told = watch(&bed);
    assert_eq!(told_of(&next(&mut told).await), "first");
    assert!(matches!(next(&mut told).await, Event::CaughtUp(_)));
    bed.registry.deregister(granted.lease, None, "").await.unwrap();
    assert!(matches!(next(&mut told).await, Event::Agent(_)), "it is history now");
    tokio::time::advance(HISTORY).await;
    while !matches!(next(&mut told).await, Event::Gone(gone) if gone.name == "first") {}
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_falls_behind_is_told_to_forget_and_then_everything_again() {
    let bed = Bed::new().await;
    let mut told = watch(&bed);
    assert!(matches!(next(&mut told).await, Event::CaughtUp(_)));
    for _ in 0..=WATCH_LAG {
        bed.registry.register(echo("busy")).await.unwrap();
    }
    assert!(matches!(next(&mut told).await, Event::Again(_)));
    assert_eq!(told_of(&next(&mut told).await), "busy");
    assert!(matches!(next(&mut told).await, Event::CaughtUp(_)));
}
