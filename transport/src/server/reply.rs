//! The body of an answer: ends at the deadline, survives a panic, and says errors in our words.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use super::guard::{correct, panicked};
use super::report::Counters;
use crate::deadline::{Deadline, Passed};

/// A response body under guard.
#[derive(Debug)]
pub(super) struct Reply {
    /// Gone once the answer has ended; with it goes the handler's stream and whatever that held.
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    body: Body,
    deadline: Option<Deadline>,
    /// Armed when the body first makes us wait: most answers are there at once.
    timer: Option<Pin<Box<Sleep>>>,
    counters: Arc<Counters>,
}

impl Reply {
    pub(super) const fn empty() -> Self {
        Self { live: None }
    }

    pub(super) fn new(body: Body, deadline: Option<Deadline>, counters: Arc<Counters>) -> Self {
        Self { live: Some(Live { body, deadline, timer: None, counters }) }
    }
}

impl Live {
    /// The next frame; the error ends the answer.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // A body that always has more would never let the timer be asked.
        if self.deadline.is_some_and(Deadline::passed) {
            return Poll::Ready(Some(Err(Passed.into())));
        }
        let body = Pin::new(&mut self.body);
        match catch_unwind(AssertUnwindSafe(|| http_body::Body::poll_frame(body, cx))) {
            Ok(Poll::Ready(Some(Ok(mut frame)))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    correct(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Ok(Poll::Ready(ended)) => Poll::Ready(ended),
            Ok(Poll::Pending) => self.poll_deadline(cx).map(|passed| Some(Err(passed.into()))),
            Err(panic) => Poll::Ready(Some(Err(panicked(&*panic, &self.counters)))),
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Passed> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.instant())));
        timer.as_mut().poll(cx).map(|()| Passed)
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(live) = &mut self.live else { return Poll::Ready(None) };
        match live.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(None) => {
                self.live = None;
                Poll::Ready(None)
            }
            // As trailers, which every client understands; an error here would only reset the stream.
            Poll::Ready(Some(Err(status))) => {
                self.live = None;
                let mut trailers = HeaderMap::new();
                Poll::Ready(Some(status.add_header(&mut trailers).map(|()| {
                    correct(&mut trailers);
                    Frame::trailers(trailers)
                })))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.live.as_ref().is_none_or(|live| live.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // No promise but "nothing": the deadline may cut any answer short.
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}
