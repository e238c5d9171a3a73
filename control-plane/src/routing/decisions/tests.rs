use mainstay_kernel::outcome::Class;
use mainstay_kernel::route::Decision;
use mainstay_kernel::time::Wall;
use mainstay_store::MemoryStore;

use super::*;
use crate::testbed::name;

struct Log {
    clock: Clock,
    decisions: Handle,
    store: MemoryStore,
}

fn over(store: &MemoryStore, at: i64) -> Log {
    let clock = Clock::anchored(Wall::from_millis(at), 7);
    let (decisions, service) = open(clock.clone(), Arc::new(store.clone()), Metrics::default()).unwrap();
    tokio::spawn(service.run());
    Log { clock, decisions, store: store.clone() }
}

const NOW: i64 = 1_800_000_000_000;

impl Log {
    async fn decide(&self, tenant: &str, route: &str) -> DecisionId {
        let decision: Decision = serde_json::from_str(r#"{"rung":"static"}"#).unwrap();
        let id = self.clock.id().into();
        self.decisions.tell(Decided {
            id,
            tenant: name(tenant),
            route: name(route),
            version: 1,
            at: self.clock.wall(),
            input: "{}".to_owned(),
            decision,
            ended: Some(Class::Success),
        });
        self.decisions.find(&name(tenant), id).await.unwrap();
        id
    }

    fn ids(&self, tenant: &str, filter: &Filter, before: Option<DecisionId>) -> Vec<DecisionId> {
        self.decisions.list(&name(tenant), filter, before, usize::MAX).iter().map(|one| one.id).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn tenants_and_documents_are_kept_apart_and_pages_go_on() {
    let log = over(&MemoryStore::new(), NOW);
    let (a, b, c) =
        (log.decide("acme", "x").await, log.decide("acme", "y").await, log.decide("other", "x").await);
    assert_eq!(log.ids("acme", &Filter::default(), None), [b, a]);
    assert_eq!(log.ids("acme", &Filter::default(), Some(b)), [a]);
    assert_eq!(log.ids("acme", &Filter { route: Some(name("x")), rung: None }, None), [a]);
    assert_eq!(log.ids("acme", &Filter { route: None, rung: Some(Rung::Rules) }, None), []);
    assert!(log.decisions.find(&name("acme"), c).await.is_none(), "another tenant's");
    assert_eq!(over(&log.store, NOW).ids("acme", &Filter::default(), None), [b, a]);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_make_room_in_memory_and_on_disk() {
    let log = over(&MemoryStore::new(), NOW);
    let mut all = Vec::new();
    for _ in 0..KEPT + 5 {
        all.push(log.decide("acme", "x").await);
    }
    all.drain(..5);
    all.reverse();
    assert_eq!(log.ids("acme", &Filter::default(), None), all);
    assert_eq!(over(&log.store, NOW).ids("acme", &Filter::default(), None), all);
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_a_week_goes_with_the_next_that_is_written() {
    let store = MemoryStore::new();
    let old = over(&store, NOW).decide("acme", "x").await;
    let week = i64::try_from(KEPT_FOR.as_millis()).unwrap();
    let log = over(&store, NOW + week + 1);
    assert_eq!(log.ids("acme", &Filter::default(), None), [old]);
    let new = log.decide("acme", "x").await;
    assert_eq!(log.ids("acme", &Filter::default(), None), [new]);
}
