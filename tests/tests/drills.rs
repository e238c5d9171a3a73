//! Drills: each fault against live traffic, with real processes, from the command line.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_proto::pb;
use mainstay_tests::process::{Process, mainstay};
use mainstay_tests::wait::until;
use mainstay_tests::world::{World, spec};
use serde_json::Value;
use tokio::task::JoinSet;

/// What the agents declare: they promise much, and their breakers look back a second and come back soon, so that a drill shows in
/// seconds what it shows.
const WORK: &str = "effect: read-only, sla: 400ms, max_concurrency: 16, breaker: { window: 1s, min_calls: 5, wait: 500ms, max_wait: 500ms }";

async fn world() -> World {
    World::start_with(&["--allow-drills"]).await
}

/// Runs a command against the world, off the runtime's thread.
async fn cli(world: &World, args: &[&str]) -> Output {
    let server = format!("http://{}", world.grpc);
    let mut command = Command::new(mainstay());
    command.args(args).args(["--server", &server, "--output", "json"]).env("USER", "olga");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// What a drill printed: its exit code and its last line, the scorecard.
async fn drill(world: &World, args: &[&str]) -> (i32, Value) {
    let output = cli(world, &[&["drill", "run"], args].concat()).await;
    let (printed, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let last = printed.lines().last().unwrap_or_else(|| panic!("{args:?}: {told}"));
    (output.status.code().unwrap(), serde_json::from_str(last).unwrap())
}

/// Sends requests down a routing document until it is dropped, and counts those that were not answered.
fn routed(world: &World, document: &str, unanswered: &Arc<AtomicU64>) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        let (mut client, route) = (world.orchestrator(), document.to_owned());
        let unanswered = Arc::clone(unanswered);
        callers.spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            loop {
                pace.tick().await;
                let (input, route) = (r#"{"x": 1}"#.into(), route.clone());
                let request = pb::InvokeRequest { input, route, ..Default::default() };
                let mut request = tonic::Request::new(request);
                request.set_timeout(Duration::from_secs(2));
                unanswered.fetch_add(u64::from(client.invoke(request).await.is_err()), Relaxed);
            }
        });
    }
    callers
}

fn broken(card: &Value) -> Vec<&str> {
    let findings = card["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["held"] == false)
        .map(|finding| finding["rule"].as_str().unwrap())
        .collect()
}

/// Calls to capabilities, a few at a time, until it is dropped.
struct Traffic {
    /// Dropped with the rest, which ends the callers.
    _callers: JoinSet<()>,
    asked: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    good: Arc<AtomicU64>,
}

impl Traffic {
    fn to(world: &World, capabilities: &[&str]) -> Self {
        let (asked, answered, good) = <(Arc<AtomicU64>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let mut callers = JoinSet::new();
        for capability in capabilities.iter().flat_map(|capability| [capability; 4]) {
            let (mut client, capability) = (world.orchestrator(), capability.to_string());
            let (asked, answered, good) = (Arc::clone(&asked), Arc::clone(&answered), Arc::clone(&good));
            callers.spawn(async move {
                let mut pace = tokio::time::interval(Duration::from_millis(50));
                loop {
                    pace.tick().await;
                    let input = r#"{"x": 1}"#.into();
                    let capability = capability.clone();
                    let request = pb::InvokeRequest { capability, input, ..Default::default() };
                    let mut request = tonic::Request::new(request);
                    request.set_timeout(Duration::from_secs(2));
                    asked.fetch_add(1, Relaxed);
                    let answer = client.invoke(request).await;
                    answered.fetch_add(1, Relaxed);
                    good.fetch_add(u64::from(answer.is_ok()), Relaxed);
                }
            });
        }
        Self { _callers: callers, asked, answered, good }
    }
}

/// Starts a drill from the command line, and waits until its fault acts.
async fn begin(world: &World, args: &[&str]) -> Process {
    let mut command = Command::new(mainstay());
    command.args(["--server", &format!("http://{}", world.grpc), "drill", "run"]).args(args);
    let process = Process::start("drill", command, world.folder());
    until("the fault to act", || async {
        state(world).await.filter(|state| *state == pb::DrillState::UnderWay)
    })
    .await;
    process
}

/// The state of the drill under way.
async fn state(world: &World) -> Option<pb::DrillState> {
    let listed = world.drills().list_drills(pb::ListDrillsRequest {}).await.ok()?;
    listed.into_inner().active.map(|drill| drill.state())
}

async fn history(world: &World) -> Value {
    let output = cli(world, &["drill", "history"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn every_fault_of_an_agent_is_noticed_and_overcome_under_traffic_and_nothing_is_lost() {
    let world = world().await;
    let names = ["slow-agent", "failing-agent", "dead-agent", "overload"];
    let mut agents = Vec::new();
    // An agent for each drill: a breaker that opened lately would wait longer the second time.
    for name in names {
        agents.push(world.agent(name, &[(name, WORK)]).await);
    }
    let _bystander = world.agent("bystander", &[("bystander", WORK)]).await;
    for name in names {
        let traffic = Traffic::to(&world, &[name, "bystander"]);
        let target = format!("agent/{name}");
        let (exit, card) = drill(&world, &[name, "--target", &target, "--for", "5s"]).await;
        assert_eq!((exit, &card["passed"]), (0, &true.into()), "{name}: {card:#}");
        assert_eq!(card["lost"], 0);
        assert!(card["struck"].as_u64().unwrap() > 0 && card["outside"]["ended"].as_u64().unwrap() > 0);
        assert!(card["detected"]["after_ms"].as_f64().unwrap() < 5_000.0, "{card:#}");
        if name != "overload" {
            let part = card["detected"]["part"].as_str().unwrap();
            assert!(part.contains(name), "{part}");
        }
        let behind = traffic.asked.load(Relaxed) - traffic.answered.load(Relaxed);
        assert!(behind <= 8, "each caller waits for one answer at most, {behind}");
    }
    let kept = history(&world).await;
    let states: Vec<_> =
        kept.as_array().unwrap().iter().map(|drill| drill["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["passed"; 4]);
    let events = cli(&world, &["events", "--kind", "drill"]).await;
    let events = String::from_utf8_lossy(&events.stdout).into_owned();
    for kind in ["drill.began", "drill.detected", "drill.ended", "drill.recovered", "drill.passed"] {
        assert!(events.contains(kind), "{kind}: {events}");
    }
}

#[tokio::test]
async fn a_router_that_lies_is_not_believed_and_every_request_is_answered() {
    let world = world().await;
    let _router = world.agent("router", &[("pick", WORK)]).await;
    let _worker = world.agent("worker", &[("work", WORK), ("anything", WORK)]).await;
    let document = "name: front\nversion: 1\ncapabilities: [work]\nrouter: { capability: pick, min_confidence: 0.6 }\n\
                    generalist: { capability: anything }\nstatic: { sorry: true }\n";
    let request = pb::PutRoutesRequest { document: document.to_owned(), ..Default::default() };
    let mut routes = pb::routes_client::RoutesClient::new(world.channel());
    routes.put_routes(request).await.unwrap();
    let unanswered = Arc::new(AtomicU64::new(0));
    let _traffic = routed(&world, "front", &unanswered);
    let (exit, card) = drill(&world, &["lying-router", "--target", "capability/pick", "--for", "2s"]).await;
    assert_eq!((exit, &card["passed"]), (0, &true.into()), "{card:#}");
    assert_eq!(card["detected"]["part"], "routing");
    assert_eq!(unanswered.load(Relaxed), 0, "the next rung answers");
}

#[tokio::test]
async fn a_store_that_refuses_writes_loses_no_run_that_it_acknowledged() {
    let world = world().await;
    let _agent = world.agent("worker", &[("work", WORK)]).await;
    world
        .put("name: one\nversion: 1\nsteps:\n  - { id: a, call: { capability: work }, input: { x: 1 } }\n")
        .await;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let mut clients = JoinSet::new();
    let mut orchestrator = world.orchestrator();
    let accepted = Arc::clone(&acknowledged);
    clients.spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        loop {
            pace.tick().await;
            let request = pb::SubmitRequest { run: Some(spec("one", "{}")) };
            if let Ok(answer) = orchestrator.submit(request).await {
                accepted.lock().unwrap().push(answer.into_inner().run_id);
            }
        }
    });
    let (exit, card) = drill(&world, &["store-read-only", "--for", "2s"]).await;
    assert_eq!((exit, &card["passed"]), (0, &true.into()), "{card:#}");
    assert_eq!(card["detected"]["part"], "store");
    drop(clients);
    let runs = acknowledged.lock().unwrap().clone();
    assert!(!runs.is_empty());
    for run in runs {
        assert_eq!(world.until_ended(&run).await.state(), pb::RunState::Completed);
    }
}

#[tokio::test]
async fn memory_that_looks_used_up_turns_the_mode_and_only_what_can_wait_is_sent_away() {
    let flags = ["--allow-drills", "--mode-rule", "dwell=1s", "--memory-soft-limit", "4GiB"];
    let world = World::start_with(&flags).await;
    let _agent = world.agent("worker", &[("work", WORK)]).await;
    let traffic = Traffic::to(&world, &["work"]);
    let (exit, card) = drill(&world, &["emergency-mode", "--for", "3s"]).await;
    assert_eq!((exit, &card["passed"]), (0, &true.into()), "{card:#}");
    assert_eq!(card["detected"]["part"], "mode");
    assert!(card["detected"]["reason"].as_str().unwrap().starts_with("emergency: "), "{card:#}");
    let (good, answered) = (traffic.good.load(Relaxed), traffic.answered.load(Relaxed));
    assert!(good > 0 && answered - good <= 4, "what is critical is served: {good} of {answered}");
    drop(traffic);

    // Whoever holds the mode by hand keeps it, and the drill says that nothing was noticed.
    let held = cli(&world, &["mode", "set", "full", "--reason", "a fair"]).await;
    assert!(held.status.success(), "{held:?}");
    let _traffic = Traffic::to(&world, &["work"]);
    let (exit, card) = drill(&world, &["emergency-mode", "--for", "2s"]).await;
    assert_eq!((exit, broken(&card)), (1, vec!["traffic", "detected"]), "{card:#}");
}

#[tokio::test]
async fn a_drill_that_proves_nothing_or_is_not_noticed_fails() {
    let world = world().await;
    let _agent = world.agent("worker", &[("work", WORK)]).await;
    let failing = ["failing-agent", "--target", "capability/work", "--for", "1s"];
    let stopped = async {
        until("the drill to recover", || async {
            state(&world).await.filter(|state| *state == pb::DrillState::Recovering)
        })
        .await;
        // Traffic again, or the recovery of a target that nobody calls is waited for to the end.
        world.invoke("work", r#"{"x": 1}"#).await.unwrap();
    };
    let ((exit, card), ()) = tokio::join!(drill(&world, &failing), stopped);
    assert_eq!((exit, broken(&card)), (1, vec!["traffic", "detected"]), "{card:#}");
    assert!(card["findings"][0]["found"].as_str().unwrap().contains("nothing is proved"));

    let traffic = Traffic::to(&world, &["work"]);
    let hardly = [&failing[..], &["--share", "5%", "--seed", "7"]].concat();
    let (exit, card) = drill(&world, &hardly).await;
    assert_eq!((exit, broken(&card)), (1, vec!["detected"]), "a share below every threshold: {card:#}");
    assert!(traffic.good.load(Relaxed) > 0);
}

#[tokio::test]
async fn without_allow_drills_there_is_nothing_to_inject_with() {
    let world = World::start().await;
    let _agent = world.agent("worker", &[("work", WORK)]).await;
    for args in [&["run", "failing-agent", "--target", "agent/worker"][..], &["stop"], &["history"]] {
        let output = cli(&world, &[&["drill"], args].concat()).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(65), "{told}");
        assert!(told.contains("DRILLS_NOT_ALLOWED") && told.contains("--allow-drills"), "{told}");
    }
    let listed = cli(&world, &["drill", "list"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed["allowed"], &listed["kinds"][0]["name"]), (&false.into(), &"slow-agent".into()));
    world.invoke("work", r#"{"x": 1}"#).await.unwrap();
}

#[tokio::test]
async fn a_wrong_drill_is_refused_by_field() {
    let world = world().await;
    let _agent = world.agent("worker", &[("work", WORK)]).await;
    for (args, code, field) in [
        (&["fire"][..], "FIELD_INVALID", "kind"),
        (&["slow-agent"], "FIELD_INVALID", "target"),
        (&["slow-agent", "--target", "workflow/one"], "FIELD_INVALID", "target"),
        (&["slow-agent", "--target", "agent/ghost"], "AGENT_NOT_FOUND", "target"),
        (&["slow-agent", "--target", "capability/ghost"], "CAPABILITY_UNKNOWN", "target"),
        (&["slow-agent", "--target", "agent/worker", "--for", "6m"], "FIELD_INVALID", "lasts"),
        (&["overload", "--target", "agent/worker", "--delay", "1s"], "FIELD_INVALID", "delay"),
        (&["store-read-only", "--share", "50%"], "FIELD_INVALID", "share_bp"),
    ] {
        let output = cli(&world, &[&["drill", "run"], args].concat()).await;
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(
            (&error["error"]["code"], &error["error"]["violations"][0]["field"]),
            (&code.into(), &field.into()),
            "{error:#}"
        );
    }
}

#[tokio::test]
async fn a_drill_is_shown_everywhere_and_marks_the_runs_that_it_strikes() {
    let world = world().await;
    let _agent = world.agent("worker", &[("work", WORK)]).await;
    world.put("name: one\nversion: 1\nsteps:\n  - { id: a, call: { capability: work }, retry: { max_attempts: 1 } }\n").await;
    let mut drill = begin(&world, &["failing-agent", "--target", "agent/worker", "--for", "5m"]).await;
    let run = world.run("one", "{}").await;
    assert_eq!(run.state(), pb::RunState::Failed);
    let trace = cli(&world, &["trace", &run.run_id]).await;
    let trace = String::from_utf8_lossy(&trace.stdout).into_owned();
    assert!(trace.contains("drill drl_") && trace.contains("failing-agent"), "{trace}");
    for command in [&["agents"][..], &["agent", "worker"], &["status"]] {
        let told = cli(&world, command).await.stderr;
        assert!(String::from_utf8_lossy(&told).contains("A drill injects a fault"), "{command:?}");
    }
    let (_, metrics) = world.get("/metrics").await.unwrap();
    assert!(metrics.contains("mainstay_drill_active 1"), "{metrics}");
    let second = cli(&world, &["drill", "run", "overload", "--target", "agent/worker"]).await;
    assert_eq!(second.status.code(), Some(75), "one at a time");
    assert!(cli(&world, &["drill", "stop"]).await.status.success());
    let (_, metrics) = until("the fault to be over", || async {
        world.get("/metrics").await.filter(|(_, metrics)| metrics.contains("mainstay_drill_active 0"))
    })
    .await;
    assert!(!metrics.is_empty());
    world.invoke("work", r#"{"x": 1}"#).await.unwrap();
    until("the command to end", || std::future::ready(drill.exit_code())).await;
    assert_eq!(history(&world).await[0]["events"].as_array().unwrap().last().unwrap()["ended"], "stopped");
}

#[tokio::test]
async fn a_fault_ends_with_the_client_that_began_it() {
    let world = world().await;
    let _agent = world.agent("worker", &[("work", WORK)]).await;
    let mut drill = begin(&world, &["failing-agent", "--target", "agent/worker", "--for", "5m"]).await;
    world.invoke("work", r#"{"x": 1}"#).await.unwrap_err();
    drill.kill();
    until("the fault to end", || async { world.invoke("work", r#"{"x": 1}"#).await.ok() }).await;
    let kept = until("the drill to be judged", || async {
        Some(history(&world).await).filter(|kept| !kept.as_array().unwrap().is_empty())
    })
    .await;
    assert_eq!(kept[0]["events"].as_array().unwrap().last().unwrap()["ended"], "client-gone", "{kept:#}");
}

#[tokio::test]
async fn a_drill_that_the_server_does_not_survive_is_over_after_the_start() {
    let mut world = world().await;
    let _agent = world.agent("worker", &[("work", WORK)]).await;
    let mut drill = begin(&world, &["failing-agent", "--target", "agent/worker", "--for", "5m"]).await;
    world.invoke("work", r#"{"x": 1}"#).await.unwrap_err();
    world.kill();
    world.restart().await;
    world.until_healthy("worker").await;
    world.invoke("work", r#"{"x": 1}"#).await.unwrap();
    let kept = history(&world).await;
    assert_eq!((kept.as_array().unwrap().len(), &kept[0]["state"]), (1, &"interrupted".into()), "{kept:#}");
    assert_eq!(state(&world).await, None);
    let exit = until("the command to end", || std::future::ready(drill.exit_code())).await;
    assert_ne!(exit, 0, "what was not judged has not passed");
}
