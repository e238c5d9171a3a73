//! The binary as a script sees it: exit codes, and what goes to which stream. No server is needed here.

use std::io::Write;
use std::process::{Command, Output, Stdio};

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
