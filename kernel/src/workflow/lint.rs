//! What a document may say but probably does not mean.

use std::collections::BTreeSet;
use std::time::Duration;

use super::document::{Draft, DraftStep};
use super::graph::Graph;
use super::{StepId, StepKind, Until, Wait};
use crate::budget::OnExhausted;
use crate::document::{Code, Problem, Report};
use crate::expr::Mapping;
use crate::time::text::Human;
use crate::yaml::Path;

pub(super) fn lint(draft: &Draft, graph: &Graph, mut report: Report<'_>) -> Vec<Problem> {
    unused_outputs(draft, graph, &mut report);
    unguarded_reads(draft, graph, &mut report);
    if !long_timeouts(draft, &mut report) {
        long_path(draft, graph, &mut report);
    }
    report.finish()
}

/// All mappings, each with the path of the field it stands in.
fn mappings(draft: &Draft) -> impl Iterator<Item = (&Mapping, Path)> {
    let of_steps = draft.steps.iter().flat_map(DraftStep::mappings);
    of_steps.chain(draft.output.iter().map(|output| (output, Path::default().key("output"))))
}

fn unused_outputs(draft: &Draft, graph: &Graph, report: &mut Report<'_>) {
    let read: BTreeSet<&str> = mappings(draft)
        .flat_map(|(mapping, _)| mapping.references().steps.keys().map(String::as_str))
        .collect();
    for (step, dependents) in draft.steps.iter().zip(&graph.dependents) {
        // Without an `output` the sinks' outputs are what the run comes to.
        let shown = draft.output.is_none() && dependents.is_empty();
        // A timer answers nothing that anybody could read.
        let is_timer = matches!(&step.kind, Some(StepKind::Wait(Wait { until: Until::Time(_) })));
        let unread = |id: &&StepId| !shown && !is_timer && !read.contains(id.as_str());
        let Some(id) = step.id.as_ref().filter(unread) else { continue };
        let hint = "fine for a step that is called for its effect; otherwise read it or take the step out";
        report.add(
            Code::OutputUnused,
            &step.path.key("id"),
            format!("nobody reads the output of `{id}`"),
            hint,
        );
    }
}

fn unguarded_reads(draft: &Draft, graph: &Graph, report: &mut Report<'_>) {
    let partial = draft.budget.on_exhausted == OnExhausted::Partial;
    for (mapping, base) in mappings(draft) {
        for (id, read) in &mapping.references().steps {
            let step = graph.index.get(id.as_str()).and_then(|&at| draft.steps.get(at));
            let optional = step.is_some_and(|step| step.optional);
            let skips = step.is_some_and(|step| step.recourse.skips());
            let (Some(path), true) = (&read.unguarded, optional || skips || partial) else {
                continue;
            };
            let message = match (optional, skips) {
                (true, _) => format!("`{id}` is optional: its output is null when it was skipped or failed"),
                (false, true) => format!("`{id}` may be skipped: its output is null when it failed"),
                (false, false) => {
                    format!("the output of `{id}` is null when the budget did not reach for it")
                }
            };
            let hint = format!("ask first: `steps.{id}.ok ? … : …`");
            report.add(Code::OptionalUnguarded, &base.join(path), message, hint);
        }
    }
}

/// Whether there was one.
fn long_timeouts(draft: &Draft, report: &mut Report<'_>) -> bool {
    let mut found = false;
    for step in draft.steps.iter().filter(|step| step.longest() > draft.deadline) {
        let message =
            format!("is {}, and the whole run has {}", Human(step.longest()), Human(draft.deadline));
        let path = match step.waits() {
            Some(_) => step.path.key(step.kind.as_ref().map_or("", StepKind::as_str)),
            None => step.path.key("timeout"),
        };
        report.add(Code::TimeoutBeyondDeadline, &path, message, "");
        found = true;
    }
    found
}

/// The chain of steps whose timeouts add up to the most, against the deadline.
fn long_path(draft: &Draft, graph: &Graph, report: &mut Report<'_>) {
    let mut longest = vec![(Duration::ZERO, None); draft.steps.len()];
    for &at in &graph.order {
        let before =
            graph.after[at].iter().map(|&dependency| (longest[dependency].0, Some(dependency))).max();
        let (before, from) = before.unwrap_or_default();
        longest[at] = (before.saturating_add(draft.steps[at].longest()), from);
    }
    let end = longest.iter().enumerate().max_by_key(|(_, (sum, _))| *sum);
    let Some((end, &(sum, _))) = end.filter(|(_, (sum, _))| *sum > draft.deadline) else { return };
    let mut chain: Vec<usize> = std::iter::successors(Some(end), |&at| longest[at].1).collect();
    chain.reverse();
    let ids: Vec<&str> =
        chain.iter().filter_map(|&at| draft.steps[at].id.as_ref().map(StepId::as_str)).collect();
    let message = format!(
        "{} may take {} without a single retry, and the whole run has {}",
        ids.join(" → "),
        Human(sum),
        Human(draft.deadline)
    );
    report.add(Code::PathBeyondDeadline, &Path::default().key("deadline"), message, "");
}
