//! Durable runs of three steps, one after the other, with a trivial HTTP agent behind a real sidecar: beside the routed
//! call to the same agent and the plain append+fdatasync of the same disk, which is what such a run is made of.
//!
//! The agent declares its work idempotent, so a step need not wait for the disk before it begins; the run's start and end
//! do. Runs of side-effecting steps, which wait before every step and whose sidecar writes a ledger, are given as figures.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use mainstay_proto::pb;
use pb::orchestrator_client::OrchestratorClient;
use tonic::transport::Channel;

use super::load::{Load, closed_loop};
use super::report::{Goal, Report, median};
use super::rig::{Rig, invoke, payload};
use super::{disk, host};

/// Bytes of JSON that each step is given and answers.
const PAYLOAD: usize = 1024;

/// Clients at once where throughput is measured.
const MANY: usize = 64;

/// Items that one step calls an agent for, as many at once as a run may have under way.
const FAN_OUT: u32 = 50;

/// Runs of such a step at once: two of them ask as much at once as [`MANY`] calls do, and a little more.
const FANS: usize = 2;

/// Steps of a run.
const STEPS: f64 = 3.0;

/// Transitions of a run: its start, and one for each step.
const TRANSITIONS: f64 = 4.0;

/// The agent and capability of the ratios, and that of the figures.
const IDEMPOTENT: &str = "bench.idempotent";
const SIDE_EFFECTING: &str = "bench.side-effecting";

/// One turn of everything.
struct Round {
    sync: Load,
    call_1: Load,
    run_1: Load,
    call_many: Load,
    run_many: Load,
    fan_1: Load,
    fan_many: Load,
}

/// Measures it.
///
/// # Errors
/// If a process does not start or a run fails.
pub async fn measure(quick: bool) -> anyhow::Result<Report> {
    let mut rig = Rig::with_control_plane().await?;
    for (name, effect) in [(IDEMPOTENT, "idempotent"), (SIDE_EFFECTING, "side-effecting")] {
        rig.http_agent(name, effect).await?;
        rig.put(&workflow(name)).await?;
        rig.put(&fan_out(name)).await?;
    }
    let client = rig.orchestrator().await?;
    let (rounds, time) =
        if quick { (5, Duration::from_millis(1000)) } else { (11, Duration::from_millis(2000)) };
    let mut report = Report::new("runs");
    let body = payload(PAYLOAD);
    closed_loop(MANY, time, || run(client.clone(), IDEMPOTENT, &body)).await?;
    let mut all = Vec::new();
    for _ in 0..rounds {
        all.push(round(&rig, &client, IDEMPOTENT, time).await?);
    }
    let of = |figure: fn(&Round) -> f64| median(all.iter().map(figure));
    report.ratio("p50_c1_vs_parts", of(Round::latency), Goal::AtMost(1.5));
    report.ratio("runs_c64_x3_vs_calls", of(Round::throughput), Goal::AtLeast(0.5));
    figures(&mut report, "", &all);
    let strict = [round(&rig, &client, SIDE_EFFECTING, time).await?];
    figures(&mut report, "side_effecting_", &strict);
    report.figure("side_effecting_p50_c1_vs_parts", strict[0].latency());
    report.figure("side_effecting_runs_c64_x3_vs_calls", strict[0].throughput());
    report.fact("file_system", host::file_system(rig.folder()));
    Ok(report)
}

async fn round(
    rig: &Rig,
    client: &OrchestratorClient<Channel>,
    name: &str,
    time: Duration,
) -> anyhow::Result<Round> {
    let body = payload(PAYLOAD);
    let call = || invoke(client.clone(), name, &body);
    let run = || run(client.clone(), name, &body);
    let fan_out = format!("{name}.fan-out");
    let fan = || self::run(client.clone(), &fan_out, &body);
    Ok(Round {
        sync: disk::append_and_sync(rig.folder(), time / 2)?,
        call_1: closed_loop(1, time, call).await?,
        run_1: closed_loop(1, time, run).await?,
        call_many: closed_loop(MANY, time, call).await?,
        run_many: closed_loop(MANY, time, run).await?,
        fan_1: closed_loop(1, time, fan).await?,
        fan_many: closed_loop(FANS, time, fan).await?,
    })
}

/// One run, from asking for it to its result, which must be what went in.
async fn run(mut client: OrchestratorClient<Channel>, workflow: &str, payload: &Bytes) -> anyhow::Result<()> {
    let spec = pb::RunSpec { workflow: workflow.to_owned(), input: payload.clone(), ..Default::default() };
    let response = client.orchestrate(pb::OrchestrateRequest { run: Some(spec) }).await?;
    let run = response.into_inner().run.context("a run")?;
    anyhow::ensure!(run.state() == pb::RunState::Completed, "the run has {:?}", run.state());
    anyhow::ensure!(run.output == payload, "another output");
    Ok(())
}

fn workflow(name: &str) -> String {
    format!(
        "name: {name}\nversion: 1\ninput: true\ndeadline: 60s\nsteps:\n\
         \x20 - {{ id: first, call: {{ capability: {name} }}, input: \"${{input}}\" }}\n\
         \x20 - {{ id: second, after: [first], call: {{ capability: {name} }}, input: \"${{steps.first.output}}\" }}\n\
         \x20 - {{ id: third, after: [second], call: {{ capability: {name} }}, input: \"${{steps.second.output}}\" }}\n\
         output: \"${{steps.third.output}}\"\n"
    )
}

/// A call for each item, all of them given what the run is given; the run answers the last one's answer.
fn fan_out(name: &str) -> String {
    let items: Vec<String> = (0..FAN_OUT).map(|item| item.to_string()).collect();
    format!(
        "name: {name}.fan-out\nversion: 1\ninput: true\ndeadline: 60s\nmax_parallel: {FAN_OUT}\nsteps:\n\
         \x20 - id: each\n\
         \x20   map: {{ over: [{items}], call: {{ capability: {name} }}, parallel: {FAN_OUT} }}\n\
         \x20   input: \"${{input}}\"\n\
         output: \"${{steps.each.output[{last}]}}\"\n",
        items = items.join(", "),
        last = FAN_OUT - 1,
    )
}

fn figures(report: &mut Report, prefix: &str, rounds: &[Round]) {
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
    let mut figure = |name: &str, value| report.figure(format!("{prefix}{name}"), value);
    figure("fsync_p50_us", of(|round| round.sync.p50_micros));
    figure("call_c1_p50_us", of(|round| round.call_1.p50_micros));
    figure("call_c64_rps", of(|round| round.call_many.per_second));
    figure("run_c1_p50_us", of(|round| round.run_1.p50_micros));
    figure("run_c1_p99_us", of(|round| round.run_1.p99_micros));
    figure("run_c64_per_s", of(|round| round.run_many.per_second));
    figure("run_c64_p50_us", of(|round| round.run_many.p50_micros));
    figure("run_c64_p99_us", of(|round| round.run_many.p99_micros));
    figure("fan_out_50_c1_p50_us", of(|round| round.fan_1.p50_micros));
    figure("fan_out_50_c1_p99_us", of(|round| round.fan_1.p99_micros));
    figure("fan_out_50_c2_items_vs_calls", of(Round::fanning));
}

impl Round {
    fn latency(&self) -> f64 {
        self.run_1.p50_micros / (STEPS * self.call_1.p50_micros + TRANSITIONS * self.sync.p50_micros)
    }

    /// Items a second beside routed calls a second, both with about as many under way.
    fn fanning(&self) -> f64 {
        self.fan_many.per_second * f64::from(FAN_OUT) / self.call_many.per_second
    }

    fn throughput(&self) -> f64 {
        self.run_many.per_second * STEPS / self.call_many.per_second
    }
}
