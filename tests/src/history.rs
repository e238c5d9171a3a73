//! Holds what happened against the rules. Everything it reads was recorded outside the system: what clients were told,
//! what agents did, and a last look at every run.
//!
//! - **R1** every acknowledged run exists and has ended.
//! - **R2** a run has one end, nothing after it, and reads the same every time.
//! - **R3** a start that failed left nothing; one whose answer was lost left at most one run for its key.
//! - **R4** a key has one body and serves one step; work under it was begun once, unless it may be repeated.
//! - **R5** a step that is done was done by its agent, with that output, after the steps it waits for had ended.
//! - **R10** the history is not vacuous: enough ended well, the faults did happen, and most of them met work.

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
    /// Its state in the listing.
    pub listed: pb::RunState,
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
    /// How many of them met no run under way.
    pub idle_faults: usize,
    /// How runs ended, as clients were shown it while it happened: by id.
    pub shown: Vec<(String, pb::RunState)>,
    /// Whether a key may be begun more than once, because all work is read-only or idempotent and sidecars were killed.
    pub repeatable: bool,
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
    /// Prints what there was, and fails if a rule was broken.
    ///
    /// # Panics
    /// If a rule was broken.
    #[expect(clippy::print_stdout, reason = "the figures of a history are a result of its test")]
    pub fn must_hold(&self, label: &str) {
        let starts = self.told.len();
        let lost = self.told.values().flatten().filter(|told| **told == Told::Unknown).count();
        let for_good = |told: &&Vec<Told>| told.last() == Some(&Told::Unknown);
        let unknown = self.told.values().filter(for_good).count();
        let completed =
            self.found.values().filter(|found| found.run.state() == pb::RunState::Completed).count();
        let keys: BTreeSet<_> = self.rows.iter().map(|row| &row.key).collect();
        println!(
            "{label}: {} faults ({} idle); {starts} starts, {lost} answers to them lost, {unknown} unknown \
             for good; {} runs, {completed} completed; {} ends shown; {} ledger rows under {} keys",
            self.faults,
            self.idle_faults,
            self.found.len(),
            self.shown.len(),
            self.rows.len(),
            keys.len(),
        );
        let broken: Vec<_> = self.check().iter().map(ToString::to_string).collect();
        let first = &broken[..broken.len().min(10)];
        assert!(broken.is_empty(), "{label}: {} rules broken: {first:#?}", broken.len());
    }

    /// All rules that were broken.
    #[must_use]
    pub fn check(&self) -> Vec<Broken> {
        let mut broken = Vec::new();
        let mut report = |rule: &'static str, what: String| broken.push(Broken { rule, what });
        self.starts(&mut report);
        self.nothing_unasked(&mut report);
        self.as_shown(&mut report);
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
                    Some(found) if found.run.idempotency_key != *key => {
                        report("R1", format!("{id} was acknowledged for {key}, and is another's"));
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// Every run was asked for, and agents worked for no others.
    fn nothing_unasked(&self, report: &mut impl FnMut(&'static str, String)) {
        for (id, found) in &self.found {
            if !self.told.contains_key(&found.run.idempotency_key) {
                report("R3", format!("{id} was asked for by nobody"));
            }
        }
        let served: BTreeSet<_> = self.rows.iter().map(|row| &row.run).collect();
        for run in served.into_iter().filter(|run| !self.found.contains_key(*run)) {
            report("R3", format!("agents worked for {run}, which does not exist"));
        }
    }

    /// What clients were shown is still so.
    fn as_shown(&self, report: &mut impl FnMut(&'static str, String)) {
        for (id, shown) in &self.shown {
            let now = self.found.get(id).map(|found| found.run.state());
            if now != Some(*shown) {
                report("R2", format!("{id} was shown as {shown:?} and is {now:?}"));
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
        if let Some(Some(Event::RunEnded(end))) = last
            && (end.state() != found.run.state() || found.listed != found.run.state())
        {
            let (state, listed) = (found.run.state(), found.listed);
            report("R2", format!("{id} is {state:?}, listed as {listed:?}, its end says {:?}", end.state()));
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
                    let by_attempt = step.attempts.iter().any(|attempt| attempt.attempt_id == row.key);
                    by_attempt
                        && row.run == *id
                        && row.step == step.id
                        && row.output.as_deref() == Some(&*output)
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
        let mut begun = BTreeMap::<&str, (usize, BTreeSet<_>)>::new();
        for row in self.rows.iter().filter(|row| row.output.is_none()) {
            let (times, bodies) = begun.entry(&row.key).or_default();
            *times += 1;
            bodies.insert((&row.body, &row.run, &row.step));
        }
        for (key, (times, bodies)) in begun {
            if times > 1 && !self.repeatable {
                report("R4", format!("{key} was begun {times} times"));
            }
            if bodies.len() > 1 {
                report("R4", format!("{key} came with {} bodies or for as many steps", bodies.len()));
            }
        }
    }

    fn not_vacuous(&self, report: &mut impl FnMut(&'static str, String)) {
        let ended_well =
            self.found.values().filter(|found| found.run.state() == pb::RunState::Completed).count();
        if ended_well * 10 < self.found.len() * 8 || self.found.is_empty() {
            report("R10", format!("only {ended_well} of {} runs ended well", self.found.len()));
        }
        if self.idle_faults * 2 > self.faults {
            report("R10", format!("{} of {} faults met no work", self.idle_faults, self.faults));
        }
        if self.faults < self.faults_wanted {
            report("R10", format!("only {} of {} faults happened", self.faults, self.faults_wanted));
        }
    }
}
