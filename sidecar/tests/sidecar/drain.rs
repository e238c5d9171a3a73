//! The end of a sidecar.

use std::path::Path;

use tonic::{Code, Request};

use crate::harness::{NOWHERE, invoke, options, request, start_with, until};

fn manifest(folder: &Path, drain: &str) -> String {
    let folder = folder.display();
    let script = format!("echo x >> {folder}/ran; while [ ! -e {folder}/go ]; do sleep 0.01; done; echo 42");
    let args = serde_json::to_string(&["-c", &script]).unwrap();
    format!(
        "
name: agent
control_plane: {NOWHERE}
drain: {drain}
adapter: {{ command: {{ program: /bin/sh, args: {args} }} }}
capabilities: [ {{ name: work, effect: idempotent, sla: 1h }} ]
"
    )
}

#[tokio::test]
async fn work_under_way_ends_and_new_work_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut sidecar = start_with(options(&manifest(folder.path(), "1h"))).await;
    let (client, message) = (sidecar.client.clone(), request("work", "1"));
    let first = tokio::spawn({
        let (client, message) = (client.clone(), message.clone());
        async move { invoke(&client, Request::new(message)).await }
    });
    until("the agent begins", async || folder.path().join("ran").exists()).await;
    sidecar.begin_stop();
    until("it drains", async || sidecar.describe().await.draining).await;
    assert_eq!(sidecar.describe().await.in_flight, 1);

    let refused = invoke(&client, Request::new(request("work", "2"))).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "this sidecar is shutting down"));
    let joined = tokio::spawn(async move { invoke(&client, Request::new(message)).await });
    std::fs::write(folder.path().join("go"), "").unwrap();
    assert_eq!(first.await.unwrap().unwrap(), joined.await.unwrap().unwrap());
    sidecar.ended().await;
    assert_eq!(std::fs::read_to_string(folder.path().join("ran")).unwrap(), "x\n");
}

#[tokio::test]
async fn work_that_does_not_end_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut sidecar = start_with(options(&manifest(folder.path(), "50ms"))).await;
    let client = sidecar.client.clone();
    let call = tokio::spawn(async move { invoke(&client, Request::new(request("work", "1"))).await });
    until("the agent begins", async || folder.path().join("ran").exists()).await;
    sidecar.begin_stop();
    sidecar.ended().await;
    call.abort();
}
