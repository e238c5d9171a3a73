//! Everything dies at once: agents, sidecars and the control plane are killed and frozen under load, in an order that a
//! seed decides, and the history checker reads what is left.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use mainstay_proto::pb;
use mainstay_tests::history::{History, Told};
use mainstay_tests::seed::Seeded;
use mainstay_tests::wait::{PACE, PATIENCE, until};
use mainstay_tests::world::{World, spec};
use pb::orchestrator_client::OrchestratorClient;
use tonic::Code;
use tonic::transport::Channel;

/// Faults in the storm.
const FAULTS: usize = 8;
/// Runs under way at once.
const CLIENTS: usize = 16;

/// Reads and keeps: what may be repeated is, until it succeeds, whatever dies meanwhile. What only may happen once has its
/// own tests, because a sidecar that is killed under it rightly leaves an outcome unknown.
const DOCUMENT: &str = "
name: hardy
version: 1
deadline: 10m
max_parallel: 4
steps:
  - { id: a, call: { capability: read }, input: { x: '${input.x}', sleep_ms: 5 }, retry: { max_attempts: 20, max: 1s } }
  - { id: b, after: [a], call: { capability: keep }, input: { x: '${steps.a.output.x}', sleep_ms: 10 }, retry: { max_attempts: 20, max: 1s } }
  - { id: c, after: [a], call: { capability: read }, input: { x: '${steps.a.output.x}' }, retry: { max_attempts: 20, max: 1s } }
  - { id: d, after: [b, c], call: { capability: keep }, input: { x: '${steps.b.output.x + steps.c.output.x}' }, retry: { max_attempts: 20, max: 1s } }
output: { x: '${steps.d.output.x}' }
";
const CAPABILITIES: [(&str, &str); 2] = [
    ("read", "effect: read-only, sla: 1s, max_concurrency: 64"),
    ("keep", "effect: idempotent, sla: 1s, max_concurrency: 64"),
];

#[derive(Default)]
struct Log {
    told: Mutex<BTreeMap<String, Vec<Told>>>,
    shown: Mutex<Vec<(String, pb::RunState)>>,
    events: AtomicUsize,
    under_way: AtomicUsize,
    stop: AtomicBool,
}

/// Starts runs one after the other and follows each to its end, event by event. Of the starts whose answer was lost,
/// every second is made again under its key; the others stay unknown.
async fn client(number: usize, orchestrator: OrchestratorClient<Channel>, log: Arc<Log>) {
    let mut pace = tokio::time::interval(PACE);
    for round in 0.. {
        let key = format!("{number}-{round}");
        let started = loop {
            if log.stop.load(Ordering::SeqCst) {
                return;
            }
            pace.tick().await;
            let told = start(orchestrator.clone(), &key, round).await;
            log.told.lock().unwrap().entry(key.clone()).or_default().push(told.clone());
            match told {
                Told::Acknowledged(id) => break Some(id),
                Told::Unknown if round % 2 == 0 => {}
                Told::Unknown | Told::Refused => break None,
            }
        };
        if let Some(id) = started {
            log.under_way.fetch_add(1, Ordering::SeqCst);
            follow(orchestrator.clone(), id, &log).await;
            log.under_way.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

async fn start(mut orchestrator: OrchestratorClient<Channel>, key: &str, x: usize) -> Told {
    let run = pb::RunSpec { idempotency_key: key.into(), ..spec("hardy", &format!("{{\"x\":{x}}}")) };
    match orchestrator.submit(pb::SubmitRequest { run: Some(run) }).await {
        Ok(answer) => Told::Acknowledged(answer.into_inner().run_id),
        Err(status) if matches!(status.code(), Code::InvalidArgument | Code::NotFound) => Told::Refused,
        Err(_) => Told::Unknown,
    }
}

/// Sees every event of a run, across as many connections as it takes.
async fn follow(mut orchestrator: OrchestratorClient<Channel>, id: String, log: &Log) {
    let mut pace = tokio::time::interval(PACE);
    let mut next = 1;
    loop {
        pace.tick().await;
        let request = pb::WatchRunRequest { run_id: id.clone(), from_event: next, ..Default::default() };
        let Ok(stream) = orchestrator.watch_run(request).await else { continue };
        let mut stream = stream.into_inner();
        while let Some(Ok(answer)) = stream.next().await {
            let event = answer.event.unwrap();
            assert_eq!(event.number, next, "{id}: an event was left out or told twice");
            next += 1;
            log.events.fetch_add(1, Ordering::SeqCst);
            if let Some(pb::run_event::Event::RunEnded(ended)) = event.event {
                log.shown.lock().unwrap().push((id, ended.state()));
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_kills_and_frosts_loses_nothing_and_breaks_no_rule() {
    let mut dice = Seeded::from_environment();
    let mut world = World::start().await;
    let mut agents = [world.agent("left", &CAPABILITIES).await, world.agent("right", &CAPABILITIES).await];
    world.put(DOCUMENT).await;
    let log = Arc::new(Log::default());
    let clients: Vec<_> =
        (0..CLIENTS).map(|n| tokio::spawn(client(n, world.orchestrator(), Arc::clone(&log)))).collect();
    let mut history = History { faults_wanted: FAULTS, ..History::default() };
    let mut frost = None;
    for fault in 0..FAULTS {
        // A moment is a number of events that clients have seen since the last one.
        let moment = log.events.load(Ordering::SeqCst) + 1 + dice.below(80);
        until("the next moment", || async { (log.events.load(Ordering::SeqCst) >= moment).then_some(()) })
            .await;
        history.idle_faults += usize::from(log.under_way.load(Ordering::SeqCst) == 0);
        let agent = &mut agents[dice.below(2)];
        // One frost at a time; it ends with the next fault.
        drop(frost.take());
        match fault % 4 {
            0 => {
                world.kill();
                world.relaunch().await;
            }
            1 => {
                agent.agent.kill();
                agent.restart_agent().await;
            }
            2 => {
                agent.sidecar.kill();
                agent.restart_sidecar();
            }
            _ => frost = Some(if dice.below(2) == 0 { agent.agent.freeze() } else { agent.sidecar.freeze() }),
        }
        history.faults += 1;
    }
    drop(frost);
    world.until_ready().await;
    log.stop.store(true, Ordering::SeqCst);
    for client in clients {
        tokio::time::timeout(3 * PATIENCE, client).await.expect("its run ends after the storm").unwrap();
    }
    history.told = std::mem::take(&mut *log.told.lock().unwrap());
    history.shown = std::mem::take(&mut *log.shown.lock().unwrap());
    history.found = world.found([DOCUMENT]).await;
    history.rows = agents.iter().flat_map(|agent| agent.ledger()).collect();
    history.repeatable = true;
    history.must_hold(&format!("seed {}", dice.seed()));
}
