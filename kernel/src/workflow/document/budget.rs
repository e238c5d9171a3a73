//! Reading budgets: of a workflow, and of a step.

use std::time::Duration;

use crate::budget::{Dollars, Limits, NANO, OnExhausted, nano_usd};
use crate::document::{Code, Field, Fields, Report};
use crate::workflow::{Budget, MAX_DEADLINE};
use crate::yaml::Kind;

const FIELDS: [&str; 5] = ["usd", "tokens", "calls", "time", "on_exhausted"];
/// What follows is the run's to say: a step that cannot be paid for fails, and whether the run goes on without it is said
/// by `optional`.
const STEP_FIELDS: [&str; 4] = ["usd", "tokens", "calls", "time"];

/// Most money of one run: no run should be able to spend more than a person may sign for alone.
const MAX_USD: u64 = 1_000_000 * NANO;

/// The budget of a workflow.
pub(super) fn of_workflow(field: &Field<'_>, report: &mut Report<'_>) -> Budget {
    let fields = Fields::open(field.node, field.path.clone(), &FIELDS, report);
    let on_exhausted =
        fields.optional("on_exhausted").map_or(OnExhausted::Fail, |field| match field.text(report) {
            Some("partial") => OnExhausted::Partial,
            Some("fail") | None => OnExhausted::Fail,
            Some(_) => {
                report.add(
                    Code::FieldRange,
                    &field.path,
                    "is nothing that can follow",
                    "give `fail` or `partial`",
                );
                OnExhausted::Fail
            }
        });
    let said = fields.optional("on_exhausted").is_some();
    Budget { limits: limits(&fields, said, report), on_exhausted }
}

/// The budget of a step.
pub(super) fn of_step(field: &Field<'_>, report: &mut Report<'_>) -> Limits {
    let fields = Fields::open(field.node, field.path.clone(), &STEP_FIELDS, report);
    limits(&fields, false, report)
}

fn limits(fields: &Fields<'_>, says_something: bool, report: &mut Report<'_>) -> Limits {
    let limits = Limits {
        nano_usd: fields.optional("usd").and_then(|field| usd(&field, report)),
        tokens: fields.optional("tokens").map(|field| u64::from(field.number(1..=u32::MAX, report))),
        calls: fields.optional("calls").map(|field| u64::from(field.number(1..=u32::MAX, report))),
        time: fields.optional("time").map(|field| field.duration(Duration::ZERO, MAX_DEADLINE, report)),
    };
    let said = STEP_FIELDS.iter().any(|name| fields.get(name).is_some());
    if fields.is_map && !said && !says_something {
        let hint = "give one of `usd`, `tokens`, `calls` and `time`, or take it out";
        report.add(Code::FieldMissing, &fields.path, "limits nothing", hint);
    }
    limits
}

/// Money, read from the digits as they stand: a price is no binary fraction.
fn usd(field: &Field<'_>, report: &mut Report<'_>) -> Option<u64> {
    let Kind::Number(number) = &field.node.kind else {
        field.wrong_type("a number of US dollars like `0.50`", report);
        return None;
    };
    let nano = nano_usd(&number.text).filter(|nano| (1..=MAX_USD).contains(nano));
    if nano.is_none() {
        let hint = format!("give US dollars, more than 0 and at most {}, such as `0.50`", Dollars(MAX_USD));
        report.add(Code::FieldRange, &field.path, format!("is {}", number.text), hint);
    }
    nano
}
