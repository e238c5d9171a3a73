//! Steps that several agents have a part in.

use super::{call, count, sub};
use crate::document::{Code, Field, Fields, Report};
use crate::schema::Schema;
use crate::workflow::{
    Call, Consensus, DEFAULT_PLAN_DEPTH, DEFAULT_PLAN_STEPS, DEFAULT_REPAIRS, DEFAULT_ROUNDS, DEFAULT_TASKS,
    DEFAULT_TASKS_AT_ONCE, Judge, MAX_DEADLINE, MAX_PARALLEL, MAX_PLAN_CAPABILITIES, MAX_PLAN_STEPS,
    MAX_REPAIRS, MAX_ROUNDS, MAX_RUBRIC_CHARS, MAX_TASKS, MAX_WORKERS, MEMBERS, Plan, RouteTo, Supervise,
    Work,
};

const CONSENSUS_FIELDS: [&str; 5] = ["of", "schema", "quorum", "judge", "within"];
const JUDGE_FIELDS: [&str; 3] = ["capability", "agent", "rubric"];
const PLAN_FIELDS: [&str; 6] = ["by", "capabilities", "max_steps", "max_depth", "repairs", "within"];
const ROUTE_FIELDS: [&str; 3] = ["by", "version", "fallback"];
const SUPERVISE_FIELDS: [&str; 9] =
    ["by", "workers", "rounds", "tasks", "parallel", "within", "partial", "schema", "accept"];

pub(super) fn consensus(field: &Field<'_>, report: &mut Report<'_>) -> Option<Consensus> {
    let mut fields = Fields::open(field.node, field.path.clone(), &CONSENSUS_FIELDS, report);
    let of = fields.required("of").map(|field| {
        let members = field.list(report);
        if !MEMBERS.contains(&members.len()) {
            let hint = format!("give it {} to {}", MEMBERS.start(), MEMBERS.end());
            report.add(Code::FieldRange, &field.path, format!("has {} members", members.len()), hint);
        }
        let members = members.iter().take(*MEMBERS.end()).map(|member| call(member, report));
        members.collect::<Vec<Option<Call>>>()
    });
    let members = of.as_ref().map_or(2, Vec::len).max(1);
    let consensus = Consensus {
        schema: schema(&fields, report),
        quorum: count(&fields, "quorum", members / 2 + 1, members, report),
        judge: fields.optional("judge").and_then(|field| judge(&field, report)),
        within: fields.optional("within").map(|field| field.duration(MAX_DEADLINE, MAX_DEADLINE, report)),
        of: of.unwrap_or_default().into_iter().collect::<Option<_>>().unwrap_or_default(),
    };
    fields.report_missing(report);
    Some(consensus)
}

fn judge(field: &Field<'_>, report: &mut Report<'_>) -> Option<Judge> {
    let mut fields = Fields::open(field.node, field.path.clone(), &JUDGE_FIELDS, report);
    let capability = fields.required("capability").and_then(|field| field.name(report));
    let agent = fields.optional("agent").and_then(|field| field.name(report));
    let rubric = fields.required("rubric").and_then(|field| {
        let text = field.text(report)?;
        if text.trim().is_empty() || text.chars().count() > MAX_RUBRIC_CHARS {
            let hint = format!("say in 1 to {MAX_RUBRIC_CHARS} characters what a good answer is");
            report.add(Code::FieldRange, &field.path, "is empty or too long", hint);
        }
        Some(text.to_owned())
    });
    fields.report_missing(report);
    Some(Judge::new(Call { agent, ..Call::of(capability?) }, rubric?))
}

pub(super) fn supervise(field: &Field<'_>, report: &mut Report<'_>) -> Option<Supervise> {
    let mut fields = Fields::open(field.node, field.path.clone(), &SUPERVISE_FIELDS, report);
    let by = fields.required("by").and_then(|field| call(&field, report));
    let workers = fields.required("workers").map(|field| workers(&field, report));
    let tasks = count(&fields, "tasks", DEFAULT_TASKS, MAX_TASKS, report);
    let rounds = count(&fields, "rounds", DEFAULT_ROUNDS, MAX_ROUNDS, report);
    let parallel = count(&fields, "parallel", DEFAULT_TASKS_AT_ONCE, MAX_PARALLEL, report);
    let within = fields.optional("within").map(|field| field.duration(MAX_DEADLINE, MAX_DEADLINE, report));
    let partial = fields.optional("partial").is_some_and(|field| field.truth(report));
    let accept = fields.optional("accept").map(|field| field.mapping_for_items(report));
    let schema = schema(&fields, report);
    fields.report_missing(report);
    let accept = match accept {
        None => None,
        Some(compiled) => Some(compiled?),
    };
    let (by, workers) = (by?, workers??);
    let orders = Supervise::orders(tasks);
    Some(Supervise { by, workers, rounds, tasks, parallel, within, partial, schema, accept, orders })
}

/// Who may be given work: capabilities, and workflows.
fn workers(field: &Field<'_>, report: &mut Report<'_>) -> Option<Vec<Work>> {
    let items = field.list(report);
    if items.is_empty() || items.len() > MAX_WORKERS {
        let message = format!("has {} workers", items.len());
        report.add(Code::FieldRange, &field.path, message, format!("give it 1 to {MAX_WORKERS}"));
    }
    let mut workers: Vec<Work> = Vec::new();
    for item in items.iter().take(MAX_WORKERS) {
        let work = work(item, report)?;
        if workers.iter().any(|known| known.name() == work.name()) {
            let message = format!("`{}` is a worker already", work.name());
            report.add(Code::StepDuplicate, &item.path, message, "name each once");
        }
        workers.push(work);
    }
    Some(workers)
}

fn work(field: &Field<'_>, report: &mut Report<'_>) -> Option<Work> {
    let runs = field.node.get("workflow").is_some();
    if runs { sub(field, report).map(Work::Sub) } else { call(field, report).map(Work::Call) }
}

pub(super) fn plan(field: &Field<'_>, report: &mut Report<'_>) -> Option<Plan> {
    let mut fields = Fields::open(field.node, field.path.clone(), &PLAN_FIELDS, report);
    let by = fields.required("by").and_then(|field| call(&field, report));
    let capabilities = fields.required("capabilities").map(|field| {
        let items = field.list(report);
        if items.is_empty() || items.len() > MAX_PLAN_CAPABILITIES {
            let message = format!("names {} capabilities", items.len());
            report.add(Code::FieldRange, &field.path, message, format!("name 1 to {MAX_PLAN_CAPABILITIES}"));
        }
        items.iter().take(MAX_PLAN_CAPABILITIES).filter_map(|item| item.name(report)).collect()
    });
    let max_steps = count(&fields, "max_steps", DEFAULT_PLAN_STEPS, MAX_PLAN_STEPS, report);
    let max_depth = count(&fields, "max_depth", DEFAULT_PLAN_DEPTH, MAX_PLAN_STEPS, report);
    let most = u32::try_from(MAX_REPAIRS).unwrap_or(u32::MAX);
    let repairs =
        fields.optional("repairs").map_or(DEFAULT_REPAIRS, |field| field.number(0..=most, report) as usize);
    let within = fields.optional("within").map(|field| field.duration(MAX_DEADLINE, MAX_DEADLINE, report));
    fields.report_missing(report);
    let proposal = Plan::proposal();
    Some(Plan { by: by?, capabilities: capabilities?, max_steps, max_depth, repairs, within, proposal })
}

pub(super) fn route(field: &Field<'_>, report: &mut Report<'_>) -> Option<RouteTo> {
    let mut fields = Fields::open(field.node, field.path.clone(), &ROUTE_FIELDS, report);
    let by = fields.required("by").and_then(|field| field.name(report));
    let version = fields.optional("version").map(|field| field.number(1..=u32::MAX, report));
    let fallback = fields.optional("fallback").map(|field| call(&field, report));
    fields.report_missing(report);
    let fallback = match fallback {
        None => None,
        Some(read) => Some(read?),
    };
    Some(RouteTo { by: by?, version, fallback })
}

fn schema(fields: &Fields<'_>, report: &mut Report<'_>) -> Schema {
    fields.optional("schema").map_or_else(Schema::anything, |field| field.schema(report))
}
