//! Whether what steps hand to each other fits what agents take.
//!
//! A mapping says what a step is given: constants, values of the run's input, outputs of other steps, or something computed.
//! Against the schemas that agents declare, what can be known before anything runs is checked: fields that are missing or
//! too many, a field of an output that its schema does not have, a type that can never fit. What is computed, or what a
//! schema leaves open, is not judged; the check of every value at every hand-off stands behind this one.

use serde_json::Value;

use crate::expr::Shape;
use crate::workflow::{Step, Workflow};

/// Deepest value that is compared: as deep as schemas nest in practice.
const MAX_DEPTH: usize = 16;

/// What a capability takes and gives: JSON Schemas.
#[derive(Debug, Clone)]
pub struct Contract {
    /// Of its input.
    pub input: Value,
    /// Of its output.
    pub output: Value,
}

/// What cannot fit between the steps of `workflow` and the capabilities they call, a sentence each. A capability without a
/// contract is not judged.
#[must_use]
pub fn misfits(workflow: &Workflow, contract: &dyn Fn(&str) -> Option<Contract>) -> Vec<String> {
    let of = |step: &Step| step.kind.call().and_then(|call| contract(call.capability.as_str()));
    let output = |id: &str| {
        let step = workflow.step(id)?;
        // The answer of a step that goes over a list is the list.
        (!step.kind.is_open()).then(|| of(step)).flatten().map(|contract| contract.output)
    };
    let mut misfits = Vec::new();
    for step in workflow.steps().iter().filter(|step| !step.kind.is_open()) {
        let Some(contract) = of(step) else { continue };
        let mut check = Check { step: step.id.as_str(), output: &output, found: &mut misfits };
        check.value(&contract.input, &step.input.shape(), "input", 0);
    }
    misfits
}

struct Check<'a> {
    step: &'a str,
    output: &'a dyn Fn(&str) -> Option<Value>,
    found: &'a mut Vec<String>,
}

impl Check<'_> {
    fn value(&mut self, wanted: &Value, given: &Shape<'_>, path: &str, depth: usize) {
        if depth > MAX_DEPTH || is_open(wanted) {
            return;
        }
        match given {
            Shape::Computed => {}
            Shape::Constant(Value::Object(fields)) => {
                let constant =
                    |(name, value): (&String, &Value)| (name.clone(), Shape::Constant(value.clone()));
                let fields: Vec<_> = fields.iter().map(constant).collect();
                self.value(wanted, &Shape::Map(fields), path, depth);
            }
            Shape::Constant(Value::Array(items)) => {
                let items = items.iter().cloned().map(Shape::Constant).collect();
                self.value(wanted, &Shape::List(items), path, depth);
            }
            Shape::Constant(value) => self.types(wanted, &[type_of(value)], path),
            Shape::Text => self.types(wanted, &["string"], path),
            Shape::List(items) => {
                self.types(wanted, &["array"], path);
                let Some(of) = wanted.get("items") else { return };
                for (at, item) in items.iter().enumerate() {
                    self.value(of, item, &format!("{path}[{at}]"), depth + 1);
                }
            }
            Shape::Map(fields) => {
                self.types(wanted, &["object"], path);
                self.fields(wanted, fields, path, depth);
            }
            Shape::Output { step, path: inside } => self.handed_on(wanted, step, inside, path),
        }
    }

    fn fields(&mut self, wanted: &Value, fields: &[(String, Shape<'_>)], path: &str, depth: usize) {
        let required = wanted.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if fields.iter().all(|(field, _)| field != name) {
                self.says(path, &format!("lacks the field `{name}`, which its agent needs"));
            }
        }
        let known = wanted.get("properties").and_then(Value::as_object);
        let closed = wanted.get("additionalProperties") == Some(&Value::Bool(false))
            && wanted.get("patternProperties").is_none();
        for (name, given) in fields {
            match known.and_then(|known| known.get(name)) {
                Some(of) => self.value(of, given, &format!("{path}.{name}"), depth + 1),
                None if closed => {
                    self.says(path, &format!("has a field `{name}`, which its agent does not take"));
                }
                None => {}
            }
        }
    }

    /// A value of another step's output.
    fn handed_on(&mut self, wanted: &Value, step: &str, inside: &[&str], path: &str) {
        let Some(mut given) = (self.output)(step) else { return };
        for name in inside {
            if is_open(&given) {
                return;
            }
            let Some(known) = given.get("properties").and_then(Value::as_object) else { return };
            let Some(of) = known.get(*name) else {
                self.says(
                    path,
                    &format!("reads `{name}` of the output of `{step}`, whose schema has no such field"),
                );
                return;
            };
            given = of.clone();
        }
        if !is_open(&given) {
            let types = types(&given);
            if !types.is_empty() {
                self.types(wanted, &types, path);
            }
        }
    }

    fn types(&mut self, wanted: &Value, given: &[&str], path: &str) {
        let wanted = types(wanted);
        let fits = |given: &&str| {
            wanted.contains(given) || (*given == "integer" && wanted.contains(&"number"))
            // A number may turn out to be whole.
            || (*given == "number" && wanted.contains(&"integer"))
        };
        if !wanted.is_empty() && !given.iter().any(fits) {
            self.says(
                path,
                &format!("is {} where its agent takes {}", given.join(" or "), wanted.join(" or ")),
            );
        }
    }

    fn says(&mut self, path: &str, what: &str) {
        self.found.push(format!("step `{}`: {path} {what}", self.step));
    }
}

/// Whether a schema says nothing that is judged here, or says it in a way that is not.
fn is_open(schema: &Value) -> bool {
    let open = ["$ref", "$dynamicRef", "anyOf", "oneOf", "allOf", "not", "if"];
    !schema.is_object() || open.iter().any(|keyword| schema.get(keyword).is_some())
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests;
