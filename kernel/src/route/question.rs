//! What a router agent is asked.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Registry, Request, Routing, Target};
use crate::json::Json;

/// Most capabilities a router agent is offered: a model's attention ends before.
const MAX_CANDIDATES: usize = 100;
/// Longest description it is given of each, in characters.
const MAX_DESCRIPTION: usize = 300;

/// A question to a router agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who is asked.
    pub target: Target,
    /// What it is given: `{text, input, candidates: [{capability, description}]}`.
    pub input: Json,
    /// How long it may take.
    pub timeout: Duration,
}

pub(super) fn ask(
    routing: &Routing,
    request: &Request,
    text: &str,
    registry: &dyn Registry,
) -> Option<Question> {
    let router = routing.router()?;
    let mut candidates = registry.capabilities();
    candidates.retain(|(capability, _)| routing.allows(capability));
    candidates.truncate(MAX_CANDIDATES);
    let candidates: Vec<Value> = candidates
        .into_iter()
        .map(|(capability, description)| {
            let description: String = description.chars().take(MAX_DESCRIPTION).collect();
            json!({ "capability": capability, "description": description })
        })
        .collect();
    let input = json!({ "text": text, "input": request.input, "candidates": candidates });
    Some(Question { target: router.target.clone(), input: Json::from(&input), timeout: router.timeout })
}
