use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::health::{Evidence, PollFailure};
use mainstay_kernel::pause::Pause;
use mainstay_kernel::time::Wall;
use mainstay_store::MemoryStore;

use super::*;
use crate::registry::{Hand, Which};
use crate::testbed::{Bed, Stub, name, registration, until};

struct Log {
    events: Handle,
    store: MemoryStore,
}

/// A log with its service running.
fn over(store: &MemoryStore) -> Log {
    let clock = Clock::anchored(Wall::from_millis(1_800_000_000_000), 7);
    let (events, service) = open(clock, Arc::new(store.clone())).unwrap();
    tokio::spawn(service.run());
    Log { events, store: store.clone() }
}

impl Log {
    fn trip(&self, number: u64) {
        let subject = format_args!("breaker/agent-{number}/one/work");
        self.events.tell_of(&name("default"), Kind::BreakerOpened, subject, "9 of 10 calls failed");
    }

    async fn reached(&self, number: u64) {
        self.events.newest().wait_for(|newest| *newest >= number).await.unwrap();
    }

    fn numbers(&self, filter: &Filter) -> Vec<u64> {
        self.events.list(filter, None, usize::MAX).iter().map(|one| one.number).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_decided_is_there_in_order_after_a_restart_and_numbers_go_on() {
    let log = over(&MemoryStore::new());
    log.events.tell(Kind::ServerStarted, "server", "");
    log.trip(2);
    log.reached(2).await;
    let before = log.events.list(&Filter::default(), None, 10);
    assert!(before.iter().all(|one| one.on_record));

    let log = over(&log.store);
    assert_eq!(log.events.list(&Filter::default(), None, 10), before);
    log.trip(3);
    log.reached(3).await;
    assert_eq!(log.numbers(&Filter::default()), [3, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_make_room_in_memory_and_on_disk() {
    let log = over(&MemoryStore::new());
    let all = KEPT as u64 + 70;
    for number in 1..=all {
        log.trip(number);
        log.reached(number).await;
    }
    let kept: Vec<u64> = (71..=all).rev().collect();
    assert_eq!(log.numbers(&Filter::default()), kept);
    assert_eq!(over(&log.store).numbers(&Filter::default()), kept);
}

#[tokio::test(start_paused = true)]
async fn a_filter_keeps_tenants_kinds_and_names_apart() {
    let log = over(&MemoryStore::new());
    log.events.tell(Kind::ServerStarted, "server", "");
    log.trip(2);
    log.events.tell_by("ops", &name("acme"), Kind::Paused, "agent/writer", "upgrade");
    log.reached(3).await;
    let wanted = |tenant: Option<&str>, kind: &str, about: &str| {
        log.numbers(&Filter { tenant: tenant.map(name), kind: kind.to_owned(), about: about.to_owned() })
    };
    assert_eq!(wanted(Some("default"), "", ""), [2, 1]);
    assert_eq!(wanted(Some("acme"), "", ""), [3, 1]);
    assert_eq!(wanted(None, "breaker", ""), [2]);
    assert_eq!(wanted(None, "", "writer"), [3]);
    assert_eq!(wanted(Some("default"), "", "writer"), [0_u64; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_goes_on_after_a_number_misses_nothing_and_reads_nothing_twice() {
    let log = over(&MemoryStore::new());
    for number in 1..=5 {
        log.trip(number);
    }
    log.reached(5).await;
    let about = Filter { about: "agent-4".to_owned(), ..Filter::default() };
    let (none, reached) = log.events.since(&about, 0, 1);
    assert_eq!((none.len(), none[0].number, reached), (1, 4, 4));
    let (none, reached) = log.events.since(&about, reached, 1);
    assert_eq!((none.len(), reached), (0, 5));
    let (rest, reached) = log.events.since(&Filter::default(), 3, 10);
    assert_eq!((rest.iter().map(|one| one.number).collect::<Vec<_>>(), reached), (vec![4, 5], 5));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_refuses_does_not_hide_what_happens() {
    let log = over(&MemoryStore::new());
    log.store.fail_commits("disk full");
    log.trip(1);
    log.reached(1).await;
    assert!(!log.events.list(&Filter::default(), None, 1)[0].on_record);
    log.store.heal();
    log.trip(2);
    log.reached(2).await;
    assert_eq!(over(&log.store).numbers(&Filter::default()), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_bounded_and_what_is_lost_is_counted() {
    let log = over(&MemoryStore::new());
    log.store.hold_commits();
    for number in 1..=10_000 {
        log.trip(number);
    }
    assert!(log.events.lost() >= 10_000 - QUEUE as u64);
    log.store.release_commits();
    until(|| log.numbers(&Filter::default()).len() as u64 + log.events.lost() == 10_000).await;
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_an_instance_is_told_once_with_its_reason() {
    let mut bed = Bed::new().await;
    tokio::spawn(bed.registry_service.take().unwrap().run());
    let stub = Stub::start().await;
    let one = bed.admit(&stub, registration("writer", "one", &[("work", EffectClass::ReadOnly)])).await;
    let which =
        Which { tenant: name("default"), agent: Some(name("writer")), instance: None, capability: None };
    bed.registry.turn_breakers(&which, &Hand::Trip("too dear".to_owned())).await;
    let pause = Pause {
        target: "agent/writer".parse().unwrap(),
        reason: "upgrade".to_owned(),
        by: "ops".to_owned(),
        since: Wall::from_millis(1),
    };
    bed.registry.pause(&name("default"), pause).await.unwrap();
    let instance = bed.registry.instance(one.id).unwrap();
    for _ in 0..10 {
        bed.registry.observe(&instance, Evidence::PollFailed(PollFailure::NotServing));
    }
    // Nobody renews its lease.
    bed.events.newest().wait_for(|newest| *newest >= 4).await.unwrap();
    let told = bed.events.list(&Filter::default(), None, 10);
    let told: Vec<_> =
        told.iter().rev().map(|one| (one.event.kind, &*one.event.subject, &*one.event.by)).collect();
    assert_eq!(
        told,
        [
            (Kind::BreakerOpened, "breaker/writer/one/work", ""),
            (Kind::Paused, "agent/writer", "ops"),
            (Kind::InstanceUnhealthy, "instance/writer/one", ""),
            (Kind::InstanceLapsed, "instance/writer/one", ""),
        ]
    );
}
