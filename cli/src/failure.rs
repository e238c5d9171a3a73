//! What went wrong, in the order a person needs it: what, where, what to do, where to read more.

use std::error::Error as _;
use std::time::Duration;

use mainstay_kernel::time::text::Human;
use mainstay_proto::fault::Seen;
use mainstay_proto::pages;
use serde::Serialize;
use tonic::{Code, Status};

use crate::exit::Exit;
use crate::render::text::plain;

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is wrong, in one sentence. Empty where everything has been said already.
    pub message: String,
    /// The reason code, if there is one to explain.
    pub code: String,
    /// The places at fault, each with what it takes.
    pub violations: Vec<(String, String)>,
    /// What to do.
    pub hint: String,
    /// How long to wait before trying again.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure with a sentence.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        let (code, hint) = (String::new(), String::new());
        Self { exit, message: message.into(), code, violations: Vec::new(), hint, retry_after: None }
    }

    /// An end that needs no words: they were printed as the answer.
    #[must_use]
    pub fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// What a server at `server` answered.
    #[must_use]
    pub fn answered(status: &Status, server: &str) -> Self {
        let seen = Seen::of(status);
        let exit = Exit::of(status.code(), &seen.reason);
        // A status with a source was made on this side, because the connection broke; no server said it.
        if exit == Exit::Unreachable || (seen.reason.is_empty() && status.source().is_some()) {
            return Self::unreachable(server, status.message());
        }
        let message = match (status.message().is_empty(), status.code()) {
            (false, _) => status.message().to_owned(),
            (true, Code::DeadlineExceeded) => "the server did not answer in time".to_owned(),
            (true, code) => format!("the server answered {code:?} without a word"),
        };
        Self {
            exit,
            message,
            code: seen.reason,
            violations: seen.violations,
            hint: seen.hint,
            retry_after: seen.retry_after,
        }
    }

    /// No server answers at `server`.
    #[must_use]
    pub fn unreachable(server: &str, why: &str) -> Self {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        Self::new(Exit::Unreachable, format!("no control plane answers at {server}{why}"))
            .hint("start one with `mainstay serve`, or say where it is with --server URL or MAINSTAY_SERVER")
    }

    /// For people: a few lines, with nothing in them that a terminal would act on.
    #[must_use]
    pub fn for_people(&self) -> String {
        let mut text = String::new();
        for (n, line) in self.message.lines().enumerate() {
            text += &format!("{} {}\n", if n == 0 { "error:" } else { "      " }, plain(line));
        }
        for (field, message) in &self.violations {
            let said = self.message.contains(field.as_str()) && self.message.contains(message.as_str());
            if !said {
                text += &format!("   at: {}: {}\n", plain(field), plain(message));
            }
        }
        if !self.hint.is_empty() {
            text += &format!(" hint: {}\n", plain(&self.hint));
        }
        if let Some(delay) = self.retry_after {
            text += &format!("retry: in {}\n", Human(delay));
        }
        if pages::page(&self.code).is_some() {
            text += &format!(" more: mainstay explain {}\n", plain(&self.code));
        }
        text
    }

    /// For programs: one JSON object.
    #[must_use]
    pub fn view(&self) -> FailureView<'_> {
        FailureView {
            error: ErrorView {
                code: &self.code,
                message: &self.message,
                violations: self
                    .violations
                    .iter()
                    .map(|(field, message)| ViolationView { field, message })
                    .collect(),
                hint: &self.hint,
                retry_after_ms: self.retry_after.map(|delay| delay.as_millis()),
                exit: self.exit.code(),
            },
        }
    }
}

/// `{"error": …}`, printed to standard error with `--output json`.
#[derive(Debug, Serialize)]
pub struct FailureView<'a> {
    error: ErrorView<'a>,
}

#[derive(Debug, Serialize)]
struct ErrorView<'a> {
    code: &'a str,
    message: &'a str,
    violations: Vec<ViolationView<'a>>,
    hint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u128>,
    exit: u8,
}

#[derive(Debug, Serialize)]
struct ViolationView<'a> {
    field: &'a str,
    message: &'a str,
}

#[cfg(test)]
mod tests {
    use mainstay_proto::fault::Fault;
    use mainstay_proto::reason::Reason;

    use super::*;

    #[test]
    fn a_refusal_says_the_field_the_way_out_and_where_to_read_more() {
        let status = Status::from(
            Fault::new(Reason::WorkflowInvalid, "the document has 1 error")
                .violation("steps[0].id", "is missing")
                .retry_after(Duration::from_secs(2)),
        );
        insta::assert_snapshot!(Failure::answered(&status, "http://x").for_people(), @r"
        error: the document has 1 error
           at: steps[0].id: is missing
         hint: Each finding names its place and what to do. `mainstay workflows lint FILE` shows them all.
        retry: in 2s
         more: mainstay explain WORKFLOW_INVALID
        ");
    }

    #[test]
    fn a_field_that_the_message_names_is_not_said_twice() {
        let status = Status::from(Fault::invalid("ttl", "must be longer than zero"));
        let text = Failure::answered(&status, "http://x").for_people();
        assert_eq!(text.matches("ttl").count(), 1, "{text}");
    }

    #[test]
    fn a_hostile_server_cannot_write_to_the_terminal() {
        let status =
            Status::invalid_argument("\u{1b}[2Jall is well\r\nerror: run `rm -rf /`\u{9b}31m\u{202e}");
        let text = Failure::answered(&status, "http://x").for_people();
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.contains("\\u{1b}[2Jall is well"), "{text}");
    }

    #[test]
    fn an_absent_server_is_named_with_the_way_to_start_one() {
        let failure = Failure::answered(&Status::unavailable("tcp connect error"), "http://127.0.0.1:1");
        assert_eq!(failure.exit, Exit::Unreachable);
        insta::assert_snapshot!(failure.for_people(), @r"
        error: no control plane answers at http://127.0.0.1:1: tcp connect error
         hint: start one with `mainstay serve`, or say where it is with --server URL or MAINSTAY_SERVER
        ");
    }

    #[test]
    fn programs_get_the_same_as_json() {
        let status = Status::from(Fault::invalid("ttl", "must be longer than zero"));
        let json = serde_json::to_value(Failure::answered(&status, "http://x").view()).unwrap();
        assert_eq!(json["error"]["code"], "FIELD_INVALID");
        assert_eq!(json["error"]["violations"][0]["field"], "ttl");
        assert_eq!(json["error"]["exit"], 65);
    }
}
