//! Reading the fields of a rollout document.

use std::time::Duration;

use super::{Fallback, MAX_SAMPLES, MAX_STEP, MAX_STEPS, MAX_VERSION_BYTES, Rollout, Rule, Step};
use crate::document::{Code, DocumentHash, Field, Fields, Problem, Report};
use crate::expr::Mapping;
use crate::name::Name;
use crate::share::{self, Human, WHOLE};
use crate::yaml::{Kind, Node, Path};

const FIELDS: [&str; 13] = [
    "name",
    "version",
    "description",
    "agent",
    "capability",
    "stable",
    "candidate",
    "sticky",
    "steps",
    "weight",
    "shadow",
    "fallback",
    "roll_back",
];
const STEP_FIELDS: [&str; 3] = ["weight", "samples", "for"];
const STICKY_FIELDS: [&str; 2] = ["label", "input"];
const RULE_FIELDS: [&str; 5] = ["min_samples", "errors", "breaches", "slower", "breaker"];

/// Samples of a step that does not say. A candidate that fails every tenth call of a hundred shows it.
const DEFAULT_SAMPLES: u32 = 100;
/// How long a step lasts that does not say: a few windows of the agents' breakers.
const DEFAULT_STEP: Duration = Duration::from_secs(5 * 60);
/// The rule where the document says nothing. Twenty calls tell a candidate that fails every second one from one that
/// does not; a point of errors and half as much time again are what people shrug at.
const DEFAULT_RULE: Rule =
    Rule { min_samples: 20, errors_bp: 100, breaches_bp: 0, slower_bp: 5_000, breaker: true };
/// Most that "slower" may tolerate: ten times as slow.
const MAX_SLOWER_BP: u32 = 10 * WHOLE;

/// What a call is known by, so that it goes where its like went.
#[derive(Debug, Clone)]
pub enum Sticky {
    /// Its run; a direct call by its idempotency key.
    Run,
    /// What the person asked for.
    Intent,
    /// The value of a label of its run.
    Label(String),
    /// What an expression finds in its input.
    Input(Mapping),
}

/// A document whose fields have been read. What could not be read is missing here and in the report.
pub(super) struct Draft {
    pub(super) name: Option<Name>,
    pub(super) version: u32,
    pub(super) description: String,
    pub(super) agent: Option<Name>,
    pub(super) capability: Option<Name>,
    pub(super) stable: Option<String>,
    pub(super) candidate: Option<String>,
    pub(super) sticky: Option<Sticky>,
    pub(super) steps: Vec<Step>,
    pub(super) fixed: bool,
    pub(super) shadow_bp: u32,
    pub(super) fallback: Fallback,
    pub(super) rule: Rule,
}

pub(super) fn read(tree: &Node, report: &mut Report<'_>) -> Draft {
    let mut fields = Fields::open(tree, Path::default(), &FIELDS, report);
    let (steps, fixed) = ladder(&fields, report);
    let draft = Draft {
        name: fields.required("name").and_then(|field| field.name(report)),
        version: fields.required("version").map_or(1, |field| field.number(1..=u32::MAX, report)),
        description: fields
            .optional("description")
            .map_or_else(String::new, |field| field.description(report)),
        agent: fields.required("agent").and_then(|field| field.name(report)),
        capability: fields.optional("capability").and_then(|field| field.name(report)),
        stable: fields.required("stable").and_then(|field| version(&field, report)),
        candidate: fields.required("candidate").and_then(|field| version(&field, report)),
        sticky: fields.optional("sticky").map_or(Some(Sticky::Run), |field| sticky(&field, report)),
        steps,
        fixed,
        shadow_bp: fields.optional("shadow").map_or(0, |field| share(&field, 0..=WHOLE, report)),
        fallback: fields.optional("fallback").map_or(Fallback::Stable, |field| fallback(&field, report)),
        rule: fields.optional("roll_back").map_or(DEFAULT_RULE, |field| rule(&field, report)),
    };
    if let (Some(stable), Some(candidate)) = (&draft.stable, &draft.candidate)
        && stable == candidate
    {
        let hint = "name the version that is to be tried";
        report.add(
            Code::FieldRange,
            &Path::default().key("candidate"),
            format!("is {candidate}, the stable version"),
            hint,
        );
    }
    fields.report_missing(report);
    draft
}

/// Puts the parts together; nothing if one is missing, which a draft without problems cannot be.
pub(super) fn build(draft: Draft, hash: DocumentHash, warnings: Vec<Problem>) -> Option<Rollout> {
    Some(Rollout {
        name: draft.name?,
        version: draft.version,
        description: draft.description,
        agent: draft.agent?,
        capability: draft.capability,
        stable: draft.stable?,
        candidate: draft.candidate?,
        sticky: draft.sticky?,
        steps: draft.steps,
        fixed: draft.fixed,
        shadow_bp: draft.shadow_bp,
        fallback: draft.fallback,
        rule: draft.rule,
        hash,
        warnings,
    })
}

/// A version as agents write it. `1.10` without quotes is the text that was written.
fn version(field: &Field<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = match &field.node.kind {
        Kind::Number(number) => number.text.as_str(),
        Kind::Null | Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => field.text(report)?,
    };
    if text.is_empty() || text.len() > MAX_VERSION_BYTES {
        let hint = format!("give 1 to {MAX_VERSION_BYTES} bytes, as the agent registers it");
        report.add(Code::FieldRange, &field.path, format!("is {} bytes long", text.len()), hint);
        return None;
    }
    Some(text.to_owned())
}

fn ladder(fields: &Fields<'_>, report: &mut Report<'_>) -> (Vec<Step>, bool) {
    match (fields.optional("steps"), fields.optional("weight")) {
        (Some(field), None) => (steps(&field, report), false),
        (None, Some(field)) => {
            let weight_bp = share(&field, 0..=WHOLE, report);
            (vec![Step { weight_bp, samples: DEFAULT_SAMPLES, least: DEFAULT_STEP }], true)
        }
        (Some(_), Some(field)) => {
            let hint = "keep `steps` to let it rise by itself, or `weight` to keep it where it is";
            report.add(Code::FieldRange, &field.path, "stands beside `steps`", hint);
            (Vec::new(), false)
        }
        (None, None) => {
            if fields.is_map {
                let hint =
                    "add `steps: [{ weight: 5% }, { weight: 100% }]`, or `weight: 5%` to keep it there";
                report.add(Code::FieldMissing, &fields.path.key("steps"), "is missing", hint);
            }
            (Vec::new(), false)
        }
    }
}

fn steps(field: &Field<'_>, report: &mut Report<'_>) -> Vec<Step> {
    let items = field.list(report);
    if items.is_empty() || items.len() > MAX_STEPS {
        let hint = format!("give it 1 to {MAX_STEPS}");
        report.add(Code::FieldRange, &field.path, format!("has {} steps", items.len()), hint);
    }
    let mut read: Vec<Step> = Vec::new();
    for item in items.iter().take(MAX_STEPS) {
        let step = step(item, report);
        if let Some(before) =
            read.last().filter(|before| step.weight_bp > 0 && before.weight_bp >= step.weight_bp)
        {
            let message = format!("is {}, after {}", Human(step.weight_bp), Human(before.weight_bp));
            let hint = "each step gives the candidate more than the one before";
            report.add(Code::FieldRange, &item.path.key("weight"), message, hint);
        }
        read.push(step);
    }
    read
}

fn step(item: &Field<'_>, report: &mut Report<'_>) -> Step {
    let mut fields = Fields::open(item.node, item.path.clone(), &STEP_FIELDS, report);
    let step = Step {
        weight_bp: fields.required("weight").map_or(0, |field| share(&field, 1..=WHOLE, report)),
        samples: fields
            .optional("samples")
            .map_or(DEFAULT_SAMPLES, |field| field.number(1..=MAX_SAMPLES, report)),
        least: fields
            .optional("for")
            .map_or(DEFAULT_STEP, |field| field.duration(DEFAULT_STEP, MAX_STEP, report)),
    };
    fields.report_missing(report);
    step
}

fn sticky(field: &Field<'_>, report: &mut Report<'_>) -> Option<Sticky> {
    let hint = "write `run`, `intent`, `{ label: NAME }` or `{ input: \"${input.customer}\" }`";
    match &field.node.kind {
        Kind::Text(text) if text == "run" => return Some(Sticky::Run),
        Kind::Text(text) if text == "intent" => return Some(Sticky::Intent),
        Kind::Text(text) => {
            report.add(Code::FieldRange, &field.path, format!("is `{text}`"), hint);
            return None;
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => {}
    }
    let fields = Fields::open(field.node, field.path.clone(), &STICKY_FIELDS, report);
    match (fields.optional("label"), fields.optional("input")) {
        (Some(label), None) => Some(Sticky::Label(label.name(report)?.to_string())),
        (None, Some(input)) => {
            let mapping = input.mapping(report)?;
            let reads = mapping.references();
            if !reads.input || reads.run || !reads.steps.is_empty() || !reads.context.is_empty() {
                let hint = "read the call's own input, as in `${input.customer}`";
                report.add(Code::ExpressionInvalid, &input.path, "does not read `input` alone", hint);
            }
            Some(Sticky::Input(mapping))
        }
        (Some(_), Some(_)) | (None, None) => {
            report.add(Code::FieldRange, &field.path, "does not say one thing to go by", hint);
            None
        }
    }
}

fn fallback(field: &Field<'_>, report: &mut Report<'_>) -> Fallback {
    match field.text(report) {
        Some("stable") | None => Fallback::Stable,
        Some("both") => Fallback::Both,
        Some(other) => {
            let hint =
                "write `stable` (it takes what the candidate cannot) or `both` (each takes the other's)";
            report.add(Code::FieldRange, &field.path, format!("is `{other}`"), hint);
            Fallback::Stable
        }
    }
}

fn rule(field: &Field<'_>, report: &mut Report<'_>) -> Rule {
    let fields = Fields::open(field.node, field.path.clone(), &RULE_FIELDS, report);
    let mut worse = |key: &str, default, most| {
        fields.optional(key).map_or(default, |field| slack(&field, default, most, report))
    };
    let errors_bp = worse("errors", DEFAULT_RULE.errors_bp, WHOLE);
    let breaches_bp = worse("breaches", DEFAULT_RULE.breaches_bp, WHOLE);
    let slower_bp = worse("slower", DEFAULT_RULE.slower_bp, MAX_SLOWER_BP);
    Rule {
        min_samples: fields
            .optional("min_samples")
            .map_or(DEFAULT_RULE.min_samples, |field| field.number(5..=MAX_SAMPLES, report)),
        errors_bp,
        breaches_bp,
        slower_bp,
        breaker: fields.optional("breaker").map_or(DEFAULT_RULE.breaker, |field| field.truth(report)),
    }
}

/// A share like `5%`, within bounds; the least of them stands in.
fn share(field: &Field<'_>, bounds: std::ops::RangeInclusive<u32>, report: &mut Report<'_>) -> u32 {
    let least = *bounds.start();
    let Kind::Text(text) = &field.node.kind else {
        field.wrong_type("a share like `5%`", report);
        return least;
    };
    match share::parse(text) {
        Ok(share) if bounds.contains(&share) => share,
        Ok(_) => {
            let hint = format!("give {} to {}", Human(least), Human(*bounds.end()));
            report.add(Code::FieldRange, &field.path, format!("is {text}"), hint);
            least
        }
        Err(error) => {
            report.add(Code::FieldRange, &field.path, error.to_string(), "");
            least
        }
    }
}

/// A tolerance like `5%` or, where more than all of something is meant, `200%`.
fn slack(field: &Field<'_>, default: u32, most: u32, report: &mut Report<'_>) -> u32 {
    if let Kind::Text(text) = &field.node.kind
        && let Some(percent) = text.strip_suffix('%').and_then(|digits| digits.parse::<u32>().ok())
        && percent > 100
        && percent.saturating_mul(100) <= most
    {
        return percent * 100;
    }
    match &field.node.kind {
        Kind::Text(_) => share(field, 0..=WHOLE, report),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => {
            field.wrong_type("a share like `5%`", report);
            default
        }
    }
}
