//! The demo, as a newcomer runs it: it answers, survives its own crash, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

use mainstay_tests::process::mainstay;

fn demo(args: &[&str]) -> Output {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    Command::new(mainstay()).arg("demo").args(args).current_dir(root).output().unwrap()
}

#[test]
fn the_demo_answers_with_citations_and_shows_who_ran() {
    let output = demo(&[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for part in ["[1]", "finder", "extractor", "writer", "reviewer"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn the_demo_survives_the_kill_of_its_control_plane_and_every_effect_is_seen_once() {
    let output = demo(&["--crash"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("SIGKILL"), "{text}");
}
