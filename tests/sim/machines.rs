//! The kernel's machines all together, without a runtime: callers, instances and a network under seeded faults, in virtual
//! time. A seed takes milliseconds, so that thousands are played wherever the tests run.
//!
//! - [`world`]: the events and the clock; [`caller`], [`plane`]: what the shell does around the machines.
//! - [`sidecar`], [`faults`]: agents, ledgers and the network, and what goes wrong with them.
//! - [`witness`], [`laws`]: what really happened, and what must hold after every event.
//! - [`bugs`]: planted, to prove that the laws bite.

mod bugs;
mod caller;
mod faults;
mod laws;
mod plane;
mod sidecar;
mod witness;
mod world;

use bugs::Bug;
use witness::Tally;
use world::World;

use crate::seeds::{self, Broken, Play};
use crate::transcript::Transcript;

/// Enough that the rarest pair of faults meets, and half a minute on two cores.
const SEEDS: u64 = 10_000;

/// Worlds with this bug, or without one.
struct Machines(Option<Bug>);

impl Play for Machines {
    type Tally = Tally;

    fn play(&self, seed: u64, transcript: &mut Transcript) -> (Tally, Result<(), Broken>) {
        let log = std::mem::replace(transcript, Transcript::off());
        let (tally, log, ended) = World::new(seed, self.0, log).live();
        *transcript = log;
        (tally, ended)
    }

    fn add(&self, all: &mut Tally, one: Tally) {
        all.add(one);
    }
}

/// What must have happened in so many worlds, or the laws were proved about nothing.
const SEEN: [&str; 20] = [
    "breakers opened",
    "breakers half-opened",
    "breakers closed",
    "probes",
    "retries granted by a budget",
    "retries refused by a budget",
    "hedges",
    "hedges that won",
    "hedges that lost",
    "hedges refused",
    "questions to a ledger",
    "calls before a full bulkhead",
    "calls that went well",
    "calls that failed",
    "calls cancelled",
    "late answers",
    "changes of health",
    "registrations",
    "leases lapsed",
    "events",
];

#[test]
fn the_laws_hold_in_every_world() {
    let tally = seeds::all_must_hold(&Machines(None), "the_laws_hold_in_every_world", SEEDS);
    println!("{} seeds: {:#?}", seeds::count(SEEDS), tally.0);
    if std::env::var("SEED").is_err() && seeds::count(SEEDS) >= 100 {
        let all = SEEN.into_iter().chain(faults::FAULTS.map(|(name, _)| name));
        let never: Vec<_> = all.filter(|what| !tally.0.contains_key(what)).collect();
        assert!(never.is_empty(), "in no world there was: {never:?}");
    }
}

fn transcript(seed: u64, bug: Option<Bug>) -> String {
    let mut transcript = Transcript::on();
    let (_, _ended) = seeds::one(&Machines(bug), seed, &mut transcript);
    transcript.into_text()
}

#[test]
fn the_same_seed_twice_writes_the_same_bytes_and_another_seed_others() {
    for seed in 1..=200 {
        let first = transcript(seed, None);
        assert!(first.lines().count() > 100, "seed {seed}: {first}");
        assert!(first == transcript(seed, None), "seed {seed} does not write the same twice");
        assert!(first != transcript(seed + 1, None));
    }
    let planted = Some(Bug::ForeignDice);
    assert!(transcript(1, planted) != transcript(1, planted), "dice of another kind go unnoticed");
}

#[test]
fn every_planted_bug_is_found_by_the_law_it_breaks() {
    for (bug, law) in Bug::ALL {
        let (_, found) = seeds::search(&Machines(Some(bug)), SEEDS);
        let Some((seed, broken)) = found else { panic!("{bug:?} is not found in {SEEDS} worlds") };
        println!("{bug:?}: seed {seed}. {broken}");
        assert_eq!(broken.law, law, "{bug:?} is found by another law: seed {seed}. {broken}");
    }
}
