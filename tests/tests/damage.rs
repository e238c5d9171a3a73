//! A damaged record costs what it describes, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::wait::until;
use mainstay_tests::world::{World, spec};
use tonic::Code;

const WORK: (&str, &str) = ("work", "effect: idempotent, max_concurrency: 64");
const ONE: &str = "name: one\nversion: 1\nsteps:\n  - { id: a, call: { capability: work } }\n";

/// A text that stands in one run's records and nowhere else, longer than what is kept inside a record.
fn marked(mark: &str) -> String {
    format!("{{\"x\": 1, \"pad\": \"{}\"}}", format!("{mark}-").repeat(4_000))
}

/// The one file below `folder` that holds `mark`.
fn file_with(folder: &Path, mark: &str) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if place(&std::fs::read(&path).unwrap(), mark).is_some() {
                found.push(path);
            }
        }
    }
    assert_eq!(found.len(), 1, "{mark} is in {found:?}");
    found.remove(0)
}

fn place(bytes: &[u8], mark: &str) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark.as_bytes())
}

/// Flips a bit in every place of the file that holds the mark.
fn damage(file: &Path, mark: &str) {
    let mut bytes = std::fs::read(file).unwrap();
    while let Some(at) = place(&bytes, mark) {
        bytes[at] ^= 0x20;
    }
    std::fs::write(file, bytes).unwrap();
}

async fn serves_everything_but(world: &World, damaged: &str, whole: &[String]) {
    let status =
        until("the damaged run to be told of", || async { world.get_run(damaged).await.err() }).await;
    assert_eq!((status.code(), &*Seen::of(&status).reason), (Code::DataLoss, "RECORD_DAMAGED"), "{status:?}");
    assert!(!Seen::of(&status).hint.is_empty());
    let watch = pb::WatchRunRequest { run_id: damaged.to_owned(), ..Default::default() };
    let status = match world.orchestrator().watch_run(watch).await {
        Err(status) => status,
        Ok(mut stream) => stream.get_mut().message().await.unwrap_err(),
    };
    assert_eq!(status.code(), Code::DataLoss, "{status:?}");
    for id in whole {
        assert_eq!(world.get_run(id).await.unwrap().state(), pb::RunState::Completed);
    }
    // New work is taken, and readiness says so.
    assert_eq!(world.run("one", r#"{"x": 1}"#).await.state(), pb::RunState::Completed);
    assert_eq!(world.get("/readyz").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_damaged_run_is_reported_as_damaged_and_everything_else_is_served() {
    let mut world = World::start().await;
    let _agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    let mut whole = vec![world.run("one", r#"{"x": 1}"#).await.run_id];
    let damaged = world.run("one", &marked("BROKEN")).await.run_id;
    whole.push(world.run("one", &marked("SOUND")).await.run_id);
    world.kill();
    let file = file_with(&world.folder().join("data"), "BROKEN-BROKEN");
    damage(&file, "BROKEN");
    world.restart().await;
    serves_everything_but(&world, &damaged, &whole).await;
}

#[tokio::test]
async fn an_open_run_that_is_damaged_is_left_alone_and_the_others_are_taken_up() {
    let mut world = World::start().await;
    let agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    let gated = |mark: &str| marked(mark).replace("\"x\": 1", "\"x\": 1, \"gate\": \"go\"");
    let damaged = world.submit(spec("one", &gated("BROKEN"))).await.unwrap();
    let sound = world.submit(spec("one", &gated("SOUND"))).await.unwrap();
    agent.until_begun(2).await;
    world.kill();
    damage(&file_with(&world.folder().join("data"), "BROKEN-BROKEN"), "BROKEN");
    world.restart().await;
    agent.open("go").await;
    assert_eq!(world.until_ended(&sound).await.state(), pb::RunState::Completed);
    serves_everything_but(&world, &damaged, &[sound]).await;
}
