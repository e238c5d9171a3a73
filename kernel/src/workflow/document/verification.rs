//! Reading how a step's answer is verified, and refusing what could not be meant.

use crate::document::{Code, Field, Fields, Report};
use crate::expr::Mapping;
use crate::workflow::Call;
use crate::workflow::{
    DEFAULT_VERIFICATION_REPAIRS, IfUnavailable, MAX_BECAUSE_CHARS, MAX_POST_CONDITIONS,
    MAX_VERIFICATION_REPAIRS, PostCondition, StepKind, Verification, Verifier,
};
use crate::yaml::{Kind, Path};

const VERIFY_FIELDS: [&str; 4] = ["that", "by", "repairs", "repair_input"];
const CONDITION_FIELDS: [&str; 2] = ["holds", "because"];
const VERIFIER_FIELDS: [&str; 5] = ["capability", "agent", "input", "threshold", "if_unavailable"];

/// The step's `verify`.
pub(super) fn verification(
    field: &Field<'_>,
    kind: Option<&StepKind>,
    report: &mut Report<'_>,
) -> Option<Verification> {
    if let Some(kind @ (StepKind::Wait(_) | StepKind::Approve(_))) = kind {
        let message = format!("has no meaning for a step that does `{}`: no agent answers", kind.as_str());
        report.add(Code::VerifyInvalid, &field.path, message, "take it out");
        return None;
    }
    let fields = Fields::open(field.node, field.path.clone(), &VERIFY_FIELDS, report);
    let that = fields.optional("that").map_or_else(Vec::new, |field| post_conditions(&field, report));
    let by = fields.optional("by").map(|field| verifier(&field, kind, report));
    if fields.is_map && by.is_none() && fields.optional("that").is_none() {
        let hint = "give it `that`, a list of expressions, or `by`, who looks at the answer";
        report.add(Code::FieldMissing, &field.path, "says nothing that could be verified", hint);
    }
    let repairable = kind.is_none_or(Verification::can_repair);
    let repairs = match fields.optional("repairs") {
        None if repairable => DEFAULT_VERIFICATION_REPAIRS,
        None => 0,
        Some(field) => field.number(0..=MAX_VERIFICATION_REPAIRS, report),
    };
    if let Some(kind) = kind.filter(|_| repairs > 0 && !repairable) {
        let message = format!("cannot be repaired: `{}` is not asked again as a whole", kind.as_str());
        let hint = "take it out, or let `on_failure` say what follows a refusal";
        report.add(Code::VerifyInvalid, &field.path.key("repairs"), message, hint);
    }
    let repair_input = fields.get("repair_input");
    if let Some(field) = repair_input.as_ref().filter(|_| repairs == 0) {
        report.add(
            Code::VerifyInvalid,
            &field.path,
            "is given to nobody: there are no `repairs`",
            "take it out",
        );
    }
    let repair_input = repair_input.map(|field| field.mapping_for_answers(report));
    // What could not be read is in the report.
    let (by, repair_input) = (whole(by)?, whole(repair_input)?);
    Some(Verification { that, by, repairs, repair_input })
}

/// Nothing was said, or what was said could be read.
#[allow(clippy::option_option, reason = "what was not said and what could not be read are two things")]
fn whole<T>(said: Option<Option<T>>) -> Option<Option<T>> {
    match said {
        None => Some(None),
        Some(read) => read.map(Some),
    }
}

fn post_conditions(field: &Field<'_>, report: &mut Report<'_>) -> Vec<PostCondition> {
    let items = if matches!(field.node.kind, Kind::List(_)) {
        field.list(report)
    } else {
        vec![Field { node: field.node, path: field.path.clone() }]
    };
    if items.is_empty() || items.len() > MAX_POST_CONDITIONS {
        let message = format!("has {} post-conditions", items.len());
        report.add(Code::FieldRange, &field.path, message, format!("give it 1 to {MAX_POST_CONDITIONS}"));
    }
    items.iter().take(MAX_POST_CONDITIONS).filter_map(|item| post_condition(item, report)).collect()
}

/// An expression, or a map that also says why it must hold.
fn post_condition(item: &Field<'_>, report: &mut Report<'_>) -> Option<PostCondition> {
    if let Kind::Text(source) = &item.node.kind {
        return expression(source, &item.path, None, report);
    }
    let mut fields = Fields::open(item.node, item.path.clone(), &CONDITION_FIELDS, report);
    let because = fields.optional("because").and_then(|field| {
        let text = field.text(report)?;
        if text.trim().is_empty() || text.chars().count() > MAX_BECAUSE_CHARS {
            let hint = format!("say in 1 to {MAX_BECAUSE_CHARS} characters why it must hold");
            report.add(Code::FieldRange, &field.path, "is empty or too long", hint);
        }
        Some(text.to_owned())
    });
    let holds = fields.required("holds");
    fields.report_missing(report);
    let holds = holds?;
    let source = holds.text(report)?;
    expression(source, &holds.path, because, report)
}

fn expression(
    source: &str,
    path: &Path,
    because: Option<String>,
    report: &mut Report<'_>,
) -> Option<PostCondition> {
    let source = source.trim();
    match Mapping::compile_post_condition(source) {
        Ok(holds) => Some(PostCondition { source: source.to_owned(), holds, because }),
        Err(errors) => {
            for error in errors {
                let hint = if source.starts_with("${") { "write the expression without `${ }`" } else { "" };
                let message = format!("`{}` {}", error.expression, error.message);
                report.add(Code::ExpressionInvalid, path, message, hint);
            }
            None
        }
    }
}

fn verifier(field: &Field<'_>, kind: Option<&StepKind>, report: &mut Report<'_>) -> Option<Verifier> {
    let mut fields = Fields::open(field.node, field.path.clone(), &VERIFIER_FIELDS, report);
    let capability = fields.required("capability").and_then(|field| field.name(report));
    let agent = fields.optional("agent").and_then(|field| field.name(report));
    let input = fields.get("input").map(|field| field.mapping_for_answers(report));
    let threshold_bp = fields.optional("threshold").map(|field| field.share(report));
    let if_unavailable =
        fields.optional("if_unavailable").map_or(IfUnavailable::Fail, |field| if_unavailable(&field, report));
    fields.report_missing(report);
    if let (Some(agent), Some(StepKind::Call(Call { agent: Some(own), .. }))) = (&agent, kind)
        && agent == own
    {
        let message = format!("`{agent}` would verify its own work");
        report.add(Code::VerifyInvalid, &field.path.key("agent"), message, "name another agent, or none");
    }
    let (input, threshold_bp) = (whole(input)?, whole(threshold_bp)?);
    let (call, word) = (Call { agent, ..Call::of(capability?) }, Verifier::word(threshold_bp));
    Some(Verifier { call, input, threshold_bp, if_unavailable, word })
}

fn if_unavailable(field: &Field<'_>, report: &mut Report<'_>) -> IfUnavailable {
    match field.text(report) {
        Some("accept") => IfUnavailable::Accept,
        Some("fail") | None => IfUnavailable::Fail,
        Some(_) => {
            let message = "is nothing that can hold without a verdict";
            report.add(Code::FieldRange, &field.path, message, "give `fail` or `accept`");
            IfUnavailable::Fail
        }
    }
}
