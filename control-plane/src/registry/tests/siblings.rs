//! Siblings compared: who is left out, who comes back, and what becomes of a pool that looks dead.

use mainstay_kernel::ejection::INTERVAL;
use mainstay_kernel::health::Verdict;

use super::*;
use crate::events::Filter;

async fn pool(bed: &Bed, count: usize) -> Vec<InstanceId> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(bed.registry.register(echo(&format!("i{n}"))).await.unwrap().id);
        bed.healthy(ids[n]);
    }
    ids
}

/// Forty calls of an instance, so many of which fail.
fn calls(bed: &Bed, id: InstanceId, failing: usize) {
    let instance = bed.registry.instance(id).unwrap();
    let healthy = Verdict { state: State::Healthy, ..instance.verdict() };
    for n in 0..40 {
        let mut lane = instance.lane("text.echo").unwrap().lock();
        let Ok(permit) = lane.admit(healthy, false, bed.clock.mono()).0 else { continue };
        let class = if n * failing % 40 < failing { Class::AgentError } else { Class::Success };
        drop(lane.end(permit, class, Duration::from_millis(9), bed.clock.mono(), &mut bed.clock.dice()));
    }
}

fn told(bed: &Bed, kind: &str) -> Vec<(String, String)> {
    let filter = Filter { kind: kind.to_owned(), ..Filter::default() };
    let events = bed.events.list(&filter, None, 100);
    events.iter().map(|one| (one.event.subject.clone(), one.event.reason.clone())).collect()
}

/// Lets time pass, and then the sweep.
async fn pass(bed: &Bed, time: Duration) {
    tokio::time::advance(time).await;
    bed.registry.compare_siblings();
    settle().await;
}

fn resolved(bed: &Bed) -> usize {
    bed.registry.resolve(&name("default"), &name("text.echo"), None, 9).map_or(0, |found| found.len())
}

#[tokio::test(start_paused = true)]
async fn who_does_worse_than_its_siblings_is_left_out_for_a_while_and_comes_back_slowly() {
    let bed = Bed::new().await;
    let ids = pool(&bed, 3).await;
    pass(&bed, Duration::from_millis(10)).await;
    ids.iter().for_each(|id| calls(&bed, *id, if *id == ids[1] { 16 } else { 0 }));
    pass(&bed, INTERVAL + SWEEP).await;
    let [(subject, reason)] = &told(&bed, "instance.ejected")[..] else { panic!("one is ejected") };
    assert_eq!(subject, "ejection/echo/i1/text.echo");
    assert!(
        reason.starts_with("60% of 40 recent calls went well, 100% at its 2 siblings; left out"),
        "{reason}"
    );
    assert_eq!((bed.registry.ejected(), bed.registry.ejections(), resolved(&bed)), (1, 1, 2));
    assert!(bed.exposition().contains("mainstay_ejected 1"));

    pass(&bed, Duration::from_secs(31)).await;
    assert_eq!(told(&bed, "instance.returned").len(), 1);
    assert_eq!((bed.registry.ejected(), resolved(&bed)), (0, 3));
    let instance = bed.registry.instance(ids[1]).unwrap();
    assert!(instance.lane("text.echo").unwrap().lock().warming_until(bed.clock.mono()).is_some());
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_alike_or_nothing_may_be_ejected_nobody_is_left_out() {
    let off = Config { ejection: ejection::Config { share_bp: 0 }, ..Config::default() };
    for (config, failing) in [(Config::default(), [16, 16, 16]), (off, [0, 16, 0])] {
        let bed = Bed::with(MemoryStore::new(), Blobs::in_memory(), Default::default(), config).await;
        let ids = pool(&bed, 3).await;
        ids.iter().zip(failing).for_each(|(id, failing)| calls(&bed, *id, failing));
        pass(&bed, INTERVAL + SWEEP).await;
        assert_eq!(bed.registry.ejections(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_looks_dead_is_used_as_a_whole_but_for_whom_somebody_took_out() {
    let bed = Bed::new().await;
    let ids = pool(&bed, 4).await;
    let tripped = Which {
        tenant: name("default"),
        agent: Some(name("echo")),
        instance: Some(name("i3")),
        capability: None,
    };
    bed.registry.turn_breakers(&tripped, &Hand::Trip("by hand".into())).await;
    pass(&bed, SWEEP).await;
    assert_eq!((bed.registry.panics(), resolved(&bed)), ((0, 0), 3));

    for id in &ids[..2] {
        let instance = bed.registry.instance(*id).unwrap();
        (0..5).for_each(|_| bed.registry.observe(&instance, Evidence::PollFailed(PollFailure::Unreachable)));
    }
    assert_eq!(resolved(&bed), 1);
    pass(&bed, SWEEP).await;
    assert_eq!((bed.registry.panics(), resolved(&bed)), ((1, 1), 3), "never the one tripped by hand");
    let agent = bed.registry.agent(&name("default"), &name("echo")).unwrap();
    assert_eq!(bed.registry.panicking(&agent), [name("text.echo")]);
    let [(subject, reason)] = &told(&bed, "panic.began")[..] else { panic!("told once") };
    assert_eq!(subject, "capability/text.echo");
    assert!(reason.starts_with("1 of 4 instances usable, fewer than 50%"), "{reason}");

    for id in &ids[..2] {
        let instance = bed.registry.instance(*id).unwrap();
        (0..5).for_each(|_| bed.registry.observe(&instance, Evidence::PollPassed));
    }
    pass(&bed, SWEEP).await;
    assert_eq!((bed.registry.panics(), told(&bed, "panic.ended").len()), ((0, 1), 1));
}
