//! One key, one execution.

use std::path::Path;

use futures::future::join_all;
use mainstay_proto::pb::outcome_response::State;
use mainstay_proto::pb::{self, Began, OutcomeClass};

use crate::harness::{Running, options, request, start_with, until};

/// An agent that notes each execution in a file, waits for `go` to appear, and answers or fails as it is asked.
fn manifest(folder: &Path) -> String {
    let folder = folder.display();
    let script = format!(
        "input=$(cat); echo \"$MAINSTAY_IDEMPOTENCY_KEY\" >> {folder}/ran; \
         while [ ! -e {folder}/go ]; do sleep 0.01; done; \
         case $input in *fail*) exit 1;; esac; printf %s \"$input\""
    );
    let args = serde_json::to_string(&["-c", &script]).unwrap();
    format!(
        "
name: agent
control_plane: http://127.0.0.1:1
data: {folder}/data
adapter: {{ command: {{ program: /bin/sh, args: {args} }} }}
capabilities:
  - {{ name: look, effect: read-only, max_concurrency: 200 }}
  - {{ name: set, effect: idempotent, max_concurrency: 200 }}
  - {{ name: pay, effect: side-effecting, max_concurrency: 200 }}
  - {{ name: pay-slowly, effect: side-effecting, sla: 200ms }}
  - {{ name: pay-alone, effect: side-effecting, max_concurrency: 1 }}
"
    )
}

struct Agent {
    folder: tempfile::TempDir,
    sidecar: Running,
}

impl Agent {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sidecar = start_with(options(&manifest(folder.path()))).await;
        Self { folder, sidecar }
    }

    async fn ready() -> Self {
        let agent = Self::start().await;
        agent.go();
        agent
    }

    fn go(&self) {
        std::fs::write(self.folder.path().join("go"), "").unwrap();
    }

    fn runs(&self, id: &str) -> usize {
        let ran = std::fs::read_to_string(self.folder.path().join("ran")).unwrap_or_default();
        ran.lines().filter(|line| *line == id).count()
    }

    async fn begins(&self, id: &str) {
        until("the agent begins", async || self.runs(id) == 1).await;
    }
}

#[tokio::test]
async fn a_hundred_calls_with_one_key_are_one_execution() {
    let agent = Agent::start().await;
    for capability in ["look", "set", "pay"] {
        let message = request(capability, "7");
        let calls = join_all((0..100).map(|_| agent.sidecar.answer(message.clone())));
        let (answers, ()) = tokio::join!(calls, async {
            agent.begins(&message.attempt_id).await;
            agent.go();
        });
        assert!(answers.iter().all(|answer| answer.output == "7"));
        assert_eq!(agent.sidecar.answer(message.clone()).await, answers[0], "also afterwards");
        assert_eq!(agent.runs(&message.attempt_id), 1, "{capability}");
    }
    agent.sidecar.stop().await;
}

#[tokio::test]
async fn a_key_that_was_used_for_something_else_is_refused_and_its_outcome_unchanged() {
    let agent = Agent::ready().await;
    for capability in ["look", "set", "pay"] {
        let message = request(capability, "7");
        let first = agent.sidecar.answer(message.clone()).await;
        let other = pb::AgentSidecarInvokeRequest { input: "8".into(), ..message.clone() };
        let failure = agent.sidecar.failure(other).await;
        assert_eq!((failure.class(), failure.code.as_str()), (OutcomeClass::CallerFault, "ATTEMPT_REUSED"));
        assert_eq!(agent.sidecar.answer(message).await, first);
    }
    agent.sidecar.stop().await;
}

#[tokio::test]
async fn the_ledger_tells_never_seen_running_and_ended() {
    let agent = Agent::start().await;
    let message = request("pay", "7");
    let id = message.attempt_id.clone();
    assert!(matches!(agent.sidecar.state(&id).await, State::NeverSeen(_)));
    let (answer, ()) = tokio::join!(agent.sidecar.answer(message), async {
        agent.begins(&id).await;
        assert!(matches!(agent.sidecar.state(&id).await, State::Running(_)));
        agent.go();
    });
    let State::Ended(outcome) = agent.sidecar.state(&id).await else { panic!("not ended") };
    assert_eq!(outcome.result, Some(pb::outcome::Result::Answer(answer)));
    agent.sidecar.stop().await;
}

#[tokio::test]
async fn a_failure_is_replayed_for_side_effects_only() {
    let agent = Agent::ready().await;
    for (capability, runs) in [("look", 2), ("set", 2), ("pay", 1)] {
        let message = request(capability, "\"fail\"");
        for _ in 0..2 {
            let failure = agent.sidecar.failure(message.clone()).await;
            assert_eq!((failure.class(), failure.began()), (OutcomeClass::AgentError, Began::Yes));
        }
        assert_eq!(agent.runs(&message.attempt_id), runs, "{capability}");
    }
    agent.sidecar.stop().await;
}

#[tokio::test]
async fn a_side_effect_that_was_cut_is_unknown_and_never_tried_again() {
    let agent = Agent::start().await;
    let message = request("pay-slowly", "7");
    let first = agent.sidecar.failure(message.clone()).await;
    assert_eq!((first.class(), first.began()), (OutcomeClass::Timeout, Began::Unknown));
    agent.go();
    let again = agent.sidecar.failure(message.clone()).await;
    assert_eq!((again.code.as_str(), again.began()), ("OUTCOME_UNKNOWN", Began::Unknown));
    let State::Ended(outcome) = agent.sidecar.state(&message.attempt_id).await else { panic!("not ended") };
    assert_eq!(outcome.result, Some(pb::outcome::Result::Failure(again)));
    assert!(agent.runs(&message.attempt_id) <= 1);
    agent.sidecar.stop().await;
}

#[tokio::test]
async fn a_side_effect_that_was_refused_before_it_began_leaves_no_trace() {
    let agent = Agent::start().await;
    let (first, second) = (request("pay-alone", "1"), request("pay-alone", "2"));
    let (_, ()) = tokio::join!(agent.sidecar.answer(first.clone()), async {
        agent.begins(&first.attempt_id).await;
        let failure = agent.sidecar.failure(second.clone()).await;
        assert_eq!((failure.class(), failure.began()), (OutcomeClass::Overload, Began::No));
        assert!(matches!(agent.sidecar.state(&second.attempt_id).await, State::NeverSeen(_)));
        agent.go();
    });
    assert_eq!(agent.sidecar.answer(second).await.output, "2");
    agent.sidecar.stop().await;
}

#[tokio::test]
async fn outcomes_of_side_effects_outlive_the_sidecar_also_large_ones() {
    let Agent { folder, sidecar } = Agent::ready().await;
    let small = request("pay", "7");
    let large = request("pay", &format!("{:?}", "x".repeat(200_000)));
    let (first, second) = (sidecar.answer(small.clone()).await, sidecar.answer(large.clone()).await);
    sidecar.stop().await;
    let agent = Agent { sidecar: start_with(options(&manifest(folder.path()))).await, folder };
    assert_eq!(agent.sidecar.answer(small.clone()).await, first);
    assert_eq!(agent.sidecar.answer(large.clone()).await, second);
    assert!(matches!(agent.sidecar.state(&small.attempt_id).await, State::Ended(_)));
    let other = pb::AgentSidecarInvokeRequest { input: "8".into(), ..small.clone() };
    assert_eq!(agent.sidecar.failure(other).await.code, "ATTEMPT_REUSED");
    assert_eq!((agent.runs(&small.attempt_id), agent.runs(&large.attempt_id)), (1, 1));
    agent.sidecar.stop().await;
}
