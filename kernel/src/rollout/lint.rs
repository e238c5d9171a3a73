//! What a rollout may say but probably does not mean.

use super::document::Draft;
use crate::document::{Code, Problem, Report};
use crate::share::{Human, WHOLE};
use crate::yaml::Path;

pub(super) fn lint(draft: &Draft, mut report: Report<'_>) -> Vec<Problem> {
    let root = Path::default();
    if let (false, Some(last)) = (draft.fixed, draft.steps.last())
        && last.weight_bp < WHOLE
    {
        let at = root.key("steps").index(draft.steps.len() - 1).key("weight");
        let message = format!("the last step leaves the candidate at {}", Human(last.weight_bp));
        let hint = "end with `weight: 100%`, or promote it by hand when you are sure";
        report.add(Code::RolloutUnfinished, &at, message, hint);
    }
    for (at, step) in draft.steps.iter().enumerate().filter(|_| !draft.fixed) {
        if step.samples < draft.rule.min_samples {
            let message = format!(
                "{} samples end the step before {} let the versions be compared",
                step.samples, draft.rule.min_samples
            );
            let hint = "wait for at least `roll_back.min_samples`";
            report.add(Code::RolloutBlind, &root.key("steps").index(at).key("samples"), message, hint);
        }
    }
    report.finish()
}
