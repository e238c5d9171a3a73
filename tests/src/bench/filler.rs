//! Fills the store of a control plane that is not running with runs, many times as fast as a server could drive them.
//!
//! The runs are real: decided by the kernel and written in the records of the control plane, each run in one batch, as many
//! at once as a busy server drives.

use std::path::Path;
use std::sync::Arc;

use futures::future::try_join_all;
use mainstay_control_plane::host::Clock;
use mainstay_control_plane::records::run_summary::{self, RunSummary};
use mainstay_control_plane::records::{open_run, spill, transition};
use mainstay_control_plane::workflows;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::id::RunId;
use mainstay_kernel::json::{Json, Limits};
use mainstay_kernel::mode::Mode;
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::{Answer, Usage};
use mainstay_kernel::retry::budget::Leave;
use mainstay_kernel::run::{self, Input, Run, Transition};
use mainstay_kernel::workflow::Workflow;
use mainstay_store::{Batch, Blobs, SledOptions, SledStore, Store};

use super::rig::payload;

/// Runs written at once.
const AT_ONCE: usize = 500;

/// Bytes of the input and of each answer, and of those of a run with documents outside of its records.
const SMALL: usize = 256;
const LARGE: usize = 20_000;

/// Steps of a run.
pub const STEPS: u64 = 3;

const WORKFLOW: &str = "\
name: three-steps
version: 1
input: true
deadline: 24h
steps:
  - { id: first, call: { capability: bench.absent }, input: \"${input}\", timeout: 1h }
  - { id: second, after: [first], call: { capability: bench.absent }, input: \"${steps.first.output}\", timeout: 1h }
  - { id: third, after: [second], call: { capability: bench.absent }, input: \"${steps.second.output}\", timeout: 1h }
output: \"${steps.third.output}\"
";

/// Writes runs into a store.
#[derive(Debug)]
pub struct Filler {
    store: Arc<dyn Store>,
    blobs: Blobs,
    clock: Clock,
    tenant: Name,
    workflow: Arc<Workflow>,
    small: Json,
    large: Json,
}

/// A run that was written.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// The run.
    pub id: RunId,
    /// Bytes of its journal, keys and values.
    pub journal: u64,
}

impl Filler {
    /// Opens the store in `data`, or makes it, with a workflow of three steps.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub async fn open(data: &Path) -> anyhow::Result<Self> {
        let store: Arc<dyn Store> = Arc::new(SledStore::open(data.join("store"), SledOptions::default())?);
        let blobs = Blobs::open(data.join("blobs"))?;
        let (clock, tenant) = (Clock::system(), Name::new("default")?);
        let catalog = workflows::Handle::new(clock.clone(), Arc::clone(&store), blobs.clone());
        catalog.put(&tenant, WORKFLOW).await?;
        let workflow = catalog.resolve(&tenant, &Name::new("three-steps")?, None)?;
        let json = |bytes| Json::parse(&payload(bytes), &Limits::default());
        Ok(Self { store, blobs, clock, tenant, workflow, small: json(SMALL)?, large: json(LARGE)? })
    }

    /// Writes runs: those that are open are spread over the others.
    ///
    /// # Errors
    /// If the store refuses them.
    pub async fn fill(&self, finished: usize, open: usize) -> anyhow::Result<Vec<Written>> {
        let every = (finished + open).checked_div(open).unwrap_or(usize::MAX);
        let mut written = Vec::with_capacity(finished + open);
        for first in (0..finished + open).step_by(AT_ONCE) {
            let some = first..(first + AT_ONCE).min(finished + open);
            let runs = some.map(|number| self.run(&self.small, number % every == every - 1));
            written.extend(try_join_all(runs).await?);
        }
        Ok(written)
    }

    /// Writes finished runs that have documents outside of their records.
    ///
    /// # Errors
    /// If the store refuses them.
    pub async fn fill_large(&self, finished: usize) -> anyhow::Result<Vec<Written>> {
        try_join_all((0..finished).map(|_| self.run(&self.large, false))).await
    }

    /// Writes one run: to its end, or to where its first step is under way.
    async fn run(&self, input: &Json, open: bool) -> anyhow::Result<Written> {
        let now = self.clock.wall();
        let id: RunId = self.clock.id().into();
        let start = run::Start::of(id, self.tenant.clone(), Arc::clone(&self.workflow), input.clone());
        let first = run::start(start, now)?;
        let mut run = Run::begin(&first, Arc::clone(&self.workflow), id)?;
        let mut batch = self.transition(Batch::new(), &run, &first).await?;
        while !open && run.end.is_none() {
            let Some(call) = run::outstanding(&run).calls.pop() else { break };
            let answer = Answer {
                output: call.input,
                usage: Usage::default(),
                confidence_bp: None,
                warnings: Vec::new(),
            };
            let input = Input::AttemptEnded {
                attempt: call.attempt,
                effect: EffectClass::Idempotent,
                result: Ok(answer),
                attempts: Vec::new(),
            };
            let next = run::step(&run, input, self.clock.wall(), Mode::Full, |_, _| Leave::Refused)?;
            run.fold(&next)?;
            batch = self.transition(batch, &run, &next).await?;
        }
        let journal = batch.bytes() as u64;
        let tenant = self.tenant.as_str();
        if run.end.is_none() {
            batch = batch.put(open_run::key(tenant, id), open_run::encode(&self.tenant)?);
        }
        let summary = RunSummary {
            run: id,
            workflow: run.workflow.name().clone(),
            version: run.workflow.version(),
            end: run.end.as_ref().map(|end| end.state),
            intent: run.intent.to_string(),
            labels: (*run.labels).clone(),
            started_at: run.started_at,
            deadline: run.deadline,
            ended_at: run.end.as_ref().map(|end| end.at),
            failure: None,
            usage: run.usage,
            calls: 0,
        };
        self.store.commit(batch.put(run_summary::key(tenant, id), summary.encode()?)).await?;
        Ok(Written { id, journal })
    }

    async fn transition(&self, batch: Batch, run: &Run, transition: &Transition) -> anyhow::Result<Batch> {
        let key = transition::key(self.tenant.as_str(), run.id, transition.first_event);
        let value = spill::encode(transition::KIND, &key, transition, &self.blobs).await?;
        Ok(batch.put(key, value))
    }
}
