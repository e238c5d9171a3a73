//! One agent that hands out work to others, looks at what comes back, and ends it.

use std::time::Duration;

use crate::expr::Mapping;
use crate::schema::Schema;
use crate::workflow::{Call, Work};

/// How often the supervisor is asked where the document does not say.
pub const DEFAULT_ROUNDS: usize = 3;
/// Most rounds: one that has not converged by then never will.
pub const MAX_ROUNDS: usize = 10;
/// How many tasks a round has at most where the document does not say.
pub const DEFAULT_TASKS: usize = 8;
/// Most tasks of a round: with [`MAX_ROUNDS`] of them they still fit into a run.
pub const MAX_TASKS: usize = 64;
/// How many tasks are worked on at once where the document does not say; the others wait.
pub const DEFAULT_TASKS_AT_ONCE: usize = 4;
/// Most kinds of workers: what a supervisor can be expected to choose well from.
pub const MAX_WORKERS: usize = 32;
/// How deep supervisors may lie in each other, through the workflows that their workers are.
pub const MAX_SUPERVISORS: usize = 2;

/// Work handed out in rounds.
#[derive(Debug, Clone)]
pub struct Supervise {
    /// The supervisor.
    pub by: Call,
    /// Who may be given work, by the names the supervisor uses. Nobody else is.
    pub workers: Vec<Work>,
    /// How often the supervisor is asked, at most.
    pub rounds: usize,
    /// Most tasks of a round.
    pub tasks: usize,
    /// Most tasks worked on at once.
    pub parallel: usize,
    /// How long all of it may take: then it ends with what there is.
    pub within: Option<Duration>,
    /// Whether the step completes with the results there are where the supervisor did not come to an end. Without it the
    /// step fails then, and a worker that fails fails the step.
    pub partial: bool,
    /// What every result must meet.
    pub schema: Schema,
    /// What must be true of a result (`item`) before anybody is shown it.
    pub accept: Option<Mapping>,
    /// What the supervisor's word must meet.
    pub orders: Schema,
}

impl Supervise {
    /// What the supervisor's word must meet: either tasks, or an answer.
    #[must_use]
    pub fn orders(tasks: usize) -> Schema {
        let task = serde_json::json!({
            "type": "object",
            "required": ["worker"],
            "properties": { "worker": { "type": "string" } },
        });
        let schema = serde_json::json!({
            "type": "object",
            "oneOf": [{ "required": ["answer"] }, { "required": ["tasks"] }],
            "properties": { "tasks": { "type": "array", "items": task, "minItems": 1, "maxItems": tasks } },
        });
        Schema::compile(&(&schema).into()).unwrap_or_else(|_| Schema::anything())
    }
}
