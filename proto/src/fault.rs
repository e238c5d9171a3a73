//! One error shape for everything a server answers, turned into a gRPC status in one place.

use std::fmt;
use std::time::Duration;

use tonic::Status;
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::pages;
use crate::reason::Reason;

/// Domain of our reason codes in `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "mainstay.v1";

/// Most field violations one error carries: enough to correct a document in a few rounds, small enough for a header.
const MAX_VIOLATIONS: usize = 16;

/// Longest text in an error. gRPC puts the details into a trailer, and peers cap headers at 16 KiB.
const MAX_TEXT: usize = 300;

/// A refused request or a failed call: reason, text, fields at fault and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(Box<Content>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    reason: Reason,
    /// A finding's code in place of the reason's.
    finding: Option<&'static str>,
    message: String,
    violations: Vec<(String, String)>,
    metadata: Vec<(&'static str, String)>,
    hint: Option<String>,
    retry_after: Option<Duration>,
}

impl Fault {
    /// A fault for `reason`, with a sentence that says what is wrong this time.
    pub fn new(reason: Reason, message: impl fmt::Display) -> Self {
        let message = clip(&message.to_string());
        Self(Box::new(Content {
            reason,
            finding: None,
            message,
            violations: vec![],
            metadata: vec![],
            hint: None,
            retry_after: None,
        }))
    }

    /// A fault for one field: `message` completes the sentence that begins with the field's name.
    pub fn field(reason: Reason, field: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(reason, format_args!("{field} {message}")).violation(field, message)
    }

    /// A malformed field. See [`Fault::field`].
    pub fn invalid(field: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::field(Reason::FieldInvalid, field, message)
    }

    /// Adds a field violation.
    #[must_use]
    pub fn violation(mut self, field: impl fmt::Display, message: impl fmt::Display) -> Self {
        if self.0.violations.len() < MAX_VIOLATIONS {
            self.0.violations.push((clip(&field.to_string()), clip(&message.to_string())));
        }
        self
    }

    /// Adds a fact for programs.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.metadata.push((key, clip(&value.to_string())));
        self
    }

    /// Says more precisely what was found, under the same gRPC status: `finding` is a code that has a page.
    #[must_use]
    pub fn precisely(mut self, finding: &'static str) -> Self {
        self.0.finding = Some(finding);
        self
    }

    /// Replaces the general way out of the reason by one for this very case.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.0.hint = Some(clip(&hint.to_string()));
        self
    }

    /// Asks the caller to wait before it tries again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Prepends `parent.` to the fields at fault, for a message inside another.
    #[must_use]
    pub fn inside(mut self, parent: impl fmt::Display) -> Self {
        for (field, _) in &mut self.0.violations {
            *field = format!("{parent}.{field}");
        }
        if !self.0.violations.is_empty() {
            self.0.message = format!("{parent}.{}", self.0.message);
        }
        self
    }

    /// The reason.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.0.reason
    }

    /// What is wrong this time.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.finding.unwrap_or(self.0.reason.as_str()), self.0.message)
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let fault = *fault.0;
        let mut metadata: std::collections::HashMap<String, String> =
            fault.metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let code = fault.finding.unwrap_or(fault.reason.as_str());
        let remedy = || pages::page(code).map_or(fault.reason.remedy(), |page| page.remedy).to_owned();
        metadata.insert("hint".to_owned(), fault.hint.unwrap_or_else(remedy));
        let mut details = ErrorDetails::new();
        details.set_error_info(code, DOMAIN, metadata);
        if !fault.violations.is_empty() {
            let violations =
                fault.violations.into_iter().map(|(field, text)| FieldViolation::new(field, text));
            details.set_bad_request(violations.collect::<Vec<_>>());
        }
        if fault.retry_after.is_some() {
            details.set_retry_info(fault.retry_after);
        }
        Self::with_error_details(fault.reason.grpc(), fault.message, details)
    }
}

/// What a client reads out of a status: the other half of [`Fault`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The reason code; empty if the peer gave none.
    pub reason: String,
    /// The way out; empty if the peer gave none.
    pub hint: String,
    /// Fields at fault, each with its text.
    pub violations: Vec<(String, String)>,
    /// How long to wait before trying again.
    pub retry_after: Option<Duration>,
}

impl Seen {
    /// Reads the details of `status`.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        Self {
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            hint: info.and_then(|info| info.metadata.get("hint").cloned()).unwrap_or_default(),
            violations: violations.iter().map(|v| (v.field.clone(), v.description.clone())).collect(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}

/// Cuts a text at [`MAX_TEXT`] bytes, and leaves nothing in it that a terminal or log would act on.
fn clip(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_TEXT));
    for c in text.chars() {
        if out.len() + c.len_utf8() > MAX_TEXT {
            out.push('…');
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_reason_field_hint_and_delay() {
        let fault = Fault::invalid("ttl", "must be 5 s to 10 min").retry_after(Duration::from_secs(2));
        let status = Status::from(fault.inside("lease"));
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(status.message(), "lease.ttl must be 5 s to 10 min");
        let seen = Seen::of(&status);
        assert_eq!(seen.reason, "FIELD_INVALID");
        assert_eq!(seen.hint, Reason::FieldInvalid.remedy());
        assert_eq!(seen.violations, [("lease.ttl".to_owned(), "must be 5 s to 10 min".to_owned())]);
        assert_eq!(seen.retry_after, Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_finding_takes_the_place_of_the_reason_and_brings_its_own_hint() {
        let fault = Fault::invalid("input_schema", "refers elsewhere").precisely("SCHEMA_REMOTE_REF");
        let seen = Seen::of(&Status::from(fault));
        assert_eq!(seen.reason, "SCHEMA_REMOTE_REF");
        assert_eq!(Some(seen.hint.as_str()), pages::page("SCHEMA_REMOTE_REF").map(|page| page.remedy));
    }

    #[test]
    fn hostile_text_is_cut_and_made_harmless() {
        let fault = Fault::new(Reason::Internal, "\u{1b}[2J\r\n".to_owned() + &"x".repeat(10_000));
        assert!(fault.message().len() < 310);
        assert!(!fault.message().chars().any(char::is_control));
    }

    #[test]
    fn details_stay_below_the_header_limit() {
        let mut fault = Fault::new(Reason::WorkflowInvalid, "x".repeat(1000));
        for n in 0..1000 {
            fault = fault.violation(format_args!("steps[{n}]"), "y".repeat(1000));
        }
        assert!(Status::from(fault).details().len() < 12 * 1024);
    }
}
