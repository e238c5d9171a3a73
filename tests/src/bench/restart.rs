//! From starting a control plane to its taking runs, with 100,000 finished and 1,000 open runs in its store, after a kill.
//!
//! The runs are real: decided by the kernel, written in the records of the control plane, transition by transition, as
//! many runs at once as a busy server drives.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use mainstay_control_plane::host::Clock;
use mainstay_control_plane::records::run_summary::{self, RunSummary};
use mainstay_control_plane::records::{open_run, spill, transition};
use mainstay_control_plane::workflows;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::json::{Json, Limits};
use mainstay_kernel::mode::Mode;
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::{Answer, Usage};
use mainstay_kernel::priority::Priority;
use mainstay_kernel::retry::Retries;
use mainstay_kernel::retry::budget::Leave;
use mainstay_kernel::run::{self, Input, Run, Transition};
use mainstay_kernel::workflow::Workflow;
use mainstay_store::{Batch, Blobs, SledOptions, SledStore, Store};

use super::host;
use super::report::{Goal, Report, median};
use super::rig::{Rig, payload};

/// Runs that have ended, and runs that have not.
const FINISHED: usize = 100_000;
const OPEN: usize = 1_000;

/// Runs written at once.
const AT_ONCE: usize = 500;

/// Bytes of the input and of each answer.
const PAYLOAD: usize = 256;

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

/// Measures it.
///
/// # Errors
/// If the store cannot be filled or the control plane does not start.
pub async fn measure(quick: bool) -> anyhow::Result<Report> {
    let mut rig = Rig::new()?;
    let filling = host::now();
    Filler::open(&rig).await?.fill().await?;
    let filled = filling.elapsed();
    let mut times = Vec::new();
    for _ in 0..if quick { 3 } else { 7 } {
        times.push(rig.start_control_plane().await?);
        if let Some(control_plane) = &mut rig.control_plane {
            control_plane.kill();
        }
    }
    let millis = |time: &Duration| time.as_secs_f64() * 1000.0;
    let mut report = Report::new("restart");
    report.ratio("restart_ms", median(times.iter().map(millis)), Goal::AtMost(2000.0));
    report.figure("worst_ms", times.iter().map(millis).fold(0.0, f64::max));
    report.figure("finished_runs", FINISHED as f64);
    report.figure("open_runs", OPEN as f64);
    report.figure("fill_s", filled.as_secs_f64());
    report.fact("file_system", host::file_system(rig.folder()));
    Ok(report)
}

/// Writes runs into the store of a control plane that is not running.
struct Filler {
    store: Arc<dyn Store>,
    blobs: Blobs,
    clock: Clock,
    tenant: Name,
    workflow: Arc<Workflow>,
    input: Json,
}

impl Filler {
    async fn open(rig: &Rig) -> anyhow::Result<Self> {
        let store: Arc<dyn Store> =
            Arc::new(SledStore::open(rig.data().join("store"), SledOptions::default())?);
        let blobs = Blobs::open(rig.data().join("blobs"))?;
        let (clock, tenant) = (Clock::system(), Name::new("default")?);
        let catalog = workflows::Handle::new(clock.clone(), Arc::clone(&store), blobs.clone());
        catalog.put(&tenant, WORKFLOW).await?;
        let workflow = catalog.resolve(&tenant, &Name::new("three-steps")?, None)?;
        let input = Json::parse(&payload(PAYLOAD), &Limits::default())?;
        Ok(Self { store, blobs, clock, tenant, workflow, input })
    }

    async fn fill(&self) -> anyhow::Result<()> {
        for first in (0..FINISHED + OPEN).step_by(AT_ONCE) {
            // Spread over the others: a hundredth of all runs is still open.
            let is_open = |number: usize| number.is_multiple_of((FINISHED + OPEN) / OPEN);
            try_join_all((first..first + AT_ONCE).map(|number| self.run(is_open(number)))).await?;
        }
        Ok(())
    }

    /// Writes one run: to its end, or to where its first step is under way.
    async fn run(&self, open: bool) -> anyhow::Result<()> {
        let now = self.clock.wall();
        let id = self.clock.id().into();
        let first = run::start(
            run::Start {
                id,
                tenant: self.tenant.clone(),
                workflow: Arc::clone(&self.workflow),
                input: self.input.clone(),
                intent: "".into(),
                labels: Arc::default(),
                idempotency_key: None,
                deadline: None,
                retries: Retries::Allowed,
                priority: Priority::default(),
                mode: Mode::Full,
            },
            now,
        )?;
        let mut run = Run::begin(&first, Arc::clone(&self.workflow), id)?;
        let mark = open_run::key(self.tenant.as_str(), id);
        let batch = self.transition(&run, &first).await?;
        self.store.commit(batch.put(mark.clone(), open_run::encode(&self.tenant)?)).await?;
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
            let batch = self.transition(&run, &next).await?;
            let batch = if run.end.is_some() { batch.delete(mark.clone()) } else { batch };
            self.store.commit(batch).await?;
        }
        Ok(())
    }

    /// A transition, with the line in the listing when the run begins or ends.
    async fn transition(&self, run: &Run, transition: &Transition) -> anyhow::Result<Batch> {
        let tenant = self.tenant.as_str();
        let key = transition::key(tenant, run.id, transition.first_event);
        let batch = Batch::new()
            .absent(key.clone())
            .put(key, spill::encode(transition::KIND, transition, &self.blobs).await?);
        if transition.first_event != 1 && run.end.is_none() {
            return Ok(batch);
        }
        let summary = RunSummary {
            run: run.id,
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
        };
        Ok(batch.put(run_summary::key(tenant, run.id), summary.encode()?))
    }
}
