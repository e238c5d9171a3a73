//! Whatever is killed: nothing acknowledged is lost, and nothing happens twice.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_proto::pb;
use mainstay_tests::history::{History, Told};
use mainstay_tests::seed::Seeded;
use mainstay_tests::wait::until;
use mainstay_tests::world::{World, spec};
use pb::orchestrator_client::OrchestratorClient;
use tonic::Code;
use tonic::transport::Channel;

/// Kills of the control plane in the long test.
const KILLS: usize = 30;
/// Runs under way at once.
const CLIENTS: usize = 32;

const MIXED: &str = "
name: mixed
version: 1
deadline: 10m
steps:
  - { id: a, call: { capability: work }, input: { x: '${input.x}', sleep_ms: 5 }, retry: { max_attempts: 20 } }
  - { id: b, after: [a], call: { capability: pay }, input: { x: '${steps.a.output.x}', sleep_ms: 10 }, retry: { max_attempts: 20 } }
  - { id: c, after: [a], call: { capability: work }, input: { x: '${steps.a.output.x}' }, retry: { max_attempts: 20 } }
  - { id: d, after: [b, c], call: { capability: pay }, input: { x: '${steps.b.output.x + steps.c.output.x}' }, retry: { max_attempts: 20 } }
output: { x: '${steps.d.output.x}' }
";
const CAPABILITIES: [(&str, &str); 2] = [
    ("work", "effect: idempotent, max_concurrency: 200"),
    ("pay", "effect: side-effecting, max_concurrency: 200"),
];

/// What the clients saw together.
#[derive(Default)]
struct Log {
    told: Mutex<BTreeMap<String, Vec<Told>>>,
    shown: Mutex<Vec<(String, pb::RunState)>>,
    acknowledged: AtomicUsize,
    under_way: AtomicUsize,
    stop: AtomicBool,
}

/// Starts runs one after the other and follows each to its end. A start whose answer was lost is made again under its key.
async fn client(number: usize, mut orchestrator: OrchestratorClient<Channel>, log: Arc<Log>) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    for round in 0.. {
        let key = format!("{number}-{round}");
        let run =
            pb::RunSpec { idempotency_key: key.clone(), ..spec("mixed", &format!("{{\"x\":{round}}}")) };
        let started = loop {
            if log.stop.load(Ordering::SeqCst) {
                return;
            }
            let started = orchestrator.submit(pb::SubmitRequest { run: Some(run.clone()) }).await;
            let told = match started {
                Ok(answer) => Told::Acknowledged(answer.into_inner().run_id),
                // Refused by a server that was there and said so.
                Err(status) if matches!(status.code(), Code::InvalidArgument | Code::NotFound) => {
                    Told::Refused
                }
                Err(_) => Told::Unknown,
            };
            log.told.lock().unwrap().entry(key.clone()).or_default().push(told.clone());
            match told {
                Told::Acknowledged(id) => break Some(id),
                // Every third is never asked for again: nobody knows whether it exists, and both is right.
                Told::Unknown if round % 3 == 2 => break None,
                Told::Unknown | Told::Refused => {}
            }
            looks.tick().await;
        };
        let Some(id) = started else { continue };
        log.acknowledged.fetch_add(1, Ordering::SeqCst);
        log.under_way.fetch_add(1, Ordering::SeqCst);
        loop {
            let request = pb::GetRunRequest { run_id: id.clone(), ..Default::default() };
            let seen = orchestrator.get_run(request).await.ok().and_then(|answer| answer.into_inner().run);
            let ended = seen.map(|run| run.state()).filter(|state| *state != pb::RunState::Running);
            if let Some(state) = ended {
                log.shown.lock().unwrap().push((id.clone(), state));
            }
            if log.stop.load(Ordering::SeqCst) || ended.is_some() {
                break;
            }
            looks.tick().await;
        }
        log.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_kills_of_the_control_plane_lose_nothing_and_repeat_nothing() {
    let mut dice = Seeded::from_environment();
    let mut world = World::start().await;
    let agent = world.agent("worker", &CAPABILITIES).await;
    world.put(MIXED).await;
    let log = Arc::new(Log::default());
    let clients: Vec<_> =
        (0..CLIENTS).map(|n| tokio::spawn(client(n, world.orchestrator(), Arc::clone(&log)))).collect();
    let (mut faults, mut idle) = (0, 0);
    for _ in 0..KILLS {
        // A moment is a number of things that clients and agents have seen since the last one.
        let seen = || log.acknowledged.load(Ordering::SeqCst) + agent.ledger().len();
        let moment = seen() + 1 + dice.below(60);
        until("the next moment", || async { (seen() >= moment).then_some(()) }).await;
        world.kill();
        idle += usize::from(log.under_way.load(Ordering::SeqCst) == 0);
        world.relaunch().await;
        faults += 1;
    }
    world.until_ready().await;
    log.stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let told = std::mem::take(&mut *log.told.lock().unwrap());
    let shown = std::mem::take(&mut *log.shown.lock().unwrap());
    let (found, rows) = (world.found().await, agent.ledger());
    let history = History {
        told,
        shown,
        found,
        rows,
        faults,
        faults_wanted: KILLS,
        idle_faults: idle,
        ..History::default()
    };
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
    world.put(MIXED).await;
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
