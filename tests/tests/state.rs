//! What is kept, and how it is moved, cleaned and looked into: backups, retention, the doctor.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use mainstay_proto::pb;
use mainstay_tests::process::mainstay;
use mainstay_tests::wait::until;
use mainstay_tests::world::{World, spec};
use tonic::Code;

const WORK: (&str, &str) = ("work", "effect: idempotent, max_concurrency: 64");
const PAY: (&str, &str) = ("pay", "effect: side-effecting, max_concurrency: 64");

const ONE: &str = "name: one\nversion: 1\nsteps:\n  - { id: a, call: { capability: work } }\n";
const PAID: &str = "name: paid\nversion: 1\ninput: true\ndeadline: 1h\nsteps:\n  \
    - { id: plan, call: { capability: work }, input: { x: 7 }, timeout: 10m }\n  \
    - { id: look, after: [plan], call: { capability: work }, input: \"${input}\", timeout: 10m }\n  \
    - { id: pay, after: [look], call: { capability: pay }, input: { x: 1 }, timeout: 10m }\n";

/// Runs with a side effect that are open when the backup is taken.
const PAYING: usize = 12;

fn command(world: &World, arguments: &[&str]) -> Output {
    let mut command = Command::new(mainstay());
    command.current_dir(world.folder()).env("MAINSTAY_SERVER", format!("http://{}", world.grpc));
    command.args(arguments).output().unwrap()
}

fn json(world: &World, arguments: &[&str]) -> serde_json::Value {
    let output = command(world, &[arguments, &["--output", "json"]].concat());
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Every run that is acknowledged while work is offered, until it is told to stop.
async fn load(world: &World, stop: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if let Ok(id) = world.submit(spec("one", r#"{"x": 1}"#)).await {
            acknowledged.push(id);
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_load_restores_to_every_run_acknowledged_before_it_and_repeats_no_side_effect() {
    let world = World::start().await;
    let worker = world.agent("worker", &[WORK]).await;
    let payers = [world.agent("payer-a", &[PAY]).await, world.agent("payer-b", &[PAY]).await];
    world.put(ONE).await;
    world.put(PAID).await;
    let mut paying = Vec::new();
    for _ in 0..PAYING {
        paying.push(world.submit(spec("paid", r#"{"x": 1, "gate": "go"}"#)).await.unwrap());
    }
    worker.until_begun(2 * PAYING).await;
    let mut before = Vec::new();
    for _ in 0..50 {
        before.push(world.run("one", r#"{"x": 1}"#).await.run_id);
    }
    let world = {
        let (shared, stop) = (Arc::new(world), Arc::new(AtomicBool::new(false)));
        let loading = tokio::spawn({
            let (world, stop) = (Arc::clone(&shared), Arc::clone(&stop));
            async move { load(&world, &stop).await }
        });
        let taking = Arc::clone(&shared);
        let taken =
            tokio::task::spawn_blocking(move || json(&taking, &["backup", "the.backup"])).await.unwrap();
        assert!(taken["records"].as_u64().unwrap() > 200, "{taken}");
        stop.store(true, Ordering::Relaxed);
        assert!(!loading.await.unwrap().is_empty(), "it was under load");
        shared
    };
    // After the backup the side effects happen; the restored store knows nothing of them.
    worker.open("go").await;
    for id in &paying {
        assert_eq!(world.until_ended(id).await.state(), pb::RunState::Completed);
    }
    let paid = |payers: &[mainstay_tests::world::Agent]| {
        let mut paid: BTreeMap<String, usize> = BTreeMap::new();
        for row in payers.iter().flat_map(|payer| payer.ledger()).filter(|row| row.output.is_none()) {
            *paid.entry(row.key).or_default() += 1;
        }
        paid
    };
    assert_eq!(paid(&payers).len(), PAYING);
    let planned = || worker.ledger().iter().filter(|row| row.step == "plan" && row.output.is_none()).count();
    assert_eq!(planned(), PAYING);

    let mut world = Arc::into_inner(world).unwrap();
    world.kill();
    let refused = command(&world, &["restore", "the.backup", "--data", "data"]);
    assert_eq!(refused.status.code(), Some(64), "a folder with a store in it");
    std::fs::rename(world.folder().join("data"), world.folder().join("lost")).unwrap();
    let restored = json(&world, &["restore", "the.backup", "--data", "data"]);
    assert_eq!(restored["unusable"], serde_json::json!([]));
    world.restart().await;

    for id in &before {
        assert_eq!(world.get_run(id).await.unwrap().state(), pb::RunState::Completed);
    }
    for id in &paying {
        assert_eq!(world.until_ended(id).await.state(), pb::RunState::Completed);
    }
    let paid = paid(&payers);
    assert!(paid.len() == PAYING && paid.values().all(|times| *times == 1), "{paid:?}");
    assert_eq!(planned(), PAYING, "a step that had ended at the backup is not done again");
    assert_eq!(world.run("one", r#"{"x": 1}"#).await.state(), pb::RunState::Completed);
}

fn size_of(folder: &Path) -> u64 {
    let mut size = 0;
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        // It may be going right now.
        let Ok(about) = entry.metadata() else { continue };
        size += if about.is_dir() { size_of(&entry.path()) } else { about.len() };
    }
    size
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_endless_load_what_is_kept_levels_off_and_the_newest_stay() {
    let world = Arc::new(World::start_with(&["--keep-runs", "200"]).await);
    let _agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    let large = format!("{{\"x\": 1, \"pad\": \"{}\"}}", "x".repeat(20_000));
    // Each round waits until what it added has settled and gone.
    let mut sizes = Vec::new();
    for round in 0..5 {
        let mut newest = String::new();
        for _ in 0..12 {
            let runs = (0..50).map(|_| {
                let (world, large) = (Arc::clone(&world), large.clone());
                tokio::spawn(async move { world.run("one", &large).await.run_id })
            });
            for run in runs.collect::<Vec<_>>() {
                newest = run.await.unwrap();
            }
        }
        let kept = until("the oldest to go", || async {
            let status = retention(&world).await?;
            (status.finished_runs? <= 200 && status.removed >= 600 * round).then_some(status)
        })
        .await;
        assert_eq!(kept.finished_runs, Some(200));
        assert!(world.get_run(&newest).await.is_ok());
        // Documents go after their runs.
        let most = sizes.first().map(|&(documents, _): &(u64, u64)| documents + documents / 10);
        let documents = until("the documents of what is gone to go", || async {
            let documents = size_of(&world.folder().join("data/blobs"));
            most.is_none_or(|most| documents <= most).then_some(documents)
        })
        .await;
        sizes.push((documents, size_of(&world.folder().join("data/store"))));
    }
    println!("bytes of documents and of the store after each 600 runs: {sizes:?}");
    let stores: Vec<u64> = sizes.into_iter().map(|(_, store)| store).collect();
    assert!(stores[4] <= stores[1] * 3 / 2, "{stores:?}");
    let status = command(&world, &["status"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        status.contains("200 finished runs of 200: at the limit the oldest are removed (--keep-runs)"),
        "{status}"
    );
}

async fn retention(world: &World) -> Option<pb::RetentionStatus> {
    let info = world.operations().get_server_info(pb::GetServerInfoRequest {}).await.ok()?;
    info.into_inner().retention
}

fn files_in(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_in(&path) } else { 1 }).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_while_it_removes_leaves_no_half_of_a_run_and_no_document_that_nobody_names() {
    let mut world = World::start_with(&["--keep-runs", "10"]).await;
    let _agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    let documents = |world: &World| files_in(&world.folder().join("data/blobs"));
    let before = documents(&world);
    let large = format!("{{\"x\": 1, \"pad\": \"{}\"}}", "x".repeat(20_000));
    let mut runs = vec![world.run("one", &large).await.run_id];
    let each = documents(&world) - before;
    assert!(each > 0);
    for _ in 0..10 {
        let some = join_all((0..50).map(|_| world.run("one", &large))).await;
        runs.extend(some.into_iter().map(|run| run.run_id));
    }
    let mut kills = 0;
    loop {
        let status = until("runs to be removed", || async {
            retention(&world).await.filter(|status| status.removed > 0 || status.finished_runs == Some(10))
        })
        .await;
        if status.finished_runs == Some(10) {
            break;
        }
        world.kill();
        world.relaunch().await;
        kills += 1;
    }
    println!("killed {kills} times while it removed");
    assert!(kills > 0);
    until("the documents to follow", || async { (documents(&world) == before + 10 * each).then_some(()) })
        .await;
    let listed = world.everything().await.2;
    assert_eq!(listed.len(), 10);
    for id in &runs {
        match world.get_run(id).await {
            Ok(run) => assert!(listed.contains(id) && run.state() == pb::RunState::Completed),
            Err(status) => assert!(!listed.contains(id) && status.code() == Code::NotFound, "{status:?}"),
        }
    }
    assert_eq!(json(&world, &["doctor"])["damaged"], 0);
}

/// Flips a bit of the first place of a file that holds `mark`.
fn damage(folder: &Path, mark: &str) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            damage(&path, mark);
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(mark.len()).position(|window| window == mark.as_bytes()) {
            bytes[at] ^= 0x20;
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

#[tokio::test]
async fn the_doctor_finds_shows_exports_and_drops_what_is_damaged_with_and_without_a_server() {
    let mut world = World::start().await;
    let _agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    let input = |mark: &str| format!("{{\"x\": 1, \"pad\": \"{}\"}}", format!("{mark}-").repeat(4_000));
    let damaged = world.run("one", &input("BROKEN")).await.run_id;
    let sound = world.run("one", &input("SOUND")).await.run_id;
    let held = command(&world, &["doctor", "--data", "data"]);
    assert_eq!(held.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&held.stderr).contains("a server holds data"), "{held:?}");
    assert_eq!(json(&world, &["doctor"])["damaged"], 0);
    world.kill();
    damage(&world.folder().join("data/blobs"), "BROKEN");

    let found = json(&world, &["doctor", "--data", "data"]);
    let record = &found["records"][0];
    assert_eq!(
        (&record["kind"], found["damaged"].as_u64()),
        (&"transition".into(), Some(found["records"].as_array().unwrap().len() as u64))
    );
    assert!(record["subject"].as_str().unwrap().starts_with(&damaged), "{record}");
    world.restart().await;
    assert_eq!(json(&world, &["doctor", "list"])["records"], found["records"], "the server says the same");

    let key = record["key"].as_str().unwrap();
    let shown = json(&world, &["doctor", "inspect", key]);
    assert_eq!((shown["sound"].as_bool(), &shown["subject"]), (Some(false), &record["subject"]));
    json(&world, &["doctor", "export", "--to", "damaged.jsonl"]);
    let exported = std::fs::read_to_string(world.folder().join("damaged.jsonl")).unwrap();
    assert_eq!(exported.lines().count(), found["records"].as_array().unwrap().len());

    let unasked = command(&world, &["doctor", "drop", key]);
    assert_eq!(unasked.status.code(), Some(65), "{unasked:?}");
    assert!(String::from_utf8_lossy(&unasked.stdout).contains("its journal has a hole"));
    let other = command(&world, &["doctor", "drop", key, "--confirm", "00"]);
    assert_eq!(other.status.code(), Some(65), "{other:?}");
    assert_eq!(json(&world, &["doctor"])["damaged"], found["damaged"], "nothing was dropped");
    assert_eq!(world.get_run(&damaged).await.unwrap_err().code(), Code::DataLoss);
    assert!(command(&world, &["doctor", "drop", key, "--confirm", key]).status.success());
    assert_eq!(json(&world, &["doctor"])["damaged"], 0, "the run went whole");
    assert_eq!(world.get_run(&damaged).await.unwrap_err().code(), Code::NotFound);
    let again = command(&world, &["doctor", "drop", key, "--confirm", key]);
    assert!(!again.status.success(), "{again:?}");
    assert_eq!(world.get_run(&sound).await.unwrap().state(), pb::RunState::Completed);
}
