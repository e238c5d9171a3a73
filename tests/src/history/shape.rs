//! What a run has become, beside its caps and its journal.

use mainstay_kernel::retry::MAX_ATTEMPTS;
use mainstay_proto::pb;

use super::{Found, History};

/// How deep a step may lie inside others: three workflows inside each other, each with a step that others grow in.
const MAX_DEPTH: usize = 6;

/// **R7**: tries and depth stay within their caps, a budget is exceeded by one call at most, and nothing stays set aside.
pub(super) fn within_caps(id: &str, found: &Found, report: &mut impl FnMut(&'static str, String)) {
    for step in &found.run.steps {
        if step.id.matches('/').count() > MAX_DEPTH {
            report("R7", format!("{id}/{} lies deeper than {MAX_DEPTH}", step.id));
        }
        if let Some(attempt) = step.attempts.iter().find(|attempt| attempt.number > MAX_ATTEMPTS) {
            report("R7", format!("{id}/{} was tried {} times", step.id, attempt.number));
        }
    }
    for allowance in &found.run.allowances {
        let pb::Allowance { limit, most, spent, reserved, .. } = allowance;
        if *reserved != 0 {
            report("R7", format!("{id}: {reserved} of {limit} stay set aside"));
        }
        let beyond = if limit == "calls" { 0 } else { dearest(&found.run) };
        if limit != "time" && *spent > most + beyond {
            report("R7", format!("{id}: {spent} of {limit} are spent, and {most} were allowed"));
        }
    }
}

/// What the dearest call of a run cost.
fn dearest(run: &pb::Run) -> u64 {
    let usages =
        run.steps.iter().flat_map(|step| &step.attempts).filter_map(|attempt| attempt.usage.as_ref());
    usages.filter_map(|usage| u64::try_from(usage.cost_nano_usd).ok()).max().unwrap_or(0)
}

impl History {
    /// **R9**: a run is what its journal adds up to, and was so when clients first read it.
    pub(super) fn folds(&self, id: &str, found: &Found, report: &mut impl FnMut(&'static str, String)) {
        match &found.folded {
            Err(why) => report("R9", format!("{id}: {why}")),
            Ok(folded) if *folded != found.run => {
                report("R9", format!("{id} is not what its journal adds up to"));
            }
            Ok(_) => {}
        }
        if self.read.get(id).is_some_and(|read| *read != found.run) {
            report("R9", format!("{id} is not what it was when its client first read its end"));
        }
    }
}
