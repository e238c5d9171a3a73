//! Running another workflow inside a step.

use crate::json::Json;
use crate::outcome::{Class, Failure};
use crate::run::frame::View;
use crate::run::graft::MAX_GRAFTED;
use crate::run::hand_off::{self, own, unmapped};
use crate::run::pattern::{Progress, brought_down, complete, fail};
use crate::run::state::{State, StepState};
use crate::time::text::Human;
use crate::workflow::Sub;

const INPUT_SCHEMA_MISMATCH: &str = "INPUT_SCHEMA_MISMATCH";
const SUB_FAILED: &str = "SUB_FAILED";
const SUB_TIMED_OUT: &str = "SUB_TIMED_OUT";
const TOO_MANY_STEPS: &str = "TOO_MANY_STEPS";

/// What the workflow is given, if it takes it and its steps may still grow.
pub(super) fn open(run: &State, at: usize, sub: &Sub) -> Result<Json, Failure> {
    let input = hand_off::input(run, at)?;
    let refused = |code: &str, message: String| own(Class::CallerFault, code, message);
    let Some(workflow) = run.workflow.find(sub) else {
        return Err(refused(SUB_FAILED, format!("the run is pinned to no workflow `{}`", sub.workflow)));
    };
    if !run.has_room_for(workflow) {
        let message = format!("more than {MAX_GRAFTED} steps would have grown in the run");
        return Err(refused(TOO_MANY_STEPS, message));
    }
    workflow.input().check(&input).map(|()| input).map_err(|violations| {
        let message =
            format!("the input breaks the schema of {}: {}", **workflow, hand_off::list(&violations));
        refused(INPUT_SCHEMA_MISMATCH, message)
    })
}

/// What a step that runs a workflow does next.
pub(super) fn next(run: &State, at: usize, over: bool) -> Progress {
    match (carried_out(run, at, SUB_FAILED), run.frame(at)) {
        (Progress::Wait, Some(frame)) if over => {
            let workflow = &frame.workflow;
            let message = format!("{workflow} did not end within {}", Human(workflow.deadline()));
            fail(own(Class::Timeout, SUB_TIMED_OUT, message), "its workflow's deadline has passed")
        }
        (progress, _) => progress,
    }
}

/// What the workflow inside the step at `at` has come to; a step that it cannot do without fails with `code`.
pub(super) fn carried_out(run: &State, at: usize, code: &str) -> Progress {
    let Some(frame) = run.frame(at) else { return Progress::Wait };
    let is_critical =
        |child: &usize| run.steps[*child].state == StepState::Failed && !run.goes_on_without(*child);
    if let Some(child) = frame.places().find(is_critical) {
        return brought_down(run, child, code, "its workflow cannot do without that step");
    }
    if !frame.places().all(|child| run.is_settled(child)) {
        return Progress::Wait;
    }
    match frame.workflow.output(&View::inside(run, at).scope()) {
        Ok(output) => complete(output, Vec::new()),
        Err(error) => {
            let what = format!("the output of {}", *frame.workflow);
            fail(unmapped(&what, &error), "what its steps answered will not change")
        }
    }
}
