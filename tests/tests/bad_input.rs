//! Bad input: each kind has its own gRPC code, reason, field and hint, and changes nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::world::{Agent, World, spec};
use tonic::{Code, Status};

const WORK: (&str, &str) =
    ("work", "effect: idempotent, input: { type: object, properties: { x: { type: integer } } }");
const GOOD: &str = "
name: good
version: 1
input: { type: object, required: [x], properties: { x: { type: integer } } }
steps:
  - { id: a, call: { capability: work } }
";

/// What a refusal must say.
struct Expected(Code, &'static str, &'static str);

async fn world() -> (World, Agent) {
    let world = World::start().await;
    let agent = world.agent("worker", &[WORK]).await;
    world.put(GOOD).await;
    (world, agent)
}

/// Asserts a refusal: its code, its reason, the field at fault, a hint, and that everything is as it was.
#[track_caller]
fn refused(what: &str, status: &Status, Expected(code, reason, field): Expected) {
    let seen = Seen::of(status);
    assert_eq!(status.code(), code, "{what}: {status:?}");
    assert_eq!(seen.reason, reason, "{what}: {}", status.message());
    let fields: Vec<_> = seen.violations.iter().map(|(field, _)| field.as_str()).collect();
    assert!(
        field.is_empty() || fields.iter().any(|f| f.starts_with(field)),
        "{what}: {fields:?} should name {field}"
    );
    assert!(!seen.hint.is_empty(), "{what}: no hint");
}

fn capability() -> pb::Capability {
    pb::Capability {
        name: "guess".into(),
        input_schema: "true".into(),
        output_schema: "true".into(),
        effect: pb::EffectClass::ReadOnly.into(),
        sla: Some(seconds(2)),
        max_concurrency: 1,
        ..Default::default()
    }
}

fn registration(change: impl FnOnce(&mut pb::RegisterRequest)) -> pb::RegisterRequest {
    let agent = pb::AgentSpec {
        name: "guest".into(),
        version: "1".into(),
        capabilities: vec![capability()],
        ..Default::default()
    };
    let mut request = pb::RegisterRequest {
        agent: Some(agent),
        instance: "one".into(),
        address: "http://127.0.0.1:1".into(),
        ..Default::default()
    };
    change(&mut request);
    request
}

fn with_schema(schema: impl Into<bytes::Bytes>) -> pb::RegisterRequest {
    registration(|r| r.agent.as_mut().unwrap().capabilities[0].input_schema = schema.into())
}

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

/// 2⁴⁰ paths in a few lines.
fn doubling() -> String {
    let defs: Vec<_> = (0..40)
        .map(|n| {
            format!(
                r##""d{n}":{{"allOf":[{{"$ref":"#/$defs/d{}"}},{{"$ref":"#/$defs/d{}"}}]}}"##,
                n + 1,
                n + 1
            )
        })
        .collect();
    format!(r##"{{"$ref":"#/$defs/d0","$defs":{{{},"d40":true}}}}"##, defs.join(","))
}

#[tokio::test]
async fn bad_registrations_are_refused_by_field_and_change_nothing() {
    use Code::InvalidArgument;
    let (world, _agent) = world().await;
    let before = world.everything().await;
    let named = |name: &str| registration(|r| r.agent.as_mut().unwrap().name = name.to_owned());
    let at = |address: &str| registration(|r| r.address = address.to_owned());
    let lasting = |ttl: prost_types::Duration| registration(|r| r.ttl = Some(ttl));
    let schema = "agent.capabilities[0].input_schema";
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let cases = [
        ("nothing at all", pb::RegisterRequest::default(), "FIELD_INVALID", "agent"),
        (
            "no capabilities",
            registration(|r| r.agent.as_mut().unwrap().capabilities.clear()),
            "FIELD_INVALID",
            "agent.capabilities",
        ),
        ("a path", named("a/../b"), "NAME_INVALID", "agent.name"),
        ("a NUL", named("a\0b"), "NAME_INVALID", "agent.name"),
        ("right to left", named("a\u{202e}b"), "NAME_INVALID", "agent.name"),
        ("a look-alike letter", named("p\u{0430}y"), "NAME_INVALID", "agent.name"),
        ("a long name", named(&"a".repeat(10_240)), "NAME_INVALID", "agent.name"),
        ("cloud metadata", at("http://169.254.169.254:80"), "ADDRESS_REFUSED", "address"),
        ("a v4 address in v6 clothes", at("http://[::ffff:127.0.0.1]:80"), "ADDRESS_REFUSED", "address"),
        ("an odd number", at("http://0x7f.1:80"), "ADDRESS_REFUSED", "address"),
        ("a file", at("file:///etc/passwd"), "ADDRESS_REFUSED", "address"),
        ("no time", lasting(seconds(0)), "FIELD_INVALID", "ttl"),
        ("negative time", lasting(seconds(-5)), "FIELD_INVALID", "ttl"),
        ("endless time", lasting(seconds(i64::MAX)), "FIELD_INVALID", "ttl"),
        (
            "the least number",
            lasting(prost_types::Duration { seconds: i64::MIN, nanos: i32::MIN }),
            "FIELD_INVALID",
            "ttl",
        ),
        (
            "a remote reference",
            with_schema(r#"{"$ref":"http://127.0.0.1:1/x"}"#),
            "SCHEMA_REMOTE_REF",
            schema,
        ),
        ("a doubling reference", with_schema(doubling()), "SCHEMA_TOO_MANY_PATHS", schema),
        (
            "a schema within itself",
            with_schema(r##"{"properties":{"a":{"$ref":"#"}}}"##),
            "SCHEMA_RECURSIVE",
            schema,
        ),
        ("a schema that is none", with_schema(r#"{"type":"nothing"}"#), "SCHEMA_INVALID", schema),
        ("a deep schema", with_schema(deep), "JSON_INVALID", schema),
        ("half a schema", with_schema("{"), "JSON_INVALID", schema),
        ("no lease of ours", registration(|r| r.lease_id = "lse_1".into()), "FIELD_INVALID", "lease_id"),
    ];
    for (what, request, reason, field) in cases {
        let status = world.registry().register(request).await.expect_err(what);
        refused(what, &status, Expected(InvalidArgument, reason, field));
    }
    assert_eq!(world.everything().await, before);
}

#[tokio::test]
async fn bad_workflows_are_refused_with_their_finding_and_change_nothing() {
    let (world, _agent) = world().await;
    let before = world.everything().await;
    let steps = |steps: &str| format!("name: w\nversion: 1\nsteps:\n{steps}");
    let step = |rest: &str| steps(&format!("  - {{ id: a, call: {{ capability: work }}{rest} }}\n"));
    let circle = "  - { id: a, after: [b], call: { capability: work } }\n  - { id: b, after: [a], call: { capability: work } }\n";
    let twice = "  - { id: a, call: { capability: work } }\n  - { id: a, call: { capability: work } }\n";
    let many: String =
        (0..1000).map(|n| format!("  - {{ id: s{n}, call: {{ capability: work }} }}\n")).collect();
    let cases = [
        ("a circle", steps(circle), "STEP_CYCLE"),
        ("two of a name", steps(twice), "STEP_DUPLICATE"),
        ("a dangling step", step(", after: [nobody]"), "STEP_UNKNOWN_DEPENDENCY"),
        ("a step not upstream", step(", input: { x: '${steps.b.output}' }"), "STEP_UNKNOWN"),
        ("an expression that is none", step(", input: { x: '${1 +}' }"), "EXPRESSION_INVALID"),
        ("a schema that is none", step(", output_schema: { type: nothing }"), "SCHEMA_INVALID"),
        ("a remote reference", step(", output_schema: { $ref: 'http://127.0.0.1:1/' }"), "SCHEMA_REMOTE_REF"),
        ("an unknown field", step(", colour: red"), "FIELD_UNKNOWN"),
        ("too many steps", steps(&many), "STEP_COUNT"),
        ("no document", "}{".to_owned(), "DOCUMENT_INVALID"),
        ("a step without anything to do", steps("  - { id: a }\n"), "STEP_KIND_MISSING"),
    ];
    for (what, document, reason) in cases {
        let request = pb::PutWorkflowRequest { document: document.clone(), ..Default::default() };
        let status = world.workflows().put_workflow(request).await.expect_err(what);
        refused(what, &status, Expected(Code::InvalidArgument, reason, "document"));
        let lint = pb::LintWorkflowRequest { document, ..Default::default() };
        let findings = world.workflows().lint_workflow(lint).await.unwrap().into_inner().findings;
        assert!(findings.iter().any(|finding| finding.code == reason), "{what}: {findings:?}");
    }
    let changed = pb::PutWorkflowRequest {
        document: GOOD.replace("x: { type: integer }", "x: true"),
        ..Default::default()
    };
    let status = world.workflows().put_workflow(changed).await.unwrap_err();
    refused(
        "another content",
        &status,
        Expected(Code::AlreadyExists, "WORKFLOW_VERSION_TAKEN", "document.version"),
    );
    assert_eq!(world.everything().await, before);
}

#[tokio::test]
async fn bad_runs_are_refused_before_the_acknowledgement_and_leave_nothing() {
    use Code::{AlreadyExists, InvalidArgument, NotFound, ResourceExhausted};
    let (world, _agent) = world().await;
    world.put("name: ghost\nversion: 1\nsteps:\n  - { id: a, call: { capability: nobody.does } }\n").await;
    let first = pb::RunSpec { idempotency_key: "k".into(), ..spec("good", r#"{"x":1}"#) };
    let id = world.submit(first).await.unwrap();
    let run = world.until_ended(&id).await;
    let before = world.everything().await;
    let deep = "[".repeat(200) + &"]".repeat(200);
    let big = format!(r#"{{"x":1,"y":"{}"}}"#, "y".repeat(4 << 20));
    let cases = [
        (
            "an unknown workflow",
            spec("nobody", "{}"),
            Expected(NotFound, "WORKFLOW_NOT_FOUND", "run.workflow"),
        ),
        (
            "an unknown version",
            pb::RunSpec { version: 9, ..spec("good", "{}") },
            Expected(NotFound, "WORKFLOW_NOT_FOUND", "run.workflow"),
        ),
        ("an unknown agent", spec("ghost", "{}"), Expected(NotFound, "CAPABILITY_UNKNOWN", "run.workflow")),
        (
            "a missing field",
            spec("good", "{}"),
            Expected(InvalidArgument, "INPUT_SCHEMA_MISMATCH", "run.input"),
        ),
        (
            "a wrong type",
            spec("good", r#"{"x":"1"}"#),
            Expected(InvalidArgument, "INPUT_SCHEMA_MISMATCH", "run.input/x"),
        ),
        ("deep JSON", spec("good", &deep), Expected(InvalidArgument, "JSON_INVALID", "run.input")),
        (
            "a key twice",
            spec("good", r#"{"x":1,"x":2}"#),
            Expected(InvalidArgument, "JSON_INVALID", "run.input"),
        ),
        ("NaN", spec("good", r#"{"x":NaN}"#), Expected(InvalidArgument, "JSON_INVALID", "run.input")),
        (
            "a number no double holds",
            spec("good", r#"{"x":1e400}"#),
            Expected(InvalidArgument, "JSON_INVALID", "run.input"),
        ),
        (
            "half a character",
            spec("good", r#"{"x":"\ud800"}"#),
            Expected(InvalidArgument, "JSON_INVALID", "run.input"),
        ),
        ("a large payload", spec("good", &big), Expected(ResourceExhausted, "PAYLOAD_TOO_LARGE", "")),
        (
            "a negative deadline",
            pb::RunSpec { deadline: Some(seconds(-1)), ..spec("good", r#"{"x":1}"#) },
            Expected(InvalidArgument, "FIELD_INVALID", "run.deadline"),
        ),
        (
            "the same key for another run",
            pb::RunSpec { idempotency_key: "k".into(), ..spec("good", r#"{"x":2}"#) },
            Expected(AlreadyExists, "IDEMPOTENCY_KEY_REUSED", "run.idempotency_key"),
        ),
        ("a hostile name", spec("../good", "{}"), Expected(InvalidArgument, "NAME_INVALID", "run.workflow")),
        (
            "a hostile tenant",
            pb::RunSpec { tenant: "a\0b".into(), ..spec("good", "{}") },
            Expected(InvalidArgument, "NAME_INVALID", "run.tenant"),
        ),
    ];
    for (what, spec, expected) in cases {
        let status = world.submit(spec).await.expect_err(what);
        refused(what, &status, expected);
    }
    assert_eq!(world.everything().await, before);
    assert_eq!(world.get_run(&id).await.unwrap(), run);
}

#[tokio::test]
async fn bad_questions_are_refused() {
    use Code::{InvalidArgument, NotFound};
    let (world, _agent) = world().await;
    let nobody = format!("run_{}", "0".repeat(32));
    refused(
        "an unknown run",
        &world.get_run(&nobody).await.unwrap_err(),
        Expected(NotFound, "RUN_NOT_FOUND", "run_id"),
    );
    refused(
        "no run id",
        &world.get_run("run_1").await.unwrap_err(),
        Expected(InvalidArgument, "FIELD_INVALID", "run_id"),
    );
    let id = world.run("good", r#"{"x":1}"#).await.run_id;
    let foreign = pb::GetRunRequest { run_id: id, tenant: "acme".into() };
    let status = world.orchestrator().get_run(foreign).await.unwrap_err();
    refused("another tenant's run", &status, Expected(NotFound, "RUN_NOT_FOUND", "run_id"));
    let cancel = pb::CancelRunRequest { run_id: nobody, ..Default::default() };
    let status = world.orchestrator().cancel_run(cancel).await.unwrap_err();
    refused("cancelling nothing", &status, Expected(NotFound, "RUN_NOT_FOUND", "run_id"));
    for (what, size, token) in [("a negative page", -1, ""), ("a huge page", i32::MAX, "")] {
        let request = pb::ListRunsRequest { page_size: size, page_token: token.into(), ..Default::default() };
        let status = world.orchestrator().list_runs(request).await.unwrap_err();
        refused(what, &status, Expected(InvalidArgument, "FIELD_INVALID", "page_size"));
    }
    let request = pb::ListRunsRequest { page_token: "dGFtcGVyZWQ".into(), ..Default::default() };
    let status = world.orchestrator().list_runs(request).await.unwrap_err();
    refused("a made-up token", &status, Expected(InvalidArgument, "PAGE_TOKEN_INVALID", "page_token"));
    let status = world.invoke("nobody.does", "{}").await.unwrap_err();
    refused("a call of nobody", &status, Expected(NotFound, "CAPABILITY_UNKNOWN", "capability"));
    let status = world.invoke("work", r#"{"x":"1"}"#).await.unwrap_err();
    refused(
        "input that breaks the agent's schema",
        &status,
        Expected(InvalidArgument, "INPUT_SCHEMA_MISMATCH", ""),
    );
    let renew = pb::RenewRequest { lease_id: format!("lse_{}", "0".repeat(32)), ..Default::default() };
    let status = world.registry().renew(renew).await.unwrap_err();
    refused("an unknown lease", &status, Expected(NotFound, "LEASE_UNKNOWN", "lease_id"));
}

#[tokio::test]
async fn a_deadline_in_the_past_is_told_and_a_later_question_says_whether_the_run_exists() {
    let (world, _agent) = world().await;
    let mut request = tonic::Request::new(pb::OrchestrateRequest {
        run: Some(pb::RunSpec { idempotency_key: "late".into(), ..spec("good", r#"{"x":1}"#) }),
    });
    request.set_timeout(Duration::from_nanos(1));
    let status = world.orchestrator().orchestrate(request).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    assert!(world.everything().await.2.is_empty(), "nothing was begun");
}

#[tokio::test]
async fn hostile_text_is_data() {
    let (world, _agent) = world().await;
    let text = "<script>alert(1)</script>\r\nset-cookie: x\u{1b}[2J";
    let run = pb::RunSpec { intent: text.into(), ..spec("good", r#"{"x":1}"#) };
    let id = world.submit(run).await.unwrap();
    assert_eq!(world.until_ended(&id).await.intent, text);
}

#[tokio::test]
async fn frames_that_are_no_requests_are_answered_and_survived() {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let (world, _agent) = world().await;
    let stream = tokio::net::TcpStream::connect(&world.grpc).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut post = |path: &str, kind: &str, body: Vec<u8>| {
        let request = http::Request::post(format!("http://{}{path}", world.grpc))
            .header("content-type", kind)
            .header("te", "trailers")
            .body(Full::new(bytes::Bytes::from(body)))
            .unwrap();
        sender.send_request(request)
    };
    let get_run = "/mainstay.v1.Orchestrator/GetRun";
    let framed = |length: u32, body: &[u8]| [&[0][..], &length.to_be_bytes(), body].concat();
    let cases = [
        ("random bytes", get_run, "application/grpc", framed(5, &[0xff, 0xfe, 0x07, 0x80, 0x80]), 200),
        ("a claim of 4 GB", get_run, "application/grpc", framed(u32::MAX, &[0; 16]), 200),
        ("an unknown method", "/mainstay.v1.Orchestrator/Nothing", "application/grpc", framed(0, &[]), 200),
        ("another content type", get_run, "text/html", framed(0, &[]), 415),
    ];
    let mut statuses = Vec::new();
    for (what, path, kind, body, http_status) in cases {
        let answer = post(path, kind, body).await.unwrap();
        assert_eq!(answer.status(), http_status, "{what}");
        let (parts, body) = answer.into_parts();
        let trailers =
            body.collect().await.ok().and_then(|body| body.trailers().cloned()).unwrap_or_default();
        let status = parts.headers.get("grpc-status").or_else(|| trailers.get("grpc-status")).cloned();
        statuses.push(status.map(|status| status.to_str().unwrap().parse::<i32>().unwrap()));
    }
    assert!(statuses[0].is_some_and(|code| code != 0), "random bytes are refused: {statuses:?}");
    assert_eq!(statuses[1..3], [Some(Code::ResourceExhausted as i32), Some(Code::Unimplemented as i32)]);
    connection.abort();
    assert!(world.invoke("work", r#"{"x":1}"#).await.is_ok(), "and everything goes on");
}
