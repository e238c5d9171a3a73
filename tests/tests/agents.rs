//! Agents: registered, watched, skipped, taken back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::wait::until;
use mainstay_tests::world::World;
use rustix::process::Signal;
use tonic::{Code, Status};

const WORK: (&str, &str) = ("work", "effect: idempotent, max_concurrency: 64");

fn registration(instance: &str, address: &str) -> pb::RegisterRequest {
    pb::RegisterRequest {
        agent: Some(pb::AgentSpec {
            name: "guest".into(),
            version: "1".into(),
            capabilities: vec![pb::Capability {
                name: "guess".into(),
                input_schema: "true".into(),
                output_schema: "true".into(),
                effect: pb::EffectClass::ReadOnly.into(),
                sla: Some(prost_duration(2)),
                max_concurrency: 1,
                ..Default::default()
            }],
            ..Default::default()
        }),
        instance: instance.into(),
        address: address.into(),
        ttl: Some(prost_duration(5)),
        ..Default::default()
    }
}

fn prost_duration(seconds: u64) -> prost_types::Duration {
    mainstay_proto::time::duration(std::time::Duration::from_secs(seconds))
}

async fn register(world: &World, request: pb::RegisterRequest) -> Result<pb::RegisterResponse, Status> {
    Ok(world.registry().register(request).await?.into_inner())
}

#[tokio::test]
async fn a_registered_name_is_held_against_others_until_its_lease_lapses() {
    let world = World::start().await;
    let first = register(&world, registration("one", "http://127.0.0.1:1")).await.unwrap();
    let before = world.everything().await;
    let status = register(&world, registration("one", "http://127.0.0.1:2")).await.unwrap_err();
    assert_eq!((status.code(), Seen::of(&status).reason.as_str()), (Code::PermissionDenied, "INSTANCE_HELD"));
    let stolen =
        pb::RegisterRequest { lease_id: first.lease_id.clone(), ..registration("two", "http://127.0.0.1:2") };
    let status = register(&world, stolen).await.unwrap_err();
    assert_eq!(
        (status.code(), Seen::of(&status).reason.as_str()),
        (Code::PermissionDenied, "LEASE_NOT_YOURS")
    );
    assert_eq!(world.everything().await, before);
    // Nobody renews: it lapses, stays as history, and the name is free.
    world.until_agent("guest", "to lapse", |agent| !agent.instances[0].leased).await;
    let renew = pb::RenewRequest { lease_id: first.lease_id, ..Default::default() };
    let status = world.registry().renew(renew).await.unwrap_err();
    assert_eq!((status.code(), Seen::of(&status).reason.as_str()), (Code::NotFound, "LEASE_UNKNOWN"));
    let second = register(&world, registration("one", "http://127.0.0.1:2")).await.unwrap();
    assert_eq!((second.instance_id, second.epoch), (first.instance_id, 2));
}

#[tokio::test]
async fn the_holder_of_a_lease_may_move_to_another_address() {
    let world = World::start().await;
    let first = register(&world, registration("one", "http://127.0.0.1:1")).await.unwrap();
    let moved = pb::RegisterRequest { lease_id: first.lease_id, ..registration("one", "http://127.0.0.1:2") };
    assert_eq!(register(&world, moved).await.unwrap().epoch, 2);
    let agent = world.until_agent("guest", "to have moved", |_| true).await;
    assert_eq!(agent.instances[0].address, "http://127.0.0.1:2");
}

#[tokio::test]
async fn registrations_and_leases_survive_a_kill_of_the_control_plane() {
    let mut world = World::start().await;
    let _agent = world.agent("worker", &[WORK]).await;
    let before = world.everything().await;
    world.kill();
    world.restart().await;
    assert_eq!(world.everything().await, before, "the same epoch: the sidecar only went on renewing");
    world.until_healthy("worker").await;
    assert!(world.invoke("work", r#"{"x": 1}"#).await.is_ok());
}

#[tokio::test]
async fn a_sidecar_whose_lease_is_gone_registers_again_by_itself() {
    let world = World::start().await;
    let agent = world.agent("worker", &[WORK]).await;
    let frost = agent.sidecar.freeze();
    world.until_agent("worker", "to lapse", |agent| !agent.instances[0].leased).await;
    drop(frost);
    let back = world.until_agent("worker", "to be back", |agent| agent.instances[0].leased).await;
    assert_eq!(back.instances[0].epoch, 2);
    world.until_healthy("worker").await;
}

#[tokio::test]
async fn a_sick_agent_is_skipped_and_taken_back() {
    let world = World::start().await;
    let sick = world.agent("sick", &[WORK]).await;
    let _well = world.agent("well", &[WORK]).await;
    sick.set_well(false).await;
    world.until_agent("sick", "to be sick", |a| a.instances[0].health() == pb::HealthState::Unhealthy).await;
    for x in 0..20 {
        assert_eq!(world.invoke("work", &format!("{{\"x\":{x}}}")).await.unwrap().agent, "well");
    }
    sick.set_well(true).await;
    world.until_healthy("sick").await;
    until("the agent to be called again", || async {
        (world.invoke("work", r#"{"x": 1}"#).await.ok()?.agent == "sick").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_breaker_opens_on_a_failing_agent_lets_probes_through_and_closes() {
    let world = World::start().await;
    let failing = world.agent("failing", &[("fragile", "effect: read-only")]).await;
    let other = world.agent("other", &[WORK]).await;
    let call = |input: &'static str, limit: u64| {
        let request =
            pb::InvokeRequest { capability: "fragile".into(), input: input.into(), ..Default::default() };
        let mut request = tonic::Request::new(request);
        request.set_timeout(std::time::Duration::from_millis(limit));
        let mut client = world.orchestrator();
        async move { client.invoke(request).await }
    };
    let state = || async {
        let request = pb::GetAgentRequest { name: "failing".into(), ..Default::default() };
        let agent = world.registry().get_agent(request).await.unwrap().into_inner().agent.unwrap();
        (agent.instances[0].breakers[0].state(), agent.instances[0].breakers[0].opened)
    };
    until("the breaker to open", || async {
        call(r#"{"fail": "x"}"#, 2000).await.ok();
        (state().await.0 == pb::BreakerState::Open).then_some(())
    })
    .await;
    assert!(world.invoke("work", r#"{"x": 1}"#).await.is_ok(), "others are unaffected");
    until("a call to be held back by the open breaker", || async {
        let (before, calls) = (state().await, failing.ledger().len());
        call(r#"{"fail": "x"}"#, 50).await.ok();
        let held = state().await == before && before.0 == pb::BreakerState::Open;
        assert!(!held || failing.ledger().len() == calls, "an open breaker lets nothing through");
        held.then_some(())
    })
    .await;
    until("the breaker to close", || async {
        call(r#"{"x": 1}"#, 2000).await.ok();
        (state().await.0 == pb::BreakerState::Closed).then_some(())
    })
    .await;
    assert!(!other.ledger().is_empty());
}

#[tokio::test]
async fn a_frozen_sidecar_is_found_out_and_calls_go_elsewhere() {
    let world = World::start().await;
    let frozen = world.agent("frozen", &[WORK]).await;
    let _other = world.agent("other", &[WORK]).await;
    let frost = frozen.sidecar.freeze();
    world
        .until_agent("frozen", "to be found out", |a| a.instances[0].health() == pb::HealthState::Unhealthy)
        .await;
    for _ in 0..10 {
        assert_eq!(world.invoke("work", r#"{"x": 1}"#).await.unwrap().agent, "other");
    }
    drop(frost);
    world.until_healthy("frozen").await;
}

#[tokio::test]
async fn a_sidecar_that_is_told_to_end_gives_its_lease_back() {
    let world = World::start().await;
    let mut agent = world.agent("worker", &[WORK]).await;
    agent.sidecar.signal(Signal::TERM);
    world.until_agent("worker", "to be gone", |agent| !agent.instances[0].leased).await;
    assert_eq!(until("the sidecar to end", || std::future::ready(agent.sidecar.exit_code())).await, 0);
}

#[tokio::test]
async fn a_watcher_sees_agents_come_and_change() {
    let world = World::start().await;
    let mut stream =
        world.registry().watch_agents(pb::WatchAgentsRequest::default()).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap().event.unwrap();
    assert!(matches!(first, pb::watch_agents_response::Event::CaughtUp(_)));
    let _agent = world.agent("worker", &[WORK]).await;
    loop {
        let event = stream.message().await.unwrap().unwrap().event.unwrap();
        let pb::watch_agents_response::Event::Agent(agent) = event else { panic!("{event:?}") };
        if agent.instances[0].health() == pb::HealthState::Healthy {
            break;
        }
    }
}

#[tokio::test]
async fn a_watcher_that_does_not_read_costs_little_and_is_told_the_newest_when_it_does() {
    const CHANGES: u32 = 3_000;
    let mut world = World::start().await;
    let mut stream =
        world.registry().watch_agents(pb::WatchAgentsRequest::default()).await.unwrap().into_inner();
    let mut registry = world.registry();
    let registration = |version: u32| {
        let capability = pb::Capability {
            name: "guess".into(),
            description: "?".repeat(4_000),
            input_schema: "true".into(),
            output_schema: "true".into(),
            effect: pb::EffectClass::ReadOnly.into(),
            sla: Some(mainstay_proto::time::duration(std::time::Duration::from_secs(2))),
            max_concurrency: 1,
            ..Default::default()
        };
        let version = version.to_string();
        let capabilities = vec![capability];
        let agent = pb::AgentSpec { name: "worker".into(), version, capabilities, ..Default::default() };
        let address = "http://127.0.0.1:1".into();
        pb::RegisterRequest { agent: Some(agent), instance: "one".into(), address, ..Default::default() }
    };
    registry.register(registration(0)).await.unwrap();
    let memory = world.control_plane().watch_memory();
    for version in 1..=CHANGES {
        registry.register(registration(version)).await.unwrap();
    }
    let grown = memory.most_growth_kib();
    assert!(grown < 24 * 1024, "{grown} KiB for one that does not read");
    let mut told = 0;
    let mut again = false;
    loop {
        match stream.message().await.unwrap().unwrap().event.unwrap() {
            pb::watch_agents_response::Event::Agent(agent) => {
                told += 1;
                if agent.instances[0].version == CHANGES.to_string() {
                    break;
                }
            }
            pb::watch_agents_response::Event::Again(_) => again = true,
            pb::watch_agents_response::Event::CaughtUp(_) | pb::watch_agents_response::Event::Gone(_) => {}
        }
    }
    assert!(again && told < CHANGES, "it is told to forget, and what changed meanwhile once");
}

#[tokio::test]
async fn a_client_resolves_a_capability_and_calls_the_sidecar_itself() {
    let world = World::start().await;
    let _agent = world.agent("worker", &[WORK]).await;
    let ask = |capability: &str, limit| pb::ResolveRequest {
        capability: capability.into(),
        limit,
        ..Default::default()
    };
    let found = world.registry().resolve(ask("work", 5)).await.unwrap().into_inner();
    assert!(found.valid_for.is_some());
    let [instance] = &found.instances[..] else { panic!("{found:?}") };
    assert_eq!((&*instance.agent, instance.effect()), ("worker", pb::EffectClass::Idempotent));
    let channel = tonic::transport::Endpoint::new(instance.address.clone()).unwrap().connect().await.unwrap();
    let call = pb::AgentSidecarInvokeRequest {
        attempt_id: format!("att_{:032x}", 7),
        capability: "work".into(),
        input: r#"{"x": 1}"#.into(),
        epoch: 1,
        ..Default::default()
    };
    let mut sidecar = pb::agent_sidecar_client::AgentSidecarClient::new(channel);
    let mut answer = sidecar.invoke(call).await.unwrap().into_inner();
    let mut outcome = None;
    while let Some(message) = answer.message().await.unwrap() {
        outcome = message.event;
    }
    let outcome = outcome.unwrap();
    assert!(matches!(outcome, pb::agent_sidecar_invoke_response::Event::Outcome(_)), "{outcome:?}");
    for (request, reason) in [(ask("nothing", 1), "CAPABILITY_UNKNOWN"), (ask("work", 101), "FIELD_INVALID")]
    {
        let status = world.registry().resolve(request).await.unwrap_err();
        assert_eq!(mainstay_proto::fault::Seen::of(&status).reason, reason);
    }
}
