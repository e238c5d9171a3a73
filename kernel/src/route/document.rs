//! Reading the fields of a routing document.

use super::classify::Thresholds;
use super::{
    DEFAULT_MIN_CONFIDENCE_BP, DEFAULT_ROUTER_TIMEOUT, DEFAULT_THRESHOLDS, Dropped, MAX_PATTERNS,
    MAX_ROUTER_TIMEOUT, MAX_RULES, Pattern, Router, Routing, Rule, Rung, Target,
};
use crate::document::{Code, DocumentHash, Field, Fields, Problem, Report};
use crate::expr::{Condition, Mapping};
use crate::json::Json;
use crate::name::Name;
use crate::yaml::{Kind, Node, Path};

const FIELDS: [&str; 11] = [
    "name",
    "version",
    "description",
    "capabilities",
    "text",
    "rules",
    "classifier",
    "router",
    "generalist",
    "static",
    "modes",
];
const RULE_FIELDS: [&str; 3] = ["name", "when", "to"];
const TARGET_FIELDS: [&str; 2] = ["capability", "agent"];
const CLASSIFIER_FIELDS: [&str; 3] = ["out_of_scope", "ambiguous", "words"];
const MODES_FIELDS: [&str; 2] = ["degraded", "emergency"];
const ROUTER_FIELDS: [&str; 4] = ["capability", "agent", "min_confidence", "timeout"];

/// A document whose fields have been read. What could not be read is missing here and in the report.
pub(super) struct Draft {
    pub(super) name: Option<Name>,
    pub(super) version: u32,
    pub(super) description: String,
    pub(super) capabilities: Vec<Pattern>,
    pub(super) text: Option<Mapping>,
    pub(super) rules: Vec<DraftRule>,
    pub(super) classifier: Option<Thresholds>,
    pub(super) router: Option<Router>,
    pub(super) generalist: Option<Target>,
    pub(super) response: Option<Json>,
    pub(super) dropped: Dropped,
}

pub(super) struct DraftRule {
    pub(super) path: Path,
    pub(super) name: Option<Name>,
    pub(super) when: Option<Condition>,
    pub(super) to: Option<Target>,
}

pub(super) fn read(tree: &Node, report: &mut Report<'_>) -> Draft {
    let mut fields = Fields::open(tree, Path::default(), &FIELDS, report);
    let draft = Draft {
        name: fields.required("name").and_then(|field| field.name(report)),
        version: fields.required("version").map_or(1, |field| field.number(1..=u32::MAX, report)),
        description: fields
            .optional("description")
            .map_or_else(String::new, |field| field.description(report)),
        capabilities: fields.optional("capabilities").map_or_else(Vec::new, |field| patterns(&field, report)),
        text: fields.optional("text").and_then(|field| text(&field, report)),
        rules: fields.optional("rules").map_or_else(Vec::new, |field| rules(&field, report)),
        classifier: fields.optional("classifier").map(|field| classifier(&field, report)),
        router: fields.optional("router").and_then(|field| router(&field, report)),
        generalist: fields.optional("generalist").and_then(|field| target(&field, report)),
        // Even `static: null` is an answer, but one that must be written.
        response: fields.get("static").map(|field| Json::from(&field.node.value())),
        dropped: fields.optional("modes").map_or_else(Dropped::default, |field| modes(&field, report)),
    };
    if draft.response.is_none() && fields.is_map {
        let hint =
            "every request must end somewhere: add `static: { … }`, the answer given when nobody else can";
        report.add(Code::FieldMissing, &Path::default().key("static"), "is missing", hint);
    }
    fields.report_missing(report);
    draft
}

/// Puts the parts together; nothing if one is missing, which a draft without problems cannot be.
pub(super) fn build(draft: Draft, hash: DocumentHash, warnings: Vec<Problem>) -> Option<Routing> {
    let rules =
        draft.rules.into_iter().map(|rule| Some(Rule { name: rule.name?, when: rule.when?, to: rule.to? }));
    Some(Routing {
        name: draft.name?,
        version: draft.version,
        description: draft.description,
        capabilities: draft.capabilities,
        text: draft.text,
        rules: rules.collect::<Option<_>>()?,
        classifier: draft.classifier,
        router: draft.router,
        generalist: draft.generalist,
        response: draft.response?,
        dropped: draft.dropped,
        hash,
        warnings,
    })
}

fn patterns(field: &Field<'_>, report: &mut Report<'_>) -> Vec<Pattern> {
    let items = field.list(report);
    if items.is_empty() || items.len() > MAX_PATTERNS {
        let hint =
            format!("give it 1 to {MAX_PATTERNS}, or leave it out to allow every capability of the tenant");
        report.add(Code::FieldRange, &field.path, format!("has {} entries", items.len()), hint);
    }
    let mut read = Vec::new();
    for item in items.iter().take(MAX_PATTERNS) {
        match item.text(report).map(Pattern::new) {
            Some(Ok(pattern)) => read.push(pattern),
            Some(Err(error)) => {
                let hint = "write a capability's name, or a family like `billing.*`";
                report.add(Code::NameInvalid, &item.path, error.to_string(), hint);
            }
            None => {}
        }
    }
    read
}

fn text(field: &Field<'_>, report: &mut Report<'_>) -> Option<Mapping> {
    let mapping = field.mapping(report)?;
    let references = mapping.references();
    if references.run || !references.steps.is_empty() || !references.context.is_empty() {
        let hint = "there is only `input`: a request is routed before there is a run";
        report.add(Code::ExpressionInvalid, &field.path, "reads what a request does not have", hint);
    }
    Some(mapping)
}

fn rules(field: &Field<'_>, report: &mut Report<'_>) -> Vec<DraftRule> {
    let items = field.list(report);
    if items.len() > MAX_RULES {
        let hint = format!("give it at most {MAX_RULES}; what needs more is told apart by a classifier");
        report.add(Code::FieldRange, &field.path, format!("has {} rules", items.len()), hint);
    }
    let rules: Vec<_> = items.iter().take(MAX_RULES).map(|item| rule(item, report)).collect();
    for (at, rule) in rules.iter().enumerate() {
        let Some(name) = &rule.name else { continue };
        if rules.iter().take(at).any(|earlier| earlier.name.as_ref() == Some(name)) {
            let message = format!("`{name}` is the name of an earlier rule");
            report.add(
                Code::RuleDuplicate,
                &rule.path.key("name"),
                message,
                "decisions name the rule: give each its own",
            );
        }
    }
    rules
}

fn rule(item: &Field<'_>, report: &mut Report<'_>) -> DraftRule {
    let mut fields = Fields::open(item.node, item.path.clone(), &RULE_FIELDS, report);
    let rule = DraftRule {
        path: item.path.clone(),
        name: fields.required("name").and_then(|field| field.name(report)),
        when: fields.required("when").and_then(|field| condition(&field, report)),
        to: fields.required("to").and_then(|field| target(&field, report)),
    };
    fields.report_missing(report);
    rule
}

fn condition(field: &Field<'_>, report: &mut Report<'_>) -> Option<Condition> {
    // `when: true` is what somebody writes who wants the rule to hold always.
    let source = match &field.node.kind {
        Kind::Bool(truth) => truth.to_string(),
        Kind::Null | Kind::Number(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => {
            field.text(report)?.to_owned()
        }
    };
    let refused = |error: crate::expr::CompileError| {
        let hint = if source.contains("${") { "write the bare expression, without `${ }`" } else { "" };
        report.add(
            Code::ExpressionInvalid,
            &field.path,
            format!("`{}` {}", error.expression, error.message),
            hint,
        );
    };
    Condition::compile(&source).map_err(refused).ok()
}

fn target(field: &Field<'_>, report: &mut Report<'_>) -> Option<Target> {
    let mut fields = Fields::open(field.node, field.path.clone(), &TARGET_FIELDS, report);
    let target = target_of(&mut fields, report);
    fields.report_missing(report);
    target
}

fn target_of(fields: &mut Fields<'_>, report: &mut Report<'_>) -> Option<Target> {
    let capability = fields.required("capability").and_then(|field| field.name(report));
    let agent = fields.optional("agent").and_then(|field| field.name(report));
    Some(Target { capability: capability?, agent })
}

fn classifier(field: &Field<'_>, report: &mut Report<'_>) -> Thresholds {
    let fields = Fields::open(field.node, field.path.clone(), &CLASSIFIER_FIELDS, report);
    let mut read =
        |key: &str, default| fields.optional(key).map_or(default, |field| share(&field, default, report));
    Thresholds {
        out_of_scope_bp: read("out_of_scope", DEFAULT_THRESHOLDS.out_of_scope_bp),
        ambiguous_bp: read("ambiguous", DEFAULT_THRESHOLDS.ambiguous_bp),
        words_bp: read("words", DEFAULT_THRESHOLDS.words_bp),
    }
}

fn router(field: &Field<'_>, report: &mut Report<'_>) -> Option<Router> {
    let mut fields = Fields::open(field.node, field.path.clone(), &ROUTER_FIELDS, report);
    let target = target_of(&mut fields, report);
    let min_confidence_bp = fields
        .optional("min_confidence")
        .map_or(DEFAULT_MIN_CONFIDENCE_BP, |field| share(&field, DEFAULT_MIN_CONFIDENCE_BP, report));
    let timeout = fields.optional("timeout").map_or(DEFAULT_ROUTER_TIMEOUT, |field| {
        field.duration(DEFAULT_ROUTER_TIMEOUT, MAX_ROUTER_TIMEOUT, report)
    });
    fields.report_missing(report);
    Some(Router { target: target?, min_confidence_bp, timeout })
}

fn modes(field: &Field<'_>, report: &mut Report<'_>) -> Dropped {
    let fields = Fields::open(field.node, field.path.clone(), &MODES_FIELDS, report);
    let default = Dropped::default();
    let mut read = |key: &str, default| fields.optional(key).map_or(default, |field| rungs(&field, report));
    Dropped { degraded: read("degraded", default.degraded), emergency: read("emergency", default.emergency) }
}

/// Rungs that may be left out: all but the last.
fn rungs(field: &Field<'_>, report: &mut Report<'_>) -> Vec<Rung> {
    let mut read = Vec::new();
    for item in field.list(report) {
        let Some(text) = item.text(report) else { continue };
        match Rung::of(text) {
            Some(Rung::Static) => {
                let hint = "every request must end somewhere";
                report.add(Code::FieldRange, &item.path, "cannot be left out", hint);
            }
            Some(rung) => read.push(rung),
            None => {
                let hint = "name target, rules, classifier, router or generalist";
                report.add(Code::FieldRange, &item.path, format!("`{text}` is no rung"), hint);
            }
        }
    }
    read
}

/// A share from 0 to 1, in basis points.
fn share(field: &Field<'_>, default: u16, report: &mut Report<'_>) -> u16 {
    field.share(report).unwrap_or(default)
}
