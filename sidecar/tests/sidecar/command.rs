//! Agents that are programs.

use std::path::Path;
use std::time::Duration;

use mainstay_proto::pb::{Began, OutcomeClass};

use crate::harness::{request, start, until};

fn manifest(program: &str, args: &[&str], more: &str) -> String {
    let args = serde_json::to_string(args).unwrap();
    format!(
        "
name: agent
control_plane: http://127.0.0.1:1
adapter: {{ command: {{ program: {program}, args: {args}, env: {{ EXTRA: hello }} }} }}
limits: {{ payload: 64KiB }}
capabilities: [ {{ name: work, effect: idempotent, {more} }} ]
"
    )
}

fn shell(script: &str, more: &str) -> String {
    manifest("/bin/sh", &["-c", script], more)
}

/// Whether a process exists and is not a zombie.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// Processes of ours that have ended and that nobody has waited for.
fn zombies() -> Vec<String> {
    let me = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| {
            let rest: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
            rest.first() == Some(&"Z") && rest.get(1) == Some(&me.as_str())
        })
        .collect()
}

async fn pid_in(file: &Path) -> String {
    until("the program says its number", async || {
        std::fs::read_to_string(file).is_ok_and(|text| text.ends_with('\n'))
    })
    .await;
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

#[tokio::test]
async fn input_goes_in_and_output_comes_out() {
    let sidecar = start(&manifest("cat", &[], "")).await;
    let large = format!("{:?}", "x".repeat(60_000));
    assert_eq!(sidecar.answer(request("work", &large)).await.output, large);
    sidecar.stop().await;
}

#[tokio::test]
async fn the_program_gets_everything_it_may_want_to_know() {
    let script = r#"printf '["%s","%s","%s","%s","%s"]' "$MAINSTAY_IDEMPOTENCY_KEY" "$MAINSTAY_RUN" "$MAINSTAY_STEP" "$MAINSTAY_INTENT" "$EXTRA"; test "$MAINSTAY_DEADLINE_MS" -gt 0"#;
    let sidecar = start(&shell(script, "")).await;
    let mut message = request("work", "1");
    (message.run_id, message.step_id) = ("run_1".into(), "draft".into());
    message.intent = "what I want".into();
    let id = message.attempt_id.clone();
    let answer = sidecar.answer(message).await;
    assert_eq!(answer.output, format!(r#"["{id}","run_1","draft","what I want","hello"]"#));
    sidecar.stop().await;
}

#[tokio::test]
async fn a_program_need_not_read_its_input() {
    let sidecar = start(&shell("exec echo 1", "")).await;
    let large = format!("{:?}", "x".repeat(60_000));
    for _ in 0..20 {
        assert_eq!(sidecar.answer(request("work", &large)).await.output, "1");
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn another_exit_code_is_a_failure_with_the_end_of_stderr() {
    let sidecar = start(&shell(
        "echo first >&2; head -c 100000 /dev/zero | tr '\\0' x >&2; echo no model >&2; exit 3",
        "",
    ))
    .await;
    let failure = sidecar.failure(request("work", "1")).await;
    assert_eq!((failure.class(), failure.began()), (OutcomeClass::AgentError, Began::Yes));
    assert!(failure.message.starts_with("the program ended with exit status: 3: xxx"), "{}", failure.message);
    assert!(!failure.message.contains("first") && failure.message.len() <= 4096);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_program_that_cannot_be_started_has_not_begun() {
    let sidecar = start(&manifest("/nonexistent/agent", &[], "")).await;
    let failure = sidecar.failure(request("work", "1")).await;
    assert_eq!((failure.class(), failure.began()), (OutcomeClass::Transport, Began::No));
    assert!(failure.message.contains("/nonexistent/agent"), "{}", failure.message);
    sidecar.stop().await;
}

#[tokio::test]
async fn too_much_output_ends_the_program() {
    let sidecar = start(&shell("yes", "sla: 1h")).await;
    let failure = sidecar.failure(request("work", "1")).await;
    assert_eq!((failure.class(), failure.began()), (OutcomeClass::ContractBreach, Began::Yes));
    sidecar.stop().await;
}

#[tokio::test]
async fn output_that_is_not_json_is_caught() {
    let sidecar = start(&shell("echo it works", "")).await;
    assert_eq!(sidecar.failure(request("work", "1")).await.class(), OutcomeClass::ContractBreach);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_slow_program_is_killed_with_its_children_and_leaves_no_zombie() {
    let folder = tempfile::tempdir().unwrap();
    let (leader, child) = (folder.path().join("leader"), folder.path().join("child"));
    let script = format!("echo $$ > {}; sleep 1000 & echo $! > {}; wait", leader.display(), child.display());
    let sidecar = start(&shell(&script, "sla: 300ms")).await;
    let failure = sidecar.failure(request("work", "1")).await;
    assert_eq!((failure.class(), failure.began()), (OutcomeClass::Timeout, Began::Unknown));
    for file in [&leader, &child] {
        let pid = pid_in(file).await;
        until("the process is gone", async || !lives(&pid)).await;
    }
    until("every child was waited for", async || zombies().is_empty()).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn a_cancelled_program_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let child = folder.path().join("child");
    let script = format!("sleep 1000 & echo $! > {}; wait", child.display());
    let sidecar = start(&shell(&script, "sla: 1h")).await;
    let message = request("work", "1");
    let id = message.attempt_id.clone();
    let (failure, pid) = tokio::join!(sidecar.failure(message), async {
        let pid = pid_in(&child).await;
        assert!(lives(&pid));
        assert!(sidecar.cancel(&id).await);
        pid
    });
    assert_eq!(failure.class(), OutcomeClass::Cancelled);
    until("the process is gone", async || !lives(&pid)).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn a_program_that_closes_its_output_and_stays_is_killed_too() {
    let folder = tempfile::tempdir().unwrap();
    let leader = folder.path().join("leader");
    let script = format!("echo $$ > {}; echo 1; exec >&- 2>&-; sleep 1000", leader.display());
    let sidecar = start(&shell(&script, "sla: 300ms")).await;
    let failure =
        tokio::time::timeout(Duration::from_secs(20), sidecar.failure(request("work", "1"))).await.unwrap();
    assert_eq!(failure.class(), OutcomeClass::Timeout);
    let pid = pid_in(&leader).await;
    until("the process is gone", async || !lives(&pid)).await;
    sidecar.stop().await;
}
