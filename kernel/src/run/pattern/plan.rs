//! Carrying out what an agent planned.
//!
//! First it is written down what the capabilities that a plan may use take and give. The planner is then asked as `STEP/1`;
//! a plan that cannot be carried out goes back to it with everything that is wrong, as `STEP/2`, …, a bounded number of
//! times. The first one that can is written down as a workflow and grows inside the step. From there on no model decides
//! anything: it is carried out like any other workflow, and a crash finds it where it was.

use serde::Serialize;

use crate::effect::EffectClass;
use crate::json::Json;
use crate::outcome::Class;
use crate::run::graft::Graft;
use crate::run::hand_off::own;
use crate::run::inquiry::{Finding, Offered};
use crate::run::pattern::{Progress, brought_down, fail, sub, written};
use crate::run::state::{State, StepState};
use crate::time::text::Human;
use crate::workflow::{Plan, Work};

mod proposal;

const PLANNER_FAILED: &str = "PLANNER_FAILED";
const PLAN_INVALID: &str = "PLAN_INVALID";
const PLAN_FAILED: &str = "PLAN_FAILED";
const PLAN_TIMED_OUT: &str = "PLAN_TIMED_OUT";
const CAPABILITY_UNKNOWN: &str = "CAPABILITY_UNKNOWN";

/// Problems handed back, and named in the failure.
const HANDED_BACK: usize = 30;
const NAMED: usize = 5;

/// What the planner is told.
#[derive(Serialize)]
struct Brief<'a> {
    goal: &'a Json,
    capabilities: Vec<Described<'a>>,
    max_steps: usize,
    max_depth: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<&'a Json>,
}

#[derive(Serialize)]
struct Described<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    effect: EffectClass,
    input_schema: &'a Json,
    output_schema: &'a Json,
}

impl<'a> From<&'a Offered> for Described<'a> {
    fn from(offer: &'a Offered) -> Self {
        let Offered { capability, description, input_schema, output_schema, effect } = offer;
        Self { name: capability.as_str(), description, effect: *effect, input_schema, output_schema }
    }
}

pub(super) fn next(run: &State, at: usize, plan: &Plan, over: bool) -> Progress {
    if let (true, Some(within)) = (over, plan.within) {
        let message = format!("what was planned did not end within {}", Human(within));
        return fail(own(Class::Timeout, PLAN_TIMED_OUT, message), "its time is over");
    }
    if run.frame(at).is_some() {
        return sub::carried_out(run, at, PLAN_FAILED);
    }
    let offers = match run.steps[at].finding.as_deref() {
        None => return Progress::Wait,
        Some(Finding::Offers(offers)) => offers,
        Some(Finding::Nothing(failure)) => {
            return fail(failure.clone(), "what may be planned with cannot be found out");
        }
        Some(Finding::Way(_)) => {
            let failure = own(Class::CallerFault, PLAN_FAILED, "what was found are no offers".to_owned());
            return fail(failure, "nothing can be planned with it");
        }
    };
    let missing = plan.capabilities.iter().find(|name| offers.iter().all(|offer| offer.capability != **name));
    if let Some(missing) = missing {
        let message = format!("capability {missing}, which plans may use, was never registered by any agent");
        return fail(own(Class::Unavailable, CAPABILITY_UNKNOWN, message), "no plan could be relied on");
    }
    let Some(last) = run.within(at).last() else { return ask(run, at, plan, offers, Vec::new(), None) };
    let proposed = match (run.steps[last].state, &run.steps[last].output) {
        (StepState::Completed, Some(output)) => output,
        (StepState::Failed, _) => {
            return brought_down(run, last, PLANNER_FAILED, "nobody else plans");
        }
        _ => return Progress::Wait,
    };
    match proposal::check(proposed, plan, offers) {
        Ok(workflow) if run.has_room_for(&workflow) => Progress::Grow(workflow.source().into()),
        Ok(_) => refused(vec!["its steps would be more than the run may hold".to_owned()]),
        Err(problems) if run.within(at).count() <= plan.repairs => {
            ask(run, at, plan, offers, problems, Some(proposed))
        }
        Err(problems) => refused(problems),
    }
}

fn ask(
    run: &State,
    at: usize,
    plan: &Plan,
    offers: &[Offered],
    mut problems: Vec<String>,
    previous: Option<&Json>,
) -> Progress {
    let goal = run.steps[at].input.clone().unwrap_or_default();
    let capabilities = offers.iter().map(Described::from).collect();
    problems.truncate(HANDED_BACK);
    let (max_steps, max_depth) = (plan.max_steps, plan.max_depth);
    let brief = Brief { goal: &goal, capabilities, max_steps, max_depth, problems, previous };
    let round = run.within(at).count() + 1;
    match (written(&brief), run.spec(at).id.inside(round)) {
        (Ok(input), Some(id)) => {
            let work = Work::Call(plan.by.clone());
            Progress::Graft(vec![Graft { id, work, after: Vec::new(), input, optional: true }])
        }
        (Err(failure), _) => fail(failure, "what the planner is told will not become smaller"),
        (_, None) => Progress::Wait,
    }
}

fn refused(mut problems: Vec<String>) -> Progress {
    let more = problems.len().saturating_sub(NAMED);
    problems.truncate(NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let message = format!("the plan cannot be carried out: {}{more}", problems.join("; "));
    fail(own(Class::ContractBreach, PLAN_INVALID, message), "it was sent back as often as allowed")
}
