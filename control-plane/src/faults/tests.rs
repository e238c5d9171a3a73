use std::time::Duration;

use mainstay_kernel::drill::plan::WHOLE_BP;
use mainstay_kernel::drill::{Calls, Tally};
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::id::DrillId;
use mainstay_store::sled::DiskFault;

use super::*;
use crate::dispatch;
use crate::registry::Registered;
use crate::testbed::{Bed, Stub, call, name, registration};

const LASTS: Duration = Duration::from_secs(30);

fn plan(kind: Kind, target: &str) -> Plan {
    Plan {
        id: DrillId::from_bytes([1; 16]),
        kind,
        tenant: name("default"),
        target: (!target.is_empty()).then(|| target.parse().unwrap()),
        share_bp: WHOLE_BP,
        lasts: LASTS,
        delay: None,
        seed: 7,
        by: String::new(),
    }
}

/// Two agents that answer; `a` offers `work`, `b` offers `play`.
struct Scene {
    bed: Bed,
    dispatch: dispatch::Handle,
    faults: Faults,
    disk: Arc<Disk>,
    stub: Stub,
    a: Registered,
    _b: Registered,
}

impl Scene {
    async fn new() -> Self {
        let bed = Bed::new().await;
        let disk = Arc::new(Disk::default());
        let faults = Faults::new(bed.clock.clone(), Arc::clone(&disk));
        let dispatch = bed.dispatch.clone().with_faults(Some(faults.clone()));
        let stub = Stub::start().await;
        let a = bed.admit(&stub, registration("a", "i", &[("work", EffectClass::ReadOnly)])).await;
        let b = bed.admit(&stub, registration("b", "i", &[("play", EffectClass::ReadOnly)])).await;
        Self { bed, dispatch, faults, disk, stub, a, _b: b }
    }

    async fn call(&self, capability: &str, key: u8) -> dispatch::Report {
        self.dispatch.call(call(&self.bed, capability, key)).await
    }

    fn begin(&self, kind: Kind) -> Arc<Watched> {
        self.faults.begin(plan(kind, "agent/a"), vec![name("work")])
    }

    fn tally(&self, watched: &Watched) -> Tally {
        watched.traffic.tally(self.bed.clock.mono())
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_agent_is_not_called_and_its_trace_says_drill() {
    let scene = Scene::new().await;
    let watched = scene.begin(Kind::FailingAgent);
    let report = scene.call("work", 1).await;
    assert_eq!(report.result.unwrap_err().class, Class::AgentError);
    let notes = report.attempts[0].notes.join("; ");
    assert!(notes.contains("drill drl_") && notes.contains("failing-agent"), "{notes}");
    assert!(scene.stub.log().calls.is_empty());
    assert!(scene.call("play", 2).await.result.is_ok(), "the other agent works");
    let tally = scene.tally(&watched);
    assert_eq!((tally.sent, tally.struck, tally.flowed), (1, 1, 0));
    assert_eq!(tally.inside, Calls { ended: 1, failed: 1 });
    assert_eq!(tally.outside, Calls { ended: 1, failed: 0 });
    assert_eq!((tally.under_way, tally.lost), (0, 0));
    scene.faults.lift();
    let report = scene.call("work", 3).await;
    assert!(report.result.is_ok() && report.attempts[0].notes.is_empty(), "{report:?}");
    assert_eq!(scene.tally(&watched).flowed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_agent_answers_late_and_beyond_the_timeout_not_at_all() {
    let scene = Scene::new().await;
    let plan = Plan { delay: Some(Duration::from_secs(3)), ..plan(Kind::SlowAgent, "capability/work") };
    let _watched = scene.faults.begin(plan, vec![name("work")]);
    let began = scene.bed.clock.mono();
    let report = scene.call("work", 1).await;
    assert!(report.result.is_ok());
    assert!(scene.bed.clock.mono() - began >= Duration::from_secs(3));
    assert!(report.attempts[0].notes[0].contains("held back 3s"), "{report:?}");
    let timeout = Duration::from_secs(2);
    let short = dispatch::Call { timeout, ..call(&scene.bed, "work", 2) };
    let report = scene.dispatch.call(short).await;
    assert_eq!(report.result.unwrap_err().class, Class::Timeout);
    assert_eq!(scene.stub.log().calls.len(), 1, "what timed out was never sent");
}

#[tokio::test(start_paused = true)]
async fn a_busy_agent_pushes_back_and_keeps_its_breaker_closed() {
    let scene = Scene::new().await;
    let watched = scene.begin(Kind::Overload);
    for key in 1..20 {
        let failure = scene.call("work", key).await.result.unwrap_err();
        assert_eq!((failure.class, failure.retry_after), (Class::Overload, Some(BUSY_FOR)));
    }
    assert_eq!(scene.tally(&watched).pushed_back, 19);
    let instance = scene.bed.registry.instance(scene.a.id).unwrap();
    assert_eq!(instance.lane("work").unwrap().lock().breaker().snapshot(scene.bed.clock.now()).opened, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_agent_answers_no_call_no_poll_and_no_ledger() {
    let scene = Scene::new().await;
    let instance = scene.bed.registry.instance(scene.a.id).unwrap();
    assert!(!scene.faults.poll_fails(&instance) && !scene.faults.is_silent(&instance));
    let _watched = scene.begin(Kind::DeadAgent);
    let failure = scene.call("work", 1).await.result.unwrap_err();
    assert_eq!((failure.class, failure.began), (Class::Transport, Began::No));
    assert!(scene.faults.poll_fails(&instance) && scene.faults.is_silent(&instance));
    scene.faults.lift();
    assert!(!scene.faults.poll_fails(&instance) && !scene.faults.is_silent(&instance));
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_over_when_its_time_is_also_if_nobody_lifts_it() {
    let scene = Scene::new().await;
    let _watched = scene.begin(Kind::FailingAgent);
    assert!(scene.call("work", 1).await.result.is_err());
    tokio::time::advance(LASTS).await;
    assert!(scene.call("work", 2).await.result.is_ok());

    let _watched = scene.faults.begin(plan(Kind::StoreReadOnly, ""), Vec::new());
    assert!(scene.disk.before_sync().unwrap_err().to_string().contains("drill drl_"));
    assert!(scene.disk.before_reopen().is_err());
    tokio::time::advance(LASTS).await;
    assert!(scene.disk.before_sync().is_ok() && scene.disk.before_reopen().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_end_is_lost_and_one_its_caller_drops_is_not() {
    let scene = Scene::new().await;
    let watched = scene.begin(Kind::FailingAgent);
    let deadline = scene.bed.clock.mono() + Duration::from_secs(1);
    let begin = || scene.faults.call(&name("default"), &name("play"), deadline).unwrap();
    let (forgotten, dropped) = (begin(), begin());
    assert_eq!(scene.tally(&watched).under_way, 2);
    drop(dropped);
    tokio::time::advance(Duration::from_secs(7)).await;
    let tally = scene.tally(&watched);
    assert_eq!((tally.under_way, tally.lost), (0, 1));
    drop(forgotten);
    let broken = begin();
    let panicked = tokio::spawn(async move {
        let _broken = broken;
        panic!("on purpose");
    });
    assert!(panicked.await.is_err());
    assert_eq!(scene.tally(&watched).lost, 1, "its handler broke");
    let deadline = scene.bed.clock.mono() + Duration::from_secs(1);
    let begin = || scene.faults.call(&name("default"), &name("play"), deadline).unwrap();
    let _awaited = begin();
    scene.faults.lift();
    let _later = begin();
    assert_eq!(scene.tally(&watched).under_way, 1, "what begins after the fault is not waited for");
}

#[tokio::test(start_paused = true)]
async fn without_a_drill_nothing_is_watched() {
    let scene = Scene::new().await;
    let instance = scene.bed.registry.instance(scene.a.id).unwrap();
    assert!(scene.faults.sending(&instance, &name("work")).is_none());
    assert!(scene.faults.call(&name("default"), &name("work"), scene.bed.clock.mono()).is_none());
    let _watched = scene.begin(Kind::Overload);
    scene.faults.end();
    assert!(scene.faults.sending(&instance, &name("work")).is_none());
}
