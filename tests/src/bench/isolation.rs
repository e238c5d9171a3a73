//! One of ten agents gets stuck under traffic: what the callers of the other nine notice.
//!
//! All ten are called at a fixed pace that the machine carries with ease, so that a caller waits for no other caller; the
//! pace of the stuck agent's callers does not slacken when their calls stop ending. Stuck means frozen: its agent's process
//! takes connections and requests, and answers nothing. Rounds with all of them well and with one stuck take turns.
//!
//! The callers of the stuck agent have connections of their own: a connection carries 128 calls at once, so whoever shares
//! one with hundreds of calls that do not end waits for a place on it, whatever the control plane does.
//!
//! While it is stuck the machine has less to do, because nothing of that agent's work is done. The ratio says what is in
//! its way nevertheless: places in queues, threads, locks, memory.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures::future::{try_join, try_join_all};
use mainstay_proto::pb;
use pb::operations_client::OperationsClient;
use pb::orchestrator_client::OrchestratorClient;
use tonic::transport::Channel;

use super::load::{Load, open_loop};
use super::report::{Goal, Report, median};
use super::rig::{Offer, Rig, invoke, payload};
use crate::wait::until;

/// Bytes of JSON in each direction.
const PAYLOAD: usize = 1024;

/// Agents that stay well.
const OTHERS: u32 = 9;

/// Calls a second of each agent that stays well: some tenth of what two cores carry, all of them together.
const PACE: u32 = 40;

/// Calls a second of the agent that gets stuck: with [`PATIENCE`], hundreds of them wait at any time.
const STUCK_PACE: u32 = 150;

/// How long a caller of the stuck agent waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connections of its callers: they have room for all calls that wait.
const STUCK_CONNECTIONS: usize = 4;

/// The agent that gets stuck.
const STUCK: &str = "bench.stuck";

/// Measures it.
///
/// # Errors
/// If a process does not start or a call of the other agents fails.
pub async fn measure(quick: bool) -> anyhow::Result<Report> {
    let mut rig = Rig::with_control_plane().await?;
    let names: Vec<String> = (1..=OTHERS).map(|number| format!("bench.well-{number}")).collect();
    for name in &names {
        rig.sidecar(Offer::new(name, "{ echo: {} }")).await?;
    }
    rig.http_agent(STUCK, "read-only").await?;
    let callers = Callers::connect(&rig).await?;
    let (rounds, time) = if quick { (3, Duration::from_secs(4)) } else { (11, Duration::from_secs(5)) };
    // Warm: connections, allocators, branch predictors.
    callers.round(&names, time / 2).await?;
    let mut all = Vec::new();
    for _ in 0..rounds {
        let well = callers.round(&names, time).await?;
        let agent = rig.process(&format!("{STUCK}-agent")).context("the agent")?;
        let frozen = agent.freeze();
        let stuck = callers.round(&names, time).await?;
        drop(frozen);
        callers.recovered(&rig).await?;
        all.push((well, stuck));
    }
    let mut report = Report::new("isolation");
    let of = |figure: fn(&(Round, Round)) -> f64| median(all.iter().map(figure));
    let ratio = of(|(well, stuck)| stuck.others.p99_micros / well.others.p99_micros);
    report.ratio("others_p99", ratio, Goal::AtMost(1.1));
    let ratio = of(|(well, stuck)| stuck.others.p50_micros / well.others.p50_micros);
    report.ratio("others_p50", ratio, Goal::Watched);
    report.figure("others_p99_before_us", of(|(well, _)| well.others.p99_micros));
    report.figure("others_p99_stuck_us", of(|(_, stuck)| stuck.others.p99_micros));
    report.figure("others_rps", of(|(_, stuck)| stuck.others.per_second));
    report.figure("stuck_rps", of(|(_, stuck)| stuck.stuck.per_second));
    report.figure("stuck_p99_us", of(|(_, stuck)| stuck.stuck.p99_micros));
    Ok(report)
}

/// What the callers saw in one turn.
struct Round {
    others: Load,
    stuck: Load,
}

/// Who calls.
struct Callers {
    of_others: OrchestratorClient<Channel>,
    of_stuck: Vec<OrchestratorClient<Channel>>,
    body: Bytes,
}

impl Callers {
    async fn connect(rig: &Rig) -> anyhow::Result<Self> {
        let of_stuck = try_join_all((0..STUCK_CONNECTIONS).map(|_| rig.orchestrator())).await?;
        Ok(Self { of_others: rig.orchestrator().await?, of_stuck, body: payload(PAYLOAD) })
    }

    async fn round(&self, names: &[String], time: Duration) -> anyhow::Result<Round> {
        let mut names = names.iter().map(String::as_str).cycle();
        let others = open_loop(PACE * OTHERS, time, || {
            invoke(self.of_others.clone(), names.next().unwrap_or_default(), &self.body)
        });
        let mut clients = self.of_stuck.iter().cycle();
        let stuck = open_loop(STUCK_PACE, time, || {
            let client = clients.next().unwrap_or(&self.of_others).clone();
            async {
                // However it ends: the others are measured.
                call_with_patience(client, &self.body).await.ok();
                Ok(())
            }
        });
        let (others, stuck) = try_join(others, stuck).await?;
        Ok(Round { others, stuck })
    }

    /// The stuck agent is itself again, and trusted again: its breaker is closed by hand, so that rounds need not wait.
    async fn recovered(&self, rig: &Rig) -> anyhow::Result<()> {
        let operations = OperationsClient::new(rig.channel().await?);
        until("the stuck agent to answer again", || async {
            let breakers = pb::BreakerSelector { agent: STUCK.to_owned(), ..Default::default() };
            let request = pb::ResetBreakersRequest { breakers: Some(breakers), reason: "thawed".to_owned() };
            operations.clone().reset_breakers(request).await.ok()?;
            call_with_patience(self.of_others.clone(), &self.body).await.ok()
        })
        .await;
        Ok(())
    }
}

async fn call_with_patience(mut client: OrchestratorClient<Channel>, body: &Bytes) -> anyhow::Result<()> {
    let request =
        pb::InvokeRequest { capability: STUCK.to_owned(), input: body.clone(), ..Default::default() };
    let mut request = tonic::Request::new(request);
    request.set_timeout(PATIENCE);
    client.invoke(request).await?;
    Ok(())
}
