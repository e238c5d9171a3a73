//! Going one of several ways.
//!
//! The conditions are looked at once, when the step's turn has come; the branch that is taken grows as `STEP/PLACE`, so
//! the record says which it was, and a crash in the middle finds it grown and looks at nothing again.

use crate::expr::{ExprError, Mapping};
use crate::json::Json;
use crate::outcome::Class;
use crate::run::frame::View;
use crate::run::graft::Graft;
use crate::run::hand_off::{own, unmapped};
use crate::run::pattern::{MAPPING_FAILED, Progress, brought_down, complete, fail};
use crate::run::state::{State, StepState};
use crate::workflow::{Choose, Then, Work};

const BRANCH_FAILED: &str = "BRANCH_FAILED";

pub(super) fn next(run: &State, at: usize, choose: &Choose) -> Progress {
    let Some(branch) = run.within(at).next() else { return begin(run, at, choose) };
    let taken = &run.steps[branch];
    match (taken.state, &taken.output) {
        (StepState::Completed, Some(output)) => complete(output.clone(), taken.warnings.clone()),
        (StepState::Failed, _) => {
            brought_down(run, branch, BRANCH_FAILED, "the branch that was taken failed")
        }
        _ => Progress::Wait,
    }
}

fn begin(run: &State, at: usize, choose: &Choose) -> Progress {
    for (place, branch) in choose.branches.iter().enumerate() {
        match branch.when.as_ref().map(|when| holds(run, at, when)) {
            Some(Ok(Some(false))) => continue,
            None | Some(Ok(Some(true))) => {}
            Some(Ok(None)) => {
                let message = format!("`when` of branch {place} is neither true nor false");
                return fail(own(Class::CallerFault, MAPPING_FAILED, message), "the run will not change it");
            }
            Some(Err(error)) => {
                let failure = unmapped(&format!("`when` of branch {place}"), &error);
                return fail(failure, "the run will not change it");
            }
        }
        return match &branch.then {
            Then::Call(call) => {
                let Some(id) = run.spec(at).id.inside(place) else { continue };
                let input = run.steps[at].input.clone().unwrap_or_default();
                let (work, after) = (Work::Call(call.clone()), Vec::new());
                Progress::Graft(vec![Graft { id, work, after, input, optional: false }])
            }
            Then::Value(value) => match value.eval(&View::of(run, at).scope()) {
                Ok(output) => complete(output, Vec::new()),
                Err(error) => {
                    let failure = unmapped(&format!("`value` of branch {place}"), &error);
                    fail(failure, "the run will not change it")
                }
            },
        };
    }
    complete(Json::default(), vec!["no branch was taken: none of the conditions holds".to_owned()])
}

/// Whether a condition holds; nothing if it is no condition.
fn holds(run: &State, at: usize, when: &Mapping) -> Result<Option<bool>, ExprError> {
    Ok(match when.eval(&View::of(run, at).scope())?.as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    })
}
