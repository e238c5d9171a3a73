//! The demo's agents as the processes they are: a program that reads and prints, a server that ends with its parent.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

fn start(arguments: &[&str], key: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .arg("demo-agent")
        .args(arguments)
        .env("MAINSTAY_IDEMPOTENCY_KEY", key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn review(effects: &Path, input: &str) -> Output {
    let mut child = start(&["reviewer", "--effects", effects.to_str().unwrap()], "att_7");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_reviewer_reads_its_input_and_prints_its_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let effects = folder.path().join("effects");
    let place = |mut value: Value| {
        value["source"] = "a.md".into();
        value["line"] = 3.into();
        value
    };
    let input = json!({
        "question": "Do runs survive?",
        "text": "Runs survive. [1]",
        "citations": [place(json!({ "number": 1, "quote": "" }))],
        "passages": [place(json!({ "heading": "", "text": "All runs survive.", "score": 1.0 }))],
    });
    let output = review(&effects, &input.to_string());
    assert!(output.status.success(), "{output:?}");
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict, json!({ "verdict": "supported", "confidence": 1.0, "sentences": 1, "problems": [] }));
    assert_eq!(std::fs::read_to_string(&effects).unwrap(), "att_7 docs.review\n");
}

#[test]
fn input_that_is_wrong_fails_with_a_word_and_leaves_no_effect() {
    let folder = tempfile::tempdir().unwrap();
    let effects = folder.path().join("effects");
    for (input, word) in [("{", "not JSON"), ("{}", "missing field")] {
        let output = review(&effects, input);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(complaint.contains(word) && output.stdout.is_empty(), "{output:?}");
    }
    assert_eq!(std::fs::read_to_string(&effects).unwrap(), "");
}

#[test]
fn a_server_says_where_it_is_answers_and_ends_with_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.md"), "A lease ends after fifteen seconds.").unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (docs, effects, ready) = (path(""), path("effects"), path("ready"));
    let arguments = ["--docs", &docs, "--effects", &effects, "--ready-file", &ready, "--until-stdin-closes"];
    let mut child = start(&[&["finder"], &arguments[..]].concat(), "");
    // The file appears whole or not at all, and a child that ends instead ends the wait.
    let address = loop {
        if let Ok(text) = std::fs::read_to_string(&ready) {
            break serde_json::from_str::<Value>(&text).unwrap()["http"].as_str().unwrap().to_owned();
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended instead of starting");
        std::thread::yield_now();
    };
    let body = r#"{"question": "When does a lease end?"}"#;
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(stream, "POST /find HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("A lease ends after fifteen seconds."), "{answer}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(TcpStream::connect(&address).is_err());
}
