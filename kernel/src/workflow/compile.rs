//! From a draft to a workflow: what mappings read is checked against the graph, and the parts are put together.

use serde_json::{Map, Value};

use super::document::Draft;
use super::graph::Graph;
use super::{Budget, Step, StepId, Workflow, WorkflowHash};
use crate::document::{Code, Problem, Report, nearest};
use crate::expr::Mapping;
use crate::yaml::Path;

/// Reports every mapping that reads a step which does not exist, or for which its own step does not wait, or that reads
/// what the document does not read of the shared context.
pub(super) fn check_reads(draft: &Draft, graph: &Graph, report: &mut Report<'_>) {
    check_context(draft, report);
    for (at, step) in draft.steps.iter().enumerate() {
        let reads = step.mappings().into_iter().flat_map(|(mapping, base)| {
            mapping.references().steps.iter().map(move |(id, read)| (id, base.join(&read.path)))
        });
        for (id, path) in reads {
            let Some(other) = known(graph, id, &path, report) else { continue };
            if graph.is_upstream(other, at) != Some(false) {
                continue;
            }
            if other == at && path.0.starts_with(&step.path.key("compensate").0) {
                continue;
            }
            let hint = if other == at {
                "a step has no output before it has run".to_owned()
            } else if graph.is_upstream(at, other) == Some(true) {
                format!("`{id}` itself waits for this step")
            } else {
                format!("add `{id}` to `{}`", step.path.key("after"))
            };
            report.add(Code::StepNotUpstream, &path, format!("reads `{id}` without waiting for it"), hint);
        }
    }
    if let Some(mapping) = &draft.output {
        let base = Path::default().key("output");
        for (id, read) in &mapping.references().steps {
            known(graph, id, &base.join(&read.path), report);
        }
    }
}

fn check_context(draft: &Draft, report: &mut Report<'_>) {
    let output = draft.output.iter().map(|output| (output, Path::default().key("output")));
    for (mapping, base) in draft.steps.iter().flat_map(|step| step.mappings()).chain(output) {
        for (name, path) in &mapping.references().context {
            if draft.context.iter().any(|read| *read.name == **name) {
                continue;
            }
            let hint = match nearest(name, draft.context.iter().map(|read| &*read.name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("say which key that is: `context: {{ {name}: {{ key: … }} }}`"),
            };
            let message = format!("reads `context.{name}`, which the workflow does not read");
            report.add(Code::ContextUnknown, &base.join(path), message, hint);
        }
    }
}

/// The index of the step `id`; reports if there is none.
fn known(graph: &Graph, id: &str, path: &Path, report: &mut Report<'_>) -> Option<usize> {
    let index = graph.index.get(id).copied();
    if index.is_none() {
        let hint = match nearest(id, graph.index.keys().map(StepId::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => String::new(),
        };
        report.add(Code::StepUnknown, path, format!("reads `{id}`, and there is no such step"), hint);
    }
    index
}

/// Puts the parts together. A draft without problems has them all; the error is for one that does not.
pub(super) fn build(
    draft: Draft,
    graph: Graph,
    hash: WorkflowHash,
    source: &str,
    warnings: Vec<Problem>,
) -> Result<Workflow, Vec<Problem>> {
    let output = match draft.output {
        Some(output) => Some(output),
        None => sinks(&draft, &graph),
    };
    let Graph { index, after, dependents, order, .. } = graph;
    let edges = after.into_iter().zip(dependents);
    let steps = draft.steps.into_iter().zip(edges).map(|(step, (after, dependents))| {
        Some(Step {
            id: step.id?,
            kind: step.kind?,
            after,
            dependents,
            input: step.input?,
            timeout: step.timeout,
            retry: step.retry,
            budget: step.budget,
            optional: step.optional,
            drop_in: step.drop_in,
            output_schema: step.output_schema,
            recourse: step.recourse,
            verification: step.verification,
        })
    });
    let parts = (draft.name, steps.collect::<Option<Vec<_>>>(), output);
    let (Some(name), Some(steps), Some(output)) = parts else {
        return Err(vec![Problem::incomplete()]);
    };
    let has_budgets = draft.budget != Budget::NONE || steps.iter().any(|step: &Step| !step.budget.is_empty());
    Ok(Workflow {
        name,
        version: draft.version,
        description: draft.description,
        input: draft.input,
        deadline: draft.deadline,
        max_parallel: draft.max_parallel,
        max_retries: draft.max_retries,
        budget: draft.budget,
        has_budgets,
        drop_in: draft.drop_in,
        compensation: draft.compensation,
        context: draft.context,
        steps,
        index,
        order,
        output,
        hash,
        source: source.into(),
        warnings,
    })
}

/// What a run comes to if the document does not say: the outputs of the steps nobody waits for, by id.
fn sinks(draft: &Draft, graph: &Graph) -> Option<Mapping> {
    let steps = draft.steps.iter().zip(&graph.dependents);
    let ids = steps.filter(|(_, dependents)| dependents.is_empty()).filter_map(|(step, _)| step.id.as_ref());
    let outputs = ids.map(|id| (id.to_string(), Value::from(format!("${{steps.{id}.output}}"))));
    Mapping::compile(&Value::Object(outputs.collect::<Map<_, _>>())).ok()
}
