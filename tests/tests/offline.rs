//! What needs no agents: workflows against canned ones, and runs against their own record.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::Output;

use mainstay_proto::pb;
use mainstay_tests::process::mainstay;
use mainstay_tests::world::World;
use serde_json::Value;

fn cli(args: &[&str]) -> Output {
    std::process::Command::new(mainstay()).args(args).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_example_passes_its_cases_without_a_server() {
    let mut files: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(examples().join("tests")).unwrap() {
        files.push(path(&entry.unwrap().path()).to_owned());
    }
    assert!(files.len() >= 3);
    let mut args = vec!["--server", "http://127.0.0.1:1", "workflows", "test"];
    args.extend(files.iter().map(String::as_str));
    let (code, text) = said(&cli(&args));
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(said(&cli(&args)).1, text, "the same each time");
    assert!(text.contains(": 0 failed"), "{text}");
}

#[test]
fn a_wrong_expectation_fails_with_both_sides_named() {
    let folder = tempfile::tempdir().unwrap();
    let workflow = std::fs::read_to_string(examples().join("workflows/hello.yaml")).unwrap();
    std::fs::write(folder.path().join("hello.yaml"), workflow).unwrap();
    let cases = std::fs::read_to_string(examples().join("tests/hello.yaml")).unwrap();
    let planted = cases.replace("../workflows/", "").replace("counts: { greet: 3 }", "counts: { greet: 2 }");
    let file = folder.path().join("cases.yaml");
    std::fs::write(&file, planted).unwrap();

    let (code, text) = said(&cli(&["workflows", "test", path(&file)]));
    assert_eq!(code, Some(1), "{text}");
    for line in
        ["ok  greets by name", "FAILED  a failing agent", "expect.counts.greet", "expected  2", "got       3"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    let (code, json) = said(&cli(&["--output", "json", "workflows", "test", path(&file)]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json[0]["cases"][1]["misses"][0]["got"]), (Some(1), &Value::from("3")));
    assert_eq!(cli(&["workflows", "test", path(&file), "--only", "greets"]).status.code(), Some(0));
    assert_eq!(cli(&["workflows", "test", path(&file), "--only", "nothing"]).status.code(), Some(66));
}

const SUM: &str = "
name: sum
version: 1
steps:
  - id: first
    call: { capability: work }
    input: { x: '${input.x}' }
  - id: second
    after: [first]
    call: { capability: work }
    input: { x: '${steps.first.output.x}' }
output: { x: '${steps.second.output.x}' }
";

#[tokio::test]
async fn a_run_comes_out_again_after_a_kill_and_a_changed_workflow_shows_where_it_parts() {
    let mut world = World::start().await;
    let agent = world.agent("worker", &[("work", "effect: side-effecting")]).await;
    world.put(SUM).await;
    let run = world.run("sum", r#"{"x": 1}"#).await;
    assert_eq!(run.state(), pb::RunState::Completed);
    let begun = agent.begun();
    world.kill();
    world.restart().await;

    let server = format!("http://{}", world.grpc);
    let replay = |more: &[&str]| cli(&[&["--server", &server, "replay", &run.run_id], more].concat());
    let (code, text) = said(&replay(&[]));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("same: all 6 events"), "{text}");

    let file = world.folder().join("changed.yaml");
    let changed =
        SUM.replace("version: 1", "version: 2").replace("{ x: '${steps.first", "{ y: 1, x: '${steps.first");
    std::fs::write(&file, changed).unwrap();
    let (code, text) = said(&replay(&["--workflow", path(&file)]));
    assert_eq!(code, Some(1), "{text}");
    for line in ["different at event 4 of 6, step second", "input.y", "would call work (second)"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let (_, json) = said(&replay(&["--workflow", path(&file), "--output", "json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["same"], &json["difference"]["event"]), (&Value::from(false), &Value::from(4)));

    std::fs::write(&file, SUM.replace("version: 1", "version: 2\ndescription: says what it is")).unwrap();
    assert_eq!(replay(&["--workflow", path(&file)]).status.code(), Some(0));
    assert_eq!(agent.begun(), begun, "nobody was called");
    let missing = "run_00000000000000000000000000000000";
    assert_eq!(cli(&["--server", &server, "replay", missing]).status.code(), Some(66));
}
