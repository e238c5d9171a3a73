//! Who waits for whom.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::document::Draft;
use super::{MAX_DEPENDENCIES, MAX_STEPS, StepId};
use crate::document::{Code, Report, nearest};

/// The edges between steps, by index.
pub(super) struct Graph {
    pub(super) index: HashMap<StepId, usize>,
    /// What each step waits for: ascending, each once.
    pub(super) after: Vec<Vec<usize>>,
    /// What waits for each step: ascending, each once.
    pub(super) dependents: Vec<Vec<usize>>,
    /// Each step after all it waits for. Steps in a circle, or behind one, are left out.
    pub(super) order: Vec<usize>,
    /// Everything each ordered step waits for, near or far; nothing for one that is not ordered.
    upstream: Vec<Option<Steps>>,
}

/// A set of steps: one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Steps([u64; MAX_STEPS.div_ceil(64)]);

impl Steps {
    const NONE: Self = Self([0; MAX_STEPS.div_ceil(64)]);

    fn add(&mut self, step: usize) {
        if let Some(word) = self.0.get_mut(step / 64) {
            *word |= 1 << (step % 64);
        }
    }

    fn add_all(&mut self, others: &Self) {
        self.0.iter_mut().zip(&others.0).for_each(|(word, other)| *word |= other);
    }

    fn has(&self, step: usize) -> bool {
        self.0.get(step / 64).is_some_and(|word| word >> (step % 64) & 1 == 1)
    }
}

impl Graph {
    /// Resolves names to indices and sorts; reports duplicates, unknown names and circles.
    pub(super) fn of(draft: &Draft, report: &mut Report<'_>) -> Self {
        let index = index(draft, report);
        let after: Vec<Vec<usize>> =
            (0..draft.steps.len()).map(|at| edges(draft, at, &index, report)).collect();
        let mut dependents = vec![Vec::new(); after.len()];
        for (step, after) in after.iter().enumerate() {
            for &dependency in after {
                if let Some(list) = dependents.get_mut(dependency) {
                    list.push(step);
                }
            }
        }
        let order = sort(&after, &dependents);
        report_circles(draft, &after, &order, report);
        let upstream = upstream(&after, &order);
        Self { index, after, dependents, order, upstream }
    }

    /// Whether `step` waits for `other`, near or far; nothing if circles leave it open.
    pub(super) fn is_upstream(&self, other: usize, step: usize) -> Option<bool> {
        let upstream = self.upstream.get(step)?.as_ref()?;
        Some(upstream.has(other))
    }
}

fn index(draft: &Draft, report: &mut Report<'_>) -> HashMap<StepId, usize> {
    let mut index = HashMap::new();
    for (at, step) in draft.steps.iter().enumerate() {
        let Some(id) = &step.id else { continue };
        match index.get(id) {
            Some(first) => {
                let message = format!("steps[{first}] is called `{id}` as well");
                report.add(Code::StepDuplicate, &step.path.key("id"), message, "give each step its own id");
            }
            None => {
                index.insert(id.clone(), at);
            }
        }
    }
    index
}

fn edges(draft: &Draft, at: usize, index: &HashMap<StepId, usize>, report: &mut Report<'_>) -> Vec<usize> {
    let Some(step) = draft.steps.get(at) else { return Vec::new() };
    if step.after.len() > MAX_DEPENDENCIES {
        let message = format!("waits for {} steps", step.after.len());
        let hint = format!("at most {MAX_DEPENDENCIES}; let a step between gather them");
        report.add(Code::FieldRange, &step.path.key("after"), message, hint);
    }
    let mut after = Vec::new();
    for (id, path) in &step.after {
        match index.get(id.as_str()) {
            Some(&dependency) => after.push(dependency),
            None => {
                let hint = match nearest(id, index.keys().map(StepId::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => String::new(),
                };
                report.add(Code::StepUnknownDependency, path, format!("there is no step `{id}`"), hint);
            }
        }
    }
    after.sort_unstable();
    after.dedup();
    after
}

/// Kahn's algorithm; among steps that are ready, the first in the document goes first.
fn sort(after: &[Vec<usize>], dependents: &[Vec<usize>]) -> Vec<usize> {
    let mut waiting: Vec<usize> = after.iter().map(Vec::len).collect();
    let ready = waiting.iter().enumerate().filter(|(_, n)| **n == 0).map(|(step, _)| Reverse(step));
    let mut ready: BinaryHeap<_> = ready.collect();
    let mut order = Vec::with_capacity(after.len());
    while let Some(Reverse(step)) = ready.pop() {
        order.push(step);
        for &dependent in dependents.get(step).into_iter().flatten() {
            if let Some(n) = waiting.get_mut(dependent) {
                *n -= 1;
                if *n == 0 {
                    ready.push(Reverse(dependent));
                }
            }
        }
    }
    order
}

/// Every step left out of the order waits, near or far, for a circle: following what is left must lead into one.
fn report_circles(draft: &Draft, after: &[Vec<usize>], order: &[usize], report: &mut Report<'_>) {
    let mut seen = vec![false; after.len()];
    for &step in order {
        seen[step] = true;
    }
    let ordered = seen.clone();
    for start in 0..after.len() {
        let mut walk = Vec::new();
        let mut at = start;
        while !seen[at] {
            seen[at] = true;
            walk.push(at);
            match after[at].iter().find(|&&next| !ordered[next]) {
                Some(&next) => at = next,
                None => break,
            }
        }
        let Some(from) = walk.iter().position(|&step| step == at) else { continue };
        let circle = walk.get(from..).unwrap_or_default();
        let ids: Vec<&str> = circle
            .iter()
            .chain([&at])
            .map(|&step| draft.steps[step].id.as_ref().map_or("?", StepId::as_str))
            .collect();
        let message = format!("steps wait for each other in a circle: {}", ids.join(" → "));
        report.add(
            Code::StepCycle,
            &draft.steps[at].path.key("after"),
            message,
            "take one of them out of `after`",
        );
    }
}

fn upstream(after: &[Vec<usize>], order: &[usize]) -> Vec<Option<Steps>> {
    let mut upstream = vec![None; after.len()];
    for &step in order {
        let mut set = Steps::NONE;
        for &dependency in &after[step] {
            set.add(dependency);
            if let Some(Some(above)) = upstream.get(dependency) {
                set.add_all(above);
            }
        }
        upstream[step] = Some(set);
    }
    upstream
}
