//! Calls that are sent to a second instance while the first takes long.

use mainstay_kernel::drill::{Kind, Plan};
use mainstay_kernel::hedge::Policy;
use mainstay_kernel::id::DrillId;
use mainstay_kernel::mode::Mode;
use mainstay_kernel::pause::Pause;

use super::*;
use crate::faults::Faults;

const SOON: &str = "300ms";

/// An offer of `work`, which is hedged after that time.
fn hedged(agent: &str, effect: EffectClass, after: &str) -> registry::Registration {
    let mut offer = offers(agent, effect);
    offer.spec.capabilities[0].hedge = Policy::read(after, None, None).ok();
    offer
}

/// Two agents that offer `work`, the first of which never answers.
struct Scene {
    bed: Bed,
    stuck: Stub,
    fine: Stub,
    granted: [registry::Registered; 2],
}

impl Scene {
    async fn new(effect: EffectClass, after: &str) -> Self {
        let bed = Bed::new().await;
        let (stuck, fine) = (Stub::start().await, Stub::start().await);
        stuck.always(Act::Hang);
        let granted = [
            bed.admit(&stuck, hedged("stuck", effect, after)).await,
            bed.admit(&fine, hedged("fine", effect, after)).await,
        ];
        Self { bed, stuck, fine, granted }
    }

    /// A call that the stuck one is asked first: the other is paused for so long.
    async fn begin(&self, n: u8) -> JoinHandle<Report> {
        let (tenant, calls) = (name("default"), self.stuck.log().calls.len());
        let (target, since) = ("agent/fine".parse().unwrap(), self.bed.clock.wall());
        let pause = Pause { target, reason: "later".to_owned(), by: String::new(), since };
        let target = pause.target.clone();
        self.bed.registry.pause(&tenant, pause).await.unwrap();
        let begun = spawn(&self.bed, call(&self.bed, "work", n));
        self.stuck.until(|log| log.calls.len() > calls).await;
        self.bed.registry.resume(&tenant, &target, "").await.unwrap();
        begun
    }

    async fn call(&self, n: u8) -> Report {
        self.begin(n).await.await.unwrap()
    }

    fn in_flight(&self) -> u32 {
        self.granted.iter().map(|granted| in_flight(&self.bed, *granted)).sum()
    }

    fn counts(&self, line: &str) -> bool {
        self.bed.exposition().lines().any(|it| it == format!("mainstay_hedges_total{line}"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_long_is_answered_by_another_and_the_slow_one_is_told_to_stop() {
    let scene = Scene::new(READ, SOON).await;
    let began = scene.bed.clock.mono();
    let report = scene.call(1).await;
    assert!(report.result.is_ok(), "{report:?}");
    assert!(scene.bed.clock.mono() - began >= Duration::from_millis(300));
    let [slow, hedge] = &report.attempts[..] else { panic!("one hedge: {report:?}") };
    assert_eq!((slow.agent.as_str(), slow.class), ("stuck", Class::Cancelled));
    assert_eq!((hedge.agent.as_str(), hedge.class), ("fine", Class::Success));
    assert_eq!((slow.attempt, slow.number), (hedge.attempt, hedge.number));
    assert_eq!((slow.hedge_after, hedge.hedge_after), (None, Some(Duration::from_millis(300))));
    assert_eq!(hedge.notes[0], "a hedge: the sending before it had taken 300ms");
    scene.stuck.until(|log| log.cancelled == [key(1)]).await;
    assert!(scene.fine.log().cancelled.is_empty(), "who answered is not told to stop");
    assert_eq!(scene.in_flight(), 0);
    assert!(scene.counts("{verdict=\"won\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn the_first_may_still_win_and_then_the_hedge_is_told_to_stop() {
    let scene = Scene::new(READ, SOON).await;
    scene.fine.always(Act::Hang);
    let gate = scene.stuck.gate();
    let late = scene.begin(1).await;
    scene.fine.until(|log| log.calls.len() == 1).await;
    gate.add_permits(1);
    let report = late.await.unwrap();
    assert!(report.result.is_ok(), "{report:?}");
    let [first, hedge] = &report.attempts[..] else { panic!("one hedge: {:?}", report.attempts) };
    assert_eq!((first.class, hedge.class), (Class::Success, Class::Cancelled));
    assert_eq!(decisive(&report.attempts).unwrap().agent, "stuck", "it is said who answered");
    scene.fine.until(|log| log.cancelled == [key(1)]).await;
    assert_eq!(scene.in_flight(), 0);
    assert!(scene.counts("{verdict=\"lost\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_sendings_all_fail_has_failed() {
    let scene = Scene::new(READ, SOON).await;
    scene.fine.always(Act::Send(vec![failure(Class::AgentError, Began::Yes)]));
    let report = scene.call(1).await;
    let [slow, hedge] = &report.attempts[..] else { panic!("one hedge: {report:?}") };
    assert_eq!((slow.class, hedge.class), (Class::Timeout, Class::AgentError));
    assert_eq!(failed(report).class, Class::Timeout, "what ended last");
    assert_eq!(scene.in_flight(), 0);
    assert!(scene.counts("{verdict=\"failed\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_stops_all_of_its_sendings() {
    let scene = Scene::new(READ, SOON).await;
    scene.fine.always(Act::Hang);
    let dropped = scene.begin(1).await;
    scene.fine.until(|log| log.calls.len() == 1).await;
    assert_eq!(scene.in_flight(), 2);
    dropped.abort();
    scene.stuck.until(|log| log.cancelled == [key(1)]).await;
    scene.fine.until(|log| log.cancelled == [key(1)]).await;
    assert_eq!(scene.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn to_have_lost_is_held_against_nobody_but_the_balancer_asks_others_first() {
    // Longer than is guessed of somebody never called.
    let scene = Scene::new(READ, "2s").await;
    assert!(scene.call(1).await.result.is_ok());
    let [stuck, fine] = scene.granted.map(|granted| scene.bed.registry.instance(granted.id).unwrap());
    assert_eq!(stuck.verdict().state, mainstay_kernel::health::State::Healthy);
    let now = scene.bed.clock.mono();
    let score = |instance: &registry::Instance| instance.lane("work").unwrap().lock().score(now);
    assert!(score(&stuck) > score(&fine), "{} and {}", score(&stuck), score(&fine));
    for n in 2..=5 {
        assert!(scene.call(n).await.result.is_ok());
    }
    assert_eq!(breaker_of(&scene.bed, scene.granted[0]), breaker::State::Closed, "not after five in a row");
}

#[tokio::test(start_paused = true)]
async fn what_changes_something_is_never_sent_twice_at_once() {
    let bed = Bed::new().await;
    let stubs = [Stub::start().await, Stub::start().await];
    for (stub, agent) in stubs.iter().zip(["a", "b"]) {
        stub.always(Act::Hang);
        bed.admit(stub, hedged(agent, EffectClass::Idempotent, SOON)).await;
    }
    let report = bed.dispatch.call(call(&bed, "work", 1)).await;
    assert_eq!(report.attempts.len(), 1);
    assert_eq!(stubs.iter().map(|stub| stub.log().calls.len()).sum::<usize>(), 1);
    assert_eq!(failed(report).class, Class::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_percentile_is_learnt_from_answers_before_anybody_hedges_by_it() {
    let scene = Scene::new(READ, "p95").await;
    let report = scene.call(100).await;
    assert_eq!((report.attempts.len(), failed(report).class), (1, Class::Timeout), "nothing is known yet");
    let fine = |n| Call { agent: Some(name("fine")), ..call(&scene.bed, "work", n) };
    for n in 0..20 {
        assert!(scene.bed.dispatch.call(fine(n)).await.result.is_ok());
    }
    let report = scene.call(101).await;
    assert!(report.result.is_ok() && report.attempts[1].hedge_after.is_some(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_hedges_in_a_mode_that_does_less_nor_while_others_wait() {
    let scene = Scene::new(READ, SOON).await;
    for (n, mode) in (1..).zip([Mode::Degraded, Mode::Emergency]) {
        scene.bed.modes.set(mode, "test".to_owned(), String::new()).await.unwrap();
        let report = scene.call(n).await;
        assert_eq!((report.attempts.len(), failed(report).class), (1, Class::Timeout), "{mode:?}");
    }
    scene.bed.modes.set(Mode::Full, "test".to_owned(), String::new()).await.unwrap();
    let waits = scene.bed.registry.route(&name("default"), &name("work")).wait_apart();
    let report = scene.call(3).await;
    assert_eq!((report.attempts.len(), failed(report).class), (1, Class::Timeout), "somebody waits");
    assert!(scene.counts("{verdict=\"refused\"} 1"));
    drop(waits);
    let report = scene.call(4).await;
    assert!(report.result.is_ok(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_mode_that_comes_while_a_call_is_under_way_holds_for_its_hedge() {
    let scene = Scene::new(READ, SOON).await;
    scene.fine.always(Act::Hang);
    let slow = scene.begin(1).await;
    scene.bed.modes.set(Mode::Degraded, "test".to_owned(), String::new()).await.unwrap();
    assert_eq!(slow.await.unwrap().attempts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn hedges_stop_when_what_goes_well_no_longer_pays_for_them() {
    let scene = Scene::new(READ, SOON).await;
    scene.fine.always(Act::Hang);
    let mut hedges = 0;
    for n in 0..8 {
        let report = scene.bed.dispatch.call(call(&scene.bed, "work", n)).await;
        hedges += report.attempts.iter().filter(|attempt| attempt.hedge_after.is_some()).count();
        for granted in &scene.granted {
            let instance = scene.bed.registry.instance(granted.id).unwrap();
            let _change = instance
                .lane("work")
                .unwrap()
                .lock()
                .breaker_mut()
                .reset(String::new(), scene.bed.clock.mono());
        }
    }
    assert_eq!(hedges, 5, "what nobody pays for");
}

#[tokio::test(start_paused = true)]
async fn the_record_of_a_sending_that_lost_says_what_a_drill_did_to_it() {
    let mut scene = Scene::new(READ, SOON).await;
    scene.stuck.always(Act::Send(vec![answer("{}")]));
    let faults = Faults::new(scene.bed.clock.clone(), Arc::default());
    scene.bed.dispatch = scene.bed.dispatch.clone().with_faults(Some(faults.clone()));
    let plan = Plan {
        id: DrillId::from_bytes([1; 16]),
        kind: Kind::SlowAgent,
        tenant: name("default"),
        target: Some("agent/stuck".parse().unwrap()),
        share_bp: mainstay_kernel::share::WHOLE,
        lasts: Duration::from_secs(60),
        delay: None,
        seed: 7,
        by: String::new(),
    };
    let _watched = faults.begin(plan, vec![name("work")]);
    // Which of the two is asked first is a roll of the dice.
    for n in 1.. {
        let report = scene.bed.dispatch.call(call(&scene.bed, "work", n)).await;
        assert!(report.result.is_ok(), "{report:?}");
        if let [held, _hedge] = &report.attempts[..] {
            let notes = held.notes.join("; ");
            assert!(held.class == Class::Cancelled && notes.contains("slow-agent"), "{notes}");
            break;
        }
    }
}
