//! What is allowed but probably not meant.

use super::document::Draft;
use crate::document::{Code, Problem, Report};
use crate::expr::Condition;
use crate::yaml::Path;

pub(super) fn lint(draft: &Draft, mut report: Report<'_>) -> Vec<Problem> {
    unreachable_rules(draft, &mut report);
    if draft.rules.is_empty()
        && draft.classifier.is_none()
        && draft.router.is_none()
        && draft.generalist.is_none()
    {
        let message = "answers every request that names no target of its own with the static response";
        let hint = "add `rules`, `classifier: {}`, a `router` or a `generalist`";
        report.add(Code::RouteOnlyStatic, &Path::default(), message, hint);
    }
    report.finish()
}

/// Rules behind one that always holds, or behind one with the same condition.
fn unreachable_rules(draft: &Draft, report: &mut Report<'_>) {
    for (at, rule) in draft.rules.iter().enumerate() {
        let Some(own) = rule.when.as_ref().map(Condition::source) else { continue };
        let before = draft.rules.iter().take(at).find(|earlier| {
            let source = earlier.when.as_ref().map(Condition::source);
            source.is_some_and(|source| source == "true" || source == own)
        });
        let Some(name) = before.and_then(|earlier| earlier.name.as_ref()) else { continue };
        let message = format!("never decides: `{name}` stands before it and holds whenever this one does");
        report.add(Code::RuleUnreachable, &rule.path.key("when"), message, "put the narrower rule first");
    }
}
