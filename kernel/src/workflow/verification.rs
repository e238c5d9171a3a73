//! What a step's answer must prove to be before it counts.
//!
//! A schema says what an answer looks like; a verification says what makes it right. Post-conditions are looked at first:
//! they cost nothing and always come out the same. A verifier is asked only about an answer that meets them, and it is
//! never an agent that had a part in that answer.
//!
//! What is refused goes back with the grounds, a bounded number of times, where one call or workflow can be asked again
//! ([`Verification::can_repair`]). What was made by several, or by rounds of its own, fails at the first refusal.

use crate::expr::Mapping;
use crate::json::Json;
use crate::schema::Schema;
use crate::workflow::{Call, StepKind};

/// How often a refused answer goes back where the document does not say.
pub const DEFAULT_VERIFICATION_REPAIRS: u32 = 1;
/// Most repairs: an agent that does not understand the grounds four times will not the fifth, and each is a call of the
/// agent and one of the verifier.
pub const MAX_VERIFICATION_REPAIRS: u32 = 4;
/// Most post-conditions: a longer list is a program, and belongs into an agent that verifies.
pub const MAX_POST_CONDITIONS: usize = 32;
/// Longest reason of a post-condition, in characters: a sentence or two for whoever repairs.
pub const MAX_BECAUSE_CHARS: usize = 300;

/// What a step's answer must prove to be.
#[derive(Debug, Clone)]
pub struct Verification {
    /// What must be true of it.
    pub that: Vec<PostCondition>,
    /// Who else looks at it, if somebody does.
    pub by: Option<Verifier>,
    /// How often it goes back.
    pub repairs: u32,
    /// What is given then; what was given before with `repair` beside it, if nothing is said.
    pub repair_input: Option<Mapping>,
}

/// What must be true of an answer.
#[derive(Debug, Clone)]
pub struct PostCondition {
    /// The expression as it was written.
    pub source: String,
    /// The expression.
    pub holds: Mapping,
    /// Why it must, in words.
    pub because: Option<String>,
}

/// Who else looks at an answer.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// The call.
    pub call: Call,
    /// What is given to it; `{"input": …, "output": …}`, if nothing is said.
    pub input: Option<Mapping>,
    /// The least score that passes, in basis points; without one the verifier says `pass` or `fail`.
    pub threshold_bp: Option<u16>,
    /// What holds where it cannot be asked, or does not say anything that can be read.
    pub if_unavailable: IfUnavailable,
    /// What its word must meet.
    pub word: Schema,
}

/// What holds where no verifier gives a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfUnavailable {
    /// The step fails. What nobody looked at is not right unless the document says so.
    #[default]
    Fail,
    /// The answer goes on with a warning.
    Accept,
}

impl Verification {
    /// Whether the answer of a step that does this can be asked for again as a whole.
    #[must_use]
    pub const fn can_repair(kind: &StepKind) -> bool {
        match kind {
            StepKind::Call(_) | StepKind::Choose(_) | StepKind::Route(_) | StepKind::Sub(_) => true,
            StepKind::Map(_)
            | StepKind::Consensus(_)
            | StepKind::Supervise(_)
            | StepKind::Plan(_)
            | StepKind::Wait(_)
            | StepKind::Approve(_) => false,
        }
    }
}

impl Verifier {
    /// What a verifier's word must meet: a score where there is a threshold, a verdict where there is none, and grounds.
    #[must_use]
    pub fn word(threshold_bp: Option<u16>) -> Schema {
        let schema = serde_json::json!({
            "type": "object",
            "required": [if threshold_bp.is_some() { "score" } else { "verdict" }, "grounds"],
            "properties": {
                "score": { "type": "number", "minimum": 0, "maximum": 1 },
                "verdict": { "enum": ["pass", "fail"] },
                "grounds": {
                    "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
                },
            },
        });
        Schema::compile(&Json::from(&schema)).unwrap_or_else(|_| Schema::anything())
    }
}
