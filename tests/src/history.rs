//! Holds what happened against the rules. Everything it reads was recorded outside the system: what clients were told,
//! what agents did, and a last look at every run.
//!
//! - **R1** every acknowledged run exists and has ended.
//! - **R2** a run has one end, nothing after it, and reads the same every time.
//! - **R3** a start that failed left nothing; one whose answer was lost left at most one run for its key.
//! - **R4** a key has one body and serves one step; work under it was begun once, unless it may be repeated ([`work`]).
//! - **R5** a step that is done was done by its agent, with that output, after the steps it waits for had ended; a run came
//!   to what follows from its input.
//! - **R6** epochs of a registration only grow, and **R8** what was registered is there from then on ([`words`]).
//! - **R7** tries, depth and budgets stay within their caps, and nothing is set aside in the end ([`shape`]).
//! - **R9** what a run is, is what its journal adds up to: folded here, told again, and as it was shown before kills.
//! - **R10** the history is not vacuous: enough ended well, the faults did happen, and most of them met work.
//! - **money** what is on record is what the agents' ledgers say; what is not was under way at a crash ([`money`]).
//! - **words** what was said to a run, and written into the shared context, counts once or, unacknowledged, at most once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mainstay_proto::pb;
use pb::run_event::Event;

use crate::agent::Row;
use crate::mix::Mix;

pub mod money;
mod shape;
pub mod words;
mod work;

pub use self::money::Purse;
pub use self::words::{Epoch, Sent, Taken, Tally, Wrote};

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
    /// Its journal, as clients are shown it.
    pub events: Vec<pb::RunEvent>,
    /// What the records of its journal add up to, or why they do not.
    pub folded: Result<pb::Run, String>,
}

/// Everything that was recorded.
#[derive(Debug, Default)]
pub struct History {
    /// What was started, if it is known what each comes to.
    pub mix: Option<Mix>,
    /// What clients were told, by idempotency key.
    pub told: BTreeMap<String, Vec<Told>>,
    /// Every run there is, by id.
    pub found: BTreeMap<String, Found>,
    /// What the agents did.
    pub rows: Vec<Row>,
    /// How many rows there were at each crash of the control plane.
    pub crashes: Vec<usize>,
    /// How many faults were made to happen.
    pub faults: usize,
    /// How many were meant to.
    pub faults_wanted: usize,
    /// How many of them met no run under way.
    pub idle_faults: usize,
    /// How runs ended, as clients were shown it while it happened: by id.
    pub shown: Vec<(String, pb::RunState)>,
    /// Runs as clients first read them after their end.
    pub read: BTreeMap<String, pb::Run>,
    /// What was said to runs.
    pub words: Vec<Sent>,
    /// What was written into the shared context.
    pub writes: Vec<Wrote>,
    /// The versions of it that were kept, oldest first.
    pub kept: Vec<(u64, Tally)>,
    /// The newest version that was acknowledged before a start was first sent, by the start's key.
    pub known: BTreeMap<String, u64>,
    /// What was granted to one registration and read of it, in that order.
    pub epochs: Vec<Epoch>,
    /// What the tenant's books say in the end.
    pub purse: Option<Purse>,
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
        let keys: BTreeSet<_> = self.rows.iter().map(|row| &row.key).collect();
        println!(
            "{label}: {} faults ({} idle); {starts} starts, {lost} answers to them lost, {unknown} unknown \
             for good ({:.2} %); {} runs, {} ended well; {} ends shown; {} ledger rows under {} keys",
            self.faults,
            self.idle_faults,
            unknown as f64 * 100.0 / starts.max(1) as f64,
            self.found.len(),
            self.ended_well(),
            self.shown.len(),
            self.rows.len(),
            keys.len(),
        );
        if self.mix.is_some() {
            println!("{}", self.money());
            println!("{}", self.heard());
        }
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
        let rows = self.rows_by_run();
        for (id, found) in &self.found {
            self.one_end(id, found, &mut report);
            self.done_by_agents(id, found, &rows, &mut report);
            self.comes_to(id, found, &mut report);
            self.folds(id, found, &mut report);
            shape::within_caps(id, found, &mut report);
        }
        self.once_a_key(&mut report);
        self.books(&mut report);
        self.words_count_once(&mut report);
        self.context_holds(&mut report);
        self.epochs_grow(&mut report);
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

    /// How many runs ended as those of their kind do.
    fn ended_well(&self) -> usize {
        self.found.values().filter(|found| self.well(&found.run)).count()
    }

    fn well(&self, run: &pb::Run) -> bool {
        let kind = self.mix.and_then(|mix| mix.kind(&run.workflow));
        run.state() == kind.map_or(pb::RunState::Completed, |kind| kind.end())
    }

    fn not_vacuous(&self, report: &mut impl FnMut(&'static str, String)) {
        let ended_well = self.ended_well();
        if ended_well * 10 < self.found.len() * 8 || self.found.is_empty() {
            report("R10", format!("only {ended_well} of {} runs ended well", self.found.len()));
        }
        for kind in self.mix.iter().flat_map(|mix| mix.kinds()) {
            let runs = self.found.values().filter(|found| found.run.workflow == kind.name);
            if !runs.into_iter().any(|found| self.well(&found.run)) {
                report("R10", format!("no run of `{}` ended well", kind.name));
            }
        }
        if self.idle_faults * 2 > self.faults {
            report("R10", format!("{} of {} faults met no work", self.idle_faults, self.faults));
        }
        if self.faults < self.faults_wanted {
            report("R10", format!("only {} of {} faults happened", self.faults, self.faults_wanted));
        }
    }
}
