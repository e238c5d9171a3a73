//! What every call meets, whatever the agent is.

use std::time::Duration;

use mainstay_proto::pb::{Began, OutcomeClass};
use tonic::{Code, Request};

use crate::harness::{invoke, request, start};

const ECHO: &str = "
name: echo
control_plane: http://127.0.0.1:1
adapter: { echo: {} }
capabilities:
  - { name: echo, effect: read-only }
  - name: greet
    effect: read-only
    input: { type: object, required: [who], properties: { who: { type: string } } }
    output: { type: object, required: [text] }
limits: { payload: 64KiB }
";

#[tokio::test]
async fn the_echo_answers_with_its_input() {
    let sidecar = start(ECHO).await;
    let answer = sidecar.answer(request("echo", r#"{"a": [1, 2]}"#)).await;
    assert_eq!(answer.output, r#"{"a": [1, 2]}"#);
    assert!(answer.usage.unwrap().agent_micros < 1_000_000);
    sidecar.stop().await;
}

#[tokio::test]
async fn input_that_breaks_its_schema_never_reaches_the_agent() {
    let sidecar = start(ECHO).await;
    let failure = sidecar.failure(request("greet", r#"{"who": 7}"#)).await;
    assert_eq!((failure.class(), failure.began()), (OutcomeClass::CallerFault, Began::No));
    assert_eq!(failure.code, "INPUT_SCHEMA_MISMATCH");
    assert!(failure.message.contains("/who"), "{}", failure.message);
    sidecar.stop().await;
}

#[tokio::test]
async fn an_answer_that_breaks_its_schema_is_caught() {
    let sidecar = start(ECHO).await;
    let failure = sidecar.failure(request("greet", r#"{"who": "you"}"#)).await;
    assert_eq!((failure.class(), failure.began()), (OutcomeClass::ContractBreach, Began::Yes));
    assert_eq!(failure.code, "OUTPUT_SCHEMA_MISMATCH");
    assert!(failure.message.contains("text"), "{}", failure.message);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_capability_that_is_not_in_the_manifest_is_not_served() {
    let sidecar = start(ECHO).await;
    let failure = sidecar.failure(request("other", "{}")).await;
    assert_eq!(
        (failure.class(), failure.code.as_str()),
        (OutcomeClass::CallerFault, "CAPABILITY_NOT_SERVED")
    );
    sidecar.stop().await;
}

#[tokio::test]
async fn input_that_is_not_strict_json_is_refused() {
    let sidecar = start(ECHO).await;
    for input in ["{", "NaN", "1e400", r#"{"a":1,"a":2}"#, r#""\ud800""#, &"[".repeat(200)] {
        let failure = sidecar.failure(request("echo", input)).await;
        assert_eq!(
            (failure.class(), failure.code.as_str()),
            (OutcomeClass::CallerFault, "JSON_INVALID"),
            "{input}"
        );
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn a_payload_above_the_limit_is_refused() {
    let sidecar = start(ECHO).await;
    let fits = format!("{:?}", "x".repeat(64 * 1024 - 2));
    assert_eq!(sidecar.answer(request("echo", &fits)).await.output, fits);
    let failure = sidecar.failure(request("echo", &format!("{:?}", "x".repeat(64 * 1024 - 1)))).await;
    assert_eq!((failure.class(), failure.code.as_str()), (OutcomeClass::CallerFault, "PAYLOAD_TOO_LARGE"));
    sidecar.stop().await;
}

#[tokio::test]
async fn a_malformed_attempt_id_is_an_error_that_names_the_field() {
    let sidecar = start(ECHO).await;
    let mut bad = request("echo", "{}");
    bad.attempt_id = "att_1".to_owned();
    let status = invoke(&sidecar.client, Request::new(bad)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("attempt_id expected"), "{}", status.message());
    sidecar.stop().await;
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_told_and_nothing_begins() {
    let sidecar = start(ECHO).await;
    let mut late = Request::new(request("echo", "{}"));
    late.metadata_mut().insert("grpc-timeout", "0n".parse().unwrap());
    let status = invoke(&sidecar.client, late).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    let mut garbage = Request::new(request("echo", "{}"));
    garbage.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    assert!(invoke(&sidecar.client, garbage).await.is_ok());
    sidecar.stop().await;
}

#[tokio::test]
async fn describe_tells_what_the_agent_can_do() {
    let sidecar = start(ECHO).await;
    let description = sidecar.describe().await;
    let agent = description.agent.unwrap();
    let names: Vec<_> = agent.capabilities.iter().map(|capability| capability.name.as_str()).collect();
    assert_eq!((agent.name.as_str(), names.as_slice()), ("echo", ["echo", "greet"].as_slice()));
    assert!(description.instance.starts_with("127.0.0.1-"), "{}", description.instance);
    assert!(!description.draining);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_long_deadline_does_not_overflow() {
    let sidecar = start(ECHO).await;
    let mut patient = Request::new(request("echo", "1"));
    patient.metadata_mut().insert("grpc-timeout", "99999999H".parse().unwrap());
    assert!(invoke(&sidecar.client, patient).await.is_ok());
    let mut ordinary = Request::new(request("echo", "1"));
    ordinary.set_timeout(Duration::from_secs(5));
    assert!(invoke(&sidecar.client, ordinary).await.is_ok());
    sidecar.stop().await;
}
