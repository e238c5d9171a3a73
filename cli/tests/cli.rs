//! The binary as a script sees it: exit codes, and what goes to which stream. No server is needed here.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Runs `mainstay` with these arguments and nothing of this process's environment that it would read.
fn mainstay(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MAINSTAY_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn explain_prints_the_page_of_a_code_of_either_kind() {
    for (code, word) in [("LEASE_UNKNOWN", "lease"), ("step-cycle", "circle"), ("schema_remote_ref", "$defs")]
    {
        let output = mainstay(&["explain", code], &[]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains("What to do: "), "{}", stdout(&output));
        assert!(stdout(&output).contains(word), "{}", stdout(&output));
    }
}

#[test]
fn explain_lists_every_code_for_programs_too() {
    let output = mainstay(&["explain", "--output", "json"], &[]);
    let pages: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(pages.len(), mainstay_proto::pages::all().count());
    assert!(pages.iter().all(|page| page["remedy"].as_str().is_some_and(|text| !text.is_empty())));
}

#[test]
fn an_unknown_code_says_where_else_to_look() {
    let output = mainstay(&["explain", "NO_SUCH_\u{1b}[31mCODE"], &[]);
    assert_eq!(output.status.code(), Some(66));
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("hint: `mainstay explain` lists them all"), "{}", stderr(&output));
    assert!(!stderr(&output).contains('\u{1b}'), "{:?}", stderr(&output));
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = mainstay(&["completions", shell], &[]);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("mainstay"), "{shell}");
    }
}

#[test]
fn a_wrong_command_line_is_clap_s_own_code() {
    assert_eq!(mainstay(&["no-such-command"], &[]).status.code(), Some(2));
}

#[test]
fn a_bad_manifest_ends_with_64_and_the_place() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "nmae: x").unwrap();
    let output = mainstay(&["sidecar", "--manifest", file.path().to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
    assert!(stderr(&output).contains("nmae"), "{}", stderr(&output));
}

#[test]
fn a_reader_that_goes_away_ends_the_command_without_a_word() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    let output = command.args(["completions", "bash"]).stdout(writer).output().unwrap();
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(141));
}

#[test]
fn a_bad_configuration_ends_with_64_and_names_every_error_with_its_source() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "admin: nowhere\nlisen: 127.0.0.1:0").unwrap();
    let path = file.path().to_str().unwrap();
    let arguments = ["serve", "--config", path, "--max-payload", "4MB", "--listen", "0.0.0.0:0"];
    let output = mainstay(&arguments, &[("MAINSTAY_SHUTDOWN_GRACE", "10")]);
    assert_eq!(output.status.code(), Some(64));
    for part in
        ["line 1, admin", "line 2, lisen", "--max-payload", "MAINSTAY_SHUTDOWN_GRACE", "--insecure-listen"]
    {
        assert!(stderr(&output).contains(part), "{part}: {}", stderr(&output));
    }
}

/// Starts `mainstay` with a pipe as its standard input and waits until its ready file says where it listens.
fn start(folder: &Path, arguments: &[&str]) -> (Child, serde_json::Value) {
    let ready = folder.join("ready.json");
    let mut child = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .args(arguments)
        .args(["--until-stdin-closes", "--ready-file", ready.to_str().unwrap()])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    loop {
        if let Ok(text) = std::fs::read_to_string(&ready) {
            return (child, serde_json::from_str(&text).unwrap());
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was ready");
        std::thread::yield_now();
    }
}

#[test]
fn serve_says_where_it_listens_and_ends_with_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, ready) =
        start(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    for address in [&ready["grpc"], &ready["admin"]] {
        TcpStream::connect(address.as_str().unwrap()).unwrap();
    }
    drop(server.stdin.take());
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn a_taken_address_is_a_bad_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = folder.path().join("data");
    let output = mainstay(&["serve", "--listen", &address, "--data", data.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
}

const MANIFEST: &str = "
name: echo
adapter: { echo: {} }
capabilities: [{ name: text.echo, effect: read-only }]
";

const WORKFLOW: &str = "
name: twice
version: 1
steps:
  - id: first
    call: { capability: text.echo }
    input: { q: \"${input.q}\" }
    timeout: 5s
  - id: second
    after: [first]
    call: { capability: text.echo }
    input: { q: \"${steps.first.output.q}\" }
    timeout: 5s
output: { answer: \"${steps.second.output.q}\" }
";

/// A server and an agent behind its sidecar, and [`WORKFLOW`] in a file.
struct Stage {
    folder: tempfile::TempDir,
    server: Child,
    agent: Child,
    url: String,
}

impl Stage {
    fn set(manifest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("agent.yaml"), manifest).unwrap();
        std::fs::write(at("workflow.yaml"), WORKFLOW).unwrap();
        for part in ["control", "agent"] {
            std::fs::create_dir(at(part)).unwrap();
        }
        let (server, ready) =
            start(&at("control"), &["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let url = format!("http://{}", ready["grpc"].as_str().unwrap());
        let manifest = at("agent.yaml");
        let manifest = manifest.to_str().unwrap();
        let arguments =
            ["sidecar", "--manifest", manifest, "--control-plane", &url, "--listen", "127.0.0.1:0"];
        let (agent, _) = start(&at("agent"), &arguments);
        Self { folder, server, agent, url }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        mainstay(arguments, &[("MAINSTAY_SERVER", &self.url), ("MAINSTAY_OUTPUT", "json")])
    }

    /// Ends both, and says where the server was.
    fn end(mut self) -> String {
        for process in [&mut self.agent, &mut self.server] {
            drop(process.stdin.take());
            assert_eq!(process.wait().unwrap().code(), Some(0));
        }
        self.url
    }
}

#[test]
fn a_workflow_is_stored_run_followed_and_traced() {
    let stage = Stage::set(MANIFEST);
    let ask = |arguments: &[&str]| stage.ask(arguments);
    let json = |output: &Output| serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();

    while json(&ask(&["status"]))["instances"] != 1 {
        std::thread::yield_now();
    }
    let workflow = stage.at("workflow.yaml");
    let workflow = workflow.to_str().unwrap();
    assert_eq!(json(&ask(&["workflows", "put", workflow]))["created"], true);
    assert_eq!(json(&ask(&["workflows", "put", workflow]))["created"], false);

    let run = ask(&["run", "twice", "--input", r#"{"q": "hello"}"#]);
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    assert_eq!(json(&run)["output"]["answer"], "hello");

    let followed = ask(&["run", "twice", "--input", r#"{"q": "hello"}"#, "--follow"]);
    let lines: Vec<serde_json::Value> =
        stdout(&followed).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.first().unwrap()["event"]["kind"], "run-started");
    assert_eq!(lines.last().unwrap()["run"]["state"], "completed");

    let id = json(&run)["run_id"].as_str().unwrap().to_owned();
    let traced = ask(&["--output", "table", "trace", &id]);
    assert!(stdout(&traced).contains("echo/"), "{}", stdout(&traced));
    assert_eq!(json(&ask(&["runs"]))["runs"].as_array().unwrap().len(), 2);

    let refused = ask(&["run", "twice", "--input", "{"]);
    assert_eq!(refused.status.code(), Some(65));
    assert_eq!(stdout(&refused), "");
    let error: serde_json::Value = serde_json::from_str(stderr(&refused)).unwrap();
    assert_eq!(error["error"]["code"], "JSON_INVALID");
    assert_eq!(ask(&["cancel", &id]).status.code(), Some(65), "it has ended");
    assert_eq!(ask(&["run", "nothing"]).status.code(), Some(66));

    let url = stage.end();
    assert_eq!(mainstay(&["--server", &url, "status"], &[]).status.code(), Some(69));
}

#[test]
fn lint_needs_no_server_and_ends_with_1_for_errors() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(WORKFLOW.replace("after: [first]", "after: [frist]").as_bytes()).unwrap();
    let output = mainstay(&["workflows", "lint", file.path().to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).contains("STEP_UNKNOWN_DEPENDENCY"), "{}", stdout(&output));
}

#[test]
fn an_absent_server_ends_with_69_and_says_how_to_start_one() {
    // Bound and given back: a port that exists and that nobody listens on.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = mainstay(&["--server", &format!("http://{address}"), "agents"], &[]);
    assert_eq!(output.status.code(), Some(69));
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("mainstay serve"), "{}", stderr(&output));
}

/// An agent that answers once a file is there.
const WAITING: &str = r#"
name: patient
adapter: { command: { program: /bin/sh, args: ["-c", "while [ ! -e GO ]; do sleep 0.02; done; cat"] } }
capabilities: [{ name: text.echo, effect: read-only }]
"#;

#[test]
fn following_goes_on_where_a_killed_server_left_it() {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let mut stage = Stage::set(&WAITING.replace("GO", go.to_str().unwrap()));
    while !stdout(&stage.ask(&["agents"])).contains("patient") {
        std::thread::yield_now();
    }
    let workflow = stage.at("workflow.yaml");
    assert_eq!(stage.ask(&["workflows", "put", workflow.to_str().unwrap()]).status.code(), Some(0));

    let mut following = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .args([
            "--server",
            &stage.url,
            "--output",
            "json",
            "run",
            "twice",
            "--input",
            r#"{"q": 1}"#,
            "--follow",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut seen: Vec<String> = Vec::new();
    while !seen.last().is_some_and(|line| line.contains("step-started")) {
        seen.push(lines.next().unwrap());
    }
    stage.server.kill().unwrap();
    stage.server.wait().unwrap();
    std::fs::remove_file(stage.at("control").join("ready.json")).unwrap();
    let address = stage.url.strip_prefix("http://").unwrap();
    (stage.server, _) =
        start(&stage.at("control"), &["serve", "--listen", address, "--admin", "127.0.0.1:0"]);
    std::fs::write(go, "").unwrap();

    seen.extend(lines);
    assert_eq!(following.wait().unwrap().code(), Some(0), "{seen:#?}");
    let seen: Vec<serde_json::Value> = seen.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = seen.iter().filter_map(|line| line["event"]["number"].as_u64()).collect();
    assert_eq!(numbers, (1..=6).collect::<Vec<u64>>(), "each event once");
    assert_eq!(seen.last().unwrap()["run"]["output"]["answer"], 1);
    stage.end();
}
