//! Versions of an agent side by side, with real processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::process::mainstay;
use mainstay_tests::wait::until;
use mainstay_tests::world::{Agent, World};
use pb::rollouts_client::RolloutsClient;
use serde_json::Value;

const READ: (&str, &str) =
    ("work", "effect: read-only, max_concurrency: 8, breaker: { in_a_row: 100, min_calls: 1000 }");

/// A rollout of `writer` from version 1 to 2, without breakers: the comparison must notice by itself.
fn document(lines: &str) -> String {
    format!(
        "name: writer\nversion: 1\nagent: writer\nstable: \"1\"\ncandidate: \"2\"\n\
         sticky: {{ input: \"${{input.x}}\" }}\n{lines}\n"
    )
}

/// A world with an instance of each version.
async fn world(capability: (&str, &str)) -> (World, [Agent; 2]) {
    let world = World::start().await;
    let offers = [capability];
    let agents = [world.version("writer", "1", &offers).await, world.version("writer", "2", &offers).await];
    world.until_agent("writer", "to have both versions", |agent| agent.instances.len() == 2).await;
    world.until_healthy("writer").await;
    (world, agents)
}

async fn put(world: &World, document: String) -> Result<pb::PutRolloutResponse, tonic::Status> {
    let request = pb::PutRolloutRequest { document, ..Default::default() };
    Ok(RolloutsClient::new(world.channel()).put_rollout(request).await?.into_inner())
}

async fn get(world: &World) -> pb::GetRolloutResponse {
    let request = pb::GetRolloutRequest { name: "writer".to_owned(), ..Default::default() };
    RolloutsClient::new(world.channel()).get_rollout(request).await.unwrap().into_inner()
}

async fn phase(world: &World) -> (pb::RolloutPhase, u32) {
    let rollout = get(world).await.rollout.unwrap();
    (rollout.phase(), rollout.weight_bp)
}

/// The version that answered a call with this input.
async fn version(world: &World, x: i64) -> String {
    world.invoke("work", &format!(r#"{{"x": {x}}}"#)).await.unwrap().version
}

/// Runs a command against the world, off the runtime's thread.
async fn cli(world: &World, args: &[&str]) -> Output {
    let server = format!("http://{}", world.grpc);
    let mut command = Command::new(mainstay());
    command.args(args).args(["--server", &server, "--output", "json"]).env("USER", "olga");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn ok(world: &World, args: &[&str]) -> Value {
    let output = cli(world, args).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_bad_candidate_goes_to_weight_zero_by_itself_and_stays_there_after_a_kill() {
    let (mut world, [_one, two]) = world(READ).await;
    put(&world, document("weight: 30%\nroll_back: { breaker: false }")).await.unwrap();
    two.fail(50).await;
    let (mut calls, mut bad) = (0_i64, 0_u32);
    while phase(&world).await.0 != pb::RolloutPhase::RolledBack {
        calls += 1;
        assert!(calls < 2_000, "it should have been noticed");
        // A retry goes to the stable version, so the caller is answered all the same.
        let answer = world.invoke("work", &format!(r#"{{"x": {calls}}}"#)).await.unwrap();
        bad += u32::from(answer.attempts > 1);
    }
    println!("bad share: {bad} of {calls} calls failed at the candidate before it lost them");
    assert!(bad <= 60, "{bad} of {calls}");
    let begun = two.begun();
    for x in 0..30 {
        assert_eq!(version(&world, x).await, "1");
    }
    world.kill();
    world.restart().await;
    world.until_healthy("writer").await;
    assert_eq!(phase(&world).await, (pb::RolloutPhase::RolledBack, 0));
    for x in 0..30 {
        assert_eq!(version(&world, x).await, "1");
    }
    assert_eq!(two.begun(), begun, "the candidate gets no calls any more");
    let history = ok(&world, &["rollouts", "history", "writer"]).await;
    assert!(history[0]["reason"].as_str().unwrap().starts_with("the candidate failed"), "{history}");
    let events = ok(&world, &["events", "--kind", "rollout.rolled-back"]).await;
    assert_eq!(events["events"].as_array().unwrap().len(), 1, "{events}");
    let again = ok(&world, &["rollouts", "list"]).await;
    assert_eq!((&again[0]["phase"], &again[0]["weight_bp"]), (&"rolled-back".into(), &0.into()));
    let refused = cli(&world, &["rollouts", "promote", "writer", "--reason", "hope"]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ROLLOUT_OVER"), "{refused:?}");
}

#[tokio::test]
async fn a_good_candidate_is_promoted_by_itself_also_across_a_kill() {
    let (mut world, _agents) = world(READ).await;
    let ladder = "steps: [{ weight: 40%, samples: 30, for: 1s }, { weight: 100%, samples: 30, for: 1s }]";
    put(&world, document(&format!("{ladder}\nroll_back: {{ slower: 1000% }}"))).await.unwrap();
    let mut x = 0;
    while phase(&world).await.1 < 10_000 {
        x += 1;
        version(&world, x).await;
    }
    // Traffic does not wait for the disk; what the events call on record is there.
    until("the step to be on record", || async {
        let events = ok(&world, &["events", "--kind", "rollout.progressed"]).await;
        events["events"][0]["on_record"].as_bool().filter(|on_record| *on_record)
    })
    .await;
    world.kill();
    world.restart().await;
    world.until_healthy("writer").await;
    assert_eq!(phase(&world).await.1, 10_000, "it goes on where it stood");
    while phase(&world).await.0 != pb::RolloutPhase::Promoted {
        x += 1;
        version(&world, x).await;
    }
    assert_eq!(version(&world, 0).await, "2");
    let reasons: Vec<String> = get(&world).await.history.into_iter().map(|change| change.reason).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[2].contains("was put") && reasons[0].contains("went no worse"), "{reasons:?}");
}

#[tokio::test]
async fn keys_keep_their_version_over_a_kill_and_move_only_towards_the_candidate() {
    let (mut world, _agents) = world(READ).await;
    put(
        &world,
        document("steps: [{ weight: 20%, for: 1h }, { weight: 60%, for: 1h }, { weight: 100%, for: 1h }]"),
    )
    .await
    .unwrap();
    let mut before = Vec::new();
    for x in 0..40 {
        before.push(version(&world, x).await);
    }
    assert!(before.contains(&"1".to_owned()) && before.contains(&"2".to_owned()), "{before:?}");
    world.kill();
    world.restart().await;
    world.until_healthy("writer").await;
    for (x, version_before) in (0..).zip(&before) {
        assert_eq!(version(&world, x).await, *version_before);
    }
    let turned = ok(&world, &["rollouts", "promote", "writer", "--reason", "looks good"]).await;
    assert_eq!(turned["weight_bp"], 6_000, "{turned}");
    for (x, version_before) in (0..).zip(&before) {
        let now = version(&world, x).await;
        assert!(now == *version_before || now == "2", "{x} moved back");
    }
    let shown = ok(&world, &["rollouts", "show", "writer"]).await;
    assert_eq!(
        (&shown["phase"], &shown["stable"]["version"]),
        (&"progressing".into(), &"1".into()),
        "{shown}"
    );
    let back = ok(&world, &["rollouts", "rollback", "writer", "--reason", "wrong tone"]).await;
    assert_eq!(back["weight_bp"], 0);
    let newest = &ok(&world, &["rollouts", "history", "writer"]).await[0];
    assert_eq!(
        (&newest["by"], &newest["reason"]),
        (&"olga".into(), &"rolled back by hand: wrong tone".into())
    );
}

#[tokio::test]
async fn copies_never_change_an_answer_and_never_touch_what_changes_the_world() {
    let (world, [_one, two]) = world(READ).await;
    put(&world, document("weight: 0%\nshadow: 100%")).await.unwrap();
    two.fail(100).await;
    for x in 0..20 {
        let answer = world.invoke("work", &format!(r#"{{"x": {x}}}"#)).await.unwrap();
        assert_eq!((&*answer.version, answer.attempts), ("1", 1));
        assert_eq!(answer.answer.unwrap().output, format!(r#"{{"x":{}}}"#, x + 1));
    }
    until("copies to be compared", || async {
        get(&world).await.rollout.unwrap().shadow.filter(|shadow| shadow.failed > 0)
    })
    .await;
    assert!(two.begun() > 0);
    assert_eq!(phase(&world).await.0, pb::RolloutPhase::Held, "copies are no evidence");

    let (world, [_one, two]) = self::world(("work", "effect: side-effecting, max_concurrency: 8")).await;
    put(&world, document("weight: 0%\nshadow: 100%")).await.unwrap();
    for x in 0..20 {
        assert_eq!(version(&world, x).await, "1");
    }
    assert_eq!(two.begun(), 0);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_its_field_and_changes_nothing() {
    let world = World::start().await;
    let _one = world.version("writer", "1", &[READ]).await;
    let strict = "effect: read-only, max_concurrency: 8, input: { type: object, required: [tone] }";
    let _two = world.version("writer", "2", &[("work", strict)]).await;
    world.until_agent("writer", "to have both versions", |agent| agent.instances.len() == 2).await;
    for (document, code, field) in [
        (document("weight: 5%"), "ROLLOUT_CONTRACT_BROKEN", "document.candidate"),
        (document("weight: 500%"), "FIELD_RANGE", "document.weight"),
        (document("weigth: 5%"), "ROLLOUT_INVALID", "document.weigth"),
        (
            document("weight: 5%").replace("candidate: \"2\"", "candidate: \"1\""),
            "FIELD_RANGE",
            "document.candidate",
        ),
    ] {
        let status = put(&world, document).await.unwrap_err();
        let seen = Seen::of(&status);
        assert_eq!(seen.reason, code, "{status:?}");
        assert!(seen.violations.iter().any(|(at, _)| at == field), "{seen:?}");
    }
    let listed = ok(&world, &["rollouts", "list"]).await;
    assert_eq!(listed, serde_json::json!([]));
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/rollouts/writer.yaml");
    let lint = ok(&world, &["rollouts", "lint", example]).await;
    assert_eq!(lint[0]["findings"], serde_json::json!([]), "{lint}");
}
