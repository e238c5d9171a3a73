//! Whether callers of the stable version can be served by the candidate.
//!
//! Looked at when a document is put, over what both versions declare: a candidate that asks for more than callers send, or
//! promises less than they read, would fail them one by one. What cannot be told from two schemas (patterns, ranges,
//! references) is left to the calls themselves: there a breach counts against the candidate.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::agent::{AgentSpec, CapabilitySpec};
use crate::name::Name;

/// How deep two schemas are compared. Contracts that differ deeper differ in ways that calls show.
const MAX_DEPTH: usize = 8;
/// Most differences named: enough to see what kind of candidate it is.
const MAX_NAMED: usize = 8;

/// What a candidate asks for more, or promises less, than the stable version: one sentence each, none if callers notice
/// nothing. Only `capability` is looked at, or all that the stable version offers.
#[must_use]
pub fn breaks(stable: &AgentSpec, candidate: &AgentSpec, capability: Option<&Name>) -> Vec<String> {
    let mut found = Vec::new();
    for old in stable.capabilities.iter().filter(|old| capability.is_none_or(|only| *only == old.name)) {
        match candidate.capability(old.name.as_str()) {
            Some(new) => compare(old, new, &mut found),
            None => found.push(format!("{} is not offered any more", old.name)),
        }
    }
    found.truncate(MAX_NAMED);
    found
}

fn compare(old: &CapabilitySpec, new: &CapabilitySpec, found: &mut Vec<String>) {
    let name = &old.name;
    if new.effect > old.effect {
        found.push(format!("{name} is {} now, and was {}", new.effect.as_str(), old.effect.as_str()));
    }
    let parsed = |schema: &crate::json::Json| serde_json::from_str(schema.as_str()).unwrap_or(Value::Null);
    // Everything the old input allowed must be allowed by the new one; everything the new output allows, by the old one.
    narrower(
        &parsed(&old.input_schema),
        &parsed(&new.input_schema),
        &format!("the input of {name}"),
        0,
        found,
    );
    narrower(
        &parsed(&new.output_schema),
        &parsed(&old.output_schema),
        &format!("the output of {name}"),
        0,
        found,
    );
}

/// Notes where what holds to `wide` may not hold to `narrow`.
fn narrower(wide: &Value, narrow: &Value, place: &str, depth: usize, found: &mut Vec<String>) {
    if depth > MAX_DEPTH || found.len() >= MAX_NAMED {
        return;
    }
    if let Some(allowed) = types(narrow) {
        let given = types(wide);
        let fits = given.as_ref().is_some_and(|given| {
            given
                .iter()
                .all(|kind| allowed.contains(kind) || (kind == "integer" && allowed.contains("number")))
        });
        if !fits {
            let list = |types: &BTreeSet<String>| types.iter().cloned().collect::<Vec<_>>().join(" or ");
            let given = given.as_ref().map_or_else(|| "anything".to_owned(), list);
            found.push(format!(
                "{place} may be {given} in one version, and only {} in the other",
                list(&allowed)
            ));
        }
    }
    let asked: BTreeSet<&str> = names(wide, "required");
    for field in names(narrow, "required").difference(&asked) {
        found.push(format!("{place} must have `{field}` in one version, and need not in the other"));
    }
    let (Some(narrow_fields), fields) =
        (narrow.get("properties").and_then(Value::as_object), wide.get("properties"))
    else {
        return;
    };
    let closed = narrow.get("additionalProperties") == Some(&Value::Bool(false));
    for (field, given) in fields.and_then(Value::as_object).into_iter().flatten() {
        match narrow_fields.get(field) {
            Some(allowed) => narrower(given, allowed, &format!("`{field}` of {place}"), depth + 1, found),
            None if closed => {
                found.push(format!("{place} may have `{field}` in one version, and not in the other"))
            }
            None => {}
        }
    }
}

/// The types a schema names; `None` if it names none.
fn types(schema: &Value) -> Option<BTreeSet<String>> {
    match schema.get("type")? {
        Value::String(kind) => Some(BTreeSet::from([kind.clone()])),
        Value::Array(kinds) => Some(kinds.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

fn names<'a>(schema: &'a Value, key: &str) -> BTreeSet<&'a str> {
    schema.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::effect::EffectClass;
    use crate::json::Json;

    fn agent(input: &Value, output: &Value, effect: EffectClass) -> AgentSpec {
        let capability = CapabilitySpec {
            name: Name::new("text.draft").unwrap(),
            description: String::new(),
            input_schema: Json::from(input),
            output_schema: Json::from(output),
            failure_modes: Default::default(),
            effect,
            sla: Duration::from_secs(1),
            cost_hint_nano_usd: 0,
            max_concurrency: 1,
            keywords: Vec::new(),
            examples: Vec::new(),
            breaker: Default::default(),
            hedge: None,
            context_budget: None,
            may_call: Default::default(),
            rate: None,
        };
        AgentSpec {
            name: Name::new("writer").unwrap(),
            version: "1".into(),
            labels: Default::default(),
            capabilities: vec![capability],
            rate: None,
        }
    }

    #[test]
    fn a_candidate_may_ask_for_less_and_promise_more() {
        let read = EffectClass::ReadOnly;
        let asks = |required: Value| json!({"type": "object", "required": required, "properties": {"x": {"type": "integer"}}});
        let (more, less) = (
            agent(&asks(json!(["x"])), &asks(json!([])), read),
            agent(&asks(json!([])), &asks(json!(["x"])), read),
        );
        assert_eq!(breaks(&more, &less, None), Vec::<String>::new());
        assert_eq!(
            breaks(&less, &more, None),
            [
                "the input of text.draft must have `x` in one version, and need not in the other",
                "the output of text.draft must have `x` in one version, and need not in the other"
            ]
        );
    }

    #[test]
    fn other_types_a_stronger_effect_and_a_lost_capability_are_noticed() {
        let of = |kind: &str, effect| {
            let schema = json!({"type": "object", "properties": {"x": {"type": kind}}});
            agent(&schema, &json!({}), effect)
        };
        let read = EffectClass::ReadOnly;
        assert_eq!(breaks(&of("integer", read), &of("number", read), None), Vec::<String>::new());
        assert_eq!(breaks(&of("number", read), &of("integer", read), None).len(), 1);
        assert_eq!(breaks(&of("string", read), &of("string", EffectClass::SideEffecting), None).len(), 1);
        let nothing = AgentSpec { capabilities: Vec::new(), ..of("string", read) };
        assert_eq!(breaks(&of("string", read), &nothing, None), ["text.draft is not offered any more"]);
        assert_eq!(
            breaks(&of("string", read), &nothing, Some(&Name::new("other").unwrap())),
            Vec::<String>::new()
        );
    }
}
