//! One call with 1 KiB of JSON: through control plane and sidecar (its echo adapter), beside a plain tonic server that
//! echoes the very same message. Each is called by one waiting client for its latency and by 64 for its throughput.

use std::time::Duration;

use anyhow::Context;
use mainstay_proto::pb::orchestrator_client::OrchestratorClient;

use super::load::{Load, closed_loop};
use super::report::{Goal, Report, median};
use super::rig::{Offer, Rig, connect, invoke, payload};

/// Bytes of JSON in each direction.
const PAYLOAD: usize = 1024;

/// Clients at once where throughput is measured.
const MANY: usize = 64;

/// One turn of everything.
struct Round {
    direct_1: Load,
    routed_1: Load,
    direct_many: Load,
    routed_many: Load,
}

/// Measures it.
///
/// # Errors
/// If a process does not start or a call fails.
pub async fn measure(quick: bool) -> anyhow::Result<Report> {
    let mut rig = Rig::with_control_plane().await?;
    let at = rig.helper("echo", "direct", &[]).await?;
    rig.sidecar(Offer::new("bench.echo", "{ echo: {} }")).await?;
    let direct = OrchestratorClient::new(connect(at.first().context("an address")?).await?);
    let routed = rig.orchestrator().await?;
    let body = payload(PAYLOAD);
    let once = |client: &OrchestratorClient<_>| invoke(client.clone(), "bench.echo", &body);

    let (rounds, time) =
        if quick { (5, Duration::from_millis(1200)) } else { (15, Duration::from_millis(2000)) };
    // Warm: connections, allocators, branch predictors.
    for client in [&direct, &routed] {
        closed_loop(MANY, time / 2, || once(client)).await?;
    }
    let mut all = Vec::new();
    for _ in 0..rounds {
        all.push(Round {
            direct_1: closed_loop(1, time, || once(&direct)).await?,
            routed_1: closed_loop(1, time, || once(&routed)).await?,
            direct_many: closed_loop(MANY, time, || once(&direct)).await?,
            routed_many: closed_loop(MANY, time, || once(&routed)).await?,
        });
    }
    Ok(report(&all))
}

fn report(rounds: &[Round]) -> Report {
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
    let mut report = Report::new("call");
    let latency = of(|round| round.routed_1.p50_micros / round.direct_1.p50_micros);
    report.ratio("p50_c1_vs_direct", latency, Goal::AtMost(4.2));
    let throughput = of(|round| round.routed_many.per_second / round.direct_many.per_second);
    report.ratio("rps_c64_vs_direct", throughput, Goal::AtLeast(0.30));
    report.figure("direct_c1_p50_us", of(|round| round.direct_1.p50_micros));
    report.figure("direct_c1_p99_us", of(|round| round.direct_1.p99_micros));
    report.figure("direct_c64_rps", of(|round| round.direct_many.per_second));
    report.figure("routed_c1_p50_us", of(|round| round.routed_1.p50_micros));
    report.figure("routed_c1_p99_us", of(|round| round.routed_1.p99_micros));
    report.figure("routed_c64_rps", of(|round| round.routed_many.per_second));
    report.figure("routed_c64_p50_us", of(|round| round.routed_many.p50_micros));
    report.figure("routed_c64_p99_us", of(|round| round.routed_many.p99_micros));
    report
}
