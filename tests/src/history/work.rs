//! What agents did, beside what runs say was done.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_proto::pb;
use pb::run_event::Event;

use super::{Found, History};
use crate::agent::Row;
use crate::mix::{KEEPS, READS};

impl History {
    /// **R5**: what is done was done by its agent, in the order that was asked for.
    pub(super) fn done_by_agents(
        &self,
        id: &str,
        found: &Found,
        rows: &BTreeMap<&str, Vec<&Row>>,
        report: &mut impl FnMut(&'static str, String),
    ) {
        let (mut started, mut ended) = (BTreeMap::new(), BTreeMap::new());
        for event in &found.events {
            match &event.event {
                Some(Event::StepStarted(step)) => {
                    started.entry(&step.step_id).or_insert(event.number);
                }
                Some(Event::StepOpened(step)) => {
                    started.entry(&step.step_id).or_insert(event.number);
                }
                Some(Event::StepCompleted(step)) => {
                    ended.insert(&step.step_id, event.number);
                }
                Some(Event::StepFailed(step)) => {
                    ended.insert(&step.step_id, event.number);
                }
                Some(Event::StepSkipped(step)) => {
                    ended.insert(&step.step_id, event.number);
                }
                _ => {}
            }
        }
        let rows = rows.get(id).map_or(&[][..], Vec::as_slice);
        for step in &found.run.steps {
            if is_answer(step) && !did(rows, step) {
                report("R5", format!("{id}/{} is done, and no agent did it with that output", step.id));
            }
            let Some(began) = started.get(&step.id) else { continue };
            for dependency in &step.after {
                if ended.get(dependency).is_none_or(|ended| ended > began) {
                    report("R5", format!("{id}/{} began before {dependency} had ended", step.id));
                }
            }
        }
    }

    /// The rows of each run.
    pub(super) fn rows_by_run(&self) -> BTreeMap<&str, Vec<&Row>> {
        let mut rows = BTreeMap::<&str, Vec<&Row>>::new();
        for row in &self.rows {
            rows.entry(&row.run).or_default().push(row);
        }
        rows
    }

    /// **R5**: a run that completed came to what follows from its input.
    pub(super) fn comes_to(&self, id: &str, found: &Found, report: &mut impl FnMut(&'static str, String)) {
        let kind = self.mix.and_then(|mix| mix.kind(&found.run.workflow));
        let completed = found.run.state() == pb::RunState::Completed;
        if let Some(wrong) = kind.filter(|_| completed).and_then(|kind| kind.wrong(&found.run)) {
            report("R5", format!("{id} of `{}`: {wrong}", found.run.workflow));
        }
    }

    /// **R4**: a key has one body and serves one step, and what was begun under it was begun once.
    pub(super) fn once_a_key(&self, report: &mut impl FnMut(&'static str, String)) {
        let mut begun = BTreeMap::<&str, Begun<'_>>::new();
        for row in &self.rows {
            let begun = begun.entry(&row.key).or_default();
            if row.begins() {
                begun.times += 1;
                begun.again += usize::from(!begun.failed && begun.times > 1);
                begun.failed = false;
                begun.bodies.insert((&row.body, &row.run, &row.step));
            } else {
                begun.failed = row.failed;
            }
        }
        for (key, Begun { times, again, bodies, .. }) in begun {
            let of = |capability| bodies.iter().all(|(_, run, step)| self.calls(capability, run, step));
            // What failed may be done again if its agent promises that twice is the same as once.
            let repeated = if of(KEEPS) { again } else { times - 1 };
            if repeated > 0 && !self.repeatable && !of(READS) {
                report("R4", format!("{key} was begun {times} times, {again} of them while it was not over"));
            }
            if bodies.len() > 1 {
                report("R4", format!("{key} came with {} bodies or for as many steps", bodies.len()));
            }
        }
    }

    /// Whether the step of a run calls the capability.
    fn calls(&self, capability: &str, run: &str, step: &str) -> bool {
        let found = self.found.get(run);
        let is_it = |it: &pb::Step| it.id == step && it.capability == capability;
        found.is_some_and(|found| found.run.steps.iter().any(is_it))
    }
}

/// What was begun under a key.
#[derive(Debug, Default)]
struct Begun<'h> {
    times: usize,
    /// Of them after the time before had not failed.
    again: usize,
    /// Whether the last time failed.
    failed: bool,
    bodies: BTreeSet<(&'h String, &'h String, &'h String)>,
}

/// Whether an agent did it, under a key of the step and with its output.
fn did(rows: &[&Row], step: &pb::Step) -> bool {
    let output = String::from_utf8_lossy(&step.output);
    rows.iter().any(|row| {
        row.step == step.id
            && row.output.as_deref() == Some(&*output)
            && step.attempts.iter().any(|attempt| attempt.attempt_id == row.key)
    })
}

/// Whether the output of a step is what its agent answered, and not made of others' answers or put in its place.
fn is_answer(step: &pb::Step) -> bool {
    let calls = step.kind.is_empty() || step.kind == "call";
    step.state() == pb::StepState::Completed && calls && step.remedy.is_empty()
}
