//! Artifacts over the wire and by the command line: large ones in little memory, once each, never a wrong byte, and gone
//! when nobody needs them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use futures::stream;
use mainstay_kernel::artifact::Hasher;
use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_proto::pb::artifacts_client::ArtifactsClient;
use mainstay_proto::pb::get_artifact_response::Part as Got;
use mainstay_proto::pb::put_artifact_request::Part as Given;
use mainstay_tests::process::mainstay;
use mainstay_tests::wait::until;
use mainstay_tests::world::World;
use serde_json::Value;
use tonic::transport::Channel;
use tonic::{Code, Status};

const WORK: (&str, &str) = ("work", "effect: idempotent, max_concurrency: 4");
const MIB: usize = 1024 * 1024;

/// What the server may need more than before, to take and to give a hundred megabytes at once: the pieces of two transfers,
/// what the network holds of them, and what an allocator keeps.
const GROWTH_KIB: u64 = 48 * 1024;

fn artifacts(world: &World) -> ArtifactsClient<Channel> {
    ArtifactsClient::new(world.channel())
}

/// The megabyte number `n`: no two are alike.
fn megabyte(n: usize) -> Vec<u8> {
    (0..MIB).map(|at| (at % 251) as u8 ^ n as u8).collect()
}

fn head(expected_ref: &str) -> pb::PutArtifactRequest {
    let head = pb::PutArtifactHead {
        media_type: "text/csv".into(),
        expected_ref: expected_ref.into(),
        ..Default::default()
    };
    pb::PutArtifactRequest { part: Some(Given::Head(head)) }
}

fn data(bytes: Vec<u8>) -> pb::PutArtifactRequest {
    pb::PutArtifactRequest { part: Some(Given::Data(bytes.into())) }
}

async fn put(world: &World, megabytes: usize, seed: usize) -> Result<pb::PutArtifactResponse, Status> {
    let parts = (0..megabytes).map(move |n| data(megabyte(n + seed)));
    let sent = stream::iter(std::iter::once(head("")).chain(parts));
    Ok(artifacts(world).put(sent).await?.into_inner())
}

/// The hash of what is read, and how much it was.
async fn get(world: &World, reference: &str, offset: u64) -> Result<(String, u64), Status> {
    let request = pb::GetArtifactRequest { r#ref: reference.into(), offset, ..Default::default() };
    let mut messages = artifacts(world).get(request).await?.into_inner();
    let (mut hash, mut bytes) = (Hasher::default(), 0);
    while let Some(message) = messages.message().await? {
        if let Some(Got::Data(data)) = message.part {
            hash.update(&data);
            bytes += data.len() as u64;
        }
    }
    Ok((hash.finish().to_string(), bytes))
}

async fn list(world: &World) -> pb::ListArtifactsResponse {
    artifacts(world).list(pb::ListArtifactsRequest::default()).await.unwrap().into_inner()
}

/// The files of the documents, and what lies beside them unfinished.
fn files(world: &World) -> Vec<PathBuf> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
    let mut files = Vec::new();
    walk(&world.folder().join("data/blobs"), &mut files);
    files
}

async fn cli(world: &World, args: &[&str]) -> Output {
    let server = format!("http://{}", world.grpc);
    let mut command = Command::new(mainstay());
    command.args(args).args(["--server", &server, "--output", "json"]).current_dir(world.folder());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn ok(world: &World, args: &[&str]) -> Value {
    let output = cli(world, args).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_go_in_and_out_in_little_memory_and_lie_there_once() {
    let mut world = World::start().await;
    let warm = put(&world, 4, 200).await.unwrap().artifact.unwrap();
    get(&world, &warm.r#ref, 0).await.unwrap();
    let memory = world.control_plane().watch_memory();
    let first = put(&world, 100, 0).await.unwrap();
    let artifact = first.artifact.unwrap();
    assert_eq!((first.created, artifact.bytes, &*artifact.media_type), (true, 100 * MIB as u64, "text/csv"));
    let read = get(&world, &artifact.r#ref, 0).await.unwrap();
    assert_eq!(read, (artifact.r#ref.clone(), artifact.bytes), "the very bytes");
    let tail = get(&world, &artifact.r#ref, 99 * MIB as u64).await.unwrap();
    let mut last = Hasher::default();
    last.update(&megabyte(99));
    assert_eq!(tail, (last.finish().to_string(), MIB as u64), "and from any place");

    let on_disk = files(&world).len();
    let second = put(&world, 100, 0).await.unwrap();
    assert!(!second.created && second.artifact.unwrap().r#ref == artifact.r#ref);
    assert_eq!(list(&world).await.used_bytes, 104 * MIB as u64, "counted once");
    until("the second copy to go", || async { (files(&world).len() == on_disk).then_some(()) }).await;
    let growth = memory.most_growth_kib();
    assert!(growth < GROWTH_KIB, "{growth} KiB for 100 MiB");
}

#[tokio::test]
async fn the_command_puts_gets_and_lists_and_knows_what_is_there() {
    let world = World::start().await;
    fs::write(world.folder().join("table.csv"), "a,b\n1,2\n").unwrap();
    let put = ok(&world, &["artifacts", "put", "table.csv", "--media-type", "text/csv"]).await;
    assert_eq!((&put["bytes"], &put["created"]), (&8.into(), &true.into()));
    let reference = put["$artifact"].as_str().unwrap();
    assert_eq!(ok(&world, &["artifacts", "put", "table.csv"]).await["created"], false);
    ok(&world, &["artifacts", "get", reference, "--to", "copy.csv"]).await;
    assert_eq!(fs::read_to_string(world.folder().join("copy.csv")).unwrap(), "a,b\n1,2\n");
    assert_eq!(cli(&world, &["artifacts", "get", reference, "--offset", "4"]).await.stdout, b"1,2\n");
    let listed = ok(&world, &["artifacts", "list"]).await;
    assert_eq!((&listed["artifacts"][0]["$artifact"], &listed["used_bytes"]), (&reference.into(), &8.into()));
    let gone = cli(&world, &["artifacts", "get", &reference.replace(':', ":0")[..71]]).await;
    assert_eq!(gone.status.code(), Some(66), "not there");
    let nonsense = cli(&world, &["artifacts", "get", "latest"]).await;
    assert_eq!(nonsense.status.code(), Some(65), "refused");
}

#[tokio::test]
async fn a_damaged_file_is_refused_told_of_and_mended_by_putting_the_document_again() {
    let mut world = World::start().await;
    let reference = put(&world, 5, 0).await.unwrap().artifact.unwrap().r#ref;
    let file = files(&world).into_iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[MIB] ^= 1;
    fs::write(&file, bytes).unwrap();
    let refused = get(&world, &reference, 0).await.unwrap_err();
    assert_eq!(
        (refused.code(), &*Seen::of(&refused).reason),
        (Code::DataLoss, "RECORD_DAMAGED"),
        "{refused:?}"
    );
    let found = cli(&world, &["doctor"]).await;
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(found.contains("artifact") && found.contains(&reference), "{found}");
    assert!(put(&world, 5, 0).await.unwrap().created, "what was damaged is not taken for the same");
    assert_eq!(get(&world, &reference, 0).await.unwrap().0, reference);

    // And a backup has it.
    ok(&world, &["backup", "kept.backup"]).await;
    world.kill();
    ok(&world, &["restore", "kept.backup", "--data", "restored"]).await;
    fs::remove_dir_all(world.folder().join("data")).unwrap();
    fs::rename(world.folder().join("restored"), world.folder().join("data")).unwrap();
    world.restart().await;
    assert_eq!(get(&world, &reference, 0).await.unwrap().0, reference);
}

#[tokio::test]
async fn what_is_too_large_or_over_the_quota_is_refused_with_the_limit_and_leaves_nothing() {
    let world = World::start_with(&["--max-artifact", "4MiB", "--artifact-quota", "6MiB"]).await;
    let large = put(&world, 5, 0).await.unwrap_err();
    assert_eq!((large.code(), &*Seen::of(&large).reason), (Code::ResourceExhausted, "ARTIFACT_TOO_LARGE"));
    put(&world, 4, 0).await.unwrap();
    let over = put(&world, 3, 50).await.unwrap_err();
    assert_eq!(
        (over.code(), &*Seen::of(&over).reason),
        (Code::ResourceExhausted, "ARTIFACT_QUOTA"),
        "{over:?}"
    );
    assert!(over.message().contains("over 6291456 bytes"), "{over:?}");
    let sent = stream::iter([head(&format!("blake3:{}", "0".repeat(64))), data(b"x".to_vec())]);
    let other = artifacts(&world).put(sent).await.unwrap_err();
    assert_eq!(Seen::of(&other).reason, "ARTIFACT_MISMATCH");
    let headless = artifacts(&world).put(stream::iter([data(b"x".to_vec())])).await.unwrap_err();
    assert_eq!(Seen::of(&headless).reason, "FIELD_INVALID");
    assert_eq!(list(&world).await.used_bytes, 4 * MIB as u64);
    until("what was refused to go", || async { (files(&world).len() == 2).then_some(()) }).await;
}

#[tokio::test]
async fn an_artifact_stays_while_a_kept_run_names_it_and_goes_with_the_run() {
    let world = World::start_with(&["--artifact-grace", "1s", "--keep-runs", "1"]).await;
    let _agent = world.agent("worker", &[WORK]).await;
    world
        .put(
            "
name: one
version: 1
steps:
  - { id: a, call: { capability: work }, input: { x: \"${input.x}\" } }
output: { done: \"${steps.a.output}\" }
",
        )
        .await;
    let (named, unnamed) = (put(&world, 1, 0).await.unwrap(), put(&world, 1, 1).await.unwrap());
    let [named, unnamed] = [named, unnamed].map(|put| put.artifact.unwrap().r#ref);
    let input =
        serde_json::json!({"x": 1, "table": {"$artifact": named, "bytes": MIB, "media_type": "text/csv"}});
    let run = world.run("one", &input.to_string()).await;
    assert_eq!(run.state(), pb::RunState::Completed, "{run:?}");
    let references =
        || async { list(&world).await.artifacts.into_iter().map(|it| it.r#ref).collect::<Vec<_>>() };
    until("the one that nobody names to go", || async {
        (references().await == [named.clone()]).then_some(())
    })
    .await;
    assert_eq!(get(&world, &unnamed, 0).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(get(&world, &named, 0).await.unwrap().0, named, "the run is kept, and so is what it names");
    // One finished run is kept: this one takes the place of the other, ten seconds after that has ended.
    world.run("one", r#"{"x": 2}"#).await;
    until("the run to go", || async { world.get_run(&run.run_id).await.is_err().then_some(()) }).await;
    until("its artifact to go with it", || async { references().await.is_empty().then_some(()) }).await;
    until("the files to go", || async {
        files(&world).iter().all(|file| fs::metadata(file).is_ok_and(|f| f.len() < MIB as u64)).then_some(())
    })
    .await;
    assert_eq!(list(&world).await.used_bytes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_the_middle_of_an_upload_leaves_nothing_and_a_sender_that_goes_away_neither() {
    let mut world = World::start_with(&["--artifact-grace", "2s"]).await;
    let before = files(&world).len();
    for killed in [true, false] {
        let mut client = artifacts(&world);
        let parts = stream::iter(std::iter::once(head("")).chain((0..5).map(|n| data(megabyte(n)))));
        // The rest never comes.
        let endless = futures::StreamExt::chain(parts, stream::pending());
        let upload = tokio::spawn(async move { client.put(endless).await });
        until("two pieces to lie there", || async { (files(&world).len() == before + 2).then_some(()) })
            .await;
        if killed {
            world.kill();
            world.restart().await;
        }
        upload.abort();
        until("what came to go", || async { (files(&world).len() == before).then_some(()) }).await;
        let left = list(&world).await;
        assert_eq!((left.artifacts.len(), left.used_bytes), (0, 0));
    }
    assert!(put(&world, 5, 0).await.unwrap().created);
}
