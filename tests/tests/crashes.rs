//! Whatever is killed: nothing acknowledged is lost, and nothing happens twice.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_proto::pb;
use mainstay_tests::history::{Found, History, Told};
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

/// A small generator (SplitMix64), so that a failing order can be run again.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// What the clients saw together.
#[derive(Default)]
struct Log {
    told: Mutex<BTreeMap<String, Vec<Told>>>,
    acknowledged: AtomicUsize,
    stop: AtomicBool,
}

/// Starts runs one after the other and follows each to its end. A start whose answer was lost is made again under its key.
async fn client(number: usize, mut orchestrator: OrchestratorClient<Channel>, log: Arc<Log>) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    for round in 0.. {
        let key = format!("{number}-{round}");
        let run =
            pb::RunSpec { idempotency_key: key.clone(), ..spec("mixed", &format!("{{\"x\":{round}}}")) };
        let id = loop {
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
            if let Told::Acknowledged(id) = told {
                break id;
            }
            looks.tick().await;
        };
        log.acknowledged.fetch_add(1, Ordering::SeqCst);
        loop {
            let request = pb::GetRunRequest { run_id: id.clone(), ..Default::default() };
            let seen = orchestrator.get_run(request).await.ok().and_then(|answer| answer.into_inner().run);
            if log.stop.load(Ordering::SeqCst) || seen.is_some_and(|run| run.state() != pb::RunState::Running)
            {
                break;
            }
            looks.tick().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_kills_of_the_control_plane_lose_nothing_and_repeat_nothing() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut dice = Seeded(seed);
    let mut world = World::start().await;
    let agent = world.agent("worker", &CAPABILITIES).await;
    world.put(MIXED).await;
    let log = Arc::new(Log::default());
    let clients: Vec<_> =
        (0..CLIENTS).map(|n| tokio::spawn(client(n, world.orchestrator(), Arc::clone(&log)))).collect();
    let mut faults = 0;
    for _ in 0..KILLS {
        // A moment is a number of things that clients and agents have seen since the last one.
        let seen = || log.acknowledged.load(Ordering::SeqCst) + agent.ledger().len();
        let moment = seen() + 1 + dice.below(60);
        until("the next moment", || async { (seen() >= moment).then_some(()) }).await;
        world.kill();
        world.relaunch().await;
        faults += 1;
    }
    world.until_ready().await;
    log.stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let told = std::mem::take(&mut *log.told.lock().unwrap());
    let history =
        History { told, found: find_all(&world).await, rows: agent.ledger(), faults, faults_wanted: KILLS };
    let unknown = history.told.values().flatten().filter(|told| **told == Told::Unknown).count();
    println!(
        "seed {seed}: {faults} kills, {} runs, {} acknowledged, {unknown} unknown, {} rows",
        history.found.len(),
        log.acknowledged.load(Ordering::SeqCst),
        history.rows.len()
    );
    let broken: Vec<_> = history.check().iter().map(ToString::to_string).collect();
    assert!(
        broken.is_empty(),
        "seed {seed}: {} rules broken: {:#?}",
        broken.len(),
        &broken[..broken.len().min(10)]
    );
}

/// Every run, read twice after it has ended, with its journal.
async fn find_all(world: &World) -> BTreeMap<String, Found> {
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListRunsRequest { page_size: 500, page_token: token, ..Default::default() };
        let page = world.orchestrator().list_runs(request).await.unwrap().into_inner();
        ids.extend(page.runs.into_iter().map(|run| run.run_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let mut found = BTreeMap::new();
    for id in ids {
        let run = world.until_ended(&id).await;
        let request = pb::WatchRunRequest { run_id: id.clone(), ..Default::default() };
        let mut stream = world.orchestrator().watch_run(request).await.unwrap().into_inner();
        let mut events = Vec::new();
        while let Some(answer) = stream.message().await.unwrap() {
            events.push(answer.event.unwrap());
        }
        let again = world.get_run(&id).await.unwrap();
        found.insert(id, Found { run, again, events });
    }
    found
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
