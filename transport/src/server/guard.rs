//! Around every request: content type, deadline, panics, and error codes as we promise them.

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures::FutureExt;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Status};
use tower::{BoxError, Service, ServiceExt};

use super::reply::Reply;
use super::report::Counters;
use crate::deadline::{Deadline, Passed};

/// The service of one connection.
#[derive(Debug)]
pub(super) struct Guard<S> {
    service: S,
    info: TcpConnectInfo,
    counters: Arc<Counters>,
}

impl<S> Guard<S> {
    pub(super) const fn new(service: S, info: TcpConnectInfo, counters: Arc<Counters>) -> Self {
        Self { service, info, counters }
    }
}

impl<S> hyper::service::Service<Request<Incoming>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let service = self.service.clone();
        let info = self.info.clone();
        let counters = Arc::clone(&self.counters);
        Box::pin(async move { Ok(answer(service, request, info, counters).await) })
    }
}

async fn answer<S>(
    service: S,
    request: Request<Incoming>,
    info: TcpConnectInfo,
    counters: Arc<Counters>,
) -> Response<Reply>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Into<BoxError>,
{
    if !speaks_grpc(request.headers()) {
        let mut response = Response::new(Reply::empty());
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    let deadline = Deadline::arriving(request.headers());
    if deadline.is_some_and(Deadline::passed) {
        // Nobody waits any more: begin nothing.
        return refusal(Passed.into());
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(info);
    if let Some(deadline) = deadline {
        request.extensions_mut().insert(deadline);
    }
    // An async block, so that a panic before the first await is caught as well.
    let call = AssertUnwindSafe(async { service.oneshot(request).await }).catch_unwind();
    let called = match deadline {
        None => call.await,
        Some(deadline) => match deadline.bound(call).await {
            Ok(called) => called,
            Err(passed) => return refusal(passed.into()),
        },
    };
    match called {
        Ok(Ok(mut response)) => {
            correct(response.headers_mut());
            response.map(|body| Reply::new(body, deadline, counters))
        }
        Ok(Err(error)) => refusal(Status::from_error(error.into())),
        Err(panic) => refusal(panicked(&*panic, &counters)),
    }
}

/// Counts and logs a panic. The peer learns that there was one, not what it said.
pub(super) fn panicked(panic: &(dyn Any + Send), counters: &Counters) -> Status {
    counters.panicked();
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)");
    tracing::error!(panic = text, "a handler panicked; its call was answered with INTERNAL");
    Fault::new(Reason::Internal, "the handler of this call failed").into()
}

/// gRPC over HTTP/2: `application/grpc`, alone or with a subtype or parameters.
fn speaks_grpc(headers: &HeaderMap) -> bool {
    let rest = headers.get(CONTENT_TYPE).and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"));
    matches!(rest, Some([] | [b'+' | b';', ..]))
}

fn refusal(status: Status) -> Response<Reply> {
    let mut response = status.into_http::<Body>().map(|_| Reply::empty());
    correct(response.headers_mut());
    response
}

/// Turns what tonic says of a message too large into what we promise: `RESOURCE_EXHAUSTED` with its reason.
pub(super) fn correct(headers: &mut HeaderMap) {
    // The status code alone decides almost always, without a look at the text. tonic's own status has no details; a
    // handler's may, and reading them would panic if they are malformed.
    let code = headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()));
    let suspect = matches!(code, Some(Code::OutOfRange | Code::ResourceExhausted));
    if !suspect || headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return;
    }
    let Some(status) = Status::from_header_map(headers).filter(is_oversize) else { return };
    let fault = Status::from(Fault::new(Reason::PayloadTooLarge, status.message()));
    // Fails for texts a header cannot carry, which a fault does not contain.
    drop(fault.add_header(headers));
}

/// Whether a status is tonic's own for a message beyond the decoding limit, as it came or as it swelled to.
fn is_oversize(status: &Status) -> bool {
    let (code, text) = (status.code(), status.message());
    (code == Code::OutOfRange && text.starts_with("Error, decoded message length too large"))
        || (code == Code::ResourceExhausted && text.starts_with("Error decompressing: size limit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, text.parse().unwrap());
        speaks_grpc(&headers)
    }

    #[test]
    fn only_grpc_is_spoken_here() {
        assert!(kind("application/grpc") && kind("application/grpc+proto") && kind("application/grpc;x=y"));
        assert!(!kind("application/grpc-web") && !kind("application/json") && !kind(""));
        assert!(!speaks_grpc(&HeaderMap::new()));
    }

    #[test]
    fn a_handlers_own_out_of_range_is_left_alone() {
        let mut headers = HeaderMap::new();
        Status::out_of_range("page 9 of 3").add_header(&mut headers).unwrap();
        let before = headers.clone();
        correct(&mut headers);
        assert_eq!(headers, before);
    }
}
