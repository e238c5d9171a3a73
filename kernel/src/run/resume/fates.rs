//! What becomes of each step of a run that another goes on from.

use crate::outcome::Failure;
use crate::run::remedy;
use crate::run::state::{State, StepState};
use crate::run::{undo, verify};
use crate::workflow::StepKind;

/// What becomes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It begins as if it never had.
    Anew,
    /// It goes on with what is inside it.
    Reopened,
    /// It is as it was.
    Kept,
}

/// What becomes of every step, by place.
pub(super) fn fates(run: &State) -> Vec<Fate> {
    let completed = |at: usize| run.steps[at].state == StepState::Completed;
    let mut fates: Vec<Fate> =
        (0..run.steps.len()).map(|at| if completed(at) { Fate::Kept } else { Fate::Anew }).collect();
    // Whatever grew stands behind the step it lies in, so it is known by the time that is looked at.
    for at in (0..run.steps.len()).rev() {
        let inside = parts(run, at);
        if inside.is_empty() {
            continue;
        }
        keep_what_was_built_on(run, at, &inside, &mut fates);
        let stands = inside.iter().any(|child| fates[*child] != Fate::Anew);
        let is_left = inside.iter().any(|child| fates[*child] != Fate::Kept);
        if fates[at] == Fate::Anew && stands && is_left {
            fates[at] = Fate::Reopened;
        }
    }
    let own: Vec<usize> = (0..run.workflow.steps().len()).collect();
    keep_what_others_waited_for(run, &own, &mut fates);
    // What lies in a step that begins anew is gone, whatever had come of it, and so is what one fell back on.
    for at in own.len()..run.steps.len() {
        let Some(host) = run.inside(at) else { continue };
        let gone = fates[host] == Fate::Anew || is_aside(run, host, at);
        match fates[host] {
            Fate::Kept => fates[at] = Fate::Kept,
            Fate::Anew | Fate::Reopened if gone => fates[at] = Fate::Anew,
            Fate::Anew | Fate::Reopened => {}
        }
    }
    fates
}

/// The steps inside the one at `at` that its answer is made of.
pub(super) fn parts(run: &State, at: usize) -> Vec<usize> {
    run.within(at).filter(|child| !is_aside(run, at, *child)).collect()
}

/// Whether the step at `child` is no part of the work of the one it lies in: that one fell back on it, or its answer was
/// verified or repaired there. Both begin again with the work.
fn is_aside(run: &State, host: usize, child: usize) -> bool {
    remedy::is_fallback(run, host, &run.spec(child).id) || verify::part::part_at(run, child).is_some()
}

/// Keeps what others inside the step at `host` that go on have taken as it was.
fn keep_what_was_built_on(run: &State, host: usize, inside: &[usize], fates: &mut [Fate]) {
    keep_what_others_waited_for(run, inside, fates);
    if !matches!(run.spec(host).kind, StepKind::Supervise(_)) {
        return;
    }
    // A supervisor that went on was told what had come of the tasks before.
    let last = inside.iter().filter(|child| fates[**child] == Fate::Kept);
    let last = last.filter_map(|child| Some((*child, run.steps[*child].started_at?))).max();
    for &child in inside {
        let seen =
            |(last, since)| last > child && run.steps[child].ended_at.is_some_and(|ended| ended <= since);
        if last.is_some_and(seen) {
            fates[child] = Fate::Kept;
        }
    }
}

fn keep_what_others_waited_for(run: &State, steps: &[usize], fates: &mut [Fate]) {
    let mut open: Vec<usize> = steps.iter().copied().filter(|at| fates[*at] != Fate::Anew).collect();
    while let Some(at) = open.pop() {
        for &before in &run.spec(at).after {
            if fates[before] != Fate::Kept {
                fates[before] = Fate::Kept;
                open.push(before);
            }
        }
    }
}

/// Whether the call of the step at `at` may have had its effect.
pub(super) fn may_have_acted(run: &State, at: usize) -> bool {
    let step = &run.steps[at];
    let told = |failure: &Option<Failure>| failure.as_ref().is_some_and(undo::may_have_acted);
    match step.state {
        StepState::Completed | StepState::Cancelled => true,
        StepState::Failed => {
            let before = step.remedied.as_ref().map(|remedied| remedied.failure.clone());
            step.effect_stands || told(&step.failure) || told(&before)
        }
        StepState::Pending
        | StepState::Running { .. }
        | StepState::BackingOff { .. }
        | StepState::Gathering { .. }
        | StepState::Skipped => false,
    }
}

/// Whether something inside the step at `at` knows how it is undone.
pub(super) fn is_undone_in_parts(run: &State, at: usize) -> bool {
    run.within(at)
        .any(|child| run.spec(child).recourse.compensate.is_some() || is_undone_in_parts(run, child))
}
