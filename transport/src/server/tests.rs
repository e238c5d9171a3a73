//! The server against peers that misbehave and handlers that fail.

use http::StatusCode;
use http_body_util::{BodyExt, Full, StreamBody};
use mainstay_proto::fault::Seen;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;
use tower::ServiceExt;

use super::*;
use crate::channel::Channel;
use crate::testbed::{Testbed, call, call_with, raw, watch};

async fn connect(testbed: &Testbed) -> TcpStream {
    TcpStream::connect(testbed.addr).await.unwrap()
}

/// Waits until the server closes the connection.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is a way of closing too.
    drop(stream.read_to_end(&mut rest).await);
}

fn timed(path: &str, timeout: &str) -> tonic::Request<String> {
    let mut request = tonic::Request::new(path.to_owned());
    request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    request
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_and_half_a_preface_are_closed_after_the_deadline() {
    let testbed = Testbed::start(Options::default()).await;
    let begun = tokio::time::Instant::now();
    let mut silent = connect(&testbed).await;
    let mut half = connect(&testbed).await;
    half.write_all(b"PRI * HTTP/2").await.unwrap();
    closed(&mut silent).await;
    closed(&mut half).await;
    assert!(begun.elapsed() >= Duration::from_secs(5));
    assert_eq!(testbed.end().await.silent, 2);
}

#[tokio::test]
async fn another_protocol_is_closed_at_once() {
    let testbed = Testbed::start(Options::default()).await;
    let mut stream = connect(&testbed).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    closed(&mut stream).await;
    assert_eq!(testbed.end().await.silent, 1);
}

#[tokio::test]
async fn connections_beyond_the_cap_are_refused_until_one_ends() {
    let caps = Caps { loopback: 1, ..Caps::default() };
    let testbed = Testbed::start(Options { caps, ..Options::default() }).await;
    let first = testbed.channel();
    assert_eq!(call(&first, "/test/echo", "hi").await.unwrap(), "hi");
    closed(&mut connect(&testbed).await).await;
    assert_eq!(call(&first, "/test/echo", "still").await.unwrap(), "still");
    first.close();
    // The place is free once the server has seen the first connection end.
    while call(&testbed.channel(), "/test/echo", "next").await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(testbed.end().await.refused >= 1);
}

#[tokio::test]
async fn handlers_learn_who_calls() {
    let testbed = Testbed::start(Options::default()).await;
    assert_eq!(call(&testbed.channel(), "/test/peer", "").await.unwrap(), "127.0.0.1");
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_resource_exhausted_with_its_reason() {
    let testbed = Testbed::start(Options::default()).await;
    let channel = testbed.channel();
    let status = call(&channel, "/test/echo", &"x".repeat(5 * 1024 * 1024)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(Seen::of(&status).reason, "PAYLOAD_TOO_LARGE");
    assert_eq!(call(&channel, "/test/echo", "small").await.unwrap(), "small");
}

#[tokio::test]
async fn a_message_that_claims_four_gigabytes_is_refused_by_its_header_alone() {
    let testbed = Testbed::start(Options::default()).await;
    let header = http_body::Frame::data(bytes::Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]));
    // The rest never comes: whoever waited for it would wait for ever.
    let body = futures::StreamExt::chain(
        futures::stream::iter([Ok::<_, std::convert::Infallible>(header)]),
        futures::stream::pending(),
    );
    let response = testbed.channel().oneshot(raw("application/grpc", StreamBody::new(body))).await.unwrap();
    let status = tonic::Status::from_header_map(response.headers()).unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused_and_the_connection_lives() {
    let testbed = Testbed::start(Options::default()).await;
    let channel = testbed.channel();
    let padded = |len| {
        let mut request = tonic::Request::new("hi".to_owned());
        request.metadata_mut().insert("padding", "x".repeat(len).parse().unwrap());
        call_with(&channel, "/test/echo", request)
    };
    padded(18 * 1024).await.unwrap_err();
    assert_eq!(call(&channel, "/test/echo", "hi").await.unwrap(), "hi");
    assert_eq!(testbed.end().await.accepted, 1);
}

#[tokio::test]
async fn bytes_that_are_no_protobuf_are_internal() {
    let testbed = Testbed::start(Options::default()).await;
    let body = Full::new(bytes::Bytes::from_static(&[0, 0, 0, 0, 3, 0xff, 0xff, 0xff]));
    let response = testbed.channel().oneshot(raw("application/grpc", body)).await.unwrap();
    assert_eq!(tonic::Status::from_header_map(response.headers()).unwrap().code(), Code::Internal);
    assert_eq!(testbed.end().await.panicked, 0);
}

#[tokio::test]
async fn another_content_type_is_415_and_an_unknown_method_unimplemented() {
    let testbed = Testbed::start(Options::default()).await;
    let body = Full::new(bytes::Bytes::from_static(b"{}"));
    let response = testbed.channel().oneshot(raw("application/json", body)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let channel = Channel::to(listener.local_addr().unwrap(), Default::default());
    let routes = tonic::service::Routes::default();
    tokio::spawn(serve(listener, routes, Options::default(), std::future::pending()));
    let status = call(&channel, "/mainstay.v1.Nothing/Nowhere", "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passed_on_arrival_begins_nothing() {
    let testbed = Testbed::start(Options::default()).await;
    let status = call_with(&testbed.channel(), "/test/panic", timed("", "1n")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(Seen::of(&status).reason, "DEADLINE_PASSED");
    assert_eq!(testbed.end().await.panicked, 0, "the handler would have panicked");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_dropped_at_its_deadline() {
    let testbed = Testbed::start(Options::default()).await;
    let status = call_with(&testbed.channel(), "/test/hang", timed("", "2S")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    testbed.signals.dropped.cancelled().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_at_its_deadline_and_lives_for_ever_without_one() {
    let testbed = Testbed::start(Options::default()).await;
    let channel = testbed.channel();
    let mut bounded = watch(&channel, "/test/hourly", timed("", "90M")).await.unwrap();
    let mut forever = watch(&channel, "/test/hourly", timed("", "nonsense")).await.unwrap();
    assert_eq!(bounded.message().await.unwrap().unwrap(), "tick");
    assert_eq!(bounded.message().await.unwrap_err().code(), Code::DeadlineExceeded);
    for _ in 0..3 {
        assert_eq!(forever.message().await.unwrap().unwrap(), "tick");
    }
}

#[tokio::test]
async fn a_panic_is_one_calls_internal_error() {
    let testbed = Testbed::start(Options::default()).await;
    let channel = testbed.channel();
    let status = call(&channel, "/test/panic", "").await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("planted"), "a panic's text is not for peers");

    let mut stream = watch(&channel, "/test/panic-later", tonic::Request::new(String::new())).await.unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap(), "first");
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Internal);

    assert_eq!(call(&channel, "/test/echo", "alive").await.unwrap(), "alive");
    let report = testbed.end().await;
    assert_eq!((report.panicked, report.accepted), (2, 1));
}

#[tokio::test]
async fn shutdown_lets_calls_end() {
    let testbed = Testbed::start(Options::default()).await;
    let channel = testbed.channel();
    let waiting = tokio::spawn(async move { call(&channel, "/test/wait", "").await });
    testbed.signals.begun.notified().await;
    testbed.stop.cancel();
    testbed.signals.go.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap(), "done");
    assert_eq!(testbed.end().await.dropped, 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_drops_what_outlasts_the_grace() {
    let testbed = Testbed::start(Options::default()).await;
    let channel = testbed.channel();
    let hanging = tokio::spawn(async move { call(&channel, "/test/hang", "").await });
    testbed.signals.begun.notified().await;
    let signals = testbed.signals.clone();
    let begun = tokio::time::Instant::now();
    assert_eq!(testbed.end().await.dropped, 1);
    assert_eq!(begun.elapsed().as_secs(), Options::default().shutdown_grace.as_secs());
    assert_eq!(hanging.await.unwrap().unwrap_err().code(), Code::Unavailable);
    signals.dropped.cancelled().await;
}
