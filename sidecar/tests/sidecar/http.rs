//! Agents that speak JSON over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use mainstay_proto::pb::{Began, OutcomeClass};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tonic::Request;

use crate::harness::{invoke, request, start, until};

fn manifest(url: &str, more: &str) -> String {
    format!(
        "
name: agent
control_plane: http://127.0.0.1:1
adapter: {{ http: {{ url: '{url}', headers: {{ x-extra: hello }}, usage: {{ tokens_in: /used }} }} }}
limits: {{ payload: 64KiB }}
capabilities:
  - {{ name: work, effect: read-only, path: /work, {more} }}
  - {{ name: pay, effect: idempotent, path: /work, {more} }}
"
    )
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().nest("/api", router)).await.unwrap() });
    url
}

/// A server that says `bytes` to every connection once it has read a request, and closes it.
async fn raw(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                stream.write_all(bytes).await.unwrap();
            }
        }
    });
    url
}

#[tokio::test]
async fn the_agent_gets_the_input_and_everything_it_may_want_to_know() {
    let agent = post(|headers: HeaderMap, body: Bytes| async move {
        let seen: serde_json::Map<_, _> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
            .collect();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let answer = serde_json::json!({ "headers": seen, "body": body, "used": 41 });
        let report =
            [("mainstay-tokens-out", "9"), ("mainstay-cost-usd", "0.5"), ("mainstay-warning", "careful")];
        (report, axum::Json(answer))
    });
    let url = serve(Router::new().route("/work", agent)).await;
    let sidecar = start(&manifest(&url, "")).await;
    let mut message = request("work", r#"{"q":"ö"}"#);
    let id = message.attempt_id.clone();
    (message.run_id, message.step_id) = ("run_1".into(), "draft".into());
    message.intent = "räume\r\nx-forged: 1".into();
    let mut message = Request::new(message);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    message.metadata_mut().insert("traceparent", trace.parse().unwrap());
    message.set_timeout(Duration::from_secs(8));
    let outcome = invoke(&sidecar.client, message).await.unwrap();
    let Some(mainstay_proto::pb::outcome::Result::Answer(answer)) = outcome.result else {
        panic!("{outcome:?}")
    };

    let said: serde_json::Value = serde_json::from_slice(&answer.output).unwrap();
    assert_eq!(said["body"], serde_json::json!({"q": "ö"}));
    let headers = &said["headers"];
    for (name, value) in [
        ("content-type", "application/json"),
        ("idempotency-key", id.as_str()),
        ("mainstay-run", "run_1"),
        ("mainstay-step", "draft"),
        ("mainstay-intent", "räume  x-forged: 1"),
        ("traceparent", trace),
        ("x-extra", "hello"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    let left: u64 = headers["mainstay-deadline-ms"].as_str().unwrap().parse().unwrap();
    assert!((1..8000).contains(&left), "the deadline shrinks on the way: {left}");
    let usage = answer.usage.unwrap();
    assert_eq!((usage.tokens_in, usage.tokens_out, usage.cost_nano_usd), (41, 9, 500_000_000));
    assert_eq!(answer.warnings, ["careful"]);
    sidecar.stop().await;
}

#[tokio::test]
async fn each_status_becomes_its_class() {
    let agent = post(|body: Bytes| async move {
        let status: u16 = String::from_utf8_lossy(&body).parse().unwrap();
        let after = if status == 429 { "7" } else { "" };
        let text = if status == 500 { r#"{"error": {"message": "no model"}}"# } else { "plain words" };
        (StatusCode::from_u16(status).unwrap(), [("retry-after", after)], text).into_response()
    });
    let url = serve(Router::new().route("/work", agent)).await;
    let sidecar = start(&manifest(&url, "")).await;
    for (status, class, began) in [
        ("429", OutcomeClass::Overload, Began::No),
        ("503", OutcomeClass::Overload, Began::Unknown),
        ("408", OutcomeClass::Timeout, Began::Unknown),
        ("504", OutcomeClass::Timeout, Began::Unknown),
        ("500", OutcomeClass::AgentError, Began::Yes),
        ("422", OutcomeClass::AgentError, Began::Yes),
        ("302", OutcomeClass::ContractBreach, Began::Yes),
    ] {
        let failure = sidecar.failure(request("work", status)).await;
        assert_eq!((failure.class(), failure.began()), (class, began), "{status}: {failure:?}");
        assert_eq!(
            failure.retry_after.map(|delay| delay.seconds),
            (status == "429").then_some(7),
            "{status}"
        );
    }
    let failure = sidecar.failure(request("work", "500")).await;
    assert_eq!(failure.message, "the agent answered 500 Internal Server Error: no model");
    sidecar.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_not_there_has_certainly_not_begun() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let sidecar = start(&manifest(&url, "")).await;
    let failure = sidecar.failure(request("work", "1")).await;
    assert_eq!((failure.class(), failure.began()), (OutcomeClass::Transport, Began::No));
    assert_eq!(failure.code, "AGENT_UNREACHABLE");
    sidecar.stop().await;
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_leaves_it_open_whether_the_work_began() {
    for bytes in
        [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-le", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{"]
    {
        let sidecar = start(&manifest(&raw(bytes).await, "")).await;
        let failure = sidecar.failure(request("pay", "1")).await;
        assert_eq!(
            (failure.class(), failure.began()),
            (OutcomeClass::Transport, Began::Unknown),
            "{failure:?}"
        );
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn an_answer_in_http_1_0_ends_with_its_connection() {
    let sidecar = start(&manifest(&raw(b"HTTP/1.0 200 OK\r\n\r\n 42 \n").await, "")).await;
    for _ in 0..3 {
        assert_eq!(sidecar.answer(request("work", "1")).await.output, "42");
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_not_json_or_too_large_is_caught() {
    let agent = post(|body: Bytes| async move {
        if body == "1" { "it works!".to_owned() } else { format!("{:?}", "x".repeat(70 * 1024)) }
    });
    let url = serve(Router::new().route("/work", agent)).await;
    let sidecar = start(&manifest(&url, "")).await;
    for input in ["1", "2"] {
        let failure = sidecar.failure(request("work", input)).await;
        assert_eq!(
            (failure.class(), failure.began()),
            (OutcomeClass::ContractBreach, Began::Yes),
            "{failure:?}"
        );
    }
    sidecar.stop().await;
}

/// An agent that answers only when told, and notices when its caller goes away.
#[derive(Clone, Default)]
struct Slow {
    begun: Arc<AtomicUsize>,
    cut: Arc<AtomicUsize>,
    go: Arc<Notify>,
}

struct CountsDrop(Option<Arc<AtomicUsize>>);

impl Drop for CountsDrop {
    fn drop(&mut self) {
        if let Some(cut) = &self.0 {
            cut.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Slow {
    async fn serve(&self) -> String {
        let slow = self.clone();
        let agent = post(move || {
            let slow = slow.clone();
            async move {
                slow.begun.fetch_add(1, Ordering::SeqCst);
                let mut guard = CountsDrop(Some(slow.cut));
                slow.go.notified().await;
                guard.0 = None;
                "42"
            }
        });
        serve(Router::new().route("/work", agent)).await
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    fn cut(&self) -> usize {
        self.cut.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_slow_agent_is_cut_at_its_promise_and_its_connection_closed() {
    let slow = Slow::default();
    let sidecar = start(&manifest(&slow.serve().await, "sla: 50ms")).await;
    let failure = sidecar.failure(request("work", "1")).await;
    assert_eq!((failure.class(), failure.began()), (OutcomeClass::Timeout, Began::Unknown));
    assert_eq!(failure.code, "AGENT_TIMEOUT");
    until("the agent notices", async || slow.cut() == 1).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn read_only_work_that_nobody_waits_for_is_cut_and_other_work_goes_on() {
    let slow = Slow::default();
    let sidecar = start(&manifest(&slow.serve().await, "sla: 1h")).await;
    let (pay, look) = (request("pay", "1"), request("work", "1"));
    let id = pay.attempt_id.clone();
    let calls = async {
        tokio::join!(invoke(&sidecar.client, Request::new(pay)), invoke(&sidecar.client, Request::new(look)),)
    };
    tokio::select! {
        outcomes = calls => panic!("{outcomes:?}"),
        () = until("the agent begins both", async || slow.begun() == 2) => {}
    }
    // Both callers went away over one connection, in order: when the second is noticed, so is the first.
    until("one is cut", async || slow.cut() > 0).await;
    slow.go.notify_one();
    until("the other's outcome is on record", async || {
        matches!(sidecar.state(&id).await, mainstay_proto::pb::outcome_response::State::Ended(_))
    })
    .await;
    assert_eq!(slow.cut(), 1);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_cancelled_call_ends_as_cancelled_and_the_agent_is_cut() {
    let slow = Slow::default();
    let sidecar = start(&manifest(&slow.serve().await, "sla: 1h")).await;
    let message = request("pay", "1");
    let id = message.attempt_id.clone();
    let (failure, ()) = tokio::join!(sidecar.failure(message), async {
        until("the agent begins", async || slow.begun() == 1).await;
        assert!(sidecar.cancel(&id).await);
    });
    assert_eq!((failure.class(), failure.code.as_str()), (OutcomeClass::Cancelled, "CALL_CANCELLED"));
    until("the agent notices", async || slow.cut() == 1).await;
    assert!(!sidecar.cancel(&id).await, "it is over");
    sidecar.stop().await;
}

#[tokio::test]
async fn an_agent_at_its_limit_is_busy_and_not_begun() {
    let slow = Slow::default();
    let sidecar = start(&manifest(&slow.serve().await, "max_concurrency: 1, sla: 1h")).await;
    let (answer, ()) = tokio::join!(sidecar.answer(request("work", "1")), async {
        until("the agent begins", async || slow.begun() == 1).await;
        let failure = sidecar.failure(request("work", "2")).await;
        assert_eq!((failure.class(), failure.began()), (OutcomeClass::Overload, Began::No));
        assert_eq!(failure.code, "AGENT_BUSY");
        assert!(failure.retry_after.is_some());
        slow.go.notify_one();
    });
    assert_eq!(answer.output, "42");
    assert_eq!(slow.begun(), 1);
    sidecar.stop().await;
}

#[tokio::test]
async fn connections_are_kept_and_one_that_the_agent_closed_costs_nobody_a_call() {
    let (url, accepted) = closing_on_the_third().await;
    let sidecar = start(&manifest(&url, "")).await;
    for _ in 0..6 {
        assert_eq!(sidecar.answer(request("work", "1")).await.output, "1");
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 3, "two calls to a connection");
    sidecar.stop().await;
}

#[tokio::test]
async fn a_side_effect_has_a_connection_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (url, accepted) = closing_on_the_third().await;
    let data = folder.path().join("data");
    let charge = "  - { name: charge, effect: side-effecting }";
    let manifest = format!("{}{charge}\ndata: {}\n", manifest(&url, ""), data.display());
    let sidecar = start(&manifest).await;
    for _ in 0..6 {
        assert_eq!(sidecar.answer(request("charge", "1")).await.output, "1");
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 6);
    sidecar.stop().await;
}

/// An agent that says it keeps its connections, answers two requests on each, and closes it when the third arrives. Its URL,
/// and how many connections it has had.
async fn closing_on_the_third() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                for request in 0..3 {
                    if stream.read(&mut buffer).await.unwrap_or(0) == 0 {
                        return;
                    }
                    if request == 0 {
                        counter.fetch_add(1, Ordering::SeqCst);
                    }
                    if request < 2 {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1").await.unwrap();
                    }
                }
            });
        }
    });
    (url, accepted)
}
