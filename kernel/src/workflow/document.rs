//! Reading the fields of a document. Nothing stops at the first mistake: each is reported and a default stands in.

use std::time::Duration;

use serde_json::Value;

use super::nearest::nearest;
use super::problem::{Code, Report};
use super::{
    Call, DEFAULT_DEADLINE, DEFAULT_PARALLEL, DEFAULT_RETRIES, DEFAULT_TIMEOUT, MAX_DEADLINE,
    MAX_DESCRIPTION_CHARS, MAX_PARALLEL, MAX_RETRIES, MAX_STEPS, StepId, StepIdError, StepKind,
};
use crate::expr::Mapping;
use crate::json::Json;
use crate::name::Name;
use crate::retry::RetryPolicy;
use crate::schema::Schema;
use crate::time::text;
use crate::yaml::{self, Entry, Kind, Node, Path};

const FIELDS: [&str; 9] =
    ["name", "version", "description", "input", "deadline", "max_parallel", "max_retries", "steps", "output"];
const STEP_FIELDS: [&str; 8] =
    ["id", "after", "call", "input", "timeout", "retry", "optional", "output_schema"];
const CALL_FIELDS: [&str; 2] = ["capability", "agent"];

/// A document whose fields have been read. What could not be read is missing here and in the report.
pub(super) struct Draft {
    pub(super) name: Option<Name>,
    pub(super) version: u32,
    pub(super) description: String,
    pub(super) input: Schema,
    pub(super) deadline: Duration,
    pub(super) max_parallel: usize,
    pub(super) max_retries: u32,
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
    pub(super) optional: bool,
    pub(super) output_schema: Schema,
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
            .map_or(DEFAULT_DEADLINE, |field| field.duration(DEFAULT_DEADLINE, report)),
        max_parallel: fields.optional("max_parallel").map_or(DEFAULT_PARALLEL, |field| {
            let most = u32::try_from(MAX_PARALLEL).unwrap_or(u32::MAX);
            usize::try_from(field.number(1..=most, report)).unwrap_or(MAX_PARALLEL)
        }),
        max_retries: fields
            .optional("max_retries")
            .map_or(DEFAULT_RETRIES, |field| field.number(0..=MAX_RETRIES, report)),
        steps: fields.required("steps").map_or_else(Vec::new, |field| steps(&field, report)),
        output: fields.get("output").and_then(|field| field.mapping(report)),
    };
    fields.report_missing(report);
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
    let step = DraftStep {
        path: item.path.clone(),
        id: fields.required("id").and_then(|field| field.step_id(report)),
        after: fields.optional("after").map_or_else(Vec::new, |field| after(&field, report)),
        kind: kind(&fields, report),
        input: fields.get("input").map_or_else(whole_input, |field| field.mapping(report)),
        timeout: fields
            .optional("timeout")
            .map_or(DEFAULT_TIMEOUT, |field| field.duration(DEFAULT_TIMEOUT, report)),
        retry: fields.optional("retry").map_or(RetryPolicy::DEFAULT, |field| field.retry(report)),
        optional: fields.optional("optional").is_some_and(|field| field.truth(report)),
        output_schema: fields
            .optional("output_schema")
            .map_or_else(Schema::anything, |field| field.schema(report)),
    };
    fields.report_missing(report);
    step
}

/// A step that says nothing about its input is given the run's.
fn whole_input() -> Option<Mapping> {
    Mapping::compile(&Value::from("${input}")).ok()
}

fn after(field: &Field<'_>, report: &mut Report<'_>) -> Vec<(String, Path)> {
    let items = field.list(report);
    items.iter().filter_map(|item| Some((item.text(report)?.to_owned(), item.path.clone()))).collect()
}

fn kind(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<StepKind> {
    let Some(field) = fields.optional("call") else {
        if fields.is_map {
            let hint = "say what it calls: `call: { capability: … }`";
            report.add(Code::StepKindMissing, &fields.path, "does not say what the step does", hint);
        }
        return None;
    };
    let mut call = Fields::open(field.node, field.path.clone(), &CALL_FIELDS, report);
    let capability = call.required("capability").and_then(|field| field.name(report));
    let agent = call.optional("agent").and_then(|field| field.name(report));
    call.report_missing(report);
    Some(StepKind::Call(Call { capability: capability?, agent }))
}

/// A map that is being read.
struct Fields<'a> {
    path: Path,
    entries: &'a [Entry],
    is_map: bool,
    missing: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Opens a map; reports if it is none, and every field that is not `known`.
    fn open(node: &'a Node, path: Path, known: &[&'static str], report: &mut Report<'_>) -> Self {
        let entries = node.entries();
        let fields = Self {
            path,
            entries: entries.unwrap_or_default(),
            is_map: entries.is_some(),
            missing: Vec::new(),
        };
        if !fields.is_map {
            let message = format!("expected a map, found {}", node.describe());
            report.add(
                Code::FieldType,
                &fields.path,
                message,
                format!("its fields are {}", known.join(", ")),
            );
        }
        for entry in fields.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let hint = match nearest(&entry.key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", known.join(", ")),
            };
            let path = fields.path.key(&entry.key);
            report.add_at(Code::FieldUnknown, &path, entry.place, "there is no such field", hint);
        }
        fields
    }

    /// The field `key`, even if it is null.
    fn get(&self, key: &str) -> Option<Field<'a>> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(Field { node: &entry.value, path: self.path.key(key) })
    }

    /// The field `key` if it has a value.
    fn optional(&self, key: &str) -> Option<Field<'a>> {
        self.get(key).filter(|field| field.node.kind != Kind::Null)
    }

    /// The field `key`; if it has no value, it is noted as missing.
    fn required(&mut self, key: &'static str) -> Option<Field<'a>> {
        let field = self.optional(key);
        if field.is_none() && self.is_map {
            self.missing.push(key);
        }
        field
    }

    fn report_missing(self, report: &mut Report<'_>) {
        for key in self.missing {
            report.add(Code::FieldMissing, &self.path.key(key), "is missing", format!("add `{key}`"));
        }
    }
}

/// A field that is being read.
struct Field<'a> {
    node: &'a Node,
    path: Path,
}

impl<'a> Field<'a> {
    fn wrong_type(&self, expected: &str, report: &mut Report<'_>) {
        let message = format!("expected {expected}, found {}", self.node.describe());
        report.add(Code::FieldType, &self.path, message, "");
    }

    fn list(&self, report: &mut Report<'_>) -> Vec<Field<'a>> {
        let Kind::List(items) = &self.node.kind else {
            self.wrong_type("a list", report);
            return Vec::new();
        };
        items.iter().enumerate().map(|(at, node)| Field { node, path: self.path.index(at) }).collect()
    }

    fn text(&self, report: &mut Report<'_>) -> Option<&'a str> {
        let Kind::Text(text) = &self.node.kind else {
            self.wrong_type("text", report);
            return None;
        };
        Some(text)
    }

    fn truth(&self, report: &mut Report<'_>) -> bool {
        let Kind::Bool(truth) = self.node.kind else {
            self.wrong_type("`true` or `false`", report);
            return false;
        };
        truth
    }

    fn number(&self, bounds: std::ops::RangeInclusive<u32>, report: &mut Report<'_>) -> u32 {
        let (least, most) = (*bounds.start(), *bounds.end());
        let Kind::Number(number) = &self.node.kind else {
            self.wrong_type("a whole number", report);
            return least;
        };
        match number.value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| bounds.contains(n)) {
            Some(n) => n,
            None => {
                let hint = format!("give a whole number from {least} to {most}");
                report.add(Code::FieldRange, &self.path, format!("is {}", number.text), hint);
                least
            }
        }
    }

    fn duration(&self, default: Duration, report: &mut Report<'_>) -> Duration {
        let written = match &self.node.kind {
            Kind::Text(text) => text,
            // A bare number is a duration without its unit: the parser says so better than "expected text".
            Kind::Number(number) => &number.text,
            Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => {
                self.wrong_type("a duration like `20s`", report);
                return default;
            }
        };
        match text::parse(written) {
            Ok(span) if span.is_zero() || span > MAX_DEADLINE => {
                let hint = format!("give more than 0s and at most {}", text::Human(MAX_DEADLINE));
                report.add(Code::FieldRange, &self.path, format!("is {written}"), hint);
                default
            }
            Ok(span) => span,
            Err(error) => {
                report.add(Code::DurationInvalid, &self.path, error.to_string(), "");
                default
            }
        }
    }

    fn description(&self, report: &mut Report<'_>) -> String {
        let text = self.text(report).unwrap_or_default();
        if text.chars().count() > MAX_DESCRIPTION_CHARS {
            let hint = format!("at most {MAX_DESCRIPTION_CHARS} characters are kept");
            report.add(Code::FieldRange, &self.path, "is too long", hint);
        }
        text.to_owned()
    }

    fn name(&self, report: &mut Report<'_>) -> Option<Name> {
        let text = self.text(report)?;
        Name::new(text).map_err(|error| report.add(Code::NameInvalid, &self.path, error.to_string(), "")).ok()
    }

    fn step_id(&self, report: &mut Report<'_>) -> Option<StepId> {
        let text = self.text(report)?;
        let refused = |error: StepIdError| {
            let hint = match &error {
                StepIdError::Shape { suggestion } => format!("for example `{suggestion}`"),
                StepIdError::Length { .. } | StepIdError::Reserved => String::new(),
            };
            report.add(Code::StepIdInvalid, &self.path, error.to_string(), hint);
        };
        StepId::new(text).map_err(refused).ok()
    }

    fn retry(&self, report: &mut Report<'_>) -> RetryPolicy {
        yaml::from_node(self.node).unwrap_or_else(|error| {
            // The error's own path begins at this field.
            let (path, message) = match error.path.as_str() {
                "" => (self.path.clone(), error.message),
                inner => (self.path.key(inner), error.message),
            };
            report.add_at(Code::RetryInvalid, &path, error.place, message, "");
            RetryPolicy::DEFAULT
        })
    }

    fn schema(&self, report: &mut Report<'_>) -> Schema {
        Schema::compile(&Json::from(&self.node.value())).unwrap_or_else(|error| {
            report.add(Code::from(&error), &self.path, error.to_string(), "");
            Schema::anything()
        })
    }

    fn mapping(&self, report: &mut Report<'_>) -> Option<Mapping> {
        let refused = |errors: Vec<crate::expr::CompileError>| {
            for error in errors {
                let message = match error.expression.as_str() {
                    "" => error.message,
                    expression => format!("`{expression}` {}", error.message),
                };
                report.add(Code::ExpressionInvalid, &self.path.join(&error.path), message, "");
            }
        };
        Mapping::compile(&self.node.value()).map_err(refused).ok()
    }
}
