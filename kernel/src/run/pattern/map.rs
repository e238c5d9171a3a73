//! A call for each item of a list.

use serde_json::value::RawValue;

use crate::expr::Item;
use crate::json::{Json, Limits};
use crate::outcome::{Class, Failure};
use crate::run::frame::View;
use crate::run::graft::Graft;
use crate::run::hand_off::{own, unmapped};
use crate::run::pattern::{MAPPING_FAILED, Progress, brought_down, complete, fail};
use crate::run::state::{State, StepState};
use crate::workflow::{Map, Work};

const ITEM_FAILED: &str = "ITEM_FAILED";
const ITEMS_MISSING: &str = "ITEMS_MISSING";

/// Gaps named one by one; of the others it is said how many they are.
const NAMED_GAPS: usize = 20;

/// The list.
pub(super) fn open(run: &State, at: usize, map: &Map) -> Result<Json, Failure> {
    let list =
        map.over.eval(&View::of(run, at).scope()).map_err(|error| unmapped("the list to go over", &error))?;
    let refused = |message: String| own(Class::CallerFault, MAPPING_FAILED, message);
    match items(&list) {
        None => Err(refused("what `over` leads to is no list".to_owned())),
        Some(items) if items.len() > map.max_items => {
            let (found, most) = (items.len(), map.max_items);
            Err(refused(format!("the list has {found} items; `max_items` allows {most}")))
        }
        Some(_) => Ok(list),
    }
}

/// The items of a list, each with its very text.
fn items(list: &Json) -> Option<Vec<&RawValue>> {
    serde_json::from_str(list.as_str()).ok()
}

pub(super) fn next(run: &State, at: usize, map: &Map, over: bool) -> Progress {
    let mut inside = run.within(at).peekable();
    if inside.peek().is_none() {
        return begin(run, at, map);
    }
    let (mut open, mut failed) = (false, None);
    for child in inside {
        let state = run.steps[child].state;
        // One that was let go when the time was over has not answered either.
        open |= !matches!(state, StepState::Completed | StepState::Failed);
        if state == StepState::Failed {
            failed = failed.or(Some(child));
        }
    }
    match failed {
        Some(child) if !map.partial => {
            brought_down(run, child, ITEM_FAILED, "an answer for every item is wanted")
        }
        _ if open && !over => Progress::Wait,
        _ if open && !map.partial => {
            let message = "not every item had its answer when the time was over".to_owned();
            fail(own(Class::Timeout, ITEMS_MISSING, message), "an answer for every item is wanted")
        }
        _ => gathered(run, at),
    }
}

/// The first of it: a call for each item.
fn begin(run: &State, at: usize, map: &Map) -> Progress {
    let list = run.steps[at].input.clone().unwrap_or_default();
    let spec = run.spec(at);
    let view = View::of(run, at);
    let mut grafts = Vec::new();
    for (index, item) in items(&list).unwrap_or_default().into_iter().enumerate() {
        let value = match Json::parse(item.get().as_bytes(), &Limits::default()) {
            Ok(value) => value,
            Err(error) => {
                let message = format!("item {index} {error}");
                return fail(own(Class::CallerFault, MAPPING_FAILED, message), "the list will not change");
            }
        };
        let item = Item { value: &value, index };
        let input = match spec.input.eval_for(&view.scope(), item) {
            Ok(input) => input,
            Err(error) => {
                let what = format!("the input of step `{}` for item {index}", spec.id);
                return fail(unmapped(&what, &error), "the list will not change");
            }
        };
        let Some(id) = spec.id.inside(index) else { continue };
        let work = Work::Call(map.call.clone());
        grafts.push(Graft { id, work, after: Vec::new(), input, optional: map.partial });
    }
    if grafts.is_empty() { gathered(run, at) } else { Progress::Graft(grafts) }
}

/// What there is: the outputs in the order of the items, `null` where there is none.
fn gathered(run: &State, at: usize) -> Progress {
    let mut text = String::from("[");
    let (mut gaps, mut count) = (Vec::new(), 0);
    for (index, child) in run.within(at).enumerate() {
        if index > 0 {
            text.push(',');
        }
        count += 1;
        let step = &run.steps[child];
        match &step.output {
            Some(output) if step.state == StepState::Completed => text.push_str(output.as_str()),
            _ => {
                text.push_str("null");
                gaps.push(gap(run, index, child));
            }
        }
    }
    text.push(']');
    if count > 0 && gaps.len() == count {
        let message = format!("none of {count} items has an answer; {}", gaps[0]);
        // What could not be paid for is not the agent's fault.
        let classes = || run.within(at).filter_map(|child| Some(run.steps[child].failure.as_ref()?.class));
        let unpaid = classes().count() == count && classes().all(|class| class == Class::OverBudget);
        let class = if unpaid { Class::OverBudget } else { Class::AgentError };
        return fail(own(class, ITEMS_MISSING, message), "there is nothing to go on with");
    }
    match Json::parse(text.as_bytes(), &Limits::default()) {
        Ok(output) => {
            let more = gaps.len().saturating_sub(NAMED_GAPS);
            gaps.truncate(NAMED_GAPS);
            if more > 0 {
                gaps.push(format!("{more} more items are missing"));
            }
            complete(output, gaps)
        }
        Err(error) => {
            let message = format!("the list of all outputs {error}");
            fail(own(Class::CallerFault, MAPPING_FAILED, message), "the outputs will not change")
        }
    }
}

fn gap(run: &State, index: usize, child: usize) -> String {
    match &run.steps[child].failure {
        Some(failure) => format!("item {index} is missing: {}: {}", failure.code, failure.message),
        None => format!("item {index} is missing: it had not ended when the time was over"),
    }
}
