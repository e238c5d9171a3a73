//! The body of a response, made harmless.
//!
//! A connection that breaks in the middle is `UNAVAILABLE`, whatever broke it: tonic would call it anything from
//! `UNKNOWN` to `CANCELLED`. And trailers are checked before tonic reads them, because it panics on error details
//! that are not base64, which any peer may send.

use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use tonic::Status;

use super::error::chain;

const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// As tonic decodes it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The body of a response.
#[derive(Debug)]
pub struct ResponseBody(Incoming);

impl ResponseBody {
    pub(super) const fn new(body: Incoming) -> Self {
        Self(body)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.0).poll_frame(cx).map(|frame| {
            frame.map(|frame| match frame {
                Ok(mut frame) => {
                    if let Some(trailers) = frame.trailers_mut() {
                        sanitize(trailers);
                    }
                    Ok(frame)
                }
                Err(error) => Err(Fault::new(Reason::AgentUnreachable, chain(&error)).into()),
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Removes error details that cannot be decoded.
pub(super) fn sanitize(headers: &mut HeaderMap) {
    let unreadable = headers.get(&DETAILS).is_some_and(|details| BASE64.decode(details).is_err());
    if unreadable {
        headers.remove(&DETAILS);
    }
}
