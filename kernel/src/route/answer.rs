//! What a router agent answers: a claim, read with as little trust as any stranger's text.
//!
//! `{"capability": NAME, "confidence": 0…1}`, with `agent` beside the capability or instead of it. Other fields are the
//! router's own business. Names are plain ASCII or none at all, so letters that look alike never name anything.

use serde_json::Value;

use super::{Registry, Routing, Target, Why};
use crate::name::Name;
use crate::outcome::{Answer, Class, Failure};

/// Longest answer in bytes. A name and a number need a hundred; the rest leaves room for a reason in words.
const MAX_ANSWER: usize = 16 * 1024;

/// Why an answer names nothing that can be taken.
pub(super) struct Refused {
    pub(super) target: Option<Target>,
    pub(super) why: Why,
    pub(super) detail: String,
}

impl Refused {
    fn new(why: Why, detail: impl Into<String>) -> Self {
        Self { target: None, why, detail: detail.into() }
    }
}

/// What the answer names, and how sure it is of it in basis points.
pub(super) fn read(
    answer: Result<&Answer, &Failure>,
    routing: &Routing,
    registry: &dyn Registry,
) -> Result<(Target, u16), Refused> {
    let answer = answer.map_err(|failure| {
        let why = match failure.class {
            Class::Timeout => Why::Timeout,
            Class::ContractBreach => Why::Garbage,
            Class::Unavailable | Class::Overload | Class::Transport => Why::Down,
            Class::LowConfidence => Why::LowConfidence,
            Class::Success
            | Class::AgentError
            | Class::OverBudget
            | Class::CallerFault
            | Class::Cancelled => Why::Failed,
        };
        Refused::new(why, format!("{}: {}", failure.code, failure.message))
    })?;
    let text = answer.output.as_str();
    if text.len() > MAX_ANSWER {
        let detail = format!("the answer is {} bytes long; at most {MAX_ANSWER} are read", text.len());
        return Err(Refused::new(Why::Garbage, detail));
    }
    let value = answer.output.value();
    let Value::Object(fields) = &value else {
        return Err(Refused::new(Why::Garbage, "the answer is no JSON object"));
    };
    let name = |key: &str| match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => match Name::new(text) {
            Ok(name) => Ok(Some(name)),
            Err(error) => {
                Err(Refused::new(Why::Unknown, format!("no {key} can be called that: its name {error}")))
            }
        },
        Some(_) => Err(Refused::new(Why::Garbage, format!("`{key}` is no text"))),
    };
    let target = match (name("capability")?, name("agent")?) {
        (Some(capability), agent) => Target { capability, agent },
        (None, Some(agent)) => only(&agent, routing, registry)?,
        (None, None) => {
            return Err(Refused::new(Why::Garbage, "the answer names neither a capability nor an agent"));
        }
    };
    let confidence = match fields.get("confidence") {
        None | Some(Value::Null) => answer.confidence_bp.unwrap_or(0),
        Some(said) => match said.as_f64().filter(|said| (0.0..=1.0).contains(said)) {
            Some(said) => (said * 10_000.0).round() as u16,
            None => return Err(Refused::new(Why::Garbage, "`confidence` is no number from 0 to 1")),
        },
    };
    let least = routing.router().map_or(0, |router| router.min_confidence_bp);
    if confidence < least {
        let detail = format!("is {}% sure; {}% are wanted", confidence / 100, least / 100);
        return Err(Refused { target: Some(target), why: Why::LowConfidence, detail });
    }
    Ok((target, confidence))
}

/// The one capability of `agent` that requests may be routed to.
fn only(agent: &Name, routing: &Routing, registry: &dyn Registry) -> Result<Target, Refused> {
    let offers = registry.offers(agent);
    if offers.is_empty() {
        return Err(Refused::new(Why::Unknown, format!("no agent {agent} is registered")));
    }
    let allowed: Vec<_> = offers.into_iter().filter(|capability| routing.allows(capability)).collect();
    match &allowed[..] {
        [one] => Ok(Target { capability: one.clone(), agent: Some(agent.clone()) }),
        [] => Err(Refused::new(Why::Forbidden, format!("requests may go to no capability of {agent}"))),
        _ => Err(Refused::new(
            Why::Garbage,
            format!("{agent} has several capabilities, and the answer names none"),
        )),
    }
}
