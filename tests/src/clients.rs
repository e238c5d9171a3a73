//! Clients that start runs and follow each to its end, whatever happens to the server meanwhile, and remember what they
//! were told. What they remember is what a [`History`] is checked against.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_proto::pb;
use pb::orchestrator_client::OrchestratorClient;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::Channel;

use crate::history::{History, Told};
use crate::seed::Seeded;
use crate::wait::until;
use crate::world::{Agent, World, spec};

/// A workflow of four steps, two of them with side effects. Its output is its input, from step to step.
pub const MIXED: &str = "
name: mixed
version: 1
deadline: 10m
steps:
  - { id: a, call: { capability: work }, input: { x: '${input.x}', sleep_ms: 5 }, retry: { max_attempts: 20 } }
  - { id: b, after: [a], call: { capability: pay }, input: { x: '${steps.a.output.x}', sleep_ms: 10 }, retry: { max_attempts: 20 } }
  - { id: c, after: [a], call: { capability: work }, input: { x: '${steps.a.output.x}' }, retry: { max_attempts: 20 } }
  - { id: d, after: [b, c], call: { capability: pay }, input: { x: '${steps.b.output.x + steps.c.output.x}' }, retry: { max_attempts: 20 } }
output: { x: '${steps.d.output.x}' }
";

/// What an agent needs to do the work of [`MIXED`].
pub const CAPABILITIES: [(&str, &str); 2] = [
    ("work", "effect: idempotent, max_concurrency: 200"),
    ("pay", "effect: side-effecting, max_concurrency: 200"),
];

/// How often a client looks whether its run has ended, or asks again.
const LOOK: Duration = Duration::from_millis(20);

/// Starts by key, with every answer to them.
pub type Starts = BTreeMap<String, Vec<Told>>;

/// Ends that were shown: run and state.
pub type Ends = Vec<(String, pb::RunState)>;

/// Clients at work.
#[derive(Debug)]
pub struct Clients {
    log: Arc<Log>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the clients saw together.
#[derive(Debug, Default)]
struct Log {
    told: Mutex<Starts>,
    shown: Mutex<Ends>,
    acknowledged: AtomicUsize,
    under_way: AtomicUsize,
    stop: AtomicBool,
}

impl Clients {
    /// Sets so many to work, each with one run at a time.
    #[must_use]
    pub fn start(world: &World, clients: usize) -> Self {
        let log = Arc::new(Log::default());
        let client = |number| tokio::spawn(client(number, world.orchestrator(), Arc::clone(&log)));
        let tasks = (0..clients).map(client).collect();
        Self { log, tasks }
    }

    /// Starts that were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.log.acknowledged.load(Ordering::SeqCst)
    }

    /// Whether no run is under way right now, so that a fault meets nothing.
    #[must_use]
    pub fn are_idle(&self) -> bool {
        self.log.under_way.load(Ordering::SeqCst) == 0
    }

    /// Waits for the next moment, which is a number of things that clients and the agent have seen since the last one.
    pub async fn next_moment(&self, agent: &Agent, dice: &mut Seeded) {
        let seen = || self.acknowledged() + agent.ledger().len();
        let moment = seen() + 1 + dice.below(60);
        until("the next moment", || async { (seen() >= moment).then_some(()) }).await;
    }

    /// Lets every client come to its end, and puts what all sides know of it side by side, but for the faults.
    ///
    /// # Panics
    /// If a client has.
    pub async fn history(self, world: &World, agent: &Agent) -> History {
        let (told, shown) = self.stop().await;
        let (found, rows) = (world.found().await, agent.ledger());
        History { told, shown, found, rows, ..History::default() }
    }

    /// Lets everyone stop, and says what they were told and shown.
    ///
    /// # Panics
    /// If one of them has.
    async fn stop(self) -> (Starts, Ends) {
        self.log.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("a client");
        }
        let told = std::mem::take(&mut *self.log.told.lock().expect("no panic"));
        let shown = std::mem::take(&mut *self.log.shown.lock().expect("no panic"));
        (told, shown)
    }
}

/// Starts runs one after the other and follows each to its end. A start whose answer was lost is made again under its key.
async fn client(number: usize, mut orchestrator: OrchestratorClient<Channel>, log: Arc<Log>) {
    let mut looks = tokio::time::interval(LOOK);
    for round in 0.. {
        let key = format!("{number}-{round}");
        let run =
            pb::RunSpec { idempotency_key: key.clone(), ..spec("mixed", &format!("{{\"x\":{round}}}")) };
        let started = loop {
            if log.stop.load(Ordering::SeqCst) {
                return;
            }
            let started = orchestrator.submit(pb::SubmitRequest { run: Some(run.clone()) }).await;
            let told = match started {
                Ok(answer) => Told::Acknowledged(answer.into_inner().run_id),
                // Refused by a server that was there and said so.
                Err(status) if matches!(status.code(), Code::InvalidArgument | Code::NotFound) => {
                    Told::Refused
                }
                Err(_) => Told::Unknown,
            };
            log.told.lock().expect("no panic").entry(key.clone()).or_default().push(told.clone());
            match told {
                Told::Acknowledged(id) => break Some(id),
                // Every third is never asked for again: nobody knows whether it exists, and both is right.
                Told::Unknown if round % 3 == 2 => break None,
                Told::Unknown | Told::Refused => {}
            }
            looks.tick().await;
        };
        let Some(id) = started else { continue };
        log.acknowledged.fetch_add(1, Ordering::SeqCst);
        log.under_way.fetch_add(1, Ordering::SeqCst);
        loop {
            let request = pb::GetRunRequest { run_id: id.clone(), ..Default::default() };
            let seen = orchestrator.get_run(request).await.ok().and_then(|answer| answer.into_inner().run);
            let ended = seen.map(|run| run.state()).filter(|state| *state != pb::RunState::Running);
            if let Some(state) = ended {
                log.shown.lock().expect("no panic").push((id.clone(), state));
            }
            if log.stop.load(Ordering::SeqCst) || ended.is_some() {
                break;
            }
            looks.tick().await;
        }
        log.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}
