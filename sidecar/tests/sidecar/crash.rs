//! The sidecar is killed, as a process, and comes back on the same folder.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mainstay_proto::pb;
use mainstay_proto::pb::agent_sidecar_client::AgentSidecarClient;
use mainstay_proto::pb::outcome_response::State;
use tonic::Request;
use tonic::transport::Channel;

use crate::harness::{PATIENCE, invoke, request, until};

fn manifest(folder: &Path) -> String {
    let folder = folder.display();
    let script = format!(
        "cat > /dev/null; echo \"$MAINSTAY_IDEMPOTENCY_KEY\" >> {folder}/ran; \
         while [ ! -e {folder}/go ]; do sleep 0.01; done; echo 42"
    );
    let args = serde_json::to_string(&["-c", &script]).unwrap();
    format!(
        "
name: agent
control_plane: http://127.0.0.1:1
listen: 127.0.0.1:0
data: {folder}/data
adapter: {{ command: {{ program: /bin/sh, args: {args} }} }}
capabilities: [ {{ name: pay, effect: side-effecting }} ]
"
    )
}

/// A sidecar process; killed when the test ends, however it ends.
struct Process {
    child: Child,
    client: AgentSidecarClient<Channel>,
}

impl Process {
    async fn start(folder: &Path) -> Self {
        let path = folder.join("agent.yaml");
        std::fs::write(&path, manifest(folder)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_mainstay-sidecar"))
            .arg("--manifest")
            .arg(&path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = tokio::task::spawn_blocking(move || {
            let plain = |line: String| {
                line.replace("\u{1b}[3m", "").replace("\u{1b}[2m", "").replace("\u{1b}[0m", "")
            };
            let address = lines.by_ref().map_while(Result::ok).map(plain).find_map(|line| {
                let rest = line.split_once("listening address=")?.1;
                rest.split_whitespace().next().map(str::to_owned)
            });
            // Goes on reading, so that the process never waits for room in the pipe.
            std::thread::spawn(move || lines.for_each(drop));
            address
        });
        let address = tokio::time::timeout(PATIENCE, address).await.unwrap().unwrap().expect("it listens");
        let client = AgentSidecarClient::connect(format!("http://{address}")).await.unwrap();
        Self { child, client }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn state(&self, id: &str) -> State {
        let request = pb::OutcomeRequest { attempt_id: id.to_owned(), epoch: 0 };
        self.client.clone().outcome(request).await.unwrap().into_inner().state.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn runs(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("ran")).unwrap_or_default().lines().count()
}

fn go(folder: &Path) {
    std::fs::write(folder.join("go"), "").unwrap();
}

#[tokio::test]
async fn a_recorded_outcome_survives_sigkill_and_is_not_worked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    go(folder.path());
    let message = request("pay", "1");
    let mut before = Process::start(folder.path()).await;
    let first = invoke(&before.client, Request::new(message.clone())).await.unwrap();
    assert!(matches!(first.result, Some(pb::outcome::Result::Answer(_))), "{first:?}");
    before.kill();

    let after = Process::start(folder.path()).await;
    let again = invoke(&after.client, Request::new(message.clone())).await.unwrap();
    assert_eq!(again, first);
    assert!(matches!(after.state(&message.attempt_id).await, State::Ended(outcome) if outcome == first));
    assert_eq!(runs(folder.path()), 1);
}

#[tokio::test]
async fn a_side_effect_under_way_at_sigkill_is_lost_and_never_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let message = request("pay", "1");
    let mut before = Process::start(folder.path()).await;
    let client = before.client.clone();
    let (broken, ()) = tokio::join!(invoke(&client, Request::new(message.clone())), async {
        until("the agent begins", async || runs(folder.path()) == 1).await;
        before.kill();
    });
    assert!(broken.is_err(), "{broken:?}");
    go(folder.path());

    let after = Process::start(folder.path()).await;
    assert!(matches!(after.state(&message.attempt_id).await, State::Lost(_)));
    for _ in 0..3 {
        let outcome = invoke(&after.client, Request::new(message.clone())).await.unwrap();
        let Some(pb::outcome::Result::Failure(failure)) = outcome.result else { panic!("{outcome:?}") };
        assert_eq!((failure.code.as_str(), failure.began()), ("OUTCOME_UNKNOWN", pb::Began::Unknown));
    }
    assert_eq!(runs(folder.path()), 1);
}

#[tokio::test]
async fn sigterm_ends_the_process_with_code_0() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path()).await;
    let pid = rustix::process::Pid::from_child(&process.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = tokio::task::spawn_blocking(move || process.child.wait());
    let status = tokio::time::timeout(PATIENCE, status).await.unwrap().unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_bad_manifest_ends_the_process_with_code_64_and_every_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.yaml");
    std::fs::write(&path, "name: Bad\nadapter: { echo: {} }\ncapabilities: [ { name: x } ]\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay-sidecar"));
    command.arg("--manifest").arg(&path);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("line 1, column 7: name: has 'B' at byte 0"), "{text}");
    assert!(text.contains("capabilities[0].effect: is missing"), "{text}");
}
