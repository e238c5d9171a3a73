//! Shared context, over the wire and by the command line: who writes, who wins, what is too old, and what a run has read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};
use std::time::Duration;

use mainstay_proto::fault::Seen;
use mainstay_proto::pb::get_context_request::AsOf;
use mainstay_proto::pb::shared_context_client::SharedContextClient;
use mainstay_proto::{pb, time};
use mainstay_tests::process::mainstay;
use mainstay_tests::wait::until;
use mainstay_tests::world::{World, spec};
use serde_json::Value;
use tonic::transport::Channel;
use tonic::{Code, Status};

const WORK: (&str, &str) = ("work", "effect: idempotent, max_concurrency: 4");

/// Writers that race for one key, and how often each must win.
const WRITERS: usize = 16;
const WINS: usize = 10;

fn context(world: &World) -> SharedContextClient<Channel> {
    SharedContextClient::new(world.channel())
}

fn put(key: &str, value: impl Into<Vec<u8>>) -> pb::PutContextRequest {
    let by = "agent/market".to_owned();
    pb::PutContextRequest { key: key.into(), by, value: value.into().into(), ..Default::default() }
}

async fn get(world: &World, key: &str) -> Result<pb::ContextVersion, Status> {
    let request = pb::GetContextRequest { key: key.into(), ..Default::default() };
    Ok(context(world).get(request).await?.into_inner().found.unwrap())
}

async fn version(world: &World, request: pb::PutContextRequest) -> Result<u64, Status> {
    Ok(context(world).put(request).await?.into_inner().written.unwrap().version)
}

fn reason(status: &Status) -> String {
    Seen::of(status).reason
}

/// Runs a command against the world, off the runtime's thread.
async fn cli(world: &World, args: &[&str]) -> Output {
    let server = format!("http://{}", world.grpc);
    let mut command = Command::new(mainstay());
    command.args(args).args(["--server", &server, "--output", "json"]).env("USER", "olga");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The JSON answer of a command that must succeed.
async fn ok(world: &World, args: &[&str]) -> Value {
    let output = cli(world, args).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_none_overwrites_what_it_has_not_seen() {
    let world = World::start().await;
    version(&world, put("counter", "0")).await.unwrap();
    let writers = (0..WRITERS).map(|_| {
        let mut client = context(&world);
        tokio::spawn(async move {
            let (mut won, mut lost) = (0, 0);
            while won < WINS {
                let request = pb::GetContextRequest { key: "counter".into(), ..Default::default() };
                let seen = client.get(request).await.unwrap().into_inner().found.unwrap();
                let count: u64 = serde_json::from_slice(&seen.value).unwrap();
                let next = pb::PutContextRequest {
                    expected_version: Some(seen.version),
                    ..put("counter", (count + 1).to_string())
                };
                match client.put(next).await {
                    Ok(_) => won += 1,
                    Err(status) => {
                        assert_eq!((status.code(), &*reason(&status)), (Code::Aborted, "CONTEXT_CONFLICT"));
                        lost += 1;
                    }
                }
            }
            lost
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut lost = 0;
    for writer in writers {
        lost += writer.await.unwrap();
    }
    let end = get(&world, "counter").await.unwrap();
    let wins = WRITERS * WINS;
    assert_eq!(end.value, wins.to_string().into_bytes(), "every increment counts");
    assert_eq!(end.version, wins as u64 + 1, "and made one version");
    assert!(lost > 0, "they did race");
}

#[tokio::test]
async fn only_the_owner_writes_and_what_is_wrong_is_said_by_name() {
    let world = World::start().await;
    assert_eq!(ok(&world, &["context", "put", "team/plan", "[1]"]).await["owner"], "user/olga");
    let refused = cli(&world, &["context", "put", "team/plan", "[2]", "--as", "agent/market"]).await;
    assert_eq!(refused.status.code(), Some(77), "not allowed");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("CONTEXT_NOT_OWNER") && text.contains("is owned by user/olga"), "{text}");
    let removal =
        pb::RemoveContextRequest { key: "team/plan".into(), by: "agent/market".into(), ..Default::default() };
    assert_eq!(reason(&context(&world).remove(removal).await.unwrap_err()), "CONTEXT_NOT_OWNER");
    assert_eq!(get(&world, "team/plan").await.unwrap().version, 1, "nothing changed");

    for (request, code, says) in [
        (put("team//plan", "1"), "CONTEXT_KEY_INVALID", "key has the part \"\""),
        (
            pb::PutContextRequest { by: "ann".into(), ..put("a", "1") },
            "FIELD_INVALID",
            "by must be `agent/NAME`",
        ),
        (put("a", "{"), "JSON_INVALID", "value"),
        (put("a", vec![b'1'; 40_000]), "PAYLOAD_TOO_LARGE", "value is 40000 bytes long"),
    ] {
        let refused = version(&world, request).await.unwrap_err();
        assert_eq!(reason(&refused), code, "{refused:?}");
        assert!(refused.message().starts_with(says), "{refused:?}");
    }
    assert_eq!(ok(&world, &["context", "list"]).await.as_array().unwrap().len(), 1);
    ok(&world, &["context", "remove", "team/plan"]).await;
    assert_eq!(reason(&get(&world, "team/plan").await.unwrap_err()), "CONTEXT_NOT_FOUND");
}

#[tokio::test]
async fn what_was_known_then_is_read_as_of_then() {
    let world = World::start().await;
    for value in ["\"one\"", "\"two\"", "\"three\""] {
        ok(&world, &["context", "put", "news", value]).await;
    }
    let history = ok(&world, &["context", "history", "news"]).await;
    let versions: Vec<u64> =
        history.as_array().unwrap().iter().map(|v| v["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, [3, 2, 1]);
    for (at, version) in [("3", 3), ("1", 1)] {
        assert_eq!(ok(&world, &["context", "get", "news", "--as-of", at]).await["version"], version);
    }
    let then = history[1]["written_at"].as_str().unwrap();
    let found = ok(&world, &["context", "get", "news", "--as-of", then]).await;
    assert!(found["version"].as_u64() >= Some(2), "two versions may share a millisecond: {found}");
    assert_eq!(found["written_at"], then);
    let before = cli(&world, &["context", "get", "news", "--as-of", "2020-01-01T00:00:00Z"]).await;
    let text = String::from_utf8_lossy(&before.stderr).into_owned();
    assert!(before.status.code() == Some(66) && text.contains("did not exist then"), "{text}");
    let never =
        pb::GetContextRequest { key: "news".into(), as_of: Some(AsOf::Version(9)), ..Default::default() };
    let never = context(&world).get(never).await.unwrap_err();
    assert_eq!(reason(&never), "CONTEXT_VERSION_NOT_KEPT");
    assert!(never.message().contains("has no version 9; the newest is 3"), "{never:?}");
}

#[tokio::test]
async fn a_value_past_its_limit_is_refused_to_readers_and_runs_and_served_once_it_is_fresh() {
    let world = World::start().await;
    let agent = world.agent("worker", &[WORK]).await;
    world
        .put(
            "
name: quote
version: 1
context: { prices: { key: market/prices } }
steps:
  - { id: a, call: { capability: work }, input: { x: \"${context.prices.x}\" } }
",
        )
        .await;
    let missing = world.submit(spec("quote", "{}")).await.unwrap_err();
    assert_eq!((missing.code(), &*reason(&missing)), (Code::NotFound, "CONTEXT_NOT_FOUND"));
    assert!(missing.message().contains("`market/prices` does not exist"), "{missing:?}");

    let limit = Duration::from_millis(300);
    let short = || pb::PutContextRequest {
        max_age: Some(time::duration(limit)),
        ..put("market/prices", r#"{"x": 41}"#)
    };
    version(&world, short()).await.unwrap();
    let stale = until("the value to get stale", || async { get(&world, "market/prices").await.err() }).await;
    assert_eq!((stale.code(), &*reason(&stale)), (Code::FailedPrecondition, "CONTEXT_STALE"));
    let text = stale.message();
    assert!(text.starts_with("`market/prices` is stale: version 1 is "), "{text}");
    assert!(text.ends_with("and its owner allows 300ms"), "{text}");
    let refused = world.submit(spec("quote", "{}")).await.unwrap_err();
    assert_eq!((reason(&refused), agent.begun()), ("CONTEXT_STALE".to_owned(), 0));
    let history = ok(&world, &["context", "get", "market/prices", "--as-of", "1"]).await;
    assert_eq!((&history["stale"], &history["value"]["x"]), (&true.into(), &41.into()));

    let fresh = pb::PutContextRequest { max_age: None, ..short() };
    version(&world, fresh).await.unwrap();
    let run = world.run("quote", "{}").await;
    assert_eq!(run.state(), pb::RunState::Completed, "{run:?}");
    assert_eq!(&run.output[..], br#"{"a":{"x":42}}"#);
}

#[tokio::test]
async fn what_a_client_was_told_is_written_survives_a_kill_between_put_and_read() {
    let mut world = World::start().await;
    for round in 1..=5_u64 {
        let written = version(&world, put("round", round.to_string())).await.unwrap();
        world.kill();
        world.restart().await;
        let found = get(&world, "round").await.unwrap();
        assert_eq!((written, found.version), (round, round));
        assert_eq!(found.value, round.to_string().into_bytes());
        assert_eq!(found.owner, "agent/market");
    }
    let history = pb::ContextHistoryRequest { key: "round".into(), ..Default::default() };
    let history = context(&world).history(history).await.unwrap().into_inner().versions;
    assert_eq!(history.len(), 5);
}

#[tokio::test]
async fn a_run_sees_what_it_read_first_whatever_is_written_and_killed_later() {
    let mut world = World::start().await;
    let agent = world.agent("worker", &[WORK]).await;
    world
        .put(
            "
name: steady
version: 1
context: { prices: { key: market/prices, max_age: 1h } }
steps:
  - { id: a, call: { capability: work }, input: { x: 1, gate: go }, timeout: 50s, retry: { max_attempts: 20 } }
  - { id: b, after: [a], call: { capability: work }, input: { x: \"${context.prices.x}\" } }
output: { first: \"${context.prices}\", b: \"${steps.b.output.x}\" }
",
        )
        .await;
    let exact = r#"{"x": 10, "rate": 1.10}"#;
    version(&world, put("market/prices", exact)).await.unwrap();
    let id = world.submit(spec("steady", "{}")).await.unwrap();
    agent.until_begun(1).await;
    version(&world, put("market/prices", r#"{"x": 20}"#)).await.unwrap();
    world.kill();
    world.restart().await;
    world.until_healthy("worker").await;
    agent.open("go").await;
    let run = world.until_ended(&id).await;
    assert_eq!(run.state(), pb::RunState::Completed, "{run:?}");
    let output = String::from_utf8(run.output.to_vec()).unwrap();
    assert!(output.contains(exact) && output.contains("\"b\":11"), "the very bytes it read: {output}");
    let [pin] = &run.context[..] else { panic!("{run:?}") };
    assert_eq!((&*pin.name, &*pin.key, pin.version), ("prices", "market/prices", 1));
    assert_eq!(&pin.value[..], exact.as_bytes());
    let trace = ok(&world, &["trace", &id]).await;
    assert_eq!(
        (&trace["context"][0]["key"], &trace["context"][0]["version"]),
        (&"market/prices".into(), &1.into())
    );
    assert_eq!(get(&world, "market/prices").await.unwrap().version, 2);
}
