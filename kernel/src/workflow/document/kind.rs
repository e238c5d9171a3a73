//! Reading what a step does: one field of it says so, and names the kind.

use std::time::Duration;

use serde_json::Value;

use crate::document::{Code, Field, Fields, Report};
use crate::expr::Mapping;
use crate::json::Json;
use crate::schema::Schema;
use crate::workflow::{
    Approve, Branch, Call, Choose, DEFAULT_ITEMS, DEFAULT_ITEMS_AT_ONCE, MAX_BRANCHES, MAX_DEADLINE,
    MAX_ITEMS, MAX_PARALLEL, MAX_WAIT, Map, Otherwise, StepKind, Sub, Then, Until, Wait,
};

mod teams;

/// The fields of a step that say what it does; a step has one of them.
const KINDS: [&str; 10] =
    ["call", "map", "choose", "wait", "approve", "sub", "consensus", "supervise", "plan", "route"];

pub(super) const CALL_FIELDS: [&str; 2] = ["capability", "agent"];
const MAP_FIELDS: [&str; 6] = ["over", "call", "max_items", "parallel", "partial", "within"];
const BRANCH_FIELDS: [&str; 3] = ["when", "call", "value"];
const WAIT_FIELDS: [&str; 5] = ["for", "signal", "schema", "within", "default"];
const SUB_FIELDS: [&str; 2] = ["workflow", "version"];
pub(super) const APPROVE_FIELDS: [&str; 5] = ["ask", "form", "assignee", "within", "default"];

/// Longest name of whom a question is for, in characters.
const MAX_ASSIGNEE_CHARS: usize = 128;

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
    let kind = match kind {
        "map" => map(&field, report).map(StepKind::Map),
        "choose" => choose(&field, report).map(StepKind::Choose),
        "wait" => wait(&field, report).map(StepKind::Wait),
        "approve" => approve(&field, report).map(StepKind::Approve),
        "sub" => sub(&field, report).map(StepKind::Sub),
        "consensus" => teams::consensus(&field, report).map(StepKind::Consensus),
        "plan" => teams::plan(&field, report).map(StepKind::Plan),
        "route" => teams::route(&field, report).map(StepKind::Route),
        "supervise" => teams::supervise(&field, report).map(StepKind::Supervise),
        _ => call(&field, report).map(StepKind::Call),
    };
    if let Some(kind) = &kind {
        refuse_what_has_no_meaning(step, kind, report);
    }
    kind
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

/// Fields that would be read and never looked at mislead whoever wrote them.
fn refuse_what_has_no_meaning(step: &Fields<'_>, kind: &StepKind, report: &mut Report<'_>) {
    let meaningless: &[&str] = match kind {
        StepKind::Call(_)
        | StepKind::Map(_)
        | StepKind::Choose(_)
        | StepKind::Consensus(_)
        | StepKind::Supervise(_)
        | StepKind::Plan(_)
        | StepKind::Route(_) => &[],
        StepKind::Approve(_) => &["timeout", "retry", "budget"],
        // The steps of another workflow say that themselves.
        StepKind::Sub(_) => &["timeout", "retry"],
        StepKind::Wait(_) => &["timeout", "retry", "budget", "input"],
    };
    for field in meaningless.iter().filter_map(|name| step.optional(name)) {
        let message = format!("has no meaning for a step that does `{}`", kind.as_str());
        report.add(Code::FieldUnknown, &field.path, message, "take it out");
    }
}

fn list() -> String {
    KINDS.map(|kind| format!("`{kind}`")).join(", ")
}

pub(super) fn call(field: &Field<'_>, report: &mut Report<'_>) -> Option<Call> {
    call_of(Fields::open(field.node, field.path.clone(), &CALL_FIELDS, report), report)
}

/// A call, whose fields stand among these.
pub(super) fn call_of(mut fields: Fields<'_>, report: &mut Report<'_>) -> Option<Call> {
    let capability = fields.required("capability").and_then(|field| field.name(report));
    let agent = fields.optional("agent").and_then(|field| field.name(report));
    fields.report_missing(report);
    Some(Call { agent, ..Call::of(capability?) })
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

fn choose(field: &Field<'_>, report: &mut Report<'_>) -> Option<Choose> {
    let items = field.list(report);
    if items.is_empty() || items.len() > MAX_BRANCHES {
        let message = format!("has {} branches", items.len());
        report.add(Code::FieldRange, &field.path, message, format!("give it 1 to {MAX_BRANCHES}"));
    }
    let last = items.len().saturating_sub(1);
    let branches = items.iter().take(MAX_BRANCHES).enumerate();
    let branches = branches.map(|(at, item)| branch(item, at == last, report)).collect::<Vec<_>>();
    Some(Choose { branches: branches.into_iter().collect::<Option<_>>()? })
}

fn branch(field: &Field<'_>, last: bool, report: &mut Report<'_>) -> Option<Branch> {
    let fields = Fields::open(field.node, field.path.clone(), &BRANCH_FIELDS, report);
    let when = fields.optional("when");
    if when.is_none() && !last && fields.is_map {
        let hint = "say `when`, or put it last";
        report.add(Code::FieldMissing, &fields.path.key("when"), "hides the branches that follow", hint);
    }
    let when = when.map(|field| field.mapping(report));
    let then = match (fields.optional("call"), fields.get("value")) {
        (Some(field), None) => call(&field, report).map(Then::Call),
        (None, Some(field)) => field.mapping(report).map(Then::Value),
        (Some(_), Some(field)) => {
            report.add(Code::StepKindTwice, &field.path, "the branch has a `call` already", "take one out");
            None
        }
        (None, None) => {
            let hint = "give it a `call` or a `value`";
            report.add(Code::StepKindMissing, &fields.path, "does not say what the branch does", hint);
            None
        }
    };
    let when = match when {
        None => None,
        Some(compiled) => Some(compiled?),
    };
    Some(Branch { when, then: then? })
}

fn wait(field: &Field<'_>, report: &mut Report<'_>) -> Option<Wait> {
    let fields = Fields::open(field.node, field.path.clone(), &WAIT_FIELDS, report);
    let time = fields.optional("for").map(|field| field.duration(Duration::ZERO, MAX_WAIT, report));
    let signal = fields.optional("signal");
    let until = match (time, signal) {
        (Some(time), None) => {
            for name in ["schema", "within", "default"] {
                if let Some(field) = fields.get(name) {
                    report.add(Code::FieldUnknown, &field.path, "belongs to a `signal`", "take it out");
                }
            }
            Some(Until::Time(time))
        }
        (None, Some(signal)) => signal.name(report).map(|name| Until::Signal {
            name,
            schema: fields.optional("schema").map_or_else(Schema::anything, |field| field.schema(report)),
            within: fields.optional("within").map(|field| field.duration(Duration::ZERO, MAX_WAIT, report)),
            default: fields.get("default").map(|field| Json::from(&field.node.value())),
        }),
        (Some(_), Some(signal)) => {
            let hint = "give a signal its longest wait by `within`";
            report.add(Code::StepKindTwice, &signal.path, "the step waits `for` a time already", hint);
            None
        }
        (None, None) => {
            let hint = "say `for: 10m`, or `signal: NAME`";
            report.add(Code::FieldMissing, &fields.path, "does not say what is waited for", hint);
            None
        }
    };
    if let Some(Until::Signal { within: None, default: Some(_), .. }) = &until {
        let hint = "say how long the signal is waited for";
        report.add(Code::FieldMissing, &fields.path.key("within"), "is missing beside `default`", hint);
    }
    Some(Wait { until: until? })
}

fn approve(field: &Field<'_>, report: &mut Report<'_>) -> Option<Approve> {
    approve_of(Fields::open(field.node, field.path.clone(), &APPROVE_FIELDS, report), report)
}

/// A question to a person, whose fields stand among these.
pub(super) fn approve_of(mut fields: Fields<'_>, report: &mut Report<'_>) -> Option<Approve> {
    let ask = fields.required("ask").and_then(|field| {
        field.text(report)?;
        field.mapping(report)
    });
    let form = fields.optional("form").map_or_else(Schema::anything, |field| field.schema(report));
    let assignee = fields.optional("assignee").and_then(|field| assignee(&field, report));
    let within = fields.required("within").map(|field| field.duration(MAX_WAIT, MAX_WAIT, report));
    let otherwise = fields.optional("default").map_or(Otherwise::Reject, |field| otherwise(&field, report));
    fields.report_missing(report);
    Some(Approve { ask: ask?, form, assignee, within: within?, otherwise })
}

fn sub(field: &Field<'_>, report: &mut Report<'_>) -> Option<Sub> {
    let mut fields = Fields::open(field.node, field.path.clone(), &SUB_FIELDS, report);
    let workflow = fields.required("workflow").and_then(|field| field.name(report));
    let version = fields.optional("version").map(|field| field.number(1..=u32::MAX, report));
    fields.report_missing(report);
    Some(Sub { workflow: workflow?, version })
}

fn assignee(field: &Field<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = field.text(report)?;
    if text.is_empty() || text.chars().count() > MAX_ASSIGNEE_CHARS {
        let hint = format!("give 1 to {MAX_ASSIGNEE_CHARS} characters");
        report.add(Code::FieldRange, &field.path, "is empty or too long", hint);
        return None;
    }
    Some(text.to_owned())
}

fn otherwise(field: &Field<'_>, report: &mut Report<'_>) -> Otherwise {
    match field.text(report) {
        Some("approve") => Otherwise::Approve,
        Some("reject") | None => Otherwise::Reject,
        Some(_) => {
            report.add(Code::FieldRange, &field.path, "is no answer", "give `approve` or `reject`");
            Otherwise::Reject
        }
    }
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
