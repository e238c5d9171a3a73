//! Whatever is killed: nothing acknowledged is lost, and nothing happens twice. The long test kills the control plane under
//! runs of every kind at once, while people answer, signals and cancels arrive, and the shared context is written.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::pb;
use mainstay_tests::clients::Clients;
use mainstay_tests::history::History;
use mainstay_tests::mix::{CAPABILITIES, Mix};
use mainstay_tests::seed::Seeded;
use mainstay_tests::wait::until;
use mainstay_tests::world::{World, spec};

/// Kills of the control plane in the long test, unless the variable `KILLS` says how many: about 80 s on two cores.
const KILLS: usize = 100;
/// Runs under way at once.
const CLIENTS: usize = 64;
/// What each byte that an agent is asked with costs, in 10⁻⁹ US dollars: enough that no two bodies cost the same by chance.
const PRICE: u32 = 1_001;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing() {
    let kills = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let mut dice = Seeded::from_environment();
    let mut world = World::start().await;
    let agent = world.agent("worker", &CAPABILITIES).await;
    agent.price(PRICE).await;
    let clients = Clients::start(&world, CLIENTS, Mix::all(), &mut dice).await;
    let mut faults = History { faults_wanted: kills, ..History::default() };
    for _ in 0..kills {
        clients.next_moment(&agent, &mut dice).await;
        world.kill();
        faults.crashes.push(agent.whole_ledger().len());
        faults.idle_faults += usize::from(clients.are_idle());
        world.relaunch().await;
        faults.faults += 1;
    }
    world.until_ready().await;
    let History { faults, faults_wanted, idle_faults, crashes, .. } = faults;
    let seen = clients.history(&world, &agent).await;
    let history = History { faults, faults_wanted, idle_faults, crashes, ..seen };
    history.must_hold(&format!("seed {}", dice.seed()));
}

#[tokio::test]
async fn a_killed_agent_that_comes_back_is_asked_again() {
    let world = World::start().await;
    let mut agent = world.agent("worker", &[("work", "effect: idempotent")]).await;
    world
        .put(
            "
name: hardy
version: 1
steps:
  - { id: a, call: { capability: work }, timeout: 50s, retry: { max_attempts: 20, max: 1s } }
",
        )
        .await;
    let id = world.submit(spec("hardy", r#"{"x": 1, "sleep_ms": 700}"#)).await.unwrap();
    until("the work to begin", || async { (!agent.ledger().is_empty()).then_some(()) }).await;
    agent.agent.kill();
    agent.restart_agent().await;
    let run = world.until_ended(&id).await;
    assert_eq!(run.state(), pb::RunState::Completed, "{run:?}");
    assert!(run.steps[0].attempts.len() > 1);
}

#[tokio::test]
async fn a_killed_sidecar_never_does_a_side_effect_twice() {
    let world = World::start().await;
    let mut agent = world.agent("worker", &[("pay", "effect: side-effecting")]).await;
    world
        .put("name: pay\nversion: 1\nsteps:\n  - { id: a, call: { capability: pay }, timeout: 20s }\n")
        .await;
    let id = world.submit(spec("pay", r#"{"x": 1, "sleep_ms": 500}"#)).await.unwrap();
    until("the work to begin", || async { (!agent.ledger().is_empty()).then_some(()) }).await;
    agent.sidecar.kill();
    agent.restart_sidecar();
    let run = world.until_ended(&id).await;
    assert_eq!(run.state(), pb::RunState::Failed, "{run:?}");
    assert_eq!(run.steps[0].failure.as_ref().unwrap().code, "OUTCOME_UNKNOWN");
    assert_eq!(agent.ledger().iter().filter(|row| row.output.is_none()).count(), 1);
}

#[tokio::test]
async fn an_agent_that_is_down_at_start_is_waited_for() {
    let world = World::start().await;
    let mut agent = world.agent("worker", &[("work", "effect: read-only")]).await;
    world.put("name: w\nversion: 1\nsteps:\n  - { id: a, call: { capability: work }, timeout: 50s }\n").await;
    agent.agent.kill();
    world
        .until_agent("worker", "to be sick", |a| a.instances[0].health() == pb::HealthState::Unhealthy)
        .await;
    let id = world.submit(spec("w", r#"{"x": 1}"#)).await.unwrap();
    agent.restart_agent().await;
    let run = world.until_ended(&id).await;
    assert_eq!(run.state(), pb::RunState::Completed);
    let attempt = &run.steps[0].attempts[0];
    assert!(attempt.notes.iter().any(|note| note.contains("not healthy")), "{:?}", attempt.notes);
}

#[tokio::test]
async fn a_client_that_waits_learns_the_end_after_a_crash_by_its_key() {
    let mut world = World::start().await;
    let _agent = world.agent("worker", &CAPABILITIES).await;
    Mix::pipelines().put(&world).await;
    let keyed = pb::RunSpec { idempotency_key: "k".into(), ..spec("mixed", r#"{"x": 1}"#) };
    let id = world.submit(keyed.clone()).await.unwrap();
    world.kill();
    world.restart().await;
    let request = pb::OrchestrateRequest { run: Some(keyed) };
    let run = world.orchestrator().orchestrate(request).await.unwrap().into_inner().run.unwrap();
    assert_eq!(
        (run.run_id, run.state, run.output),
        (id, pb::RunState::Completed.into(), r#"{"x":7}"#.into())
    );
}
