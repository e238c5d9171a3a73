//! Reading what a step has to fall back on, and refusing what contradicts itself.

use std::sync::Arc;

use crate::document::{Code, Field, Fields, Report};
use crate::json::Json;
use crate::retry::RetryPolicy;
use crate::schema::Schema;
use crate::workflow::{Below, Confidence, Escalate, MAX_REMEDIES, Recourse, Remedy, StepKind};
use crate::yaml::Kind;

use super::kind::{APPROVE_FIELDS, approve_of, call};

const CONFIDENCE_FIELDS: [&str; 2] = ["min", "below"];
const REMEDY_FIELDS: [&str; 3] = ["fallback", "default", "escalate"];
const WORDS: &str =
    "`retry`, `skip`, `abort`, `compensate`, or a map with `fallback`, `default` or `escalate`";

/// What else of a step decides whether its remedies can be meant.
pub(super) struct Beside<'a> {
    pub(super) kind: Option<&'a StepKind>,
    pub(super) retry: &'a RetryPolicy,
    pub(super) optional: bool,
    pub(super) output_schema: &'a Schema,
}

/// The step's `confidence` and `on_failure`.
pub(super) fn recourse(step: &Fields<'_>, beside: &Beside<'_>, report: &mut Report<'_>) -> Recourse {
    let on_failure = step.optional("on_failure");
    let remedies = on_failure.map_or_else(Vec::new, |field| remedies(&field, beside, report));
    let confidence =
        step.optional("confidence").and_then(|field| confidence(&field, &remedies, beside, report));
    let compensate = super::compensation::compensate(step, beside, report).map(Arc::new);
    Recourse { confidence, remedies, compensate }
}

fn confidence(
    field: &Field<'_>,
    remedies: &[Remedy],
    beside: &Beside<'_>,
    report: &mut Report<'_>,
) -> Option<Confidence> {
    if beside.kind.is_some_and(|kind| !matches!(kind, StepKind::Call(_))) {
        let message = "is asked of the answer of one agent, and this step has none of its own";
        report.add(Code::RecourseInvalid, &field.path, message, "take it out, or make it a `call`");
    }
    let mut fields = Fields::open(field.node, field.path.clone(), &CONFIDENCE_FIELDS, report);
    let min_bp = fields.required("min").and_then(|field| field.share(report));
    let below = fields.required("below").and_then(|field| below(&field, remedies, beside, report));
    fields.report_missing(report);
    Some(Confidence { min_bp: min_bp?, below: below? })
}

fn below(
    field: &Field<'_>,
    remedies: &[Remedy],
    beside: &Beside<'_>,
    report: &mut Report<'_>,
) -> Option<Below> {
    let text = field.text(report)?;
    let Some(below) = Below::ALL.into_iter().find(|below| below.as_str() == text) else {
        let hint = "give `accept`, `retry`, `escalate` or `fallback`";
        report.add(Code::FieldRange, &field.path, "is nothing that can be done with an answer", hint);
        return None;
    };
    let has = |name: &str| remedies.iter().any(|remedy| remedy.as_str() == name);
    match below {
        Below::Retry if beside.retry.max_attempts == 1 => {
            let hint = "raise `retry.max_attempts`, or choose another rule";
            report.add(Code::RecourseInvalid, &field.path, "tries again, and `retry` allows one try", hint);
        }
        Below::Escalate | Below::Fallback if !has(below.as_str()) => {
            let message = format!("the step's `on_failure` has no `{text}`");
            let hint = format!("add `{text}` to `on_failure`, or choose another rule");
            report.add(Code::RecourseInvalid, &field.path, message, hint);
        }
        Below::Accept | Below::Retry | Below::Escalate | Below::Fallback => {}
    }
    Some(below)
}

/// One remedy, or a list of them.
fn remedies(field: &Field<'_>, beside: &Beside<'_>, report: &mut Report<'_>) -> Vec<Remedy> {
    let items = if matches!(field.node.kind, Kind::List(_)) {
        field.list(report)
    } else {
        vec![Field { node: field.node, path: field.path.clone() }]
    };
    if items.is_empty() || items.len() > MAX_REMEDIES {
        let message = format!("has {} remedies", items.len());
        report.add(Code::FieldRange, &field.path, message, format!("give it 1 to {MAX_REMEDIES}"));
    }
    let mut read: Vec<Remedy> = Vec::new();
    for (at, item) in items.iter().take(MAX_REMEDIES).enumerate() {
        if matches!(&item.node.kind, Kind::Text(text) if **text == *"retry") {
            check_retry(item, at, beside, report);
            continue;
        }
        let Some(remedy) = remedy(item, report) else { continue };
        check_order(item, read.last(), &remedy, report);
        check_fits(item, &remedy, beside, report);
        read.push(remedy);
    }
    read
}

fn remedy(item: &Field<'_>, report: &mut Report<'_>) -> Option<Remedy> {
    if let Kind::Text(text) = &item.node.kind {
        return match &**text {
            "skip" => Some(Remedy::Skip),
            "abort" => Some(Remedy::Abort),
            "compensate" => Some(Remedy::Compensate),
            other => {
                report.add(
                    Code::FieldRange,
                    &item.path,
                    format!("`{other}` is no remedy"),
                    format!("give {WORDS}"),
                );
                None
            }
        };
    }
    let fields = Fields::open(item.node, item.path.clone(), &REMEDY_FIELDS, report);
    let mut said = REMEDY_FIELDS.iter().filter_map(|name| Some((*name, fields.get(name)?)));
    let Some((name, field)) = said.next() else {
        if fields.is_map {
            report.add(Code::FieldMissing, &item.path, "names no remedy", format!("give {WORDS}"));
        }
        return None;
    };
    if let Some((_, other)) = said.next() {
        let hint = "make each an item of the list: they are taken in its order";
        report.add(Code::RecourseInvalid, &other.path, format!("stands beside `{name}`"), hint);
    }
    match name {
        "fallback" => call(&field, report).map(Remedy::Fallback),
        "default" => Some(Remedy::Default(Json::from(&field.node.value()))),
        _ => escalate(&field, report).map(Remedy::Escalate),
    }
}

fn escalate(field: &Field<'_>, report: &mut Report<'_>) -> Option<Escalate> {
    let known: Vec<&'static str> = APPROVE_FIELDS.into_iter().chain(["value"]).collect();
    let fields = Fields::open(field.node, field.path.clone(), &known, report);
    let value = fields.get("value").map_or_else(Json::default, |field| Json::from(&field.node.value()));
    Some(Escalate { question: approve_of(fields, report)?, value })
}

/// `retry` stands for what the retry policy does anyway, so it comes first or is a mistake.
fn check_retry(item: &Field<'_>, at: usize, beside: &Beside<'_>, report: &mut Report<'_>) {
    if at > 0 {
        let hint = "put it first: `retry` says how often, and the rest begins after that";
        report.add(Code::RecourseInvalid, &item.path, "tries are over before any remedy begins", hint);
    } else if beside.retry.max_attempts == 1 {
        let hint = "raise `retry.max_attempts`, or take it out";
        report.add(Code::RecourseInvalid, &item.path, "tries again, and `retry` allows one try", hint);
    }
}

/// What stands behind a remedy that always settles the step is never reached.
fn check_order(item: &Field<'_>, before: Option<&Remedy>, remedy: &Remedy, report: &mut Report<'_>) {
    let Some(before) = before else { return };
    let settles = match before {
        Remedy::Fallback(_) => false,
        // A person's no is the last word; all that can follow is how the run fails.
        Remedy::Escalate(_) => !matches!(remedy, Remedy::Abort | Remedy::Compensate),
        Remedy::Default(_) | Remedy::Skip | Remedy::Abort | Remedy::Compensate => true,
    };
    if settles {
        let message = format!("is never reached: `{}` before it has the last word", before.as_str());
        report.add(Code::RecourseInvalid, &item.path, message, "put it before that, or take it out");
    }
}

/// Whether a step like this can have the remedy.
fn check_fits(item: &Field<'_>, remedy: &Remedy, beside: &Beside<'_>, report: &mut Report<'_>) {
    let mut refuse = |message: String, hint: &str| {
        report.add(Code::RecourseInvalid, &item.path, message, hint);
    };
    match (remedy, beside.kind) {
        (Remedy::Fallback(call), Some(StepKind::Call(own))) if call == own => {
            refuse(
                "asks again whom the step has asked in vain".to_owned(),
                "name another capability or agent",
            );
        }
        (Remedy::Fallback(_), Some(StepKind::Wait(_))) => {
            let hint = "give a signal a `default`, or call somebody in a step of its own";
            refuse("has no meaning for a step that waits: there is no input to hand on".to_owned(), hint);
        }
        (Remedy::Escalate(_), Some(StepKind::Approve(_))) => {
            refuse("the step asks a person already".to_owned(), "let another step ask the second person");
        }
        (Remedy::Default(value), _) => {
            if let Err(violations) = beside.output_schema.check(value) {
                let violations: Vec<String> = violations.iter().map(ToString::to_string).collect();
                let message = format!("breaks the step's `output_schema`: {}", violations.join("; "));
                refuse(message, "give a value that holds to it");
            }
        }
        (Remedy::Escalate(escalate), _) => {
            if let Err(violations) = beside.output_schema.check(&escalate.value) {
                let violations: Vec<String> = violations.iter().map(ToString::to_string).collect();
                let violations = violations.join("; ");
                let message =
                    format!("what goes on by approval breaks the step's `output_schema`: {violations}");
                refuse(message, "give `value`, which is shown where there is no answer");
            }
        }
        (Remedy::Abort | Remedy::Compensate, _) if beside.optional => {
            refuse("fails the run for a step that is `optional`".to_owned(), "take one of the two out");
        }
        _ => {}
    }
}
