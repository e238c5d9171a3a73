//! What a gRPC status means that came in place of an outcome: the peer refused, broke or fell silent.
//!
//! The question behind each line is whether the agent may have begun. "Certainly not" needs evidence: the call was never
//! sent, or the peer says something that it can only say before the work. All else is unknown, so that an effect is not
//! repeated because a connection broke.

use std::time::Duration;

use super::{Began, Class, Failure};

/// The reason of a peer that shuts down.
const SERVER_DRAINING: &str = "SERVER_DRAINING";
/// The reason of a payload beyond the limit, on either way.
const PAYLOAD_TOO_LARGE: &str = "PAYLOAD_TOO_LARGE";

/// A gRPC status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the standard's: https://grpc.io/docs/guides/status-codes/")]
pub enum Code {
    Ok,
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl Code {
    /// Every code, each at the place of its number on the wire.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The code of a number on the wire. One that the standard does not have is [`Code::Unknown`], as the standard asks.
    #[must_use]
    pub fn from_number(number: i32) -> Self {
        usize::try_from(number).ok().and_then(|at| Self::ALL.get(at).copied()).unwrap_or(Self::Unknown)
    }
}

/// The facts of a call that ended with a status and without an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether any of the call may have reached the peer. If not, the status is our own, and only its message counts.
    pub sent: bool,
    /// Its code.
    pub code: Code,
    /// The reason it carries, if that is one of ours (for example `AGENT_BUSY`).
    pub reason: Option<&'static str>,
    /// One sentence for a person.
    pub message: String,
    /// Pushback: the peer asks not to be called again before this much time has passed.
    pub retry_after: Option<Duration>,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let Status { sent, code, reason, message, retry_after } = status;
        if !sent {
            return Self {
                class: Class::Transport,
                code: "AGENT_UNREACHABLE".to_owned(),
                message,
                began: Began::No,
                retry_after: None,
            };
        }
        let (class, fallback, began) = classify(code, reason);
        Self { class, code: reason.unwrap_or(fallback).to_owned(), message, began, retry_after }
    }
}

/// The class of a status that the peer answered, the code of the failure if the status brings no reason, and whether the
/// agent may have begun.
fn classify(code: Code, reason: Option<&str>) -> (Class, &'static str, Began) {
    match (code, reason) {
        // It refuses work because it is going away: somebody else may take it.
        (Code::Unavailable, Some(SERVER_DRAINING)) => (Class::Unavailable, SERVER_DRAINING, Began::No),
        // It no longer offers what it registered: its next registration will say so.
        (Code::NotFound | Code::Unimplemented, _) => (Class::Unavailable, "CAPABILITY_NOT_SERVED", Began::No),
        (Code::ResourceExhausted, Some(PAYLOAD_TOO_LARGE)) => {
            (Class::CallerFault, PAYLOAD_TOO_LARGE, Began::No)
        }
        (Code::ResourceExhausted, Some(_)) => (Class::Overload, "AGENT_BUSY", Began::No),
        (Code::InvalidArgument | Code::AlreadyExists | Code::PermissionDenied | Code::Unauthenticated, _) => {
            (Class::CallerFault, "FIELD_INVALID", Began::No)
        }
        // Our own reader's word: the answer is longer than it takes. The agent did its work, and broke the contract.
        (Code::OutOfRange, None) => (Class::ContractBreach, PAYLOAD_TOO_LARGE, Began::Yes),
        (Code::DeadlineExceeded | Code::Cancelled, _) => (Class::Timeout, "AGENT_TIMEOUT", Began::Unknown),
        // Without a reason of ours, "exhausted" and "unavailable" may be a proxy's word, midway through the work.
        (
            Code::Ok
            | Code::Unknown
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss,
            _,
        ) => (Class::Transport, "AGENT_UNREACHABLE", Began::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code, reason: Option<&'static str>) -> Failure {
        let retry_after = Some(Duration::from_secs(1));
        Status { sent: true, code, reason, message: "no".to_owned(), retry_after }.into()
    }

    fn meaning(code: Code, reason: Option<&'static str>) -> (Class, String, Began) {
        let failure = failure(code, reason);
        (failure.class, failure.code, failure.began)
    }

    fn is(class: Class, code: &str, began: Began) -> (Class, String, Began) {
        (class, code.to_owned(), began)
    }

    #[test]
    fn a_call_that_was_not_sent_has_not_begun_whatever_its_status_says() {
        for code in Code::ALL {
            let retry_after = Some(Duration::from_secs(1));
            let status =
                Status { sent: false, code, reason: Some("AGENT_BUSY"), message: "down".into(), retry_after };
            let failure = Failure::from(status);
            assert_eq!((failure.class, failure.began), (Class::Transport, Began::No));
            assert_eq!((failure.code.as_str(), failure.message.as_str()), ("AGENT_UNREACHABLE", "down"));
            assert_eq!(failure.retry_after, None);
        }
    }

    #[test]
    fn a_bare_code_says_no_more_than_the_standard_lets_it_say() {
        for code in Code::ALL {
            let wanted = match code {
                Code::NotFound | Code::Unimplemented => {
                    is(Class::Unavailable, "CAPABILITY_NOT_SERVED", Began::No)
                }
                Code::InvalidArgument
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::Unauthenticated => is(Class::CallerFault, "FIELD_INVALID", Began::No),
                Code::OutOfRange => is(Class::ContractBreach, "PAYLOAD_TOO_LARGE", Began::Yes),
                Code::DeadlineExceeded | Code::Cancelled => {
                    is(Class::Timeout, "AGENT_TIMEOUT", Began::Unknown)
                }
                Code::Ok
                | Code::Unknown
                | Code::ResourceExhausted
                | Code::FailedPrecondition
                | Code::Aborted
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss => is(Class::Transport, "AGENT_UNREACHABLE", Began::Unknown),
            };
            assert_eq!(meaning(code, None), wanted, "{code:?}");
        }
    }

    #[test]
    fn a_draining_peer_leaves_the_work_to_another() {
        let draining = meaning(Code::Unavailable, Some("SERVER_DRAINING"));
        assert_eq!(draining, is(Class::Unavailable, "SERVER_DRAINING", Began::No));
        let broken = meaning(Code::Unavailable, Some("STORE_FAILED"));
        assert_eq!(broken, is(Class::Transport, "STORE_FAILED", Began::Unknown));
    }

    #[test]
    fn busy_is_not_dead_and_too_large_is_not_busy() {
        let busy = meaning(Code::ResourceExhausted, Some("AGENT_BUSY"));
        assert_eq!(busy, is(Class::Overload, "AGENT_BUSY", Began::No));
        let large = meaning(Code::ResourceExhausted, Some("PAYLOAD_TOO_LARGE"));
        assert_eq!(large, is(Class::CallerFault, "PAYLOAD_TOO_LARGE", Began::No));
    }

    #[test]
    fn an_answer_out_of_range_breaks_the_contract_only_by_our_own_readers_word() {
        let theirs = meaning(Code::OutOfRange, Some("INTERNAL"));
        assert_eq!(theirs, is(Class::Transport, "INTERNAL", Began::Unknown));
    }

    #[test]
    fn the_peers_own_reason_and_its_pushback_are_kept() {
        let failure = failure(Code::NotFound, Some("LEASE_UNKNOWN"));
        assert_eq!((failure.code.as_str(), failure.class), ("LEASE_UNKNOWN", Class::Unavailable));
        assert_eq!(failure.retry_after, Some(Duration::from_secs(1)));
    }

    #[test]
    fn codes_have_the_numbers_of_the_standard_and_a_strange_number_is_unknown() {
        for (number, code) in (0..).zip(Code::ALL) {
            assert_eq!((Code::from_number(number), code as i32), (code, number));
        }
        assert_eq!((Code::from_number(-1), Code::from_number(17)), (Code::Unknown, Code::Unknown));
    }
}
