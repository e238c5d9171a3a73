//! Failures, made in one place so that reason, class and text agree.

use std::fmt;

use mainstay_kernel::outcome::{Began, Class, Failure};
use mainstay_proto::reason::Reason;

/// Longest text of a failure in bytes, as the wire allows it. Agents put whole tracebacks into their errors.
const MAX_MESSAGE: usize = 4096;

/// A failure with no pushback.
pub(crate) fn failure(class: Class, reason: Reason, began: Began, message: impl fmt::Display) -> Failure {
    let message = clip(&message.to_string());
    Failure { class, code: reason.as_str().to_owned(), message, began, retry_after: None }
}

/// The agent could not be reached, or the connection broke.
pub(crate) fn unreachable(began: Began, message: impl fmt::Display) -> Failure {
    failure(Class::Transport, Reason::AgentUnreachable, began, message)
}

/// The agent answered that it failed.
pub(crate) fn agent_failed(message: impl fmt::Display) -> Failure {
    failure(Class::AgentError, Reason::AgentFailed, Began::Yes, message)
}

/// The answer is not what was declared.
pub(crate) fn breach(message: impl fmt::Display) -> Failure {
    failure(Class::ContractBreach, Reason::OutputSchemaMismatch, Began::Yes, message)
}

/// The call itself was wrong; it never reached the agent.
pub(crate) fn caller_fault(reason: Reason, message: impl fmt::Display) -> Failure {
    failure(Class::CallerFault, reason, Began::No, message)
}

/// Nobody can say whether the work was done.
pub(crate) fn unknown(message: impl fmt::Display) -> Failure {
    failure(Class::Transport, Reason::OutcomeUnknown, Began::Unknown, message)
}

/// Cuts a text at a character near `MAX_MESSAGE` bytes.
pub(crate) fn clip(text: &str) -> String {
    if text.len() <= MAX_MESSAGE {
        return text.to_owned();
    }
    let mut cut = MAX_MESSAGE - '…'.len_utf8();
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}…", &text[..cut])
}
