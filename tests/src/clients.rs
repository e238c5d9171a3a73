//! Clients that start runs and follow each to its end, whatever happens to the server meanwhile, and remember what they
//! were told. What they remember is what a [`History`] is checked against.
//!
//! - [`starter`]: starts runs, one after the other, and gives each the word it waits for.
//! - [`people`]: answer what runs ask.
//! - [`writers`]: write the shared context that runs read.
//! - [`purse`]: keeps the tenant's books.
//! - [`registrar`]: registers the same agent again and again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::history::History;
use crate::mix::Mix;
use crate::seed::Seeded;
use crate::wait::until;
use crate::world::{Agent, World};

mod people;
mod purse;
mod registrar;
mod starter;
mod writers;

/// How often a client looks whether its run has ended, or asks again.
const LOOK: Duration = Duration::from_millis(20);

/// Writers who race for one key of the shared context.
const WRITERS: usize = 4;

/// What an agent may do at most, in bytes of its ledger, before the next fault: some hundred pieces of work.
const BURST: usize = 32 * 1024;

/// Clients at work.
#[derive(Debug)]
pub struct Clients {
    log: Arc<Log>,
    mix: Mix,
    starters: Vec<JoinHandle<()>>,
    /// Whoever else runs need, to their end.
    others: Vec<JoinHandle<()>>,
}

/// What the clients saw together.
#[derive(Debug, Default)]
struct Log {
    seen: Mutex<History>,
    /// Starts that were acknowledged.
    acknowledged: watch::Sender<usize>,
    under_way: AtomicUsize,
    /// No more runs are started.
    stop: AtomicBool,
    /// All runs have ended.
    over: AtomicBool,
}

impl Clients {
    /// Sets so many to work, each with one run of the mix at a time, and whoever else its runs need.
    ///
    /// # Panics
    /// If a document of the mix is refused.
    pub async fn start(world: &World, clients: usize, mix: Mix, dice: &mut Seeded) -> Self {
        let log = Arc::new(Log::default());
        let mut others = Vec::new();
        if mix.is_social() {
            purse::open(world).await;
            writers::put_first(world, &log).await;
            let writer = |number| tokio::spawn(writers::write(number, world.channel(), Arc::clone(&log)));
            others.extend((0..WRITERS).map(writer));
            others.push(tokio::spawn(people::answer(world.orchestrator(), Arc::clone(&log))));
            others.push(tokio::spawn(registrar::register(world.registry(), Arc::clone(&log))));
        }
        mix.put(world).await;
        let starter = |number| {
            let (dice, log) = (dice.fork(), Arc::clone(&log));
            tokio::spawn(starter::Starter::new(number, mix, dice, world.orchestrator(), log).work())
        };
        let starters = (0..clients).map(starter).collect();
        Self { log, mix, starters, others }
    }

    /// Whether no run is under way right now, so that a fault meets nothing.
    #[must_use]
    pub fn are_idle(&self) -> bool {
        self.log.under_way.load(Ordering::SeqCst) == 0
    }

    /// Waits for the next moment: once the agent has done something more, or right after the next start was acknowledged,
    /// or at once, while what a kill left is being taken up.
    pub async fn next_moment(&self, agent: &Agent, dice: &mut Seeded) {
        match dice.below(10) {
            0 => {}
            1..=3 => {
                let mut acknowledged = self.log.acknowledged.subscribe();
                let more = tokio::time::timeout(crate::wait::PATIENCE, acknowledged.changed()).await;
                more.expect("a start to be acknowledged").expect("the clients");
            }
            _ => {
                let moment = agent.written() + 1 + dice.below(BURST) as u64;
                until("the next moment", || async { (agent.written() >= moment).then_some(()) }).await;
            }
        }
    }

    /// Lets every run come to its end, and puts what all sides know side by side, but for the faults.
    ///
    /// # Panics
    /// If a client has.
    pub async fn history(self, world: &World, agent: &Agent) -> History {
        self.log.stop.store(true, Ordering::SeqCst);
        for task in self.starters {
            task.await.expect("a client");
        }
        let found = world.found(self.mix.workflows()).await;
        self.log.over.store(true, Ordering::SeqCst);
        for task in self.others {
            task.await.expect("one of the others");
        }
        let seen = std::mem::take(&mut *self.log.seen());
        let history = History { mix: Some(self.mix), found, rows: agent.whole_ledger(), ..seen };
        if !self.mix.is_social() {
            return history;
        }
        let (kept, purse) = (writers::kept(world).await, Some(purse::count(world).await));
        History { kept, purse, ..history }
    }
}

impl Log {
    fn seen(&self) -> MutexGuard<'_, History> {
        self.seen.lock().expect("no panic")
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}
