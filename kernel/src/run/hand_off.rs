//! Where values pass from one to the next: into a step, out of it, out of the run. And how it is said when they cannot.

use crate::budget::BUDGET_EXHAUSTED;
use crate::expr::ExprError;
use crate::json::Json;
use crate::outcome::{Answer, Began, Class, Failure};
use crate::run::frame::View;
use crate::run::state::{State, StepState};
use crate::schema::Violation;
use crate::workflow::Step;

/// The codes of what fails here rather than at an agent; the catalogue of the wire explains each.
const MAPPING_FAILED: &str = "MAPPING_FAILED";
const OUTPUT_SCHEMA_MISMATCH: &str = "OUTPUT_SCHEMA_MISMATCH";
const RUN_CANCELLED: &str = "RUN_CANCELLED";
const RUN_DEADLINE: &str = "RUN_DEADLINE";
const STEP_FAILED: &str = "STEP_FAILED";

/// What the agent of the step at `at` is given.
pub(super) fn input(run: &State, at: usize) -> Result<Json, Failure> {
    // One that grew was given its input then.
    if let Some(input) = &run.steps[at].input {
        return Ok(input.clone());
    }
    let step = run.spec(at);
    step.input
        .eval(&View::of(run, at).scope())
        .map_err(|error| unmapped(&format!("the input of step `{}`", step.id), &error))
}

/// What the run makes of its steps' answers.
pub(super) fn output(run: &State) -> Result<Json, Failure> {
    run.workflow.output(&View::outermost(run).scope()).map_err(|error| {
        let unmapped = unmapped("the output of the workflow", &error);
        match run.gaps().as_slice() {
            [] => unmapped,
            // It could not be made of what is there: the budget, not the document, is at fault.
            gaps => {
                own(Class::OverBudget, BUDGET_EXHAUSTED, format!("{}; {}", unmapped.message, gaps.join("; ")))
            }
        }
    })
}

/// Passes `answer` on if it holds to what the workflow expects of the step.
pub(super) fn check_output(step: &Step, answer: Answer) -> Result<Answer, Failure> {
    step.output_schema.check(&answer.output).map(|()| answer).map_err(|violations| Failure {
        class: Class::ContractBreach,
        code: OUTPUT_SCHEMA_MISMATCH.to_owned(),
        message: format!("the answer breaks the output schema of step `{}`: {}", step.id, list(&violations)),
        began: Began::Yes,
        retry_after: None,
    })
}

pub(super) fn unmapped(what: &str, error: &ExprError) -> Failure {
    own(Class::CallerFault, MAPPING_FAILED, format!("{what} cannot be made: {error}"))
}

/// Why a run whose critical step at `at` failed did not complete.
pub(super) fn brought_down(run: &State, at: usize) -> Failure {
    let name = &run.spec(at).id;
    let Some(cause) = &run.steps[at].failure else {
        return own(Class::AgentError, STEP_FAILED, format!("step `{name}` failed"));
    };
    if cause.code == BUDGET_EXHAUSTED {
        // Whoever started the run is told at once that it is a matter of money.
        return Failure { message: format!("step `{name}`: {}", cause.message), ..cause.clone() };
    }
    let message = format!("step `{name}` failed: {}: {}", cause.code, cause.message);
    Failure { began: cause.began, ..own(cause.class, STEP_FAILED, message) }
}

/// Why a run that somebody cancelled did not complete.
pub(super) fn cancelled(run: &State) -> Failure {
    let message = match run.cancel.as_deref() {
        None | Some("") => "the run was cancelled".to_owned(),
        Some(reason) => format!("the run was cancelled: {reason}"),
    };
    own(Class::Cancelled, RUN_CANCELLED, message)
}

/// Why a run whose time is over did not complete; its steps have been cut off by now.
pub(super) fn timed_out(run: &State) -> Failure {
    let cut = run.each().filter(|(_, step)| step.state == StepState::Cancelled);
    let cut: Vec<String> = cut.map(|(spec, _)| format!("`{}`", spec.id)).collect();
    let mut message =
        format!("the run did not end within {:?}", run.deadline.saturating_since(run.started_at));
    if !cut.is_empty() {
        message = format!("{message}; cut off: {}", cut.join(", "));
    }
    own(Class::Timeout, RUN_DEADLINE, message)
}

/// A failure of the run's own, which no agent had a part in.
pub(super) fn own(class: Class, code: &str, message: String) -> Failure {
    Failure { class, code: code.to_owned(), message, began: Began::No, retry_after: None }
}

/// Violations in one line.
pub(super) fn list(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
