//! A disk that fills up, or takes no writes at all: new work is refused by name, nothing is finished wrongly, reads are
//! served, and once there is room it goes on by itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::clients::Clients;
use mainstay_tests::history::History;
use mainstay_tests::mix::{CAPABILITIES, Mix};
use mainstay_tests::process::mainstay;
use mainstay_tests::seed::Seeded;
use mainstay_tests::wait::until;
use mainstay_tests::world::{World, spec};
use tonic::Code;

/// No file may grow beyond this, which the store's has long done: the next write that needs room fails.
const FULL: Option<u64> = Some(4096);

/// Times that the disk fills up in the long test.
const ROUNDS: usize = 12;
/// Runs under way at once.
const CLIENTS: usize = 16;

const WORK: (&str, &str) = ("work", "effect: idempotent, max_concurrency: 8");
const ONE: &str = "name: one\nversion: 1\nsteps:\n  - { id: a, call: { capability: work } }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_again_and_again_under_load_loses_nothing_and_repeats_nothing() {
    let mut dice = Seeded::from_environment();
    let mut world = World::start().await;
    let agent = world.agent("worker", &CAPABILITIES).await;
    let clients = Clients::start(&world, CLIENTS, Mix::pipelines(), &mut dice).await;
    let (mut faults, mut idle) = (0, 0);
    for round in 0..ROUNDS {
        clients.next_moment(&agent, &mut dice).await;
        // Every other time nothing can be written at all, as on a disk that has turned read-only.
        world.control_plane().limit_files(if round % 2 == 0 { FULL } else { Some(0) });
        idle += usize::from(clients.are_idle());
        until("the server to say so", || async { (world.get("/readyz").await?.0 == 503).then_some(()) })
            .await;
        if round % 3 == 2 {
            world.kill();
            world.relaunch().await;
        } else {
            world.control_plane().limit_files(None);
        }
        world.until_ready().await;
        faults += 1;
    }
    let seen = clients.history(&world, &agent).await;
    let history = History { faults, faults_wanted: ROUNDS, idle_faults: idle, ..seen };
    history.must_hold(&format!("seed {}", dice.seed()));
}

#[tokio::test]
async fn a_server_that_may_not_write_does_not_start_and_says_why_and_what_is_there_stays_as_it_is() {
    let mut world = World::start().await;
    let _agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    let done = world.run("one", r#"{"x":1}"#).await.run_id;
    world.kill();
    let mut serve = Command::new("sh");
    serve.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""]).arg(mainstay());
    serve.args(["serve", "--data", "data", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let refused = serve.current_dir(world.folder()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && !said.contains("panicked"), "{refused:?}");
    assert!(said.contains("data/store") && said.contains("File too large"), "{said}");
    world.restart().await;
    assert_eq!(world.get_run(&done).await.unwrap().state(), pb::RunState::Completed);
    assert_eq!(world.run("one", r#"{"x":1}"#).await.state(), pb::RunState::Completed);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_serves_reads_and_heals_by_itself() {
    let mut world = World::start().await;
    let _agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    let done = world.run("one", r#"{"x":1}"#).await.run_id;
    world.control_plane().limit_files(FULL);
    // A large input goes into a file of its own, a small one into the store.
    for input in [format!("{{\"x\":1,\"pad\":\"{}\"}}", "p".repeat(20_000)), r#"{"x":1}"#.to_owned()] {
        let status = until("a write to be refused", || async {
            world.submit(spec("one", &input)).await.err().filter(|s| s.code() == Code::ResourceExhausted)
        })
        .await;
        assert_eq!(Seen::of(&status).reason, "STORE_READ_ONLY");
        assert!(Seen::of(&status).retry_after.is_some());
    }
    assert_eq!(world.get_run(&done).await.unwrap().state(), pb::RunState::Completed, "reads are served");
    assert_eq!(world.get("/readyz").await.unwrap().0, 503);
    assert_eq!(world.get("/healthz").await.unwrap().0, 200);
    world.control_plane().limit_files(None);
    world.until_ready().await;
    let run = world.run("one", r#"{"x":1}"#).await;
    assert_eq!(run.state(), pb::RunState::Completed);
}

#[tokio::test]
async fn who_waits_for_a_run_is_told_when_the_disk_is_full_and_the_run_ends_once_when_it_is_not() {
    let mut world = World::start().await;
    let agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    let gated = r#"{"x":1,"gate":"go"}"#;
    let waiting = tokio::spawn({
        let mut client = world.orchestrator();
        let run = Some(spec("one", gated));
        async move { client.orchestrate(pb::OrchestrateRequest { run }).await }
    });
    agent.until_begun(1).await;
    let listed = world.orchestrator().list_runs(pb::ListRunsRequest::default()).await.unwrap().into_inner();
    let id = listed.runs[0].run_id.clone();
    let watch = pb::WatchRunRequest { run_id: id.clone(), ..Default::default() };
    let mut watched = world.orchestrator().watch_run(watch).await.unwrap().into_inner();
    world.control_plane().limit_files(FULL);
    until("the store to refuse writes", || async {
        world.submit(spec("one", r#"{"x":2}"#)).await.err().filter(|s| s.code() == Code::ResourceExhausted)
    })
    .await;
    let told = waiting.await.unwrap().unwrap_err();
    assert_eq!((told.code(), &*Seen::of(&told).reason), (Code::Unavailable, "SERVER_NOT_READY"), "{told:?}");
    assert!(told.message().contains(&id), "{told:?}");
    assert_eq!(Seen::of(&told).retry_after, None, "asking again without a key would start another run");
    world.control_plane().limit_files(None);
    world.until_ready().await;
    agent.open("go").await;
    assert_eq!(world.until_ended(&id).await.state(), pb::RunState::Completed);
    let mut ends = 0;
    while let Some(event) = watched.message().await.unwrap() {
        let event = event.event.unwrap().event;
        ends += usize::from(matches!(event, Some(pb::run_event::Event::RunEnded(_))));
    }
    assert_eq!(ends, 1, "the watch goes on to the end");
    let done = agent.ledger().iter().filter(|row| row.run == id && row.output.is_none()).count();
    assert_eq!(done, 1, "the work was begun once");
}
