//! Reading the fields of a workflow. Nothing stops at the first mistake: each is reported and a default stands in.

use std::sync::Arc;
use std::time::Duration;

use super::{
    Budget, Compensation, DEFAULT_DEADLINE, DEFAULT_PARALLEL, DEFAULT_RETRIES, DEFAULT_TIMEOUT, MAX_DEADLINE,
    MAX_PARALLEL, MAX_RETRIES, MAX_STEPS, MAX_TIMEOUT, Recourse, Remedy, StepId, StepIdError, StepKind, Then,
    Verification,
};
use crate::budget::Limits;
use crate::context::Read;
use crate::document::{Code, Field, Fields, Report};
use crate::expr::Mapping;
use crate::mode::Mode;
use crate::name::Name;
use crate::retry::RetryPolicy;
use crate::schema::Schema;
use crate::yaml::{self, Node, Path};

mod budget;
mod compensation;
mod context;
mod kind;
mod recourse;
mod verification;

const FIELDS: [&str; 13] = [
    "name",
    "version",
    "description",
    "input",
    "deadline",
    "max_parallel",
    "max_retries",
    "budget",
    "drop_in",
    "compensation",
    "context",
    "steps",
    "output",
];
const STEP_FIELDS: [&str; 23] = [
    "id",
    "after",
    "call",
    "map",
    "choose",
    "wait",
    "approve",
    "sub",
    "consensus",
    "supervise",
    "plan",
    "route",
    "input",
    "timeout",
    "retry",
    "budget",
    "optional",
    "drop_in",
    "output_schema",
    "confidence",
    "on_failure",
    "compensate",
    "verify",
];

/// A document whose fields have been read. What could not be read is missing here and in the report.
pub(super) struct Draft {
    pub(super) name: Option<Name>,
    pub(super) version: u32,
    pub(super) description: String,
    pub(super) input: Schema,
    pub(super) deadline: Duration,
    pub(super) max_parallel: usize,
    pub(super) max_retries: u32,
    pub(super) budget: Budget,
    pub(super) drop_in: Option<Mode>,
    pub(super) compensation: Compensation,
    pub(super) context: Vec<Read>,
    pub(super) steps: Vec<DraftStep>,
    pub(super) output: Option<Mapping>,
}

pub(super) struct DraftStep {
    pub(super) path: Path,
    pub(super) id: Option<StepId>,
    /// As written, each with its place.
    pub(super) after: Vec<(String, Path)>,
    pub(super) kind: Option<StepKind>,
    pub(super) input: Option<Mapping>,
    pub(super) timeout: Duration,
    pub(super) retry: RetryPolicy,
    pub(super) budget: Limits,
    pub(super) optional: bool,
    pub(super) drop_in: Option<Mode>,
    pub(super) output_schema: Schema,
    pub(super) recourse: Recourse,
    pub(super) verification: Option<Arc<Verification>>,
}

impl DraftStep {
    /// Everything it reads, each with the path of the field it stands in.
    pub(super) fn mappings(&self) -> Vec<(&Mapping, Path)> {
        let input = self.input.as_ref().map(|input| (input, self.path.key("input")));
        input.into_iter().chain(self.own_mappings()).chain(self.recourses()).chain(self.verifying()).collect()
    }

    /// What a person is asked if it fails, and what is given to whoever undoes it.
    fn recourses(&self) -> Vec<(&Mapping, Path)> {
        let path = self.path.key("on_failure");
        let remedies = self.recourse.remedies.iter();
        let asks = remedies.filter_map(|remedy| {
            let Remedy::Escalate(escalate) = remedy else { return None };
            Some(&escalate.question.ask)
        });
        let undo = self.recourse.compensate.as_deref();
        let undo = undo.map(|compensate| (&compensate.input, self.path.key("compensate").key("input")));
        asks.map(|ask| (ask, path.clone())).chain(undo).collect()
    }

    /// What its answer is verified by, and what goes back.
    fn verifying(&self) -> Vec<(&Mapping, Path)> {
        let Some(verification) = &self.verification else { return Vec::new() };
        let path = self.path.key("verify");
        let that = verification.that.iter().map(|that| (&that.holds, path.key("that")));
        let by =
            verification.by.iter().filter_map(|by| Some((by.input.as_ref()?, path.key("by").key("input"))));
        let again = verification.repair_input.iter().map(|input| (input, path.key("repair_input")));
        that.chain(by).chain(again).collect()
    }

    /// How long it may take, if nothing is tried again: its wait, or one attempt.
    pub(super) fn longest(&self) -> Duration {
        self.waits().unwrap_or(self.timeout)
    }

    /// How long it waits, if it waits and calls nobody.
    pub(super) fn waits(&self) -> Option<Duration> {
        let waits = |kind: &&StepKind| kind.is_open() && kind.calls().is_empty() && kind.subs().is_empty();
        let kind = self.kind.as_ref().filter(waits)?;
        Some(kind.within().unwrap_or_default())
    }

    fn own_mappings(&self) -> Vec<(&Mapping, Path)> {
        match &self.kind {
            Some(StepKind::Map(map)) => vec![(&map.over, self.path.key("map").key("over"))],
            Some(StepKind::Choose(choose)) => {
                let mut own = Vec::new();
                for (at, branch) in choose.branches.iter().enumerate() {
                    let path = self.path.key("choose").index(at);
                    own.extend(branch.when.as_ref().map(|when| (when, path.key("when"))));
                    if let Then::Value(value) = &branch.then {
                        own.push((value, path.key("value")));
                    }
                }
                own
            }
            Some(StepKind::Approve(approve)) => vec![(&approve.ask, self.path.key("approve").key("ask"))],
            Some(StepKind::Supervise(supervise)) => {
                let path = self.path.key("supervise").key("accept");
                supervise.accept.iter().map(|accept| (accept, path.clone())).collect()
            }
            Some(
                StepKind::Call(_)
                | StepKind::Wait(_)
                | StepKind::Sub(_)
                | StepKind::Consensus(_)
                | StepKind::Plan(_)
                | StepKind::Route(_),
            )
            | None => Vec::new(),
        }
    }
}

pub(super) fn read(tree: &Node, report: &mut Report<'_>) -> Draft {
    let mut fields = Fields::open(tree, Path::default(), &FIELDS, report);
    let draft = Draft {
        name: fields.required("name").and_then(|field| field.name(report)),
        version: fields.required("version").map_or(1, |field| field.number(1..=u32::MAX, report)),
        description: fields
            .optional("description")
            .map_or_else(String::new, |field| field.description(report)),
        input: fields.optional("input").map_or_else(Schema::anything, |field| field.schema(report)),
        deadline: fields
            .optional("deadline")
            .map_or(DEFAULT_DEADLINE, |field| field.duration(DEFAULT_DEADLINE, MAX_DEADLINE, report)),
        max_parallel: fields.optional("max_parallel").map_or(DEFAULT_PARALLEL, |field| {
            let most = u32::try_from(MAX_PARALLEL).unwrap_or(u32::MAX);
            usize::try_from(field.number(1..=most, report)).unwrap_or(MAX_PARALLEL)
        }),
        max_retries: fields
            .optional("max_retries")
            .map_or(DEFAULT_RETRIES, |field| field.number(0..=MAX_RETRIES, report)),
        budget: fields.optional("budget").map_or(Budget::NONE, |field| budget::of_workflow(&field, report)),
        drop_in: fields.optional("drop_in").and_then(|field| drop_in(&field, report)),
        compensation: fields
            .optional("compensation")
            .map_or_else(Compensation::default, |field| compensation::compensation(&field, report)),
        context: fields.optional("context").map_or_else(Vec::new, |field| context::reads(&field, report)),
        steps: fields.required("steps").map_or_else(Vec::new, |field| steps(&field, report)),
        output: fields.get("output").and_then(|field| field.mapping(report)),
    };
    fields.report_missing(report);
    compensation::check(&draft, report);
    draft
}

fn steps(field: &Field<'_>, report: &mut Report<'_>) -> Vec<DraftStep> {
    let items = field.list(report);
    if items.is_empty() || items.len() > MAX_STEPS {
        let message = format!("has {} steps", items.len());
        report.add(Code::StepCount, &field.path, message, format!("give it 1 to {MAX_STEPS}"));
    }
    items.into_iter().take(MAX_STEPS).map(|item| step(&item, report)).collect()
}

fn step(item: &Field<'_>, report: &mut Report<'_>) -> DraftStep {
    let mut fields = Fields::open(item.node, item.path.clone(), &STEP_FIELDS, report);
    let mut step = DraftStep {
        path: item.path.clone(),
        id: fields.required("id").and_then(|field| step_id(&field, report)),
        after: fields.optional("after").map_or_else(Vec::new, |field| after(&field, report)),
        kind: kind::kind(&fields, report),
        input: kind::input(&fields, report),
        timeout: fields
            .optional("timeout")
            .map_or(DEFAULT_TIMEOUT, |field| field.duration(DEFAULT_TIMEOUT, MAX_TIMEOUT, report)),
        retry: fields.optional("retry").map_or(RetryPolicy::DEFAULT, |field| retry(&field, report)),
        budget: fields.optional("budget").map_or(Limits::NONE, |field| budget::of_step(&field, report)),
        optional: fields.optional("optional").is_some_and(|field| field.truth(report)),
        drop_in: fields.optional("drop_in").and_then(|field| drop_in(&field, report)),
        output_schema: fields
            .optional("output_schema")
            .map_or_else(Schema::anything, |field| field.schema(report)),
        recourse: Recourse::default(),
        verification: None,
    };
    let beside = recourse::Beside {
        kind: step.kind.as_ref(),
        retry: &step.retry,
        optional: step.optional,
        output_schema: &step.output_schema,
    };
    step.recourse = recourse::recourse(&fields, &beside, report);
    step.verification = fields
        .optional("verify")
        .and_then(|field| verification::verification(&field, step.kind.as_ref(), report))
        .map(Arc::new);
    fields.report_missing(report);
    if step.drop_in.is_some() && !step.optional {
        let path = step.path.key("drop_in");
        let hint = "add `optional: true`, or let the step run in every mode";
        report.add(Code::FieldRange, &path, "leaves out a step that the run cannot do without", hint);
    }
    step
}

/// The mode from which on something is left out: one that leaves something out.
fn drop_in(field: &Field<'_>, report: &mut Report<'_>) -> Option<Mode> {
    match field.text(report)?.parse() {
        Ok(mode @ (Mode::Degraded | Mode::Emergency)) => Some(mode),
        Ok(Mode::Full) | Err(_) => {
            let message = "is no mode that leaves anything out";
            report.add(Code::FieldRange, &field.path, message, "give `degraded` or `emergency`");
            None
        }
    }
}

fn after(field: &Field<'_>, report: &mut Report<'_>) -> Vec<(String, Path)> {
    let items = field.list(report);
    items.iter().filter_map(|item| Some((item.text(report)?.to_owned(), item.path.clone()))).collect()
}

fn step_id(field: &Field<'_>, report: &mut Report<'_>) -> Option<StepId> {
    let text = field.text(report)?;
    let refused = |error: StepIdError| {
        let hint = match &error {
            StepIdError::Shape { suggestion } => format!("for example `{suggestion}`"),
            StepIdError::Length { .. } | StepIdError::Reserved | StepIdError::Path => String::new(),
        };
        report.add(Code::StepIdInvalid, &field.path, error.to_string(), hint);
    };
    StepId::new(text).map_err(refused).ok()
}

fn retry(field: &Field<'_>, report: &mut Report<'_>) -> RetryPolicy {
    yaml::from_node(field.node).unwrap_or_else(|error| {
        // The error's own path begins at this field.
        let (path, message) = match error.path.as_str() {
            "" => (field.path.clone(), error.message),
            inner => (field.path.key(inner), error.message),
        };
        report.add_at(Code::RetryInvalid, &path, error.place, message, "");
        RetryPolicy::DEFAULT
    })
}
