//! One world of the whole control plane: it lives, is killed and lives again over the same store, while agents behind a
//! network that fails go on with their work and clients start runs.
//!
//! Each life has a runtime of its own with a clock that stands still until everyone waits. When a life ends, its runtime is
//! dropped with every task in it, and what the store had not yet committed is lost: that is what a kill does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mainstay_control_plane::host::Clock;
use mainstay_control_plane::{Config, Core, Ground};
use mainstay_kernel::dice::Dice;
use mainstay_kernel::time::{Mono, Wall};
use mainstay_proto::pb;
use mainstay_store::{Batch, Blobs, MemoryStore, Store};
use mainstay_tests::agent::Row;
use mainstay_tests::history::{Found, History, Told};
use mainstay_tests::refold::Shelf;
use mainstay_tests::world::spec;
use mainstay_transport::channel;
use pb::agent_registry_client::AgentRegistryClient;
use pb::orchestrator_client::OrchestratorClient;
use pb::run_event::Event;
use pb::workflows_client::WorkflowsClient;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;
use tonic::service::Routes;

use super::Planted;
use super::agent::Agent;
use super::network::{Link, Net};
use crate::seeds::Broken;
use crate::transcript::Transcript;

const DOCUMENT: &str = "
name: hardy
version: 1
deadline: 10m
steps:
  - { id: a, call: { capability: read }, input: { x: '${input.x}' }, retry: { max_attempts: 20, max: 1s } }
  - { id: b, after: [a], call: { capability: keep }, input: { x: '${steps.a.output.x}' }, retry: { max_attempts: 20, max: 1s } }
  - { id: c, after: [a], call: { capability: charge }, input: { x: '${steps.a.output.x}' }, retry: { max_attempts: 20, max: 1s } }
  - { id: d, after: [b, c], call: { capability: read }, input: { x: '${steps.b.output.x + steps.c.output.x}' }, retry: { max_attempts: 20, max: 1s } }
output: { x: '${steps.d.output.x}' }
";

/// When the first life begins, by the wall.
const EPOCH: i64 = 1_800_000_000_000;
/// Clients in each life, and the runs each of them starts.
const CLIENTS: usize = 3;
const ROUNDS: usize = 3;
/// The law about side effects.
pub(crate) const ONCE: &str = "a side effect is begun at most once";
/// Longer than any deadline: a world that is not over by then never is.
const ENDLESS: Duration = Duration::from_secs(3_600);

/// The transcript of a world, written by everyone in it.
#[derive(Debug, Clone)]
pub(crate) struct Log(Arc<Mutex<Pen>>);

#[derive(Debug)]
struct Pen {
    transcript: Transcript,
    /// When this life began: since the first one, and by the runtime's clock.
    base: Duration,
    began: Option<Instant>,
}

impl Log {
    pub(crate) fn line(&self, what: fmt::Arguments<'_>) {
        let mut pen = self.0.lock().unwrap();
        let at = Mono::at(pen.base + pen.began.map_or(Duration::ZERO, |began| began.elapsed()));
        pen.transcript.line(at, what);
    }
}

/// What clients saw, over all lives.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<History>>);

/// How many runs there were, and how many of them ended well.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

pub(crate) struct World {
    seed: u64,
    dice: Dice,
    planted: Option<Planted>,
    log: Log,
    disk: MemoryStore,
    blobs: Blobs,
    agents: Vec<Agent>,
    seen: Seen,
}

impl World {
    pub(crate) fn new(seed: u64, planted: Option<Planted>, transcript: Transcript) -> Self {
        let mut dice = Dice::seeded(seed);
        let log = Log(Arc::new(Mutex::new(Pen { transcript, base: Duration::ZERO, began: None })));
        let agents = (1..=2).map(|number| Agent::new(number, dice.roll(), planted, log.clone())).collect();
        let (disk, blobs, seen) = (MemoryStore::new(), Blobs::in_memory(), Seen::default());
        Self { seed, dice, planted, log, disk, blobs, agents, seen }
    }

    /// All lives, one after the other, and what the checker says of them.
    pub(crate) fn live(mut self) -> (Tally, Transcript, Result<(), Broken>) {
        let lives = 2 + self.dice.below(3);
        let mut ended = Ok(());
        for life in 1..=lives {
            ended = self.one_life(life, life == lives);
        }
        let mut history = std::mem::take(&mut *self.seen.0.lock().unwrap());
        history.rows = self.agents.iter().flat_map(Agent::rows).collect();
        // Reads and keeps may be begun again elsewhere; what may not, the next rule is about.
        history.repeatable = true;
        (history.faults, history.faults_wanted) = (lives - 1, lives - 1);
        let well = history.found.values().filter(|found| found.run.state() == pb::RunState::Completed);
        let tally = [
            ("runs", history.found.len() as u64),
            ("runs that ended well", well.count() as u64),
            (
                "runs acknowledged",
                history.told.values().flatten().filter(|told| matches!(told, Told::Acknowledged(_))).count()
                    as u64,
            ),
            (
                "starts whose answer was lost",
                history.told.values().flatten().filter(|told| **told == Told::Unknown).count() as u64,
            ),
            ("pieces of work", history.rows.iter().filter(|row| row.output.is_none()).count() as u64),
            ("kills", lives as u64 - 1),
        ];
        // Whether enough ended well is a question to all worlds together, not to one.
        let broken = history.check().into_iter().find(|broken| broken.rule != "R10");
        let broken = broken.map(|broken| Broken { law: broken.rule, what: broken.what });
        let ended = ended.and(broken.or_else(|| charged_twice(&history.rows)).map_or(Ok(()), Err));
        let pen = &mut *self.log.0.lock().unwrap();
        let transcript = std::mem::replace(&mut pen.transcript, Transcript::off());
        (tally.into(), transcript, ended)
    }

    fn one_life(&mut self, life: usize, last: bool) -> Result<(), Broken> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let lasts = Duration::from_millis(300) + self.dice.jitter(Duration::from_millis(1_500));
        let disk_stops = self.dice.jitter(Duration::from_millis(40));
        let before_sync = self.planted == Some(Planted::AcknowledgedBeforeSync);
        let mut survives = self.disk.clone();
        let ended = runtime.block_on(async {
            let began = Instant::now();
            self.log.0.lock().unwrap().began = Some(began);
            self.log.line(format_args!("life {life} begins"));
            let stage = self.begins(life).await;
            let ended = if last {
                let all = timeout(ENDLESS, stage.goes_to_its_end());
                all.await
                    .map_err(|_| Broken { law: "every world ends", what: "it goes on for an hour".into() })
            } else {
                sleep(lasts.saturating_sub(disk_stops)).await;
                survives = if before_sync { copy(&self.disk) } else { self.disk.clone() };
                if !before_sync {
                    self.disk.hold_commits();
                }
                sleep(disk_stops).await;
                self.log.line(format_args!("the control plane is killed"));
                Ok(())
            };
            let mut pen = self.log.0.lock().unwrap();
            pen.base += began.elapsed();
            pen.began = None;
            ended
        });
        drop(runtime);
        if !last {
            // What waited for the disk never got there.
            self.disk.fail_commits("killed");
            self.disk.heal();
            self.disk = survives;
            self.agents.iter().for_each(Agent::outlives);
        }
        ended
    }

    async fn begins(&mut self, life: usize) -> Stage {
        let net = Net::new(self.dice.roll());
        for agent in &self.agents {
            net.serve(agent.addr(), agent.routes());
        }
        let elapsed = i64::try_from(self.log.0.lock().unwrap().base.as_millis()).unwrap();
        let clock = Clock::simulated(Wall::from_millis(EPOCH + elapsed), self.dice.roll());
        let channels = channel::Options { network: Some(Arc::new(net.clone())), ..Default::default() };
        let ground = Ground::in_memory(clock, self.disk.clone(), self.blobs.clone(), channels);
        let core = Core::assemble(Config::default(), ground).await.unwrap();
        let stage = Stage {
            routes: core.routes(),
            net,
            log: self.log.clone(),
            seen: self.seen.clone(),
            clients: Vec::new(),
        };
        tokio::spawn(core.run());
        stage.put().await;
        for agent in &self.agents {
            tokio::spawn(stage.clone_for_tasks().keeps(agent.registration()));
        }
        let addrs = self.agents.iter().map(Agent::addr).collect();
        tokio::spawn(stage.clone_for_tasks().troubles(addrs, Dice::seeded(self.dice.roll())));
        let mut clients = Vec::new();
        for client in 0..CLIENTS {
            let dice = Dice::seeded(self.dice.roll());
            let name = format!("{}-{life}-{client}", self.seed);
            clients.push(tokio::spawn(stage.clone_for_tasks().starts_runs(name, dice)));
        }
        Stage { clients, ..stage }
    }
}

/// One life of the control plane, as everyone around it sees it.
struct Stage {
    routes: Routes,
    net: Net,
    log: Log,
    seen: Seen,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Stage {
    fn clone_for_tasks(&self) -> Self {
        let Self { routes, net, log, seen, .. } = self;
        Self {
            routes: routes.clone(),
            net: net.clone(),
            log: log.clone(),
            seen: seen.clone(),
            clients: Vec::new(),
        }
    }

    fn orchestrator(&self) -> OrchestratorClient<Routes> {
        OrchestratorClient::new(self.routes.clone())
    }

    async fn put(&self) {
        let mut workflows = WorkflowsClient::new(self.routes.clone());
        let put = pb::PutWorkflowRequest { document: DOCUMENT.to_owned(), ..Default::default() };
        workflows.put_workflow(put).await.unwrap();
    }

    /// Registers an agent, and keeps its lease.
    async fn keeps(self, request: pb::RegisterRequest) {
        let mut registry = AgentRegistryClient::new(self.routes.clone());
        let mut lease = None;
        loop {
            let kept = match lease.take() {
                Some(id) => {
                    let renew = pb::RenewRequest { lease_id: id, ..Default::default() };
                    let id = renew.lease_id.clone();
                    registry.renew(renew).await.map(|_| id)
                }
                None => registry.register(request.clone()).await.map(|granted| granted.into_inner().lease_id),
            };
            lease = kept.ok();
            sleep(Duration::from_secs(5)).await;
        }
    }

    /// The network fails, one host at a time.
    async fn troubles(self, addrs: Vec<std::net::SocketAddr>, mut dice: Dice) {
        for _ in 0..6 {
            sleep(dice.jitter(Duration::from_millis(500))).await;
            let addr = addrs[dice.below(addrs.len())];
            let link = if dice.below(2) == 0 { Link::Cut } else { Link::Broken };
            self.log.line(format_args!("{addr} is {link:?}"));
            self.net.turn(addr, link);
            sleep(dice.jitter(Duration::from_millis(700))).await;
            self.net.turn(addr, Link::Whole);
            self.log.line(format_args!("{addr} is whole"));
        }
    }

    async fn starts_runs(self, name: String, mut dice: Dice) {
        for round in 0..ROUNDS {
            sleep(dice.jitter(Duration::from_millis(300))).await;
            let key = format!("{name}-{round}");
            // Should this life end before there is an answer, it stays unknown.
            self.told(&key, Told::Unknown, true);
            let run =
                pb::RunSpec { idempotency_key: key.clone(), ..spec("hardy", &format!("{{\"x\":{round}}}")) };
            let told = match self.orchestrator().submit(pb::SubmitRequest { run: Some(run) }).await {
                Ok(answer) => Told::Acknowledged(answer.into_inner().run_id),
                Err(status) if matches!(status.code(), Code::InvalidArgument | Code::NotFound) => {
                    Told::Refused
                }
                Err(_) => Told::Unknown,
            };
            self.log.line(format_args!("client {key}: {told:?}"));
            self.told(&key, told.clone(), false);
            if let Told::Acknowledged(id) = told {
                let events = self.events(&id).await;
                if let Some(Event::RunEnded(ended)) = events.last().and_then(|event| event.event.as_ref()) {
                    self.seen.0.lock().unwrap().shown.push((id, ended.state()));
                }
            }
        }
    }

    fn told(&self, key: &str, told: Told, first: bool) {
        let mut seen = self.seen.0.lock().unwrap();
        let all = seen.told.entry(key.to_owned()).or_default();
        if !first {
            all.pop();
        }
        all.push(told);
    }

    /// Every event of a run, up to its end.
    async fn events(&self, id: &str) -> Vec<pb::RunEvent> {
        let request = pb::WatchRunRequest { run_id: id.to_owned(), from_event: 1, ..Default::default() };
        let mut events = Vec::new();
        let Ok(stream) = self.orchestrator().watch_run(request).await else { return events };
        let mut stream = stream.into_inner();
        while let Ok(Some(answer)) = stream.message().await {
            let event = answer.event.unwrap();
            self.log.line(format_args!("{id} #{}: {:?}", event.number, event.event));
            events.push(event);
        }
        events
    }

    /// The last life: every client gets its answers, every run ends, and everything is read once more.
    async fn goes_to_its_end(mut self) {
        for client in std::mem::take(&mut self.clients) {
            client.await.unwrap();
        }
        let list = || async {
            let request = pb::ListRunsRequest { page_size: 500, ..Default::default() };
            self.orchestrator().list_runs(request).await.unwrap().into_inner().runs
        };
        let shelf = Shelf::of([DOCUMENT]);
        let mut found = BTreeMap::new();
        for listed in list().await {
            let id = listed.run_id;
            let events = self.events(&id).await;
            let (run, again) = (self.run(&id).await, self.run(&id).await);
            let folded = shelf.fold(&id, &self.journal(&id).await);
            found.insert(id, Found { run, again, listed: pb::RunState::Unspecified, events, folded });
        }
        for listed in list().await {
            if let Some(found) = found.get_mut(&listed.run_id) {
                found.listed = listed.state();
            }
        }
        self.seen.0.lock().unwrap().found = found;
    }

    /// The records of a run, which are few enough for a page.
    async fn journal(&self, id: &str) -> Vec<Bytes> {
        let request = pb::ReadJournalRequest { run_id: id.to_owned(), ..Default::default() };
        self.orchestrator().read_journal(request).await.unwrap().into_inner().transitions
    }

    async fn run(&self, id: &str) -> pb::Run {
        let request = pb::GetRunRequest { run_id: id.to_owned(), ..Default::default() };
        self.orchestrator().get_run(request).await.unwrap().into_inner().run.unwrap()
    }
}

/// The side effect that was begun twice, if one was.
fn charged_twice(rows: &[Row]) -> Option<Broken> {
    let mut begun = BTreeSet::new();
    let charges = rows.iter().filter(|row| row.step == "c" && row.output.is_none());
    let twice = charges.into_iter().find(|row| !begun.insert((&row.run, &row.step)))?;
    Some(Broken { law: ONCE, what: format!("{} of {} was begun twice", twice.step, twice.run) })
}

/// The records of a store at this moment, in another.
fn copy(store: &MemoryStore) -> MemoryStore {
    let copied = MemoryStore::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(b"", after.as_deref(), 50).unwrap();
        for (key, entry) in &page.entries {
            drop(copied.commit(Batch::new().put(key.clone(), entry.value.clone())));
        }
        match page.next {
            Some(next) => after = Some(next.to_vec()),
            None => return copied,
        }
    }
}
