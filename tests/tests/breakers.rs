//! Breakers: an agent that fails is left in peace, alone, and taken back by a few probes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::pb;
use mainstay_tests::wait::until;
use mainstay_tests::world::{Agent, World};
use pb::BreakerState;

/// Most probes of a half-open breaker at once, as the kernel has it.
const PROBES: usize = 3;

async fn world() -> (World, Agent) {
    let world = World::start().await;
    let agent =
        world.agent("shaky", &[("fragile", "effect: read-only"), ("solid", "effect: read-only")]).await;
    (world, agent)
}

async fn breaker(world: &World, capability: &str) -> pb::Breaker {
    let agent = world.until_agent("shaky", "to be there", |_| true).await;
    let mut breakers = agent.instances.into_iter().flat_map(|instance| instance.breakers);
    breakers.find(|breaker| breaker.capability == capability).unwrap()
}

async fn until_state(world: &World, state: BreakerState) -> pb::Breaker {
    until(&format!("the breaker to be {state:?}"), || async {
        Some(breaker(world, "fragile").await).filter(|breaker| breaker.state() == state)
    })
    .await
}

async fn fail_until_open(world: &World) -> pb::Breaker {
    until("the breaker to open", || async {
        world.invoke("fragile", r#"{"fail": "x"}"#).await.unwrap_err();
        Some(breaker(world, "fragile").await).filter(|breaker| breaker.state() == BreakerState::Open)
    })
    .await
}

#[tokio::test]
async fn a_breaker_is_of_one_capability_and_says_why_it_opened() {
    let (world, _agent) = world().await;
    let open = fail_until_open(&world).await;
    assert!(!open.reason.is_empty() && open.changed_at.is_some() && open.opened >= 1, "{open:?}");
    assert_eq!(breaker(&world, "solid").await.state(), BreakerState::Closed);
    world.invoke("solid", r#"{"x": 1}"#).await.unwrap();
    // Failing is not being ill: polls are still answered.
    world.until_healthy("shaky").await;
}

#[tokio::test]
async fn half_open_lets_only_a_few_probes_through_and_closes_behind_good_ones() {
    let (world, agent) = world().await;
    let open = fail_until_open(&world).await;
    let before = agent.begun();
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let mut client = world.orchestrator();
            let input = r#"{"x": 1, "gate": "go"}"#.into();
            let request = pb::InvokeRequest { capability: "fragile".into(), input, ..Default::default() };
            tokio::spawn(async move { client.invoke(request).await })
        })
        .collect();
    // The probes cannot end, and everything else waits behind them.
    until_state(&world, BreakerState::HalfOpen).await;
    agent.until_begun(before + PROBES).await;
    assert_eq!(agent.begun(), before + PROBES);
    agent.open("go").await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(until_state(&world, BreakerState::Closed).await.opened, open.opened);
}

#[tokio::test]
async fn a_probe_that_fails_opens_it_again() {
    let (world, _agent) = world().await;
    let first = fail_until_open(&world).await;
    until("it to open again", || async {
        world.invoke("fragile", r#"{"fail": "x"}"#).await.unwrap_err();
        (breaker(&world, "fragile").await.opened > first.opened).then_some(())
    })
    .await;
}

#[tokio::test]
async fn busy_is_not_dead_and_opens_no_breaker() {
    let world = World::start().await;
    let agent = world.agent("shaky", &[("fragile", "effect: read-only, max_concurrency: 1")]).await;
    let calls = (0..30).map(|x| {
        let world = &world;
        async move { world.invoke("fragile", &format!("{{\"x\": {x}}}")).await }
    });
    for answer in futures::future::join_all(calls).await {
        answer.unwrap();
    }
    let breaker = breaker(&world, "fragile").await;
    assert_eq!((breaker.state(), breaker.opened), (BreakerState::Closed, 0), "{breaker:?}");
    // One at a time, as declared: each ends before the next begins.
    let ends: Vec<_> = agent.ledger().iter().map(|row| row.output.is_some()).collect();
    assert_eq!(ends, [false, true].repeat(30));
}

#[tokio::test]
async fn a_run_goes_to_the_agent_whose_breaker_is_closed() {
    let (world, _agent) = world().await;
    fail_until_open(&world).await;
    let _spare = world.agent("spare", &[("fragile", "effect: read-only")]).await;
    world.put("name: one\nversion: 1\nsteps:\n  - { id: a, call: { capability: fragile } }\n").await;
    let run = world.run("one", r#"{"x": 1}"#).await;
    assert_eq!(
        (run.state(), &*run.steps[0].attempts[0].agent),
        (pb::RunState::Completed, "spare"),
        "{run:?}"
    );
}

#[tokio::test]
async fn a_call_that_nobody_takes_in_time_says_so() {
    let (world, mut agent) = world().await;
    agent.sidecar.abandon();
    world.until_agent("shaky", "to be gone", |agent| !agent.instances[0].leased).await;
    assert_eq!(until("the sidecar to end", || std::future::ready(agent.sidecar.exit_code())).await, 0);
    let step = "{ id: a, call: { capability: solid }, timeout: 500ms, retry: { max_attempts: 1 } }";
    world.put(&format!("name: w\nversion: 1\nsteps:\n  - {step}\n")).await;
    let run = world.run("w", "{}").await;
    assert_eq!(run.state(), pb::RunState::Failed, "{run:?}");
    let failure = run.steps[0].failure.as_ref().unwrap();
    assert_eq!(
        (failure.class(), &*failure.code),
        (pb::OutcomeClass::Unavailable, "NO_INSTANCE"),
        "{failure:?}"
    );
    assert_eq!(failure.began(), pb::Began::No);
}

/// What `mainstay breakers …` prints as JSON.
async fn breakers(world: &World, arguments: &[&str]) -> serde_json::Value {
    let mut command = tokio::process::Command::new(mainstay_tests::process::mainstay());
    let server = format!("http://{}", world.grpc);
    let output = command.args(["--server", &server, "-o", "json", "breakers"]).args(arguments).output().await;
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_breaker_tripped_from_the_command_line_holds_across_a_crash_until_it_is_reset() {
    let (mut world, agent) = world().await;
    assert_eq!(breakers(&world, &["list"]).await, serde_json::json!([]), "none has anything to tell");
    let fragile = ["--agent", "shaky", "--capability", "fragile"];
    let trip = [&["trip"], &fragile[..], &["--reason", "it writes nonsense"]].concat();
    let tripped = breakers(&world, &trip).await;
    assert_eq!((&tripped[0]["state"], &tripped[0]["capability"]), (&"open".into(), &"fragile".into()));
    world.kill();
    world.restart().await;
    world.until_healthy("shaky").await;
    let listed = breakers(&world, &["list"]).await;
    assert_eq!(listed[0]["reason"], "opened by hand: it writes nonsense");
    let begun = agent.begun();
    let input = r#"{"x": 1}"#.into();
    let mut request =
        tonic::Request::new(pb::InvokeRequest { capability: "fragile".into(), input, ..Default::default() });
    request.set_timeout(std::time::Duration::from_millis(300));
    world.orchestrator().invoke(request).await.unwrap_err();
    assert_eq!(agent.begun(), begun, "nothing goes through, however long it has been open");
    world.invoke("solid", r#"{"x": 1}"#).await.unwrap();
    breakers(&world, &[&["reset"], &fragile[..], &["--reason", "mended"]].concat()).await;
    world.invoke("fragile", r#"{"x": 1}"#).await.unwrap();
}

#[tokio::test]
async fn a_turn_by_hand_needs_a_reason_and_something_to_turn() {
    let (world, _agent) = world().await;
    let ask = async |agent: &str, capability: &str, reason: &str| {
        let (agent, capability) = (agent.into(), capability.into());
        let breakers = Some(pb::BreakerSelector { agent, capability, ..Default::default() });
        let request = pb::TripBreakersRequest { breakers, reason: reason.into() };
        let status = world.operations().trip_breakers(request).await.unwrap_err();
        mainstay_proto::fault::Seen::of(&status)
    };
    for (agent, capability, reason, code, field) in [
        ("shaky", "fragile", " ", "FIELD_INVALID", "reason"),
        ("", "", "why", "FIELD_INVALID", "breakers"),
        ("ѕhaky", "", "why", "NAME_INVALID", "breakers.agent"),
        ("shaky", "other", "why", "BREAKER_NOT_FOUND", "breakers"),
        ("nobody", "", "why", "BREAKER_NOT_FOUND", "breakers"),
    ] {
        let seen = ask(agent, capability, reason).await;
        assert_eq!((&*seen.reason, &*seen.violations[0].0), (code, field));
        assert!(!seen.hint.is_empty());
    }
    assert_eq!(breaker(&world, "fragile").await.state(), BreakerState::Closed);
}
