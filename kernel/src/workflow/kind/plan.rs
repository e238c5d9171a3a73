//! An agent's plan, checked and then carried out as it stands.

use std::time::Duration;

use crate::name::Name;
use crate::schema::Schema;
use crate::workflow::Call;

/// How many steps a plan has at most where the document does not say.
pub const DEFAULT_PLAN_STEPS: usize = 20;
/// Most steps of a plan: what a person could still read before it is carried out.
pub const MAX_PLAN_STEPS: usize = 100;
/// How many steps of a plan wait for each other in a row, at most, where the document does not say.
pub const DEFAULT_PLAN_DEPTH: usize = 10;
/// How often a plan that cannot be carried out is sent back where the document does not say.
pub const DEFAULT_REPAIRS: usize = 2;
/// Most repairs: a planner that misses what is wrong five times will not see it the sixth.
pub const MAX_REPAIRS: usize = 5;
/// Most capabilities a plan may choose from: each is described to the planner.
pub const MAX_PLAN_CAPABILITIES: usize = 64;

/// A plan: proposed by an agent, checked against what there is, and then carried out like any other workflow.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The planner.
    pub by: Call,
    /// What a plan may call. Nothing else is ever called for it.
    pub capabilities: Vec<Name>,
    /// Most steps.
    pub max_steps: usize,
    /// Most steps that wait for each other in a row.
    pub max_depth: usize,
    /// How often a plan that cannot be carried out is sent back with what is wrong with it.
    pub repairs: usize,
    /// How long planning and carrying out may take.
    pub within: Option<Duration>,
    /// What the planner's word must meet.
    pub proposal: Schema,
}

impl Plan {
    /// What the planner's word must meet; whether the plan can be carried out is another question.
    #[must_use]
    pub fn proposal() -> Schema {
        let step = serde_json::json!({
            "type": "object",
            "required": ["id", "capability"],
            "properties": {
                "id": { "type": "string" },
                "capability": { "type": "string" },
                "after": { "type": "array", "items": { "type": "string" } },
            },
        });
        let schema = serde_json::json!({
            "type": "object",
            "required": ["steps"],
            "properties": { "steps": { "type": "array", "items": step } },
        });
        Schema::compile(&(&schema).into()).unwrap_or_else(|_| Schema::anything())
    }
}
