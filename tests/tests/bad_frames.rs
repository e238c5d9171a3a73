//! Requests that no proper client makes: lying prefixes, bombs, odd deadlines. They cost the sender, not the server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::wait::until;
use mainstay_tests::world::{World, spec};
use prost::Message;
use tonic::{Code, Status};

const WORK: (&str, &str) = ("work", "effect: idempotent, max_concurrency: 64");
const ONE: &str = "name: one\nversion: 1\nsteps:\n  - { id: a, call: { capability: work } }\n";
const SUBMIT: &str = "/mainstay.v1.Orchestrator/Submit";
const INVOKE: &str = "/mainstay.v1.AgentSidecar/Invoke";
const GET_RUN: &str = "/mainstay.v1.Orchestrator/GetRun";

/// How much more memory hostile input may leave a server with: as FAULTS has it, with room for what an allocator keeps.
const MOST_GROWTH_KIB: u64 = 24 * 1024;

/// A connection, bare.
struct Bare {
    sender: SendRequest<Full<Bytes>>,
    grpc: String,
}

impl Bare {
    async fn connect(world: &World) -> Self {
        Self::dial(&world.grpc).await
    }

    async fn dial(grpc: &str) -> Self {
        let stream = tokio::net::TcpStream::connect(grpc).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        // Ends with its sender.
        tokio::spawn(connection);
        Self { sender, grpc: grpc.to_owned() }
    }

    /// The HTTP status and the gRPC status; no gRPC status where the stream was cut before there was one.
    async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (StatusCode, Option<Status>) {
        let mut request = http::Request::post(format!("http://{}{path}", self.grpc))
            .header("te", "trailers")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        self.sender.ready().await.unwrap();
        let (parts, body) = self.sender.send_request(request).await.unwrap().into_parts();
        let trailers =
            body.collect().await.ok().and_then(|body| body.trailers().cloned()).unwrap_or_default();
        let status = Status::from_header_map(&parts.headers).or_else(|| Status::from_header_map(&trailers));
        (parts.status, status)
    }
}

fn framed(compressed: u8, length: usize, body: &[u8]) -> Vec<u8> {
    [&[compressed][..], &u32::try_from(length).unwrap().to_be_bytes(), body].concat()
}

fn message(message: &impl prost::Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    framed(0, bytes.len(), &bytes)
}

fn submission(key: &str) -> pb::SubmitRequest {
    let run = pb::RunSpec { idempotency_key: key.into(), ..spec("one", r#"{"x": 1}"#) };
    pb::SubmitRequest { run: Some(run) }
}

async fn world() -> (World, mainstay_tests::world::Agent) {
    let world = World::start().await;
    let agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    (world, agent)
}

/// Both servers, each with a call that takes a payload.
async fn servers(world: &World) -> [(String, &'static str); 2] {
    let worker = world.until_agent("worker", "to be there", |_| true).await;
    let sidecar = worker.instances[0].address.strip_prefix("http://").unwrap().to_owned();
    [(world.grpc.clone(), SUBMIT), (sidecar, INVOKE)]
}

#[tokio::test]
async fn oversized_messages_are_refused_without_being_kept() {
    let (mut world, agent) = world().await;
    // What the servers need for anything at all, they have taken by now.
    world.run("one", r#"{"x": 1}"#).await;
    let before = world.everything().await;
    let memories = [world.control_plane().watch_memory(), agent.sidecar.watch_memory()];
    let huge = framed(0, 100_000_000, &vec![b'x'; 100_000_000]);
    for (address, path) in servers(&world).await {
        for (what, body) in [
            ("100 MB", huge.clone()),
            ("4 GB", framed(0, u32::MAX as usize, &[b'x'; 64])),
            ("just too much", framed(0, 4_700_000, &vec![b'x'; 4_700_000])),
        ] {
            let (http, status) = Bare::dial(&address).await.post(path, &[], body).await;
            let status = status.unwrap_or_else(|| panic!("{what}: no answer"));
            let code = (http, status.code());
            assert_eq!(code, (StatusCode::OK, Code::ResourceExhausted), "{path}, {what}: {status:?}");
            let seen = Seen::of(&status);
            assert_eq!(seen.reason, "PAYLOAD_TOO_LARGE", "{path}, {what}: {status:?}");
            assert!(!seen.hint.is_empty(), "{path}, {what}");
        }
    }
    // Many at once: what one may hold is not held for each, and others are served meanwhile.
    let refused = futures::future::join_all((0..8).map(async |_| {
        let (_, status) = Bare::connect(&world).await.post(SUBMIT, &[], huge.clone()).await;
        status.map(|status| (status.code(), Seen::of(&status).reason))
    }));
    let (refused, served) = futures::future::join(refused, world.invoke("work", r#"{"x": 1}"#)).await;
    assert_eq!(refused, vec![Some((Code::ResourceExhausted, "PAYLOAD_TOO_LARGE".to_owned())); 8]);
    served.unwrap();
    assert_eq!(world.everything().await, before);
    for memory in memories {
        let grown = memory.most_growth_kib();
        assert!(grown < MOST_GROWTH_KIB, "{grown} KiB more than before");
    }
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_compressed_message_is_opened_and_a_bomb_is_not_opened_further_than_any_message_may_be() {
    let (mut world, agent) = world().await;
    let gzip = [("grpc-encoding", "gzip")];
    let request = pb::SubmitRequest { run: Some(spec("one", r#"{"x": 1}"#)) };
    let small = gzipped(&request.encode_to_vec());
    let (_, status) = Bare::connect(&world).await.post(SUBMIT, &gzip, framed(1, small.len(), &small)).await;
    assert_eq!(status.unwrap().code(), Code::Ok);
    let listed = world.orchestrator().list_runs(pb::ListRunsRequest::default()).await.unwrap();
    let id = listed.into_inner().runs[0].run_id.clone();
    assert_eq!(world.until_ended(&id).await.state(), pb::RunState::Completed);

    let before = world.everything().await;
    let memories = [world.control_plane().watch_memory(), agent.sidecar.watch_memory()];
    let bomb = gzipped(&vec![0; 200 << 20]);
    assert!(bomb.len() < 1 << 20);
    let bomb = framed(1, bomb.len(), &bomb);
    for (address, path) in servers(&world).await {
        let mut bare = Bare::dial(&address).await;
        // Named as gRPC wants it, named otherwise, and only flagged: a protocol error.
        for (headers, code) in [
            (&gzip[..], Code::ResourceExhausted),
            (&[("grpc-encoding", "br")], Code::Unimplemented),
            (&[], Code::Internal),
        ] {
            let (_, status) = bare.post(path, headers, bomb.clone()).await;
            let status = status.unwrap();
            assert_eq!(status.code(), code, "{path}");
            let told = Seen::of(&status).reason;
            assert_eq!(told == "PAYLOAD_TOO_LARGE", code == Code::ResourceExhausted, "{path}");
        }
        // No gzip at all, in spite of what it says.
        let (_, status) = bare.post(path, &gzip, framed(1, 4, b"nope")).await;
        assert_eq!(status.unwrap().code(), Code::Internal, "{path}");
    }
    assert_eq!(world.everything().await, before);
    for memory in memories {
        assert!(memory.most_growth_kib() < MOST_GROWTH_KIB);
    }
}

#[tokio::test]
async fn random_bytes_are_refused_and_nothing_panics() {
    let (world, _agent) = world().await;
    let before = world.everything().await;
    let mut bare = Bare::connect(&world).await;
    let mut dice = mainstay_tests::seed::Seeded::from_environment();
    let services =
        ["Orchestrator/Submit", "AgentRegistry/Register", "Workflows/PutWorkflow", "Orchestrator/Invoke"];
    for n in 0..200 {
        let bytes: Vec<u8> =
            (0..dice.below(60) + 1).map(|_| u8::try_from(dice.below(256)).unwrap()).collect();
        let path = format!("/mainstay.v1.{}", services[n % services.len()]);
        let (http, status) = bare.post(&path, &[], framed(0, bytes.len(), &bytes)).await;
        let status = status.unwrap_or_else(|| panic!("{path} {bytes:?}: no answer"));
        assert_eq!(http, StatusCode::OK);
        assert_ne!(status.code(), Code::Ok, "{path} took {bytes:?}");
    }
    // Whole messages, cut short: whatever still parses is refused for what it says.
    let whole = message(&submission("cut"));
    for end in 0..whole.len() - 6 {
        let (_, status) = bare.post(SUBMIT, &[], framed(0, end, &whole[5..5 + end])).await;
        let code = status.unwrap().code();
        assert!(code != Code::Ok && code != Code::Unknown, "cut at {end}: {code:?}");
    }
    assert_eq!(world.everything().await, before);
}

#[tokio::test]
async fn odd_deadlines_are_passed_clamped_or_ignored_and_the_run_is_whole_or_absent() {
    let (world, agent) = world().await;
    let mut bare = Bare::connect(&world).await;
    let cases = [
        ("1n", false),
        ("0S", false),
        ("99999999H", true),
        ("-1S", true),
        ("soon", true),
        ("1", true),
        ("123456789S", true),
        ("", true),
    ];
    for (timeout, in_time) in cases {
        let key = format!("deadline {timeout:?}");
        let headers = [("grpc-timeout", timeout)];
        let (http, status) = bare.post(SUBMIT, &headers, message(&submission(&key))).await;
        let status = status.unwrap();
        let expected = if in_time { Code::Ok } else { Code::DeadlineExceeded };
        assert_eq!((http, status.code()), (StatusCode::OK, expected), "{timeout:?}: {status:?}");
        // Asked again under its key: whether the first one began is now known, and it exists once.
        let id = world.submit(submission(&key).run.unwrap()).await.unwrap();
        assert_eq!(world.until_ended(&id).await.state(), pb::RunState::Completed);
    }
    assert_eq!(world.everything().await.2.len(), cases.len());
    assert_eq!(agent.begun(), cases.len());
}

#[tokio::test]
async fn what_is_not_grpc_is_told_so() {
    let (world, _agent) = world().await;
    let before = world.everything().await;
    let mut bare = Bare::connect(&world).await;
    for kind in ["text/html", "application/json", "application/x-www-form-urlencoded"] {
        let (http, _) = bare.post(GET_RUN, &[("content-type", kind)], framed(0, 0, &[])).await;
        assert_eq!(http, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    for path in ["/", "/mainstay.v1.Orchestrator/Nothing", "/mainstay.v1.Nobody/GetRun", "/..%2f..%2fetc"] {
        let (_, status) = bare.post(path, &[], framed(0, 0, &[])).await;
        assert_eq!(status.unwrap().code(), Code::Unimplemented, "{path}");
    }
    // Half a prefix, and two messages where one belongs.
    for body in [vec![0, 0], [framed(0, 0, &[]), framed(0, 0, &[])].concat()] {
        let (_, status) = bare.post(GET_RUN, &[], body).await;
        assert_ne!(status.unwrap().code(), Code::Ok);
    }
    assert_eq!(world.everything().await, before);
}

#[tokio::test]
async fn hostile_bytes_on_the_bare_sockets_end_their_connection_and_no_other() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (world, _agent) = world().await;
    let rude: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        &[0; 4096],
    ];
    for address in [&world.grpc, &world.admin] {
        for bytes in rude {
            let mut stream = tokio::net::TcpStream::connect(address.as_str()).await.unwrap();
            // The server may have closed before all was written.
            stream.write_all(bytes).await.unwrap_or_default();
            stream.shutdown().await.unwrap_or_default();
            let mut answer = Vec::new();
            let closed =
                tokio::time::timeout(mainstay_tests::wait::PATIENCE, stream.read_to_end(&mut answer));
            closed.await.expect("a rude connection is closed").map(drop).unwrap_or_default();
        }
    }
    until("everything to go on", || async { world.invoke("work", r#"{"x": 1}"#).await.ok() }).await;
    assert_eq!(world.get("/healthz").await.unwrap().0, 200);
}
