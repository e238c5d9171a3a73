//! Reading what a step does: one field of it says so, and names the kind.

use std::time::Duration;

use serde_json::Value;

use super::{
    Call, DEFAULT_ITEMS, DEFAULT_ITEMS_AT_ONCE, MAX_DEADLINE, MAX_ITEMS, MAX_PARALLEL, Map, StepKind,
};
use crate::document::{Code, Field, Fields, Report};
use crate::expr::Mapping;

/// The fields of a step that say what it does; a step has one of them.
pub(super) const KINDS: [&str; 2] = ["call", "map"];

const CALL_FIELDS: [&str; 2] = ["capability", "agent"];
const MAP_FIELDS: [&str; 6] = ["over", "call", "max_items", "parallel", "partial", "within"];

/// What the step does; reports if it does not say, or says it twice.
pub(super) fn kind(step: &Fields<'_>, report: &mut Report<'_>) -> Option<StepKind> {
    let mut said = KINDS.iter().filter_map(|kind| Some((*kind, step.optional(kind)?)));
    let Some((kind, field)) = said.next() else {
        if step.is_map {
            let hint = format!("say what it does by one of {}, such as `call: {{ capability: … }}`", list());
            report.add(Code::StepKindMissing, &step.path, "does not say what the step does", hint);
        }
        return None;
    };
    if let Some((other, field)) = said.next() {
        let message = format!("the step has a `{kind}` already");
        report.add(Code::StepKindTwice, &field.path, message, format!("make `{other}` a step of its own"));
    }
    match kind {
        "map" => map(&field, report).map(StepKind::Map),
        _ => call(&field, report).map(StepKind::Call),
    }
}

/// What the step is given. One that says nothing is given the run's input, or the item it is called for.
pub(super) fn input(step: &Fields<'_>, report: &mut Report<'_>) -> Option<Mapping> {
    let for_items = step.optional("map").is_some();
    match (step.get("input"), for_items) {
        (Some(field), true) => field.mapping_for_items(report),
        (Some(field), false) => field.mapping(report),
        (None, true) => Mapping::compile_for_items(&Value::from("${item}")).ok(),
        (None, false) => Mapping::compile(&Value::from("${input}")).ok(),
    }
}

fn list() -> String {
    KINDS.map(|kind| format!("`{kind}`")).join(", ")
}

fn call(field: &Field<'_>, report: &mut Report<'_>) -> Option<Call> {
    let mut fields = Fields::open(field.node, field.path.clone(), &CALL_FIELDS, report);
    let capability = fields.required("capability").and_then(|field| field.name(report));
    let agent = fields.optional("agent").and_then(|field| field.name(report));
    fields.report_missing(report);
    Some(Call { capability: capability?, agent })
}

fn map(field: &Field<'_>, report: &mut Report<'_>) -> Option<Map> {
    let mut fields = Fields::open(field.node, field.path.clone(), &MAP_FIELDS, report);
    let over = fields.required("over").and_then(|field| field.mapping(report));
    let call = fields.required("call").and_then(|field| call(&field, report));
    let max_items = count(&fields, "max_items", DEFAULT_ITEMS, MAX_ITEMS, report);
    let parallel = count(&fields, "parallel", DEFAULT_ITEMS_AT_ONCE, MAX_PARALLEL, report);
    let partial = fields.optional("partial").is_some_and(|field| field.truth(report));
    let within = fields.optional("within").map(|field| field.duration(Duration::ZERO, MAX_DEADLINE, report));
    fields.report_missing(report);
    Some(Map { over: over?, call: call?, max_items, parallel, partial, within })
}

fn count(
    fields: &Fields<'_>,
    name: &'static str,
    default: usize,
    most: usize,
    report: &mut Report<'_>,
) -> usize {
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    fields.optional(name).map_or(default, |field| field.number(1..=most, report) as usize)
}
