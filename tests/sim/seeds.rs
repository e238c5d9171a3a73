//! Which seeds are played, on how many threads, and what a person reads when one of them breaks a law.
//!
//! - `SEED=7` plays that one alone and prints its transcript.
//! - `SEEDS=100000` plays so many instead of the usual number.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::transcript::{Transcript, tail};

/// A law that was broken, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) law: &'static str,
    pub(crate) what: String,
}

/// The law that nothing in the product panics.
pub(crate) const NO_PANIC: &str = "nothing panics";

/// What a simulation does with a seed: it plays it, adds to the tally, and says which law was broken if one was.
pub(crate) trait Play: Sync {
    type Tally: Default + Send;
    fn play(&self, seed: u64, transcript: &mut Transcript) -> (Self::Tally, Result<(), Broken>);
    fn add(&self, all: &mut Self::Tally, one: Self::Tally);
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.what)
    }
}

/// How many seeds to play.
pub(crate) fn count(usual: u64) -> u64 {
    from_environment("SEEDS").unwrap_or(usual)
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Plays one seed, a panic being a broken law.
pub(crate) fn one<P: Play>(
    game: &P,
    seed: u64,
    transcript: &mut Transcript,
) -> (P::Tally, Result<(), Broken>) {
    catch_unwind(AssertUnwindSafe(|| game.play(seed, transcript))).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let what = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        (P::Tally::default(), Err(Broken { law: NO_PANIC, what: what.unwrap_or_default() }))
    })
}

/// The first seed from 1 on, up to `most`, that breaks a law; and the tally of those played.
pub(crate) fn search<P: Play>(game: &P, most: u64) -> (P::Tally, Option<(u64, Broken)>) {
    let (next, found, tally) = (AtomicU64::new(1), Mutex::new(None), Mutex::new(P::Tally::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = P::Tally::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    // Every seed below one that was found is still played, so that the first is the same on every machine.
                    let beyond = found.lock().unwrap().as_ref().is_some_and(|(first, _)| *first < seed);
                    if seed > most || beyond {
                        break;
                    }
                    let (one, ended) = one(game, seed, &mut Transcript::off());
                    game.add(&mut mine, one);
                    if let Err(broken) = ended {
                        let mut found = found.lock().unwrap();
                        if found.as_ref().is_none_or(|(first, _)| seed < *first) {
                            *found = Some((seed, broken));
                        }
                    }
                }
                game.add(&mut tally.lock().unwrap(), mine);
            });
        }
    });
    (tally.into_inner().unwrap(), found.into_inner().unwrap())
}

/// Plays `usual` seeds, or those the environment asks for, and fails with a readable account of the first that breaks a law.
pub(crate) fn all_must_hold<P: Play>(game: &P, test: &str, usual: u64) -> P::Tally {
    if let Some(seed) = from_environment("SEED") {
        let mut transcript = Transcript::on();
        let (tally, ended) = one(game, seed, &mut transcript);
        println!("{}", transcript.into_text());
        assert!(ended.is_ok(), "seed {seed}: {}", ended.unwrap_err());
        return tally;
    }
    let (tally, found) = search(game, count(usual));
    let Some((seed, broken)) = found else { return tally };
    let mut transcript = Transcript::on();
    let again = one(game, seed, &mut transcript).1;
    let text = transcript.into_text();
    panic!(
        "seed {seed} broke a law. {broken}\n\nThe last events:\n{}\n{}Again, in full:\n  \
         SEED={seed} cargo test -p mainstay-tests --test sim {test} -- --nocapture\n",
        tail(&text),
        if again == Err(broken.clone()) {
            ""
        } else {
            "Played again, it ends otherwise: it is not deterministic!\n"
        },
    )
}
