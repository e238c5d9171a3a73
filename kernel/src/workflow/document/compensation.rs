//! Reading what takes a step's effect back, and when a run does that.

use std::time::Duration;

use serde_json::Value;

use super::kind::{CALL_FIELDS, call_of};
use super::recourse::Beside;
use super::{Draft, retry};
use crate::document::{Code, Field, Fields, Report};
use crate::expr::Mapping;
use crate::retry::RetryPolicy;
use crate::run::EndState;
use crate::workflow::{
    Compensate, Compensation, DEFAULT_TIMEOUT, DEFAULT_UNDOING, MAX_DEADLINE, MAX_TIMEOUT, Remedy, StepKind,
};
use crate::yaml::Path;

const COMPENSATE_FIELDS: [&str; 4] = ["input", "timeout", "retry", "when_unknown"];
const COMPENSATION_FIELDS: [&str; 2] = ["on", "within"];
/// The ends before which a run may undo what it did.
const ENDS: [EndState; 3] = [EndState::Failed, EndState::Cancelled, EndState::TimedOut];

/// The step's `compensate`. Whoever undoes is given what the step answered, if nothing else is said.
pub(super) fn compensate(
    step: &Fields<'_>,
    beside: &Beside<'_>,
    report: &mut Report<'_>,
) -> Option<Compensate> {
    let field = step.optional("compensate")?;
    let acts = |kind: &StepKind| !matches!(kind, StepKind::Wait(_) | StepKind::Approve(_));
    if beside.kind.is_some_and(|kind| !acts(kind)) {
        let message = "takes back the effect of a step that calls nobody";
        report.add(Code::RecourseInvalid, &field.path, message, "take it out");
    }
    let known: Vec<&'static str> = CALL_FIELDS.into_iter().chain(COMPENSATE_FIELDS).collect();
    let fields = Fields::open(field.node, field.path.clone(), &known, report);
    let own = || {
        let id = step.optional("id")?.node.value();
        Mapping::compile(&Value::from(format!("${{steps.{}.output}}", id.as_str()?))).ok()
    };
    let input = match fields.get("input") {
        Some(field) => field.mapping(report),
        None => own(),
    };
    let timeout = fields
        .optional("timeout")
        .map_or(DEFAULT_TIMEOUT, |field| field.duration(DEFAULT_TIMEOUT, MAX_TIMEOUT, report));
    let retry = fields.optional("retry").map_or(RetryPolicy::DEFAULT, |field| retry(&field, report));
    let when_unknown = fields.optional("when_unknown").is_some_and(|field| field.truth(report));
    let call = call_of(fields, report);
    Some(Compensate { call: call?, input: input?, timeout, retry, when_unknown })
}

/// The workflow's `compensation`.
pub(super) fn compensation(field: &Field<'_>, report: &mut Report<'_>) -> Compensation {
    let fields = Fields::open(field.node, field.path.clone(), &COMPENSATION_FIELDS, report);
    let mut read = Compensation::default();
    if let Some(field) = fields.optional("on") {
        let items = field.list(report);
        read.on = items.iter().filter_map(|item| end(item, report)).collect();
    }
    if let Some(field) = fields.optional("within") {
        read.within = field.duration(DEFAULT_UNDOING, MAX_DEADLINE, report).max(Duration::from_millis(1));
    }
    read
}

fn end(item: &Field<'_>, report: &mut Report<'_>) -> Option<EndState> {
    let text = item.text(report)?;
    let known = ENDS.into_iter().find(|end| end.as_str() == text);
    if known.is_none() {
        let hint = "give `failed`, `cancelled` or `timed-out`";
        report.add(Code::FieldRange, &item.path, format!("`{text}` is no end that could be undone"), hint);
    }
    known
}

/// Undoing is asked for where nothing can be undone.
pub(super) fn check(draft: &Draft, report: &mut Report<'_>) {
    if draft.steps.iter().any(|step| step.recourse.compensate.is_some()) {
        return;
    }
    let hint = "give the steps whose effect can be taken back a `compensate`";
    let mut refuse = |path: &Path| {
        report.add(Code::RecourseInvalid, path, "undoes what was done, and no step says how", hint);
    };
    for step in &draft.steps {
        if step.recourse.remedies.iter().any(|remedy| matches!(remedy, Remedy::Compensate)) {
            refuse(&step.path.key("on_failure"));
        }
    }
}
