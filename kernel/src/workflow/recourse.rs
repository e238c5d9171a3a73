//! What a step has to fall back on: how sure its answer must be, and what is done when it fails.
//!
//! Trying again is the retry policy's business and comes first; what stands here begins where that ends. The remedies of a
//! step are an ordered list and each is taken once, so a step that fails does so in bounded time and its record shows
//! every way it went. A remedy that calls somebody does so in a step of its own, with keys and tries of its own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Approve, Call, Compensate};
use crate::json::Json;

/// Most remedies of a step: a longer list is a workflow in disguise.
pub const MAX_REMEDIES: usize = 6;

/// What a step has to fall back on; nothing, unless its document says so.
#[derive(Debug, Clone, Default)]
pub struct Recourse {
    /// How sure its answer must be; as sure as it likes, if nothing is said.
    pub confidence: Option<Confidence>,
    /// What is done when it fails, in this order.
    pub remedies: Vec<Remedy>,
    /// What takes its effect back, if anything does.
    pub compensate: Option<Arc<Compensate>>,
}

/// How sure an answer must be. One whose agent says nothing of that passes with a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confidence {
    /// The least that passes, in basis points.
    pub min_bp: u16,
    /// What is done with an answer below that.
    pub below: Below,
}

/// What is done with an answer that is not sure enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Below {
    /// It goes on with a warning.
    Accept,
    /// The step is tried again by its retry policy, and fails in the end.
    Retry,
    /// A person decides, as the step's `escalate` says.
    Escalate,
    /// The step's first `fallback` is asked.
    Fallback,
}

/// What is done when a step fails.
#[derive(Debug, Clone)]
pub enum Remedy {
    /// Somebody else is given the same input.
    Fallback(Call),
    /// A constant stands in for the answer.
    Default(Json),
    /// The run goes on as after an optional step: whoever reads the answer finds `null`.
    Skip,
    /// A person is asked.
    Escalate(Escalate),
    /// The run fails.
    Abort,
    /// The run fails and undoes what it did, whatever the workflow says of its other ends.
    Compensate,
}

/// A question to a person about a step that failed. What they approve goes on as the step's answer.
#[derive(Debug, Clone)]
pub struct Escalate {
    /// The question, its form and its time.
    pub question: Approve,
    /// What is shown and goes on by approval if the step has no answer at all; `null` if nothing is said.
    pub value: Json,
}

impl Recourse {
    /// The calls it may make.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        let undo = self.compensate.iter().map(|compensate| &compensate.call);
        self.remedies.iter().filter_map(Remedy::call).chain(undo)
    }

    /// Whether an answer that is not sure enough is not asked for again, because there is another way for it.
    #[must_use]
    pub fn has_a_way_for_doubt(&self) -> bool {
        self.confidence
            .is_some_and(|confidence| matches!(confidence.below, Below::Escalate | Below::Fallback))
    }

    /// Whether the run goes on without the step if nothing else helps.
    #[must_use]
    pub fn skips(&self) -> bool {
        self.remedies.iter().any(|remedy| matches!(remedy, Remedy::Skip))
    }
}

impl Remedy {
    /// Its name, as a document has it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Fallback(_) => "fallback",
            Self::Default(_) => "default",
            Self::Skip => "skip",
            Self::Escalate(_) => "escalate",
            Self::Abort => "abort",
            Self::Compensate => "compensate",
        }
    }

    /// The call it makes, if it makes one.
    #[must_use]
    pub const fn call(&self) -> Option<&Call> {
        match self {
            Self::Fallback(call) => Some(call),
            Self::Default(_) | Self::Skip | Self::Escalate(_) | Self::Abort | Self::Compensate => None,
        }
    }
}

impl Below {
    /// Every rule.
    pub const ALL: [Self; 4] = [Self::Accept, Self::Retry, Self::Escalate, Self::Fallback];

    /// Its name, as a document has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Retry => "retry",
            Self::Escalate => "escalate",
            Self::Fallback => "fallback",
        }
    }
}
