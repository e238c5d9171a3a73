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
