//! Word to runs from outside: signals, questions and their answers.

use mainstay_proto::pb;
use serde::Serialize;

use super::value::{Payload, When, word};

/// A signal that was taken.
#[derive(Debug, Clone, Serialize)]
pub struct SignalledView {
    /// The run.
    pub run_id: String,
    /// The signal.
    pub signal: String,
}

/// A question that waits for a person.
#[derive(Debug, Clone, Serialize)]
pub struct EscalationView {
    /// What to answer it by: `RUN/STEP`.
    pub escalation: String,
    /// The run's workflow.
    pub workflow: String,
    /// The question, in words.
    pub question: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<Payload>,
    /// JSON Schema of what a correction must meet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<Payload>,
    /// Whose question it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub assignee: String,
    /// Since when it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<When>,
    /// When its default holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<When>,
}

impl From<pb::Escalation> for EscalationView {
    fn from(it: pb::Escalation) -> Self {
        Self {
            escalation: format!("{}/{}", it.run_id, it.step_id),
            workflow: it.workflow,
            question: it.question,
            shown: Payload::of(&it.shown),
            form: Payload::of(&it.form),
            assignee: it.assignee,
            since: When::of(it.since.as_ref()),
            until: When::of(it.until.as_ref()),
        }
    }
}

/// An answer that was taken.
#[derive(Debug, Clone, Serialize)]
pub struct AnsweredView {
    /// Which question: `RUN/STEP`.
    pub escalation: String,
    /// `approved`, `rejected`, `corrected` or `clarified`.
    pub verdict: String,
}

impl AnsweredView {
    /// That `escalation` was answered so.
    #[must_use]
    pub fn of(escalation: String, verdict: pb::Verdict) -> Self {
        Self { escalation, verdict: self::verdict(verdict.into()) }
    }
}

/// What was said, in a word.
#[must_use]
pub fn verdict(verdict: i32) -> String {
    let verdict = pb::Verdict::try_from(verdict).ok().map(|verdict| verdict.as_str_name());
    word(verdict, "VERDICT_")
}
