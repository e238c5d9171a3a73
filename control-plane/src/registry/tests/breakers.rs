//! Breakers on disk and by hand.

use super::*;

fn of_echo(capability: &str) -> Which {
    let (tenant, agent) = (name("default"), Some(name("echo")));
    Which { tenant, agent, instance: None, capability: Some(name(capability)) }
}

fn breaker_state(bed: &Bed, id: InstanceId) -> mainstay_kernel::breaker::Snapshot {
    let instance = bed.registry.instance(id).unwrap();
    let lane = instance.lane("text.echo").unwrap().lock();
    lane.breaker().snapshot(bed.clock.now())
}

#[tokio::test(start_paused = true)]
async fn a_breaker_tripped_by_hand_stays_open_across_a_restart_until_it_is_reset() {
    let bed = Bed::new().await;
    let granted = bed.registry.register(echo("a")).await.unwrap();
    let trip = Hand::Trip("it writes nonsense".into());
    let turn = bed.registry.turn_breakers(&of_echo("text.echo"), &trip).await;
    assert!(turn.on_record && turn.breakers.len() == 1);
    let before = breaker_state(&bed, granted.id);

    let next = restarted(&bed).await;
    assert_eq!(breaker_state(&next, granted.id), before);
    assert_eq!((before.state, before.until), (breaker::State::Open, None));
    assert_eq!(before.reason.unwrap().to_string(), "opened by hand: it writes nonsense");
    assert_eq!(next.registry.open_breakers(), 1);

    let turn = next.registry.turn_breakers(&of_echo("text.echo"), &Hand::Reset("mended".into())).await;
    assert_eq!(turn.breakers[0].snapshot.state, breaker::State::Closed);
    let last = restarted(&next).await;
    assert_eq!(breaker_state(&last, granted.id).state, breaker::State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_traffic_opened_waits_out_its_wait_after_a_restart() {
    let bed = Bed::new().await;
    let granted = bed.registry.register(echo("a")).await.unwrap();
    let instance = bed.registry.instance(granted.id).unwrap();
    let mut dice = bed.clock.dice();
    let lane = instance.lane("text.echo").unwrap();
    let change = loop {
        let healthy = mainstay_kernel::health::Verdict { state: State::Healthy, ..instance.verdict() };
        let (permit, _) = lane.lock().admit(healthy, false, bed.clock.mono());
        let ended =
            lane.lock().end(permit.unwrap(), Class::AgentError, Duration::ZERO, bed.clock.mono(), &mut dice);
        if let Some(change) = ended {
            break change;
        }
    };
    bed.registry.breaker_changed(&instance, &name("text.echo"), &change);
    let before = breaker_state(&bed, granted.id);
    let next = restarted(&bed).await;
    assert_eq!(breaker_state(&next, granted.id), before);
    assert!(before.until.is_some() && before.opened == 1);
    assert_eq!(bed.registry.breaker_changes()[1], (breaker::State::Open, 1));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_matches_nothing_turns_nothing_and_one_that_the_disk_refuses_says_so() {
    let bed = Bed::new().await;
    let granted = bed.registry.register(echo("a")).await.unwrap();
    let trip = Hand::Trip("why not".into());
    assert!(bed.registry.turn_breakers(&of_echo("text.other"), &trip).await.breakers.is_empty());
    let elsewhere = Which { tenant: name("other"), ..of_echo("text.echo") };
    assert!(bed.registry.turn_breakers(&elsewhere, &trip).await.breakers.is_empty(), "another tenant's");
    bed.store.fail_commits("planted");
    let turn = bed.registry.turn_breakers(&of_echo("text.echo"), &trip).await;
    assert!(!turn.on_record);
    assert_eq!(breaker_state(&bed, granted.id).state, breaker::State::Open, "it holds all the same");
}

#[tokio::test(start_paused = true)]
async fn breakers_go_with_their_instance_and_with_their_capability() {
    let mut bed = Bed::new().await;
    tokio::spawn(bed.registry_service.take().unwrap().run());
    let granted = bed.registry.register(echo("a")).await.unwrap();
    let record = |bed: &Bed| {
        let key = crate::records::breaker::key("default", granted.id, &name("text.echo"));
        bed.store.get(&key).unwrap()
    };
    bed.registry.turn_breakers(&of_echo("text.echo"), &Hand::Trip("x".into())).await;
    assert!(record(&bed).is_some());
    let other = registration("echo", "a", &[("text.other", EffectClass::ReadOnly)]);
    let again = bed.registry.register(other).await.unwrap();
    assert!(record(&bed).is_none(), "it offers that no more");

    bed.registry.turn_breakers(&of_echo("text.other"), &Hand::Trip("x".into())).await;
    bed.registry.deregister(again.lease, None, "").await.unwrap();
    let mut changes = bed.registry.watch();
    tokio::time::advance(HISTORY + Duration::from_secs(1)).await;
    changes.recv().await.unwrap();
    let prefix = crate::records::breaker::prefix("default");
    assert!(bed.store.scan(&prefix, None, 10).unwrap().entries.is_empty());
}

/// Failures in a row until the breaker of `echo/a` opens.
fn failures_to_open(bed: &Bed, id: InstanceId) -> usize {
    let instance = bed.registry.instance(id).unwrap();
    let lane = instance.lane("text.echo").unwrap();
    let healthy = mainstay_kernel::health::Verdict { state: State::Healthy, ..instance.verdict() };
    let fails = || {
        let mut lane = lane.lock();
        let permit = lane.admit(healthy, false, bed.clock.mono()).0.unwrap();
        let (class, at) = (Class::AgentError, bed.clock.mono());
        lane.end(permit, class, Duration::ZERO, at, &mut bed.clock.dice()).is_some()
    };
    1 + (0..1_000).take_while(|_| !fails()).count()
}

#[tokio::test(start_paused = true)]
async fn a_capability_declares_its_breaker_over_the_servers_own_and_may_change_its_mind() {
    let breakers = breaker::Config { in_a_row: 7, min_calls: 100, ..breaker::Config::default() };
    let config = Config { breakers, ..Config::default() };
    let bed = Bed::with(MemoryStore::new(), Blobs::in_memory(), engine::Config::default(), config).await;
    let reset = Hand::Reset("again".into());
    let granted = bed.registry.register(echo("a")).await.unwrap();
    assert_eq!(failures_to_open(&bed, granted.id), 7, "the server's");

    let mut declared = echo("a");
    declared.spec.capabilities[0].breaker.set("in_a_row", "2").unwrap();
    bed.registry.register(declared).await.unwrap();
    bed.registry.turn_breakers(&of_echo("text.echo"), &reset).await;
    assert_eq!(failures_to_open(&bed, granted.id), 2, "its own");
    let next = restarted(&bed).await;
    next.registry.turn_breakers(&of_echo("text.echo"), &reset).await;
    assert_eq!(failures_to_open(&next, granted.id), 2, "also after a restart");

    bed.registry.register(echo("a")).await.unwrap();
    bed.registry.turn_breakers(&of_echo("text.echo"), &reset).await;
    assert_eq!(failures_to_open(&bed, granted.id), 7, "the server's again");
}
