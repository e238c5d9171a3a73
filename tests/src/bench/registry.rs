//! Ten thousand instances, each at an address of its own: how long it takes to register them, what they cost in memory,
//! and what it costs to poll each of them every ten seconds, which is the control plane's own pace.

use std::time::Duration;

use anyhow::Context;
use futures::stream::{self, StreamExt, TryStreamExt};
use mainstay_proto::pb;
use pb::agent_registry_client::AgentRegistryClient;
use tonic::transport::Channel;

use super::helper::polls_beside;
use super::host;
use super::report::{Goal, Report};
use super::rig::{Offer, Rig};
use crate::wait::until;

/// Instances, and the helper processes that hold them: each needs two open files an instance.
const INSTANCES: usize = 10_000;
const HELPERS: usize = 2;

/// Instances of one agent.
const INSTANCES_AN_AGENT: usize = 100;

/// Registrations under way at once.
const AT_ONCE: usize = 64;

/// How long a lease lasts here: beyond the end, so that polling alone is measured.
const TTL_SECONDS: i64 = 600;

/// Measures it.
///
/// # Errors
/// If a process does not start or a registration fails.
pub async fn measure(quick: bool) -> anyhow::Result<Report> {
    let mut rig = Rig::with_control_plane().await?;
    let control_plane = rig.control_plane.as_ref().context("a control plane")?.id();
    let mut report = Report::new("registry");
    report.figure("idle_control_plane_mib", host::resident_mib(control_plane)?);
    let sidecar = rig.sidecar(Offer::new("bench.echo", "{ echo: {} }")).await?;
    report.figure("idle_sidecar_mib", host::resident_mib(sidecar)?);

    let mut addresses = Vec::new();
    for helper in 0..HELPERS {
        let count = (INSTANCES / HELPERS).to_string();
        addresses.extend(rig.helper("instances", &format!("instances-{helper}"), &[&count]).await?);
    }
    let client = rig.registry().await?;
    let started = host::now();
    let registering = addresses.iter().enumerate().map(|(number, at)| register(client.clone(), number, at));
    stream::iter(registering).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let took = started.elapsed();
    report.figure("register_s", took.as_secs_f64());
    report.figure("registrations_per_s", INSTANCES as f64 / took.as_secs_f64());
    until("every instance to be polled", || async {
        (polls(&rig).is_some_and(|polls| polls >= INSTANCES as u64)).then_some(())
    })
    .await;
    report.figure("all_polled_s", started.elapsed().as_secs_f64());

    let time = if quick { Duration::from_secs(20) } else { Duration::from_secs(60) };
    let (cpu, answered, began) = (host::cpu(control_plane)?, polls(&rig), host::now());
    tokio::time::sleep(time).await;
    let took = began.elapsed().as_secs_f64();
    let used = host::cpu(control_plane)? - cpu;
    report.ratio("poll_cores", used.as_secs_f64() / took, Goal::AtMost(0.5));
    report.ratio("rss_mb", host::resident_mib(control_plane)?, Goal::Watched);
    let answered = polls(&rig).unwrap_or(0) - answered.unwrap_or(0);
    report.figure("polls_per_s", answered as f64 / took);
    report.figure("instances", INSTANCES as f64);
    Ok(report)
}

/// Polls that all instances have answered so far.
fn polls(rig: &Rig) -> Option<u64> {
    let of = |helper| {
        let ready = rig.folder().join(format!("instances-{helper}.ready"));
        std::fs::read_to_string(polls_beside(&ready)).ok()?.parse::<u64>().ok()
    };
    (0..HELPERS).map(of).sum()
}

async fn register(
    mut client: AgentRegistryClient<Channel>,
    number: usize,
    address: &str,
) -> anyhow::Result<()> {
    let agent = number / INSTANCES_AN_AGENT;
    let capability = pb::Capability {
        name: format!("bench.polled-{agent}"),
        description: "Is asked how it is".to_owned(),
        input_schema: r#"{"type":"object","required":["text"],"properties":{"text":{"type":"string"}}}"#
            .into(),
        output_schema: r#"{"type":"object"}"#.into(),
        effect: pb::EffectClass::ReadOnly.into(),
        sla: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
        max_concurrency: 16,
        ..Default::default()
    };
    let request = pb::RegisterRequest {
        agent: Some(pb::AgentSpec {
            name: format!("polled-{agent}"),
            version: "1".to_owned(),
            capabilities: vec![capability],
            ..Default::default()
        }),
        instance: format!("instance-{number}"),
        address: format!("http://{address}"),
        ttl: Some(prost_types::Duration { seconds: TTL_SECONDS, nanos: 0 }),
        ..Default::default()
    };
    client.register(request).await?;
    Ok(())
}
