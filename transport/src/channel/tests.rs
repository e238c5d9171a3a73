//! The channel against peers that are not there, come back, refuse and lie.

use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use super::*;
use crate::server::Options as ServerOptions;
use crate::testbed::{Testbed, call};

/// A peer that handles every connection with `handle`, and how many came.
async fn peer<F>(handle: impl Fn(TcpStream) -> F + Send + 'static) -> (Channel, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let channel = Channel::to(listener.local_addr().unwrap(), Options::default());
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(handle(stream));
        }
    });
    (channel, accepted)
}

const HEADERS: u8 = 1;

/// Reads one HTTP/2 frame and returns its type.
async fn frame(stream: &mut TcpStream) -> u8 {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    stream.read_exact(&mut vec![0; len]).await.unwrap();
    head[3]
}

#[tokio::test]
async fn a_hundred_first_calls_share_one_dial() {
    let testbed = Testbed::start(ServerOptions::default()).await;
    let channel = testbed.channel();
    assert!(!channel.is_ready());
    let calls = (0..100).map(|_| call(&channel, "/test/echo", "hi"));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap(), "hi");
    }
    assert!(channel.is_ready());
    assert_eq!(testbed.end().await.accepted, 1);
}

#[tokio::test]
async fn a_caller_who_gives_up_does_not_abort_the_dial() {
    let testbed = Testbed::start(ServerOptions::default()).await;
    let channel = testbed.channel();
    assert!(futures::poll!(Box::pin(channel.connect())).is_pending());
    channel.connect().await.unwrap();
    assert_eq!(testbed.end().await.accepted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_down_fails_at_once_as_not_sent_and_is_found_again_after_the_pause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let channel = Channel::to(addr, Options::default());
    let begun = Instant::now();
    for _ in 0..3 {
        let status = call(&channel, "/test/echo", "hi").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(not_sent(&status));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "no call waited out a pause");
    let _testbed = Testbed::start_at(addr, ServerOptions::default()).await;
    assert!(channel.connect().await.unwrap_err().is_not_sent(), "the pause still lasts");
    tokio::time::advance(Options::default().backoff_min).await;
    assert_eq!(call(&channel, "/test/echo", "hi").await.unwrap(), "hi");
}

#[tokio::test]
async fn the_first_call_after_the_peer_restarted_succeeds() {
    let testbed = Testbed::start(ServerOptions::default()).await;
    let (addr, channel) = (testbed.addr, testbed.channel());
    for _ in 0..3 {
        call(&channel, "/test/echo", "before").await.unwrap();
    }
    testbed.end().await;
    let testbed = Testbed::start_at(addr, ServerOptions::default()).await;
    assert_eq!(call(&channel, "/test/echo", "after").await.unwrap(), "after");
    testbed.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_cut_off_while_under_way_is_unknown() {
    let options = ServerOptions { shutdown_grace: Duration::ZERO, ..ServerOptions::default() };
    let testbed = Testbed::start(options).await;
    let channel = testbed.channel();
    let hanging = tokio::spawn(async move { call(&channel, "/test/hang", "").await });
    testbed.signals.begun.notified().await;
    testbed.end().await;
    let status = hanging.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(!not_sent(&status), "the handler had begun: {status:?}");
}

#[tokio::test]
async fn a_refused_stream_was_not_sent() {
    let (channel, _) = peer(|stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        }
    })
    .await;
    let status = call(&channel, "/test/echo", "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(not_sent(&status), "{status:?}");
}

#[tokio::test]
async fn a_stream_reset_for_another_reason_is_unknown() {
    let (channel, _) = peer(|stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(h2::Reason::INTERNAL_ERROR);
        }
    })
    .await;
    assert!(!not_sent(&call(&channel, "/test/echo", "").await.unwrap_err()));
}

#[tokio::test]
async fn a_request_that_a_goaway_excludes_was_not_sent() {
    let (channel, _) = peer(|mut stream| async move {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        // Last stream 0, no error: nothing was or will be processed.
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        stream.write_all(&settings).await.unwrap();
        stream.read_exact(&mut [0; 24]).await.unwrap();
        while frame(&mut stream).await != HEADERS {}
        stream.write_all(&goaway).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    })
    .await;
    let status = call(&channel, "/test/echo", "").await.unwrap_err();
    assert!(not_sent(&status), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_accepts_and_hangs_up_is_not_dialled_at_the_rate_of_calls() {
    let (channel, accepted) = peer(|stream| async move { drop(stream) }).await;
    for _ in 0..50 {
        assert_eq!(call(&channel, "/test/echo", "").await.unwrap_err().code(), Code::Unavailable);
    }
    assert!(accepted.load(Ordering::Relaxed) <= 3, "{accepted:?}");
}

#[tokio::test]
async fn a_closed_channel_lets_calls_end_and_takes_no_more() {
    let testbed = Testbed::start(ServerOptions::default()).await;
    let channel = testbed.channel();
    let waiting = tokio::spawn({
        let channel = channel.clone();
        async move { call(&channel, "/test/wait", "").await }
    });
    testbed.signals.begun.notified().await;
    channel.close();
    assert!(not_sent(&call(&channel, "/test/echo", "").await.unwrap_err()));
    testbed.signals.go.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap(), "done");
    assert_eq!(testbed.end().await.accepted, 1);
}

#[tokio::test]
async fn error_details_that_are_not_base64_do_not_panic() {
    let testbed = Testbed::start(ServerOptions::default()).await;
    let status = call(&testbed.channel(), "/test/bad-details", "").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.details().is_empty());
}
