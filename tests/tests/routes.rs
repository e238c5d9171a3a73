//! Routing documents, by the command line and over the wire, with real agents: some of them lie.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};
use std::time::Duration;

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::process::mainstay;
use mainstay_tests::wait::until;
use mainstay_tests::world::{Agent, World};
use serde_json::{Value, json};
use tonic::Request;

const DESK: &str = r#"
name: desk
version: 1
capabilities: [billing.*, shipping.track, night.work]
text: "${input.text}"
rules:
  - { name: large, when: 'input.x > 100 && labels.channel == "web"', to: { capability: billing.refund } }
classifier: {}
router: { capability: pick, timeout: 1s }
generalist: { capability: anything }
static: { answer: "Nobody can say now." }
"#;

/// Runs a command against the world, off the runtime's thread.
async fn cli(world: &World, args: &[&str]) -> Output {
    let server = format!("http://{}", world.grpc);
    let mut command = Command::new(mainstay());
    command.args(args).args(["--server", &server, "--output", "json"]).current_dir(world.folder());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The JSON answer of a command that must succeed.
async fn ok(world: &World, args: &[&str]) -> Value {
    let output = cli(world, args).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The agents of the document above and the document itself.
async fn desk() -> (World, Vec<Agent>) {
    let world = World::start().await;
    let mut agents = Vec::new();
    for (agent, capability, fields) in [
        ("cashier", "billing.refund", "keywords: [refund, money, charge]"),
        ("courier", "shipping.track", "keywords: [parcel, track, courier]"),
        ("clerk", "anything", "max_concurrency: 8"),
        ("dispatcher", "pick", "max_concurrency: 8"),
        ("sleeper", "night.work", "max_concurrency: 1"),
        ("vault", "secret.read", "max_concurrency: 1"),
    ] {
        let fields = format!("effect: read-only, {fields}");
        agents.push(world.agent(agent, &[(capability, fields.as_str())]).await);
    }
    std::fs::write(world.folder().join("desk.yaml"), DESK).unwrap();
    let put = ok(&world, &["routes", "put", "desk.yaml"]).await;
    assert_eq!((&put["created"], &put["routing"]["rule_count"]), (&true.into(), &1.into()), "{put}");
    agents[4].set_well(false).await;
    world
        .until_agent("sleeper", "to be ill", |agent| {
            agent.instances.iter().all(|one| one.health() == pb::HealthState::Unhealthy)
        })
        .await;
    (world, agents)
}

/// A request to the desk from a web client.
async fn ask(world: &World, input: &Value) -> pb::InvokeResponse {
    let mut request = Request::new(pb::InvokeRequest {
        route: "desk".into(),
        input: input.to_string().into(),
        labels: [("channel".to_owned(), "web".to_owned())].into(),
        ..Default::default()
    });
    request.set_timeout(Duration::from_secs(20));
    world.orchestrator().invoke(request).await.unwrap().into_inner()
}

async fn decision(world: &World, response: &pb::InvokeResponse) -> Value {
    ok(world, &["routes", "explain", &response.routed.as_ref().unwrap().decision_id]).await
}

#[tokio::test]
async fn each_rung_decides_what_is_its_own_and_anyone_can_ask_why() {
    let (world, _agents) = desk().await;
    let router = json!({ "say": r#"{"capability": "shipping.track", "confidence": 0.9}"# });
    for (input, rung, agent) in [
        (json!({ "x": 200 }), "rules", "cashier"),
        (json!({ "text": "refund the money" }), "classifier", "cashier"),
        (json!({ "text": "well well", "router": router }), "router", "courier"),
        (json!({ "text": "well well", "router": { "say": "{}" } }), "generalist", "clerk"),
    ] {
        let answer = ask(&world, &input).await;
        assert_eq!(answer.agent, agent, "{answer:?}");
        let why = decision(&world, &answer).await;
        assert_eq!((&why["rung"], &why["outcome"]), (&rung.into(), &"success".into()), "{why}");
    }
    let listed = ok(&world, &["routes", "decisions", "--rung", "router"]).await;
    assert_eq!(listed["decisions"].as_array().unwrap().len(), 1, "{listed}");

    // A rehearsal calls nobody.
    let args = ["routes", "explain", "--route", "desk", "--input", r#"{"text": "where is my parcel"}"#];
    let rehearsed = ok(&world, &args).await;
    assert_eq!(rehearsed["capability"], "shipping.track", "{rehearsed}");
    assert_eq!(rehearsed["verdict"]["features"][0]["text"], "parcel", "{rehearsed}");
    let (_, metrics) = world.get("/metrics").await.unwrap();
    assert!(metrics.contains("mainstay_routed_total{rung=\"router\"} 1"), "{metrics}");

    // The command that calls: by a target of its own, and with nobody left.
    let named = ok(&world, &["invoke", "secret.read", "--route", "desk", "--input", r#"{"x": 1}"#]).await;
    assert_eq!((&named["routed"]["rung"], &named["output"]["x"]), (&"target".into(), &2.into()), "{named}");
    for target in ["capability/pick", "agent/clerk"] {
        ok(&world, &["pause", target, "--reason", "night"]).await;
    }
    let fallback = ok(&world, &["invoke", "--route", "desk", "--input", r#"{"text": "well"}"#]).await;
    assert_eq!(fallback["output"]["answer"], "Nobody can say now.", "{fallback}");
    assert_eq!(fallback["routed"]["fallback"], true, "{fallback}");
}

#[tokio::test]
async fn no_request_is_lost_to_a_lying_router_agent_and_the_rung_is_on_record() {
    let (world, mut agents) = desk().await;
    ok(&world, &["pause", "agent/courier", "--reason", "upgrade"]).await;
    let names =
        |capability: &str| json!({ "say": json!({ "capability": capability, "confidence": 1 }).to_string() });
    let lies = [
        ("a ghost", "unknown", names("billing.ghost")),
        ("one that is down", "down", names("night.work")),
        ("one that is paused", "forbidden", names("shipping.track")),
        ("what it may not", "forbidden", names("secret.read")),
        ("itself", "forbidden", names("pick")),
        ("look-alike letters", "unknown", names("billing.r\u{435}fund")),
        ("a newline", "unknown", names("billing.refund\nrm -rf /")),
        ("nothing", "garbage", json!({ "say": "" })),
        ("no JSON", "garbage", json!({ "say": "{\"capability\": \"billing.refund\"" })),
        ("a list", "garbage", json!({ "say": "[\"billing.refund\"]" })),
        ("a megabyte", "garbage", json!({ "fill": 1 << 20 })),
        ("no answer in time", "timeout", json!({ "sleep_ms": 30_000 })),
    ];
    for (lie, why, router) in lies {
        // Who answers garbage often enough is not asked any more; here each lie is to be heard.
        ok(&world, &["breakers", "reset", "--agent", "dispatcher", "--reason", "the next lie"]).await;
        let answer = ask(&world, &json!({ "text": "well well", "x": 1, "router": router })).await;
        assert_eq!(answer.agent, "clerk", "{lie}: {answer:?}");
        let record = decision(&world, &answer).await;
        assert_eq!(record["rung"], "generalist", "{lie}: {record}");
        let passed = record["passed"].as_array().unwrap();
        let router = passed.iter().find(|passed| passed["rung"] == "router").unwrap();
        assert_eq!(router["why"], why, "{lie}: {router}");
    }
    // Nor to one that is dead.
    agents[3].agent.kill();
    let answer = ask(&world, &json!({ "text": "well well", "x": 1 })).await;
    assert_eq!(answer.agent, "clerk", "{answer:?}");
}

#[tokio::test]
async fn decisions_and_documents_survive_a_kill() {
    let (mut world, _agents) = desk().await;
    let answer = ask(&world, &json!({ "x": 200 })).await;
    let before = decision(&world, &answer).await;
    world.kill();
    world.restart().await;
    assert_eq!(decision(&world, &answer).await, before);
    assert_eq!(ok(&world, &["routes", "list"]).await[0]["name"], "desk");
    world.until_healthy("cashier").await;
    // The classifier is learned again: the first request waits for it.
    let again = until("the classifier to decide", || async {
        let answer = ask(&world, &json!({ "text": "refund the money" })).await;
        (answer.routed.as_ref().unwrap().rung() == pb::Rung::Classifier).then_some(answer)
    });
    assert_eq!(again.await.agent, "cashier");
}

#[tokio::test]
async fn a_bad_document_is_refused_and_the_field_is_named() {
    let world = World::start().await;
    for (document, field, code) in [
        ("name: desk\nversion: 1\n", "static", "FIELD_MISSING"),
        (&*DESK.replace("input.x > 100", "input.x >"), "rules[0].when", "EXPRESSION_INVALID"),
        (&*DESK.replace("timeout: 1s", "timeout: soon"), "router.timeout", "DURATION_INVALID"),
        (
            &*DESK.replace("classifier: {}", "classifier: { out_of_scope: 2 }"),
            "classifier.out_of_scope",
            "FIELD_RANGE",
        ),
        (&*DESK.replace("generalist", "generalists"), "generalists", "FIELD_UNKNOWN"),
    ] {
        let mut routes = pb::routes_client::RoutesClient::new(world.channel());
        let put = pb::PutRoutesRequest { document: document.to_owned(), ..Default::default() };
        let seen = Seen::of(&routes.put_routes(put).await.unwrap_err());
        assert_eq!(seen.violations[0].0, format!("document.{field}"), "{seen:?}");
        std::fs::write(world.folder().join("bad.yaml"), document).unwrap();
        let lint = cli(&world, &["routes", "lint", "bad.yaml"]).await;
        let found: Value = serde_json::from_slice(&lint.stdout).unwrap();
        assert_eq!(
            (lint.status.code(), &found[0]["findings"][0]["code"]),
            (Some(1), &code.into()),
            "{found}"
        );
        assert_eq!(cli(&world, &["routes", "put", "bad.yaml"]).await.status.code(), Some(65));
    }
    assert_eq!(ok(&world, &["routes", "list"]).await, json!([]));

    std::fs::write(world.folder().join("desk.yaml"), DESK).unwrap();
    ok(&world, &["routes", "put", "desk.yaml"]).await;
    assert_eq!(ok(&world, &["routes", "put", "desk.yaml"]).await["created"], false);
    std::fs::write(world.folder().join("desk.yaml"), DESK.replace("1s", "2s")).unwrap();
    let taken = cli(&world, &["routes", "put", "desk.yaml"]).await;
    assert!(String::from_utf8_lossy(&taken.stderr).contains("version: 2"), "{taken:?}");
}

#[tokio::test]
async fn a_labelled_set_is_scored_and_a_low_score_ends_with_an_error() {
    let (world, _agents) = desk().await;
    let set = [
        r#"{"text": "where is my parcel", "expect": "shipping.track"}"#,
        r#"{"text": "refund the money", "expect": "billing.refund"}"#,
        r#"{"text": "track the courier", "expect": "billing.refund"}"#,
        r#"{"text": "well well", "expect": null}"#,
    ];
    std::fs::write(world.folder().join("set.jsonl"), set.join("\n")).unwrap();
    let good = ["routes", "eval", "set.jsonl", "--route", "desk", "--min-accuracy", "0.75"];
    let score = ok(&world, &good).await;
    assert_eq!((&score["all"]["right"], &score["out_of_scope"]["right"]), (&3.into(), &1.into()), "{score}");
    let mistakes: Vec<_> = score["matrix"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|cell| cell["expected"] != cell["decided"])
        .collect();
    assert_eq!(mistakes, [&json!({ "expected": "billing.refund", "decided": "shipping.track", "count": 1 })]);
    let bad = ["routes", "eval", "set.jsonl", "--route", "desk", "--min-accuracy", "0.8"];
    assert_eq!(cli(&world, &bad).await.status.code(), Some(1));
    std::fs::write(world.folder().join("set.jsonl"), "{\"text\": \"a\"}\n").unwrap();
    let refused = cli(&world, &good).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("set.jsonl:1: "), "{refused:?}");
}
