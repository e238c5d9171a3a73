//! Holds what happened against the rules. Everything it reads was recorded outside the system: what clients were told,
//! what agents did, and a last look at every run.
//!
//! - **R1** every acknowledged run exists and has ended.
//! - **R2** a run has one end, nothing after it, and reads the same every time.
//! - **R3** a start that failed left nothing; one whose answer was lost left at most one run for its key.
//! - **R4** work under one key was done once.
//! - **R5** a step that is done was done by its agent, with that output, after the steps it waits for had ended.
//! - **R10** the history is not vacuous: enough ended well, and the faults did happen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mainstay_proto::pb;
use pb::run_event::Event;

use crate::agent::Row;

/// What a client was told when it started a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It was acknowledged under this id.
    Acknowledged(String),
    /// It was refused: it must not exist.
    Refused,
    /// The answer was lost: it may exist.
    Unknown,
}

/// A run as it was found at the end.
#[derive(Debug, Clone)]
pub struct Found {
    /// Read once.
    pub run: pb::Run,
    /// Read once more.
    pub again: pb::Run,
    /// Its journal.
    pub events: Vec<pb::RunEvent>,
}

/// Everything that was recorded.
#[derive(Debug, Default)]
pub struct History {
    /// What clients were told, by idempotency key.
    pub told: BTreeMap<String, Vec<Told>>,
    /// Every run there is, by id.
    pub found: BTreeMap<String, Found>,
    /// What the agents did.
    pub rows: Vec<Row>,
    /// How many faults were made to happen.
    pub faults: usize,
    /// How many were meant to.
    pub faults_wanted: usize,
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub rule: &'static str,
    /// By what.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

impl History {
    /// All rules that were broken.
    #[must_use]
    pub fn check(&self) -> Vec<Broken> {
        let mut broken = Vec::new();
        let mut report = |rule: &'static str, what: String| broken.push(Broken { rule, what });
        self.starts(&mut report);
        for (id, found) in &self.found {
            self.one_end(id, found, &mut report);
            self.done_by_agents(id, found, &mut report);
        }
        self.once_a_key(&mut report);
        self.not_vacuous(&mut report);
        broken
    }

    fn starts(&self, report: &mut impl FnMut(&'static str, String)) {
        for (key, told) in &self.told {
            let by_key: Vec<_> =
                self.found.values().filter(|found| found.run.idempotency_key == *key).collect();
            if by_key.len() > 1 {
                report("R3", format!("key {key} started {} runs", by_key.len()));
            }
            if told.iter().all(|told| *told == Told::Refused) && !by_key.is_empty() {
                report("R3", format!("key {key} was refused, and its run exists"));
            }
            for told in told {
                let Told::Acknowledged(id) = told else { continue };
                match self.found.get(id) {
                    None => report("R1", format!("{id} was acknowledged and does not exist")),
                    Some(found) if found.run.state() == pb::RunState::Running => {
                        report("R1", format!("{id} was acknowledged and has not ended"));
                    }
                    Some(_) => {}
                }
            }
        }
    }

    fn one_end(&self, id: &str, found: &Found, report: &mut impl FnMut(&'static str, String)) {
        if found.run != found.again {
            report("R2", format!("{id} reads differently the second time"));
        }
        let ends =
            found.events.iter().filter(|event| matches!(event.event, Some(Event::RunEnded(_)))).count();
        let last = found.events.last().map(|event| &event.event);
        if ends != 1 || !matches!(last, Some(Some(Event::RunEnded(_)))) {
            report("R2", format!("{id} has {ends} ends, or goes on after one"));
        }
        if !found.events.iter().map(|event| event.number).eq(1..=found.events.len() as u64) {
            report("R2", format!("{id} has gaps or repetitions in its events"));
        }
    }

    fn done_by_agents(&self, id: &str, found: &Found, report: &mut impl FnMut(&'static str, String)) {
        let ended_at = |event: &pb::RunEvent| match &event.event {
            Some(Event::StepCompleted(step)) => Some((step.step_id.clone(), event.number)),
            Some(Event::StepFailed(step)) => Some((step.step_id.clone(), event.number)),
            _ => None,
        };
        let ended: BTreeMap<String, u64> = found.events.iter().filter_map(ended_at).collect();
        let mut started = BTreeMap::new();
        for event in &found.events {
            if let Some(Event::StepStarted(step)) = &event.event {
                started.entry(step.step_id.clone()).or_insert(event.number);
            }
        }
        for step in &found.run.steps {
            if step.state() == pb::StepState::Completed {
                let output = String::from_utf8_lossy(&step.output);
                let done = self.rows.iter().any(|row| {
                    row.run == *id && row.step == step.id && row.output.as_deref() == Some(&*output)
                });
                if !done {
                    report("R5", format!("{id}/{} is done, and no agent did it with that output", step.id));
                }
            }
            let Some(began) = started.get(&step.id) else { continue };
            for dependency in &step.after {
                if ended.get(dependency).is_none_or(|ended| ended > began) {
                    report("R5", format!("{id}/{} began before {dependency} had ended", step.id));
                }
            }
        }
    }

    fn once_a_key(&self, report: &mut impl FnMut(&'static str, String)) {
        let mut begun = BTreeMap::<&str, (usize, BTreeSet<&str>)>::new();
        for row in self.rows.iter().filter(|row| row.output.is_none()) {
            let (times, bodies) = begun.entry(&row.key).or_default();
            *times += 1;
            bodies.insert(&row.body);
        }
        for (key, (times, bodies)) in begun {
            if times > 1 {
                report("R4", format!("{key} was begun {times} times"));
            }
            if bodies.len() > 1 {
                report("R4", format!("{key} came with {} bodies", bodies.len()));
            }
        }
    }

    fn not_vacuous(&self, report: &mut impl FnMut(&'static str, String)) {
        let ended_well =
            self.found.values().filter(|found| found.run.state() == pb::RunState::Completed).count();
        if ended_well * 10 < self.found.len() * 8 || self.found.is_empty() {
            report("R10", format!("only {ended_well} of {} runs ended well", self.found.len()));
        }
        if self.faults < self.faults_wanted {
            report("R10", format!("only {} of {} faults happened", self.faults, self.faults_wanted));
        }
    }
}
