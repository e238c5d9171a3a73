//! Why a request got no response, and whether the peer can have seen it.

use std::error::Error;
use std::fmt;

use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use tonic::Status;

/// A request without a response. tonic turns it into its status, code `UNAVAILABLE`, and keeps it as the source.
#[derive(Debug)]
pub struct ChannelError {
    sent: bool,
    status: Box<Status>,
}

impl ChannelError {
    pub(super) fn not_sent(why: impl fmt::Display) -> Self {
        Self { sent: false, status: Box::new(Fault::new(Reason::AgentUnreachable, why).into()) }
    }

    /// The error of a request that was handed to a connection.
    pub(super) fn of(error: &hyper::Error) -> Self {
        let sent = !refused(error);
        let text = chain(error);
        Self { sent, status: Box::new(Fault::new(Reason::AgentUnreachable, text).into()) }
    }

    /// Whether it is certain that the peer saw nothing of the request.
    #[must_use]
    pub const fn is_not_sent(&self) -> bool {
        !self.sent
    }
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status.message())
    }
}

impl Error for ChannelError {
    // tonic looks for a status among the sources.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.status)
    }
}

impl From<ChannelError> for Status {
    fn from(error: ChannelError) -> Self {
        Self::from_error(Box::new(error))
    }
}

/// Whether it is certain that the call which ended with `status` was never begun by the peer, so that it may be made
/// elsewhere even if it has side effects. False means unknown.
#[must_use]
pub fn not_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<ChannelError>() {
            return error.is_not_sent();
        }
        source = error.source();
    }
    false
}

/// The peer said that it did not and will not process the request. `h2` applies a remote GOAWAY only to the streams
/// that it excludes; streams cut off by the end of the connection carry an I/O error instead.
fn refused(error: &hyper::Error) -> bool {
    let h2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    h2.is_some_and(|h2| {
        h2.is_remote() && (h2.is_go_away() || h2.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// The error and its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
