//! One owed call: handed to dispatch, its report turned into what the run's kernel reads.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mainstay_kernel::budget::window::Over;
use mainstay_kernel::budget::{Amount, BUDGET_EXHAUSTED};
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::{Began, Class, Failure};
use mainstay_kernel::retry::RetryPolicy;
use mainstay_kernel::run::{Attempt, Call, Input};
use mainstay_kernel::time::Wall;

use super::Shared;
use crate::budgets::Hold;
use crate::dispatch;

/// How far beyond the run's deadline a call may go. The run's own end must come first and cut the call; were the call cut
/// first, the step would be blamed for the run's deadline. More than what a call keeps back for its answer's way home.
const PAST_THE_RUN: Duration = Duration::from_secs(1);

/// Makes the call and reports how it ended. The journal alone repeats it, so dispatch does not.
pub(super) async fn perform(
    shared: Arc<Shared>,
    workflow: Name,
    call: Call,
    resumed: Option<Wall>,
    left: Arc<AtomicBool>,
) -> (Attempt, Input) {
    let attempt = call.attempt;
    let now = shared.clock.now();
    let held = match hold(&shared, &workflow, &call, resumed).await {
        Ok(held) => held,
        Err(over) => return (attempt, refused(&shared, &call, &over)),
    };
    let request = dispatch::Call {
        tenant: call.tenant,
        capability: call.capability,
        agent: call.agent,
        not_by: call.not_by,
        input: call.input,
        key: attempt.id,
        number: attempt.number,
        step: Some((call.run, call.step.to_string())),
        intent: call.intent,
        labels: call.labels,
        timeout: call.timeout,
        // Waiting for an instance counts: a step that nobody takes within its timeout has failed.
        deadline: (now.mono_at(call.deadline) + PAST_THE_RUN).min(now.mono + call.timeout),
        policy: RetryPolicy::NONE,
        retries: call.retries,
        chain: call.chain,
        priority: call.priority,
        resumed,
        left,
    };
    let report = shared.dispatch.call(request).await;
    held.settle(&report.attempts);
    let (effect, result) = (report.effect, report.result);
    (attempt, Input::AttemptEnded { attempt, effect, result, attempts: report.attempts })
}

/// Holds what the call may take out of the budgets over time. One that may have been sent before a crash is made in any case:
/// what it used is used, and only making it again tells what came of it.
async fn hold(shared: &Shared, workflow: &Name, call: &Call, resumed: Option<Wall>) -> Result<Hold, Over> {
    if resumed.is_some() {
        return Ok(shared.budgets.count_only(&call.tenant, workflow));
    }
    let estimate = || {
        let nano_usd = shared.registry.declared_cost(&call.tenant, &call.capability).unwrap_or(0);
        Amount { nano_usd, calls: 1, ..Amount::NONE }
    };
    shared.budgets.hold(&call.tenant, workflow, call.timeout, estimate).await
}

/// What a run is told of a call that is not made because a budget over time has no room for it.
fn refused(shared: &Shared, call: &Call, over: &Over) -> Input {
    Input::AttemptEnded {
        attempt: call.attempt,
        effect: shared.registry.strictest_effect(&call.tenant, &call.capability),
        result: Err(Failure {
            class: Class::OverBudget,
            code: BUDGET_EXHAUSTED.to_owned(),
            message: over.to_string(),
            began: Began::No,
            retry_after: None,
        }),
        attempts: Vec::new(),
    }
}
