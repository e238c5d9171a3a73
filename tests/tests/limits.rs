//! What an agent, a capability and a tenant are sent: declared rates and breakers' policies, with real processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};
use std::time::Duration;

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::process::mainstay;
use mainstay_tests::wait::until;
use mainstay_tests::world::{World, spec};
use serde_json::Value;
use tonic::Code;

const ONE: &str =
    "name: one\nversion: 1\nsteps:\n  - { id: a, call: { capability: work }, input: \"${input}\" }\n";

/// Runs a command against the world, off the runtime's thread.
async fn cli(world: &World, args: &[&str]) -> Output {
    let server = format!("http://{}", world.grpc);
    let mut command = Command::new(mainstay());
    command.args(args).args(["--server", &server, "--output", "json"]).env("USER", "olga");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The JSON answer of a command that must succeed.
async fn ok(world: &World, args: &[&str]) -> Value {
    let output = cli(world, args).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The code of a command that must fail.
async fn code(world: &World, args: &[&str]) -> String {
    let output = cli(world, args).await;
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    error["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_rate_changed_while_a_run_waits_lets_it_go_and_survives_a_crash() {
    let mut world = World::start().await;
    let agent = world.agent("writer", &[("work", "effect: read-only, rate: 2/h")]).await;
    world.put(ONE).await;
    let declared = ok(&world, &["limits", "list"]).await;
    assert_eq!((&declared[0]["target"], &declared[0]["rate"]), (&"agent/writer/work".into(), &"2/h".into()));
    let set = ["limits", "set", "agent/writer", "1000/m", "--burst", "100", "--reason", "quota"];
    let answer = ok(&world, &set).await;
    assert_eq!((&answer["by"], &answer["set"]), (&"olga".into(), &true.into()), "{answer}");

    world.invoke("work", r#"{"x": 1}"#).await.unwrap();
    let status = world.invoke("work", r#"{"x": 1}"#).await.unwrap_err();
    let seen = Seen::of(&status);
    assert_eq!((status.code(), &*seen.reason), (Code::ResourceExhausted, "RATE_LIMITED"), "{status:?}");
    assert!(seen.retry_after.unwrap() > Duration::from_secs(1_000));
    assert_eq!(agent.begun(), 1);

    // Half an hour is within the run's patience: it waits.
    let patient =
        ONE.replace("input:", "timeout: 1h, input:").replace("version: 1", "version: 2\ndeadline: 2h");
    world.put(&patient).await;
    let id = world.submit(spec("one", r#"{"x": 2}"#)).await.unwrap();
    let why = "over the rate of agent/writer/work, 2/h";
    world.until_run(&id, "to wait for its turn", |run| run.steps[0].waiting == why).await;
    world.kill();
    world.restart().await;
    world.until_healthy("writer").await;
    let after = ok(&world, &["limits", "list"]).await;
    let by_hand: Vec<_> = after.as_array().unwrap().iter().filter(|limit| limit["set"] == true).collect();
    assert_eq!((by_hand.len(), &by_hand[0]["since"]), (1, &answer["since"]), "{after}");
    // The meter began anew with the server, so that the run had its turn.
    assert_eq!(world.until_ended(&id).await.state(), pb::RunState::Completed);

    let id = world.submit(spec("one", r#"{"x": 3}"#)).await.unwrap();
    world.until_run(&id, "to wait for its turn", |run| run.steps[0].waiting == why).await;
    ok(&world, &["limits", "set", "agent/writer/work", "100/s", "--reason", "they pay now"]).await;
    let run = world.until_ended(&id).await;
    assert_eq!(run.state(), pb::RunState::Completed);
    let notes = run.steps[0].attempts[0].notes.join("; ");
    assert!(notes.contains(why), "the record says for what it waited: {notes}");

    let cleared = ok(&world, &["limits", "clear", "agent/writer/work"]).await;
    assert_eq!(cleared["reason"], "they pay now");
    until("the events to be on record", || async {
        let events = ok(&world, &["events", "--kind", "limit"]).await;
        let events = events["events"].as_array().unwrap().iter();
        let kinds: Vec<_> = events.map(|event| event["kind"].as_str().unwrap().to_owned()).collect();
        (kinds == ["limit.cleared", "limit.set", "limit.set"]).then_some(())
    })
    .await;
    let (_, metrics) = world.get("/metrics").await.unwrap();
    assert!(metrics.contains("mainstay_rated_calls_total{verdict=\"delayed\"}"), "{metrics}");
}

#[tokio::test]
async fn what_is_no_rate_or_not_known_is_refused_by_name_and_changes_nothing() {
    let world = World::start().await;
    let _agent = world.agent("writer", &[("work", "effect: read-only")]).await;
    for (args, expected) in [
        (["agent/writre", "1/s", "1"], "AGENT_NOT_FOUND"),
        (["agent/writer/wrok", "1/s", "1"], "CAPABILITY_UNKNOWN"),
        (["capability/wrok", "1/s", "1"], "CAPABILITY_UNKNOWN"),
        (["instance/writer/one", "1/s", "1"], "FIELD_INVALID"),
        (["agent/writer", "10", "1"], "FIELD_INVALID"),
        (["agent/writer", "10/s", "0"], "FIELD_INVALID"),
    ] {
        let [target, rate, burst] = args;
        let set = ["limits", "set", target, rate, "--burst", burst, "--reason", "x"];
        assert_eq!(code(&world, &set).await, expected, "{args:?}");
    }
    let rate = Some(pb::Rate { calls: "10/d".into(), burst: None });
    let request =
        pb::SetLimitRequest { target: "agent/writer".into(), rate, reason: "x".into(), ..Default::default() };
    let status = world.operations().set_limit(request).await.unwrap_err();
    assert_eq!(Seen::of(&status).violations[0].0, "rate.calls");
    assert_eq!(code(&world, &["limits", "clear", "agent/writer"]).await, "LIMIT_NOT_FOUND");
    assert_eq!(ok(&world, &["limits", "list", "--all-tenants"]).await, serde_json::json!([]));
}

#[tokio::test]
async fn a_breaker_opens_as_its_manifest_declares() {
    let world = World::start().await;
    let touchy = ("touchy", "effect: read-only, breaker: { in_a_row: 3, wait: 1h, max_wait: 1h }");
    let deaf = ("deaf", "effect: read-only, breaker: { weights: { agent-error: 0% } }");
    let _agent = world.agent("shaky", &[touchy, deaf]).await;
    world.invoke("touchy", r#"{"fail": "x"}"#).await.unwrap_err();
    // Each is tried three times.
    for _ in 0..3 {
        world.invoke("deaf", r#"{"fail": "x"}"#).await.unwrap_err();
    }
    let agent = world.until_agent("shaky", "to be there", |_| true).await;
    let breakers = agent.instances[0].breakers.iter();
    let states: Vec<_> = breakers.map(|it| (&*it.capability, it.state(), &*it.reason)).collect();
    assert_eq!(
        states,
        [
            ("touchy", pb::BreakerState::Open, "3 calls failed in a row"),
            ("deaf", pb::BreakerState::Closed, "")
        ]
    );
}

#[tokio::test]
async fn a_manifest_with_bad_limits_is_refused_with_the_field_and_the_way_out() {
    let world = World::start().await;
    let cases = [
        (
            "rate: 10/d",
            "capabilities[0].rate: must be 1 to 1000000 calls in a second, minute or hour, like 10/s",
        ),
        (
            "rate: { calls: 1/s, burst: 0 }",
            "capabilities[0].rate.burst: is 0; it must be a whole number, 1 to 1000000",
        ),
        ("breaker: { failed: 0% }", "capabilities[0].breaker.failed: must be 0.01% to 100%"),
        (
            "breaker: { weights: { overload: 1% } }",
            "capabilities[0].breaker.weights.overload: has no weight: busy is not dead",
        ),
        ("hedge: { after: p100 }", "capabilities[0].hedge.after: must be 1ms to 10m, or p50 to p99"),
    ];
    for (field, expected) in cases {
        let manifest = world.folder().join("bad.yaml");
        let text = format!(
            "name: bad\nadapter: {{ echo: {{}} }}\ncapabilities:\n  - name: work\n    effect: read-only\n    {field}\n"
        );
        std::fs::write(&manifest, text).unwrap();
        let mut command = Command::new(mainstay());
        command.args(["sidecar", "--manifest"]).arg(&manifest);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains("line 6") && said.contains(expected), "{said}");
    }
    let breaker = Some(pb::BreakerPolicy { probes: Some(0), ..Default::default() });
    let capability = pb::Capability {
        name: "work".into(),
        input_schema: "true".into(),
        output_schema: "true".into(),
        effect: pb::EffectClass::ReadOnly.into(),
        sla: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        max_concurrency: 1,
        breaker,
        ..Default::default()
    };
    let agent = pb::AgentSpec {
        name: "bad".into(),
        version: "1".into(),
        capabilities: vec![capability],
        ..Default::default()
    };
    let request = pb::RegisterRequest {
        agent: Some(agent),
        instance: "one".into(),
        address: "http://127.0.0.1:9".into(),
        ..Default::default()
    };
    let status = world.registry().register(request).await.unwrap_err();
    assert_eq!(Seen::of(&status).violations[0].0, "agent.capabilities[0].breaker.probes");
}

#[tokio::test]
async fn a_read_only_call_that_one_agent_sits_on_is_answered_by_another() {
    let world = World::start().await;
    let work = ("work", "effect: read-only, hedge: { after: 100ms }");
    let slow = world.agent("slow", &[work]).await;
    let fast = world.agent("fast", &[work]).await;
    fast.open("go").await;
    world.put(ONE).await;
    // Which of the two is asked first is a roll of the dice.
    let run = loop {
        let run = world.run("one", r#"{"x": 1, "gate": "go"}"#).await;
        assert_eq!(run.state(), pb::RunState::Completed, "{run:?}");
        if slow.begun() > 0 {
            break run;
        }
    };
    let attempts = &run.steps[0].attempts;
    let [sat, hedge] = &attempts[..] else { panic!("one hedge: {attempts:?}") };
    assert_eq!((&*sat.agent, sat.class()), ("slow", pb::OutcomeClass::Cancelled), "{sat:?}");
    assert_eq!((&*hedge.agent, hedge.class()), ("fast", pb::OutcomeClass::Success), "{hedge:?}");
    assert_eq!(sat.hedge_after, None);
    assert_eq!(hedge.hedge_after, Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 }));
    assert_eq!(hedge.notes[0], "a hedge: the sending before it had taken 100ms");
    world.until_agent("slow", "to be let go of", |agent| agent.instances[0].in_flight == 0).await;
}
