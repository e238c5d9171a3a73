//! Calls: attempts, failures, usage, and the answer of `invoke`.

use mainstay_proto::pb;
use serde::Serialize;

use super::decision::RoutedView;
use super::value::{Payload, Span, When, word};

/// Why something failed.
#[derive(Debug, Clone, Serialize)]
pub struct FailureView {
    /// The outcome's class, for example `timeout`.
    pub class: String,
    /// The reason code.
    pub code: String,
    /// What happened.
    pub message: String,
    /// Whether the agent had begun: `no`, `yes` or `unknown`.
    pub began: String,
    /// Pushback of the agent.
    #[serde(skip_serializing_if = "Option::is_none", rename = "retry_after_ms")]
    pub retry_after: Option<Span>,
}

/// What was consumed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UsageView {
    /// Prompt tokens.
    pub tokens_in: u64,
    /// Completion tokens.
    pub tokens_out: u64,
    /// Money, in 10^-9 US dollars.
    pub cost_nano_usd: i64,
    /// Time the agent worked, in microseconds.
    pub agent_micros: u64,
}

/// One attempt on one instance.
#[derive(Debug, Clone, Serialize)]
pub struct AttemptView {
    /// The idempotency key of the logical attempt.
    pub attempt_id: String,
    /// Logical attempt, from 1.
    pub number: u32,
    /// The agent that was called; empty where none was reached.
    pub agent: String,
    /// The instance that was called.
    pub instance: String,
    /// When it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<When>,
    /// From sent to classified.
    #[serde(skip_serializing_if = "Option::is_none", rename = "took_ms")]
    pub took: Option<Span>,
    /// Waiting for an instance before.
    #[serde(skip_serializing_if = "Option::is_none", rename = "waited_ms")]
    pub waited: Option<Span>,
    /// How it ended.
    pub class: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
    /// What it consumed.
    pub usage: UsageView,
    /// It was a hedge: made beside the one before it, which had taken so long.
    #[serde(skip_serializing_if = "Option::is_none", rename = "hedge_after_ms")]
    pub hedge_after: Option<Span>,
    /// Why it waited, and which instances were passed over and why.
    pub notes: Vec<String>,
}

/// The answer of `invoke`.
#[derive(Debug, Clone, Serialize)]
pub struct AnswerView {
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// Who answered.
    pub agent: String,
    /// Which instance.
    pub instance: String,
    /// How many attempts it took in all.
    pub attempts: u32,
    /// Where it was routed, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routed: Option<RoutedView>,
    /// What it consumed.
    pub usage: UsageView,
    /// The agent's confidence in basis points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence_bp: Option<u32>,
    /// What the agent wants people to know.
    pub warnings: Vec<String>,
}

impl From<pb::Failure> for FailureView {
    fn from(failure: pb::Failure) -> Self {
        let began = pb::Began::try_from(failure.began).ok().map(|began| began.as_str_name());
        Self {
            class: class(failure.class),
            code: failure.code,
            message: failure.message,
            began: word(began, "BEGAN_"),
            retry_after: Span::of(failure.retry_after.as_ref()),
        }
    }
}

impl From<pb::Usage> for UsageView {
    fn from(usage: pb::Usage) -> Self {
        let pb::Usage { tokens_in, tokens_out, cost_nano_usd, agent_micros } = usage;
        Self { tokens_in, tokens_out, cost_nano_usd, agent_micros }
    }
}

impl AttemptView {
    /// The one that decided how a try ended: the one that was answered, which of several side by side is not always the last.
    #[must_use]
    pub fn decisive(attempts: &[Self]) -> Option<&Self> {
        attempts.iter().rfind(|attempt| attempt.class == "success").or(attempts.last())
    }
}

impl From<pb::Attempt> for AttemptView {
    fn from(attempt: pb::Attempt) -> Self {
        Self {
            attempt_id: attempt.attempt_id,
            number: attempt.number,
            agent: attempt.agent,
            instance: attempt.instance,
            started_at: When::of(attempt.started_at.as_ref()),
            took: Span::of(attempt.duration.as_ref()),
            waited: Span::of(attempt.waited.as_ref()),
            class: class(attempt.class),
            failure: attempt.failure.map(Into::into),
            usage: attempt.usage.unwrap_or_default().into(),
            hedge_after: Span::of(attempt.hedge_after.as_ref()),
            notes: attempt.notes,
        }
    }
}

impl From<pb::InvokeResponse> for AnswerView {
    fn from(response: pb::InvokeResponse) -> Self {
        let answer = response.answer.unwrap_or_default();
        Self {
            output: Payload::of(&answer.output),
            agent: response.agent,
            instance: response.instance,
            attempts: response.attempts,
            routed: response.routed.map(Into::into),
            usage: answer.usage.unwrap_or_default().into(),
            confidence_bp: answer.confidence_bp,
            warnings: answer.warnings,
        }
    }
}

fn class(class: i32) -> String {
    word(pb::OutcomeClass::try_from(class).ok().map(|class| class.as_str_name()), "OUTCOME_CLASS_")
}
