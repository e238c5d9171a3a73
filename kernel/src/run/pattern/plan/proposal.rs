//! Whether what an agent proposes can be carried out.
//!
//! A proposal is turned into a workflow document, so that everything a workflow is checked for is checked here too: names,
//! circles, sizes, what expressions read and whether they wait for it. What comes on top is what a plan alone is held to:
//! the capabilities it may use, its size and depth, and that what each step is given fits what its agent takes.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::json::Json;
use crate::run::inquiry::Offered;
use crate::workflow::{Plan, Workflow, fit};

/// What a planner proposes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposal {
    steps: Vec<Proposed>,
    #[serde(default)]
    output: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposed {
    id: String,
    capability: String,
    #[serde(default)]
    after: Vec<String>,
    #[serde(default)]
    input: Option<Value>,
}

/// The workflow that `proposed` is, or everything that is wrong with it.
pub(super) fn check(proposed: &Json, plan: &Plan, offers: &[Offered]) -> Result<Workflow, Vec<String>> {
    let read = serde_json::from_str(proposed.as_str());
    let proposal: Proposal = read.map_err(|error| vec![format!("it cannot be read: {error}")])?;
    let steps = proposal.steps.len();
    if steps > plan.max_steps {
        return Err(vec![format!("it has {steps} steps; at most {} are allowed", plan.max_steps)]);
    }
    let allowed = |name: &str| plan.capabilities.iter().any(|known| known.as_str() == name);
    let strangers = proposal.steps.iter().filter(|step| !allowed(&step.capability));
    let mut problems: Vec<String> = strangers
        .map(|step| {
            let Proposed { id, capability, .. } = step;
            format!("step `{id}`: `{capability}` is none of the capabilities a plan may use")
        })
        .collect();
    let workflow = match Workflow::parse(&document(proposal).to_string()) {
        Ok(workflow) => workflow,
        Err(found) => {
            // Without their places: a planner does not see the text that they are in.
            problems.extend(found.iter().map(|problem| format!("{}: {}", problem.path, problem.message)));
            return Err(problems);
        }
    };
    let depth = depth(&workflow);
    if depth > plan.max_depth {
        let most = plan.max_depth;
        problems.push(format!("{depth} steps wait for each other in a row; at most {most} are allowed"));
    }
    let of = |name: &str| offers.iter().find(|offer| offer.capability.as_str() == name);
    let contract = |name: &str| {
        of(name).map(|offer| fit::Contract {
            input: offer.input_schema.value(),
            output: offer.output_schema.value(),
        })
    };
    problems.extend(fit::misfits(&workflow, &contract));
    if problems.is_empty() { Ok(workflow) } else { Err(problems) }
}

fn document(proposal: Proposal) -> Value {
    let step = |proposed: Proposed| {
        let Proposed { id, capability, after, input } = proposed;
        let mut step = json!({ "id": id, "call": { "capability": capability }, "after": after });
        if let Some(input) = input {
            step["input"] = input;
        }
        step
    };
    let mut document = Map::new();
    document.insert("name".to_owned(), "plan".into());
    document.insert("version".to_owned(), 1.into());
    document.insert("steps".to_owned(), proposal.steps.into_iter().map(step).collect());
    if let Some(output) = proposal.output {
        document.insert("output".to_owned(), output);
    }
    Value::Object(document)
}

/// The longest row of steps that wait for each other.
fn depth(workflow: &Workflow) -> usize {
    let mut depths = vec![1; workflow.steps().len()];
    for &at in workflow.order() {
        let before = workflow.steps()[at].after.iter().map(|before| depths[*before]).max();
        depths[at] = 1 + before.unwrap_or(0);
    }
    depths.into_iter().max().unwrap_or(0)
}
