//! Outcomes, attempts and usage.

use bytes::Bytes;
use mainstay_kernel::json::{Json, JsonError, Limits};
use mainstay_kernel::outcome::{Answer, Began, Class, Failure, Usage};

use crate::fault::Fault;
use crate::pb;
use crate::reason::Reason;
use crate::time;

/// A JSON payload from the wire; empty means `null`.
pub fn payload(field: &str, bytes: &Bytes, limits: &Limits) -> Result<Json, Fault> {
    if bytes.is_empty() {
        return Ok(Json::null());
    }
    Json::parse(bytes, limits).map_err(|error| {
        let too_long = matches!(error, JsonError::TooLong { .. });
        Fault::field(if too_long { Reason::PayloadTooLarge } else { Reason::JsonInvalid }, field, error)
    })
}

/// A payload for the wire.
#[must_use]
pub fn bytes(json: &Json) -> Bytes {
    Bytes::copy_from_slice(json.as_str().as_bytes())
}

impl From<Class> for pb::OutcomeClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Success => Self::Success,
            Class::Transport => Self::Transport,
            Class::Timeout => Self::Timeout,
            Class::Overload => Self::Overload,
            Class::AgentError => Self::AgentError,
            Class::ContractBreach => Self::ContractBreach,
            Class::LowConfidence => Self::LowConfidence,
            Class::OverBudget => Self::OverBudget,
            Class::CallerFault => Self::CallerFault,
            Class::Unavailable => Self::Unavailable,
            Class::Cancelled => Self::Cancelled,
        }
    }
}

/// The class, or `None` where the peer gave none that we know.
#[must_use]
pub const fn class(class: pb::OutcomeClass) -> Option<Class> {
    Some(match class {
        pb::OutcomeClass::Unspecified => return None,
        pb::OutcomeClass::Success => Class::Success,
        pb::OutcomeClass::Transport => Class::Transport,
        pb::OutcomeClass::Timeout => Class::Timeout,
        pb::OutcomeClass::Overload => Class::Overload,
        pb::OutcomeClass::AgentError => Class::AgentError,
        pb::OutcomeClass::ContractBreach => Class::ContractBreach,
        pb::OutcomeClass::LowConfidence => Class::LowConfidence,
        pb::OutcomeClass::OverBudget => Class::OverBudget,
        pb::OutcomeClass::CallerFault => Class::CallerFault,
        pb::OutcomeClass::Unavailable => Class::Unavailable,
        pb::OutcomeClass::Cancelled => Class::Cancelled,
    })
}

impl From<Usage> for pb::Usage {
    fn from(usage: Usage) -> Self {
        Self {
            tokens_in: usage.tokens_in,
            tokens_out: usage.tokens_out,
            cost_nano_usd: usage.cost_nano_usd,
            agent_micros: usage.agent_micros,
        }
    }
}

impl From<pb::Usage> for Usage {
    fn from(usage: pb::Usage) -> Self {
        Self {
            tokens_in: usage.tokens_in,
            tokens_out: usage.tokens_out,
            cost_nano_usd: usage.cost_nano_usd,
            agent_micros: usage.agent_micros,
        }
    }
}

impl From<&Failure> for pb::Failure {
    fn from(failure: &Failure) -> Self {
        let began = match failure.began {
            Began::No => pb::Began::No,
            Began::Yes => pb::Began::Yes,
            Began::Unknown => pb::Began::Unknown,
        };
        Self {
            class: pb::OutcomeClass::from(failure.class).into(),
            code: failure.code.clone(),
            message: failure.message.clone(),
            began: began.into(),
            retry_after: failure.retry_after.map(time::duration),
        }
    }
}

/// A failure as a peer reports it. What it leaves out is read in the way that repeats least: the agent may have begun.
#[must_use]
pub fn failure(message: pb::Failure) -> Failure {
    let class = match class(message.class()) {
        None | Some(Class::Success) => Class::AgentError,
        Some(class) => class,
    };
    let began = match message.began() {
        pb::Began::No => Began::No,
        pb::Began::Yes => Began::Yes,
        pb::Began::Unspecified | pb::Began::Unknown => Began::Unknown,
    };
    let retry_after = message.retry_after.as_ref().and_then(time::std_duration);
    Failure { class, code: message.code, message: message.message, began, retry_after }
}

impl From<&Answer> for pb::Answer {
    fn from(answer: &Answer) -> Self {
        Self {
            output: bytes(&answer.output),
            usage: Some(answer.usage.into()),
            confidence_bp: answer.confidence_bp.map(u32::from),
            warnings: answer.warnings.clone(),
        }
    }
}

/// An answer as a sidecar reports it.
pub fn answer(message: pb::Answer, limits: &Limits) -> Result<Answer, Fault> {
    let confidence_bp = match message.confidence_bp {
        Some(bp) => Some(
            u16::try_from(bp)
                .ok()
                .filter(|bp| *bp <= 10_000)
                .ok_or_else(|| Fault::invalid("confidence_bp", "must be 0 to 10,000"))?,
        ),
        None => None,
    };
    Ok(Answer {
        output: payload("output", &message.output, limits)?,
        usage: message.usage.unwrap_or_default().into(),
        confidence_bp,
        warnings: message.warnings,
    })
}
