//! One worker for one request.
//!
//! The routing document is asked once, and what it decided is on record before anybody is called: a crash in between must
//! not send the same request to somebody else. The worker grows as `STEP/worker`; if it fails for good, the fallback as
//! `STEP/fallback`, under a key of its own.

use crate::outcome::{Class, Failure, OUTCOME_UNKNOWN};
use crate::run::graft::Graft;
use crate::run::hand_off::own;
use crate::run::inquiry::{Finding, Way};
use crate::run::pattern::{Progress, brought_down, complete, fail};
use crate::run::state::{State, StepState};
use crate::workflow::{Call, RouteTo, Work};

const ROUTE_FAILED: &str = "ROUTE_FAILED";
const ROUTE_NOWHERE: &str = "ROUTE_NOWHERE";

const WORKER: &str = "worker";
const FALLBACK: &str = "fallback";

pub(super) fn next(run: &State, at: usize, route: &RouteTo) -> Progress {
    let way = match run.steps[at].finding.as_deref() {
        None => return Progress::Wait,
        Some(Finding::Way(way)) => way,
        Some(Finding::Nothing(failure)) => {
            return fail(failure.clone(), "where it should go cannot be found out");
        }
        Some(Finding::Offers(_)) => return nowhere("what was found is no way"),
    };
    match (run.within(at).last(), way) {
        (None, Way { call: Some(call), .. }) => grow(run, at, WORKER, call),
        (None, Way { response: Some(response), rung, .. }) => {
            complete(response.clone(), vec![format!("nobody was called: the rung `{rung}` answered")])
        }
        (None, _) => nowhere("the routing document names nobody"),
        (Some(child), _) => came_to(run, at, child, route),
    }
}

/// What the worker, or the fallback, has come to.
fn came_to(run: &State, at: usize, child: usize, route: &RouteTo) -> Progress {
    let step = &run.steps[child];
    let is_worker = run.within(at).count() == 1;
    match (step.state, &step.output, &route.fallback) {
        (StepState::Completed, Some(output), _) => {
            let mut warnings = step.warnings.clone();
            if !is_worker {
                warnings.push("the worker that was found failed; the fallback answered".to_owned());
            }
            complete(output.clone(), warnings)
        }
        (StepState::Failed, _, Some(fallback)) if is_worker && !may_have_happened(step.failure.as_ref()) => {
            grow(run, at, FALLBACK, fallback)
        }
        (StepState::Failed, ..) => brought_down(run, child, ROUTE_FAILED, "nobody else may be asked"),
        _ => Progress::Wait,
    }
}

/// Whether the worker may have done to the world what the fallback would do again.
fn may_have_happened(failure: Option<&Failure>) -> bool {
    failure.is_some_and(|failure| failure.code == OUTCOME_UNKNOWN)
}

fn grow(run: &State, at: usize, name: &str, call: &Call) -> Progress {
    let Some(id) = run.spec(at).id.inside(name) else { return nowhere("it lies too deep") };
    let input = run.steps[at].input.clone().unwrap_or_default();
    let work = Work::Call(call.clone());
    Progress::Graft(vec![Graft { id, work, after: Vec::new(), input, optional: true }])
}

fn nowhere(message: &str) -> Progress {
    fail(own(Class::CallerFault, ROUTE_NOWHERE, message.to_owned()), "there is nobody to call")
}
