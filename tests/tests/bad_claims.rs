//! Claims that are not the caller's to make: somebody else's lease, a page token of another question, another tenant's
//! things. Each is refused by its own reason and changes nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::world::World;
use tonic::{Code, Status};

const WORK: (&str, &str) = ("work", "effect: idempotent, max_concurrency: 64");

fn registration(agent: &str, address: &str) -> pb::RegisterRequest {
    let capability = pb::Capability {
        name: "guess".into(),
        input_schema: "true".into(),
        output_schema: "true".into(),
        effect: pb::EffectClass::ReadOnly.into(),
        sla: Some(mainstay_proto::time::duration(std::time::Duration::from_secs(2))),
        max_concurrency: 1,
        ..Default::default()
    };
    let agent = pb::AgentSpec {
        name: agent.into(),
        version: "1".into(),
        capabilities: vec![capability],
        ..Default::default()
    };
    pb::RegisterRequest {
        agent: Some(agent),
        instance: "one".into(),
        address: address.into(),
        ..Default::default()
    }
}

/// Asserts code, reason, field and that there is a hint.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, reason: &str, field: &str) {
    let status = answer.unwrap_err();
    let seen = Seen::of(&status);
    assert_eq!((status.code(), seen.reason.as_str()), (code, reason), "{status:?}");
    assert!(
        seen.violations.iter().any(|(at, text)| at == field && !text.is_empty()),
        "{:?}",
        seen.violations
    );
    assert!(!seen.hint.is_empty());
}

#[tokio::test]
async fn a_lease_answers_to_its_holder_alone() {
    let world = World::start().await;
    let granted = |agent: &'static str| {
        let mut registry = world.registry();
        async move { registry.register(registration(agent, "http://127.0.0.1:1")).await.unwrap().into_inner() }
    };
    let (ours, theirs) = (granted("ours").await, granted("theirs").await);
    let before = world.everything().await;
    let mut registry = world.registry();
    let not_yours = (Code::PermissionDenied, "LEASE_NOT_YOURS", "lease_id");

    let renewal =
        pb::RenewRequest { lease_id: theirs.lease_id.clone(), instance_id: ours.instance_id.clone() };
    refused(registry.renew(renewal).await, not_yours.0, not_yours.1, not_yours.2);
    let farewell = pb::DeregisterRequest {
        lease_id: theirs.lease_id.clone(),
        instance_id: ours.instance_id.clone(),
        ..Default::default()
    };
    refused(registry.deregister(farewell).await, not_yours.0, not_yours.1, not_yours.2);
    let taken = pb::RegisterRequest {
        lease_id: theirs.lease_id.clone(),
        ..registration("ours", "http://127.0.0.1:2")
    };
    refused(registry.register(taken).await, not_yours.0, not_yours.1, not_yours.2);
    assert_eq!(world.everything().await, before);

    // A registration replaces the lease before it, which is worth nothing from then on.
    let again =
        pb::RegisterRequest { lease_id: ours.lease_id.clone(), ..registration("ours", "http://127.0.0.1:2") };
    let again = registry.register(again).await.unwrap().into_inner();
    assert_eq!((again.instance_id.as_str(), again.epoch), (ours.instance_id.as_str(), ours.epoch + 1));
    let renewal = pb::RenewRequest { lease_id: ours.lease_id, instance_id: ours.instance_id };
    refused(registry.renew(renewal).await, Code::NotFound, "LEASE_UNKNOWN", "lease_id");
    let renewal = pb::RenewRequest { lease_id: again.lease_id, instance_id: String::new() };
    registry.renew(renewal).await.unwrap();
}

#[tokio::test]
async fn a_page_token_is_of_one_question_and_outlives_a_restart() {
    let mut world = World::start().await;
    let _agent = world.agent("worker", &[WORK]).await;
    for name in ["first", "second", "third"] {
        world
            .put(&format!(
                "name: {name}\nversion: 1\nsteps:\n  - {{ id: a, call: {{ capability: work }} }}\n"
            ))
            .await;
        world.run(name, r#"{"x": 1}"#).await;
    }
    let question = pb::ListRunsRequest { page_size: 1, ..Default::default() };
    let page = world.orchestrator().list_runs(question.clone()).await.unwrap().into_inner();
    let token = page.next_page_token;
    let with = |token: &str| pb::ListRunsRequest { page_token: token.into(), ..question.clone() };
    let invalid = (Code::InvalidArgument, "PAGE_TOKEN_INVALID", "page_token");

    let tampered: String = token.chars().rev().collect();
    let other_tenant = pb::ListRunsRequest { tenant: "acme".into(), ..with(&token) };
    let other_filter = pb::ListRunsRequest { workflow: "first".into(), ..with(&token) };
    for request in [with(&tampered), with(&token[1..]), with("\u{202e}"), other_tenant, other_filter] {
        refused(world.orchestrator().list_runs(request).await, invalid.0, invalid.1, invalid.2);
    }
    let elsewhere = pb::ListWorkflowsRequest { page_token: token.clone(), ..Default::default() };
    refused(world.workflows().list_workflows(elsewhere).await, invalid.0, invalid.1, invalid.2);
    let elsewhere = pb::ListAgentsRequest { page_token: token.clone(), ..Default::default() };
    refused(world.registry().list_agents(elsewhere).await, invalid.0, invalid.1, invalid.2);

    world.kill();
    world.restart().await;
    let next = world.orchestrator().list_runs(with(&token)).await.unwrap().into_inner();
    assert_eq!(next.runs[0].workflow, "second");
}

#[tokio::test]
async fn a_tenant_sees_and_touches_nothing_of_another() {
    let world = World::start().await;
    let agent = world.agent("worker", &[WORK]).await;
    world.put("name: one\nversion: 1\nsteps:\n  - { id: a, call: { capability: work } }\n").await;
    let open = mainstay_tests::world::spec("one", r#"{"x": 1, "gate": "go"}"#);
    let id = world.submit(open.clone()).await.unwrap();
    agent.until_begun(1).await;
    let tenant = "acme".to_owned();
    let mut orchestrator = world.orchestrator();

    let cancel = pb::CancelRunRequest { tenant: tenant.clone(), run_id: id.clone(), ..Default::default() };
    refused(orchestrator.cancel_run(cancel).await, Code::NotFound, "RUN_NOT_FOUND", "run_id");
    let watch = pb::WatchRunRequest { tenant: tenant.clone(), run_id: id.clone(), from_event: 1 };
    let watched = orchestrator.watch_run(watch).await.map(drop);
    refused(watched, Code::NotFound, "RUN_NOT_FOUND", "run_id");
    let run = pb::SubmitRequest { run: Some(pb::RunSpec { tenant: tenant.clone(), ..open }) };
    refused(orchestrator.submit(run).await, Code::NotFound, "WORKFLOW_NOT_FOUND", "run.workflow");
    let invoke =
        pb::InvokeRequest { tenant: tenant.clone(), capability: "work".into(), ..Default::default() };
    refused(orchestrator.invoke(invoke).await, Code::NotFound, "CAPABILITY_UNKNOWN", "capability");
    let agents = pb::ListAgentsRequest { tenant: tenant.clone(), ..Default::default() };
    assert_eq!(world.registry().list_agents(agents).await.unwrap().into_inner().agents, []);
    let runs = pb::ListRunsRequest { tenant, ..Default::default() };
    assert_eq!(orchestrator.list_runs(runs).await.unwrap().into_inner().runs, []);

    agent.open("go").await;
    assert_eq!(world.until_ended(&id).await.state(), pb::RunState::Completed);
}
