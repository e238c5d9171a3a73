//! What `replay` answers.

use mainstay_kernel::replay::{Beyond, Difference, Field, Replay, Side, Would};
use mainstay_kernel::workflow::Workflow;
use serde::Serialize;
use serde_json::Value;

use super::value::{Payload, When};

/// A replay.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayView {
    /// The run.
    pub run_id: String,
    /// The workflow it ran with, with its version.
    pub recorded: String,
    /// The workflow it was replayed with.
    pub replayed: String,
    /// Events on record.
    pub events: u64,
    /// Whether every event came out as it is on record.
    pub same: bool,
    /// The first that did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<DifferenceView>,
    /// What the changed workflow does from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beyond: Option<BeyondView>,
}

/// The first event that comes out otherwise.
#[derive(Debug, Clone, Serialize)]
pub struct DifferenceView {
    /// Its number.
    pub event: u64,
    /// When it was decided.
    pub at: When,
    /// The step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The field that differs first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<Field>,
    /// What is on record.
    pub recorded: Value,
    /// What is decided now.
    pub now: Value,
}

/// What a changed workflow does past the difference.
#[derive(Debug, Clone, Serialize)]
pub struct BeyondView {
    /// What it would ask for that is not on record.
    pub would: Vec<Would>,
    /// Steps on record whose answers it no longer asks for.
    pub unused: Vec<String>,
    /// Signals and answers on record that it does not take.
    pub refused: Vec<String>,
    /// How it ends, if all it asks for is on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<&'static str>,
    /// What it comes to then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
}

impl ReplayView {
    /// What came of replaying `run_id`.
    #[must_use]
    pub fn of(run_id: String, recorded: &Workflow, replayed: &Workflow, replay: Replay) -> Self {
        Self {
            run_id,
            recorded: recorded.to_string(),
            replayed: replayed.to_string(),
            events: replay.events,
            same: replay.difference.is_none(),
            difference: replay.difference.map(Into::into),
            beyond: replay.beyond.map(Into::into),
        }
    }
}

impl From<Difference> for DifferenceView {
    fn from(it: Difference) -> Self {
        Self {
            event: it.event,
            at: When(it.at),
            step: it.step.map(|step| step.to_string()),
            field: it.field,
            recorded: side(&it.recorded),
            now: side(&it.now),
        }
    }
}

fn side(side: &Side) -> Value {
    serde_json::to_value(side).unwrap_or_default()
}

impl From<Beyond> for BeyondView {
    fn from(it: Beyond) -> Self {
        Self {
            would: it.would,
            unused: it.unused.iter().map(ToString::to_string).collect(),
            refused: it.refused,
            end: it.end.map(|state| state.as_str()),
            output: it.output.and_then(|output| Payload::of(output.as_str().as_bytes())),
        }
    }
}
