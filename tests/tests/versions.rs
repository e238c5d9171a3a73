//! Stores of every earlier version are opened and read, and what servers of them backed up is restored and read.
//!
//! A fixture is `tests/fixtures/stores/N.backup`, as a server backed it up, `N.data`, the data folder that the program of that
//! day made of it (the first one has none), and `N.json`: what was in it. A change that adds a kind of record or a schema adds
//! one, and none is ever changed:
//!
//! ```console
//! $ MAINSTAY_WRITE_FIXTURES=1 cargo test -p mainstay-tests --test versions part_that_makes
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mainstay_control_plane::records::{describe, key};
use mainstay_proto::pb;
use mainstay_store::limits::MAX_PAGE;
use mainstay_store::{SledOptions, SledStore, Store};
use mainstay_tests::process::mainstay;
use mainstay_tests::wait::until;
use mainstay_tests::world::{World, spec};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const WORK: (&str, &str) = ("work", "effect: idempotent, max_concurrency: 8");
const PAY: (&str, &str) = ("pay", "effect: side-effecting, max_concurrency: 8");

const ONE: &str = "name: one\nversion: 1\ninput: true\ndeadline: 24h\nsteps:\n  \
    - { id: a, call: { capability: work }, input: \"${input}\", timeout: 23h, retry: { max_attempts: 1 } }\n  \
    - { id: b, after: [a], optional: true, call: { capability: pay }, input: { x: 2 } }\noutput: \"${steps.a.output}\"\n";

const PAUSE: &str = "name: pause\nversion: 1\nsteps: [{ id: a, wait: { for: 15s } }]\n";

const DESK: &str = "name: desk\nversion: 1\ncapabilities: [work]\ntext: \"${input.text}\"\n\
    generalist: { capability: work }\nstatic: { answer: nobody }\n";
const ROLLOUT: &str =
    "name: worker\nversion: 1\nagent: worker\nstable: \"1\"\ncandidate: \"2\"\nweight: 5%\n";

const TICK: &str = "name: tick\nworkflow: one\nevery: 1s\nmissed: skip\ninput: { x: 1 }\n";

/// What is listed of a server, and the fields that no time changes.
const LISTS: [(&[&str], &[&str]); 10] = [
    (&["artifacts", "list"], &["$artifact", "bytes"]),
    (&["breakers", "list"], &["agent", "instance", "capability", "reason"]),
    (&["budgets", "list"], &["target", "period", "reason"]),
    (&["drill", "history"], &["id", "kind"]),
    (&["limits", "list"], &["target", "rate", "reason"]),
    (&["mode", "show"], &["mode", "reason"]),
    (&["rollouts", "list"], &["name", "version", "hash", "phase"]),
    (&["routes", "decisions"], &["decision_id", "route", "rung", "capability"]),
    (&["routes", "list"], &["name", "version", "hash"]),
    (&["schedules", "list"], &["name", "workflow"]),
];

/// Kinds that are in no fixture: a note of what is to be removed and an upload under way are there for an instant, each
/// restore writes its own mark, and falls take a fault of the program (their bytes are kept where they are read).
const FLEETING: [u8; 4] = [key::FALLS, key::LOOSE, key::RESTORED, key::UPLOAD];

/// What is in a fixture.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Content {
    /// Records of each kind.
    kinds: BTreeMap<String, usize>,
    /// State and output of each run.
    runs: BTreeMap<String, (String, String)>,
    /// Targets that are paused.
    pauses: Vec<String>,
    /// Workflows with their hashes.
    workflows: Vec<String>,
    /// What else is listed.
    lists: BTreeMap<String, Vec<String>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/stores")
}

/// Runs a command against the world, off the runtime's thread.
async fn run(world: &World, arguments: &[&str]) -> Output {
    let server = format!("http://{}", world.grpc);
    let mut command = Command::new(mainstay());
    command.current_dir(world.folder()).env("MAINSTAY_SERVER", server).args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn command(world: &World, arguments: &[&str]) -> Vec<u8> {
    let output = run(world, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A line for everything that a command lists.
async fn list(world: &World, arguments: &[&str], fields: &[&str]) -> Vec<String> {
    let answer = command(world, &[arguments, &["--output", "json"]].concat()).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let inside = ["decisions", "artifacts", "schedules"].into_iter().find_map(|rows| answer.get(rows));
    let answer = inside.cloned().unwrap_or(answer);
    let rows = if answer.is_array() { answer.as_array().unwrap().clone() } else { vec![answer] };
    let line = |row: &Value| {
        let text = |field: &&str| row[field].as_str().map_or_else(|| row[field].to_string(), str::to_owned);
        fields.iter().map(text).collect::<Vec<_>>().join(" ")
    };
    rows.iter().map(line).collect()
}

/// What the server says is there.
async fn told(world: &World) -> Content {
    let mut content = Content { workflows: world.everything().await.1, ..Content::default() };
    let request = pb::ListRunsRequest { page_size: 500, ..Default::default() };
    for listed in world.orchestrator().list_runs(request).await.unwrap().into_inner().runs {
        let run = world.get_run(&listed.run_id).await.unwrap();
        assert_eq!((run.state, &run.intent), (listed.state, &listed.intent));
        let output = String::from_utf8_lossy(&run.output).into_owned();
        content.runs.insert(run.run_id.clone(), (run.state().as_str_name().to_owned(), output));
    }
    let pauses = world.operations().list_pauses(pb::ListPausesRequest::default()).await.unwrap().into_inner();
    content.pauses = pauses.pauses.into_iter().map(|pause| pause.target).collect();
    for (arguments, fields) in LISTS {
        let rows = list(world, arguments, fields).await;
        if !rows.is_empty() {
            content.lists.insert(arguments.join(" "), rows);
        }
    }
    content
}

/// Records of each kind in a store that no server holds.
fn kinds(data: &Path) -> BTreeMap<String, usize> {
    let store = SledStore::open(data.join("store"), SledOptions::default()).unwrap();
    let (mut kinds, mut from) = (BTreeMap::new(), None);
    loop {
        let page = store.scan(b"", from.as_deref(), MAX_PAGE).unwrap();
        for (key, _) in &page.entries {
            *kinds.entry(describe::describe(key).kind.to_owned()).or_default() += 1;
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return kinds,
        }
    }
}

/// Makes the data folder of `world` what is in a backup, or a copy of one that an earlier program made, and starts on it
/// without waiting until runs are driven.
async fn started_on(world: &mut World, fixture: &Path) -> BTreeMap<String, usize> {
    world.kill();
    let data = world.folder().join("data");
    std::fs::remove_dir_all(&data).unwrap();
    if fixture.is_dir() {
        copy(fixture, &data);
    } else {
        command(world, &["restore", fixture.to_str().unwrap(), "--data", "data"]).await;
    }
    let mut kinds = kinds(&data);
    // The restore itself is on record, too.
    assert_eq!(kinds.remove("restore"), Some(1));
    world.relaunch().await;
    until("the server to answer", || async {
        world.operations().get_server_info(pb::GetServerInfoRequest {}).await.ok()
    })
    .await;
    kinds
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The fixtures with this ending, oldest first.
fn fixtures(ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == ending));
    paths.sort();
    paths
}

fn meant(fixture: &Path) -> Content {
    serde_json::from_str(&std::fs::read_to_string(fixture.with_extension("json")).unwrap()).unwrap()
}

async fn is_read_as_meant(ending: &str) {
    let fixtures = fixtures(ending);
    assert!(!fixtures.is_empty());
    // Runs of fixtures grow older than any are kept otherwise.
    let mut world = World::start_with(&["--allow-drills", "--keep-runs-for", "3650d"]).await;
    for fixture in fixtures {
        let kinds = started_on(&mut world, &fixture).await;
        let read = Content { kinds, ..told(&world).await };
        assert_eq!(read, meant(&fixture), "{}", fixture.display());
    }
}

#[tokio::test]
async fn a_backup_of_every_earlier_version_is_restored_and_read() {
    is_read_as_meant("backup").await;
}

#[tokio::test]
async fn a_data_folder_of_every_earlier_version_is_opened_and_read() {
    is_read_as_meant("data").await;
}

#[test]
fn every_kind_of_record_is_in_a_fixture() {
    let kept: BTreeSet<String> =
        fixtures("backup").iter().flat_map(|fixture| meant(fixture).kinds.into_keys()).collect();
    for ordinal in key::ALL.into_iter().filter(|ordinal| !FLEETING.contains(ordinal)) {
        let kind = describe::describe(&key::sample(ordinal)).kind;
        assert!(
            kept.contains(kind),
            "no fixture has a record of the kind {kind:?}: add one, as is said above"
        );
    }
}

/// Puts a document and gives an input that names it.
async fn put_artifact(world: &World) -> String {
    std::fs::write(world.folder().join("large.txt"), "a large document").unwrap();
    let put = command(world, &["artifacts", "put", "large.txt", "--output", "json"]).await;
    let put: Value = serde_json::from_slice(&put).unwrap();
    let document = serde_json::json!({ "$artifact": put["$artifact"], "bytes": put["bytes"] });
    serde_json::json!({ "x": 1, "document": document }).to_string()
}

/// Lets a schedule fire, and pauses it when what it started has ended.
async fn fire_once(world: &World) {
    std::fs::write(world.folder().join("tick.yaml"), TICK).unwrap();
    command(world, &["schedules", "put", "tick.yaml"]).await;
    until("a run of the schedule", async || (!fired(world).await.is_empty()).then_some(())).await;
    command(world, &["schedules", "pause", "tick", "--reason", "a fixture"]).await;
    let ended = |run: &pb::Run| run.state() == pb::RunState::Completed;
    until("its runs to end", async || fired(world).await.iter().all(ended).then_some(())).await;
}

/// What the schedule has started.
async fn fired(world: &World) -> Vec<pb::Run> {
    let request = pb::ListRunsRequest { page_size: 500, ..Default::default() };
    let runs = world.orchestrator().list_runs(request).await.unwrap().into_inner().runs;
    runs.into_iter().filter(|run| run.labels.contains_key("schedule")).collect()
}

/// Backs up a server that has something of every kind, unless nobody asked for it.
#[tokio::test]
async fn part_that_makes_a_fixture_of_this_version() {
    if std::env::var_os("MAINSTAY_WRITE_FIXTURES").is_none() {
        return;
    }
    let mut world = World::start_with(&["--allow-drills", "--keep-runs-for", "3650d"]).await;
    let _agent = world.version("worker", "1", &[WORK, PAY]).await;
    world.until_healthy("worker").await;
    // It meets no traffic, so it proves nothing and fails; it is on record all the same.
    run(&world, &["drill", "run", "failing-agent", "--target", "capability/work", "--for", "1s"]).await;
    world.put(ONE).await;
    let large = format!("{{\"x\": 1, \"pad\": \"{}\"}}", "large ".repeat(4_000));
    world.run("one", r#"{"x": 1}"#).await;
    world.run("one", &large).await;
    // Long enough for what these used to be added to the sums of the day; what the last one used is not yet.
    world.put(PAUSE).await;
    world.run("pause", "{}").await;
    world.run("one", r#"{"x": 1, "fail": "always"}"#).await;
    let names_an_artifact = put_artifact(&world).await;
    world.run("one", &names_an_artifact).await;
    fire_once(&world).await;
    let keyed = pb::RunSpec {
        idempotency_key: "a key".to_owned(),
        intent: "to be read later".to_owned(),
        ..spec("one", r#"{"x": 1, "gate": "never"}"#)
    };
    world.submit(keyed).await.unwrap();
    let cancelled = world.submit(spec("one", r#"{"x": 1, "gate": "never"}"#)).await.unwrap();
    for (name, document) in [("desk.yaml", DESK), ("rollout.yaml", ROLLOUT)] {
        std::fs::write(world.folder().join(name), document).unwrap();
    }
    for arguments in [
        &["cancel", &cancelled, "--reason", "enough"][..],
        &["routes", "put", "desk.yaml"],
        &["invoke", "--route", "desk", "--input", r#"{"text": "hello", "x": 1}"#],
        &["rollouts", "put", "rollout.yaml"],
        &["budgets", "set", "workflow/one", "month", "--calls", "1000", "--reason", "a fixture"],
        &["context", "put", "rates/eur", "1.08"],
        &["limits", "set", "capability/work", "1000/s", "--reason", "a fixture"],
        &["breakers", "trip", "--agent", "worker", "--capability", "pay", "--reason", "a fixture"],
    ] {
        command(&world, arguments).await;
    }
    command(&world, &["mode", "set", "degraded", "--reason", "a fixture"]).await;
    command(&world, &["pause", "agent/worker", "--reason", "a fixture"]).await;
    command(&world, &["backup", "fixture.backup"]).await;
    let fixture = folder().join(format!("{}.backup", fixtures("backup").len() + 1));
    std::fs::copy(world.folder().join("fixture.backup"), &fixture).unwrap();
    let kinds = started_on(&mut world, &fixture).await;
    let content = Content { kinds, ..told(&world).await };
    std::fs::write(fixture.with_extension("json"), serde_json::to_string_pretty(&content).unwrap()).unwrap();
    command(&world, &["restore", fixture.to_str().unwrap(), "--data", "fixture.data"]).await;
    copy(&world.folder().join("fixture.data"), &fixture.with_extension("data"));
}
