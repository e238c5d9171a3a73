//! Reading a schedule's document. Nothing stops at the first mistake: each is reported and a default stands in.

use super::{
    DEFAULT_CATCH_UP, DEFAULT_RUNNING, MAX_EVERY, MIN_EVERY, MOST, Missed, Overlap, Schedule, Times,
};
use crate::document::{Code, DocumentHash, Field, Fields, Problem, Report};
use crate::json::Json;
use crate::yaml::{self, Path};

const FIELDS: [&str; 15] = [
    "name",
    "description",
    "workflow",
    "version",
    "input",
    "intent",
    "labels",
    "cron",
    "every",
    "time_zone",
    "missed",
    "max_catch_up",
    "overlap",
    "max_queued",
    "max_running",
];
/// Most labels, and the longest value in bytes: as many as a run may have, less the two a schedule adds.
const MAX_LABELS: usize = 30;
const MAX_LABEL_BYTES: usize = 256;

impl Schedule {
    /// Reads a document, YAML or JSON.
    ///
    /// # Errors
    /// Every problem there is, in the order of the text; see [`Code`].
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let tree = yaml::parse(text).map_err(|error| vec![Problem::from(error)])?;
        let mut report = Report::new(&tree);
        let mut fields = Fields::open(&tree, Path::default(), &FIELDS, &mut report);
        let report_to = &mut report;
        let name = fields.required("name").and_then(|field| field.name(report_to));
        let workflow = fields.required("workflow").and_then(|field| field.name(report_to));
        let version = fields.optional("version").map(|field| field.number(1..=u32::MAX, report_to));
        let description =
            fields.optional("description").map_or_else(String::new, |field| field.description(report_to));
        let intent = fields.optional("intent").map_or_else(String::new, |field| field.description(report_to));
        let input = fields.get("input").map_or_else(Json::null, |field| Json::from(&field.node.value()));
        let labels = fields.optional("labels").map(|field| labels(&field, report_to)).unwrap_or_default();
        if let Some(zone) = fields.optional("time_zone") {
            utc(&zone, report_to);
        }
        let times = times(&fields, report_to);
        let missed = missed(&fields, report_to);
        let overlap = overlap(&fields, report_to);
        fields.report_missing(&mut report);
        let problems = report.finish();
        if !problems.is_empty() {
            return Err(problems);
        }
        let hash = DocumentHash::of("mainstay schedule hash v1", &tree.value());
        match (name, workflow, times) {
            (Some(name), Some(workflow), Some(times)) => Ok(Self {
                name,
                description,
                workflow,
                version,
                input,
                intent,
                labels,
                times,
                missed,
                overlap,
                hash,
            }),
            _ => Err(vec![Problem::incomplete()]),
        }
    }
}

fn labels(field: &Field<'_>, report: &mut Report<'_>) -> std::collections::BTreeMap<String, String> {
    let Some(entries) = field.node.entries() else {
        field.wrong_type("a map of texts", report);
        return Default::default();
    };
    if entries.len() > MAX_LABELS {
        let message = format!("has {} labels", entries.len());
        report.add(Code::FieldRange, &field.path, message, format!("give at most {MAX_LABELS}"));
    }
    let mut labels = std::collections::BTreeMap::new();
    for entry in entries {
        let path = field.path.key(&entry.key);
        if let Err(error) = crate::name::Name::new(&entry.key) {
            report.add(Code::NameInvalid, &path, error.to_string(), "");
        }
        let value = Field { node: &entry.value, path };
        let text = value.text(report).unwrap_or_default();
        if text.len() > MAX_LABEL_BYTES {
            let hint = format!("give at most {MAX_LABEL_BYTES} bytes");
            report.add(Code::FieldRange, &value.path, format!("is {} bytes long", text.len()), hint);
        }
        labels.insert(entry.key.clone(), text.to_owned());
    }
    labels
}

/// The zone may be named; there is one.
fn utc(field: &Field<'_>, report: &mut Report<'_>) {
    let zone = field.text(report).unwrap_or("UTC");
    if zone != "UTC" {
        let hint = "write the times in UTC; in zones with summer time some come twice a year and some never";
        report.add(Code::FieldRange, &field.path, format!("is {zone}"), hint);
    }
}

fn times(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Times> {
    match (fields.optional("cron"), fields.optional("every")) {
        (Some(cron), None) => {
            let parsed = cron.text(report)?.parse();
            parsed
                .map_err(|error: super::CronError| {
                    report.add(Code::FieldRange, &cron.path, error.to_string(), "")
                })
                .ok()
                .map(Times::Cron)
        }
        (None, Some(every)) => {
            let span = every.duration(MAX_EVERY, MAX_EVERY, report);
            if span < MIN_EVERY || span.subsec_nanos() % 1_000_000 != 0 {
                let hint = "give at least 1s, in whole milliseconds";
                report.add(Code::FieldRange, &every.path, "is too short or too fine", hint);
            }
            Some(Times::Every(span))
        }
        (Some(cron), Some(_)) => {
            report.add(Code::FieldUnknown, &cron.path, "stands beside `every`", "keep one of the two");
            None
        }
        (None, None) => {
            let hint = "add `cron: \"0 3 * * *\"` or `every: 15m`";
            report.add(Code::FieldMissing, &fields.path.key("cron"), "is missing", hint);
            None
        }
    }
}

fn missed(fields: &Fields<'_>, report: &mut Report<'_>) -> Missed {
    let most = cap(fields, "max_catch_up", DEFAULT_CATCH_UP, report);
    let missed = match fields.optional("missed").map(|field| (field.text(report), field)) {
        None => Missed::RunOnce,
        Some((Some("skip"), _)) => Missed::Skip,
        Some((Some("run_once"), _)) => Missed::RunOnce,
        Some((Some("catch_up"), _)) => Missed::CatchUp(most),
        Some((text, field)) => {
            if let Some(text) = text {
                let hint = "there are skip, run_once and catch_up";
                report.add(Code::FieldRange, &field.path, format!("is {text}"), hint);
            }
            Missed::Skip
        }
    };
    only(fields, "max_catch_up", matches!(missed, Missed::CatchUp(_)), "missed: catch_up", report);
    missed
}

fn overlap(fields: &Fields<'_>, report: &mut Report<'_>) -> Overlap {
    let queued = cap(fields, "max_queued", 1, report);
    let running = cap(fields, "max_running", DEFAULT_RUNNING, report);
    let overlap = match fields.optional("overlap").map(|field| (field.text(report), field)) {
        None => Overlap::Skip,
        Some((Some("skip"), _)) => Overlap::Skip,
        Some((Some("queue"), _)) => Overlap::Queue(queued),
        Some((Some("allow"), _)) => Overlap::Allow(running),
        Some((Some("cancel_previous"), _)) => Overlap::CancelPrevious,
        Some((text, field)) => {
            if let Some(text) = text {
                let hint = "there are skip, queue, allow and cancel_previous";
                report.add(Code::FieldRange, &field.path, format!("is {text}"), hint);
            }
            Overlap::Skip
        }
    };
    only(fields, "max_queued", matches!(overlap, Overlap::Queue(_)), "overlap: queue", report);
    only(fields, "max_running", matches!(overlap, Overlap::Allow(_)), "overlap: allow", report);
    overlap
}

fn cap(fields: &Fields<'_>, key: &str, default: u32, report: &mut Report<'_>) -> u32 {
    fields.optional(key).map_or(default, |field| field.number(1..=MOST, report))
}

/// Reports a field that stands where nobody reads it.
fn only(fields: &Fields<'_>, key: &str, read: bool, with: &str, report: &mut Report<'_>) {
    if let Some(field) = fields.optional(key).filter(|_| !read) {
        report.add(Code::FieldUnknown, &field.path, "says nothing here", format!("it goes with `{with}`"));
    }
}
