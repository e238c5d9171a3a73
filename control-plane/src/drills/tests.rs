use mainstay_kernel::breaker;
use mainstay_kernel::drill::Rule;
use mainstay_kernel::drill::plan::WHOLE_BP;
use mainstay_kernel::effect::EffectClass;
use mainstay_store::{Blobs, MemoryStore};

use super::*;
use crate::faults::Disk;
use crate::registry::Registered;
use crate::testbed::{Bed, Stub, call, name, registration};

/// A control plane with one agent that answers, and drills.
struct Scene {
    bed: Bed,
    dispatch: crate::dispatch::Handle,
    drills: Handle,
    _stub: Stub,
    granted: Registered,
}

impl Scene {
    async fn new() -> Self {
        Self::over(Bed::new().await, "a").await
    }

    /// The agent's name is its own: one that registered before a restart still holds its lease.
    async fn over(bed: Bed, agent: &str) -> Self {
        let faults = Faults::new(bed.clock.clone(), Arc::new(Disk::default()));
        let dispatch = bed.dispatch.clone().with_faults(Some(faults.clone()));
        let drills = open(Parts {
            clock: bed.clock.clone(),
            faults,
            store: Arc::new(bed.store.clone()),
            registry: bed.registry.clone(),
            engine: bed.engine.clone(),
            modes: bed.modes.clone(),
            metrics: bed.metrics.clone(),
            events: bed.events.clone(),
        });
        let stub = Stub::start().await;
        let granted = bed.admit(&stub, registration(agent, "i", &[("work", EffectClass::ReadOnly)])).await;
        Self { dispatch, drills: drills.unwrap(), _stub: stub, granted, bed }
    }

    fn order(&self, kind: Kind) -> Order {
        Order {
            kind,
            tenant: name("default"),
            target: Some("agent/a".parse().unwrap()),
            share_bp: WHOLE_BP,
            lasts: Duration::from_secs(5),
            delay: None,
            seed: Some(7),
            by: "olga".to_owned(),
        }
    }

    /// Calls the agent, one at a time, until it is dropped.
    fn traffic(&self) -> tokio::task::AbortHandle {
        let dispatch = self.dispatch.clone();
        let like = call(&self.bed, "work", 1);
        let clock = self.bed.clock.clone();
        let traffic = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(100));
            loop {
                pace.tick().await;
                let key = clock.id().into();
                let deadline = clock.mono() + Duration::from_secs(1);
                dispatch.call(crate::dispatch::Call { key, deadline, ..like.clone() }).await;
            }
        });
        traffic.abort_handle()
    }

    async fn until_over(&self) -> StoredDrill {
        until_some(|| self.drills.active().is_none().then_some(())).await;
        self.drills.history(1).remove(0).drill
    }
}

/// Waits in paused time: turns alone do not make it pass.
async fn until_some<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..100_000 {
        looks.tick().await;
        if let Some(found) = look() {
            return found;
        }
    }
    panic!("waited in vain");
}

fn card(drill: &StoredDrill) -> &mainstay_kernel::drill::Scorecard {
    match drill.events.last() {
        Some((_, Event::Judged(card))) => card,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_drill_under_traffic_passes_and_is_on_record_with_all_that_happened() {
    let scene = Scene::new().await;
    let traffic = scene.traffic();
    let Running { drill, mut events } = scene.drills.run(scene.order(Kind::FailingAgent)).await.unwrap();
    assert!(scene.bed.exposition().contains("mainstay_drill_active 1"));
    let mut told = Vec::new();
    while let Some((_, event)) = events.recv().await {
        told.push(event);
    }
    traffic.abort();
    let kept = scene.drills.history(5);
    assert_eq!((kept.len(), kept[0].drill.plan.id), (1, drill.plan.id));
    assert_eq!(kept[0].drill.events.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>(), told);
    assert!(
        matches!(
            &told[..],
            [
                Event::Began,
                Event::Detected(_),
                Event::Ended { .. },
                Event::Recovered { .. },
                Event::Judged(_)
            ]
        ),
        "{told:#?}"
    );
    let card = card(&kept[0].drill);
    assert!(card.passed && card.lost == 0 && card.struck >= 5, "{card:#?}");
    assert!(card.detected.as_ref().unwrap().part.starts_with("breaker of a/i for work"), "{card:#?}");
    assert!(scene.bed.exposition().contains("mainstay_drill_active 0"));
    let again = Scene::over(Bed::over(scene.bed.store.clone(), scene.bed.blobs.clone()).await, "b").await;
    assert_eq!(again.drills.history(5)[0].drill, kept[0].drill, "as it was, after a restart");
}

#[tokio::test(start_paused = true)]
async fn a_drill_without_traffic_proves_nothing_and_fails() {
    let scene = Scene::new().await;
    let running = scene.drills.run(scene.order(Kind::FailingAgent)).await.unwrap();
    let drill = scene.until_over().await;
    drop(running);
    let failed = card(&drill).findings.iter().filter(|finding| !finding.held);
    let failed: Vec<_> = failed.map(|finding| finding.rule).collect();
    assert_eq!(failed, [Rule::Traffic, Rule::Detected, Rule::Recovered]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_ends_with_the_client_that_began_it() {
    let scene = Scene::new().await;
    let traffic = scene.traffic();
    let order = Order { lasts: Duration::from_secs(300), ..scene.order(Kind::FailingAgent) };
    let running = scene.drills.run(order).await.unwrap();
    let began = scene.bed.clock.mono();
    drop(running);
    until_some(|| scene.drills.active().filter(|seen| seen.phase == Some(Phase::Recovering))).await;
    assert!(scene.bed.clock.mono() - began < Duration::from_secs(1));
    assert!(scene.dispatch.call(call(&scene.bed, "work", 1)).await.result.is_ok(), "the fault acts no more");
    let drill = scene.until_over().await;
    traffic.abort();
    assert_eq!(card(&drill).ended, Ended::ClientGone);
}

#[tokio::test(start_paused = true)]
async fn one_drill_at_a_time_and_it_can_be_stopped() {
    let scene = Scene::new().await;
    let traffic = scene.traffic();
    assert!(scene.drills.stop(None).is_none(), "there is none");
    let order = Order { lasts: Duration::from_secs(300), ..scene.order(Kind::FailingAgent) };
    let running = scene.drills.run(order.clone()).await.unwrap();
    let id = running.drill.plan.id;
    assert!(matches!(scene.drills.run(order).await, Err(RunError::UnderWay(other)) if other == id));
    assert!(scene.drills.stop(Some(DrillId::from_bytes([9; 16]))).is_none(), "another one");
    assert!(scene.drills.stop(Some(id)).is_some());
    let drill = scene.until_over().await;
    traffic.abort();
    assert_eq!(card(&drill).ended, Ended::Stopped);
    assert!(card(&drill).lasted < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_drill_that_the_server_did_not_survive_is_over_and_on_record_as_interrupted() {
    let scene = Scene::new().await;
    let order = Order { lasts: Duration::from_secs(300), ..scene.order(Kind::FailingAgent) };
    let _running = scene.drills.run(order).await.unwrap();
    for agent in ["b", "c"] {
        let again = Scene::over(Bed::over(scene.bed.store.clone(), Blobs::in_memory()).await, agent).await;
        assert!(again.drills.active().is_none());
        assert!(
            again
                .dispatch
                .call(crate::dispatch::Call { agent: Some(name(agent)), ..call(&again.bed, "work", 1) })
                .await
                .result
                .is_ok()
        );
        let kept = again.drills.history(5);
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].drill.interrupted_at, Some(Wall::from_millis(1_800_000_000_000)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_or_broken_is_not_drilled_and_takes_no_place() {
    let scene = Scene::new().await;
    let order = scene.order(Kind::FailingAgent);
    let ghost = Order { target: Some("agent/ghost".parse().unwrap()), ..order.clone() };
    assert!(matches!(scene.drills.run(ghost).await, Err(RunError::Nobody(_))));
    let bad = Order { lasts: Duration::ZERO, ..order.clone() };
    assert!(matches!(scene.drills.run(bad).await, Err(RunError::Plan(error)) if error.field == "lasts"));
    let which =
        registry::Which { tenant: name("default"), agent: Some(name("a")), instance: None, capability: None };
    scene.bed.registry.turn_breakers(&which, &registry::Hand::Trip("on purpose".to_owned())).await;
    match scene.drills.run(order).await {
        Err(RunError::Unwell(parts)) => assert!(parts[0].reason.contains("on purpose"), "{parts:?}"),
        other => panic!("{other:?}"),
    }
    assert!(scene.drills.active().is_none() && scene.drills.history(5).is_empty());
    let instance = scene.bed.registry.instance(scene.granted.id).unwrap();
    assert_eq!(instance.lane("work").unwrap().lock().breaker().state(), breaker::State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_the_record_begins_no_drill() {
    let store = MemoryStore::new();
    let scene = Scene::over(Bed::over(store.clone(), Blobs::in_memory()).await, "a").await;
    store.fail_commits("full");
    assert!(matches!(scene.drills.run(scene.order(Kind::FailingAgent)).await, Err(RunError::Commit(_))));
    assert!(scene.drills.active().is_none());
    assert!(scene.dispatch.call(call(&scene.bed, "work", 1)).await.result.is_ok());
}
