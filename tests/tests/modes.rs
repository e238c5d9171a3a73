//! Operating modes, priorities and the door, with real processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

use futures::future::join_all;
use mainstay_kernel::priority::Priority;
use mainstay_proto::fault::Seen;
use mainstay_proto::{pb, priority};
use mainstay_tests::process::mainstay;
use mainstay_tests::wait::until;
use mainstay_tests::world::{World, spec};
use serde_json::Value;
use tonic::{Code, Request, Status};

const WORK: (&str, &str) = ("work", "effect: read-only, max_concurrency: 1");
const ONE: &str =
    "name: one\nversion: 1\nsteps:\n  - { id: a, call: { capability: work }, input: \"${input}\" }\n";
const BATCH: &str = "name: batch\nversion: 1\ndrop_in: degraded\nsteps:\n  - { id: a, call: { capability: work }, \
                     input: \"${input}\" }\n";
const REVIEWED: &str = "name: reviewed\nversion: 1\nsteps:\n  - { id: a, call: { capability: work }, input: \"${input}\" }\n  \
                        - { id: review, after: [a], call: { capability: work }, optional: true, drop_in: degraded }\n\
                        output: { answer: \"${steps.a.output}\" }\n";

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

async fn submit(world: &World, workflow: &str, urgency: Priority) -> Result<String, Status> {
    let mut request = Request::new(pb::SubmitRequest { run: Some(spec(workflow, "{}")) });
    priority::set(&mut request, urgency);
    world.orchestrator().submit(request).await.map(|answer| answer.into_inner().run_id)
}

/// Waits until just these changes of the mode are told, whatever the order: events are shown once they are on disk.
async fn until_told(world: &World, wanted: &[&str]) {
    until("the changes of the mode to be told", || async {
        let told = ok(world, &["events", "--kind", "mode"]).await;
        let mut kinds: Vec<&str> =
            told["events"].as_array()?.iter().map(|event| event["kind"].as_str()).collect::<Option<_>>()?;
        kinds.sort_unstable();
        (kinds == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_mode_set_by_hand_survives_a_kill_and_sheds_with_a_retry_delay_until_it_is_handed_back() {
    let mut world = World::start().await;
    let _agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    let set = ok(&world, &["mode", "set", "emergency", "--reason", "the disk array burns"]).await;
    assert_eq!(
        (&set["mode"], &set["by"], &set["by_hand"]),
        (&"emergency".into(), &"olga".into(), &true.into())
    );

    until_told(&world, &["mode.lowered"]).await;
    world.kill();
    world.restart().await;
    world.until_healthy("worker").await;
    let shown = ok(&world, &["mode", "show"]).await;
    assert_eq!((&shown["mode"], &shown["since"]), (&set["mode"], &set["since"]), "{shown}");
    assert_eq!(ok(&world, &["status"]).await["mode"]["reason"], "the disk array burns");
    let (_, metrics) = world.get("/metrics").await.unwrap();
    assert!(metrics.contains("mainstay_mode 2"), "{metrics}");

    assert_eq!(world.get("/readyz").await.unwrap().0, 200);
    ok(&world, &["drain", "agent/worker", "--reason", "upgrade", "--wait", "30s"]).await;
    ok(&world, &["resume", "agent/worker"]).await;

    for urgency in [Priority::Sheddable, Priority::SheddablePlus] {
        let refused = submit(&world, "one", urgency).await.unwrap_err();
        let seen = Seen::of(&refused);
        assert_eq!((refused.code(), &*seen.reason), (Code::ResourceExhausted, "OVERLOADED"), "{refused:?}");
        assert!(seen.retry_after.is_some() && refused.message().contains("emergency"), "{refused:?}");
    }
    let id = submit(&world, "one", Priority::Critical).await.unwrap();
    assert_eq!(world.until_ended(&id).await.state(), pb::RunState::Completed);

    let back = ok(&world, &["mode", "auto"]).await;
    assert_eq!((&back["mode"], &back["by_hand"]), (&"full".into(), &false.into()));
    let id = submit(&world, "one", Priority::Sheddable).await.unwrap();
    assert_eq!(world.until_ended(&id).await.state(), pb::RunState::Completed);
    until_told(&world, &["mode.lowered", "mode.raised"]).await;
}

#[tokio::test]
async fn a_mode_without_a_reason_or_a_word_that_is_no_priority_is_refused_by_name() {
    let world = World::start().await;
    let request = pb::SetModeRequest { mode: 2, reason: " ".into(), by: String::new() };
    let refused = world.operations().set_mode(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut request = Request::new(pb::SubmitRequest { run: Some(spec("one", "{}")) });
    request.metadata_mut().insert("mainstay-priority", "high".parse().unwrap());
    let refused = world.orchestrator().submit(request).await.unwrap_err();
    assert!(refused.message().contains("mainstay-priority") && refused.message().contains("critical-plus"));
}

#[tokio::test]
async fn under_overload_the_urgent_are_served_operators_are_answered_and_every_accepted_run_ends() {
    let world = World::start().await;
    let agent = world.agent("worker", &[WORK]).await;
    world.put(ONE).await;
    let gated = r#"{"gate": "go"}"#;
    let runs: Vec<String> = join_all((0..10).map(|_| world.submit(spec("one", gated))))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    agent.until_begun(1).await;
    let call = |n: u32| {
        let urgency = if n.is_multiple_of(10) { Priority::CriticalPlus } else { Priority::Sheddable };
        let mut client = world.orchestrator();
        async move {
            let mut request = Request::new(pb::InvokeRequest {
                capability: "work".into(),
                input: "{}".into(),
                ..Default::default()
            });
            request.set_timeout(std::time::Duration::from_secs(60));
            priority::set(&mut request, urgency);
            (urgency, client.invoke(request).await.map(drop))
        }
    };
    let calls = async { join_all((0..100).map(call)).await };
    let look = async {
        until("a hundred calls to wait or be refused", || async {
            let (_, metrics) = world.get("/metrics").await?;
            let waiting = metrics.lines().find_map(|line| line.strip_prefix("mainstay_waiting_calls "))?;
            (waiting.parse::<u32>().ok()? >= 100).then_some(())
        })
        .await;
        assert_eq!(world.get("/readyz").await.unwrap().0, 200);
        assert!(ok(&world, &["mode", "show"]).await["mode"].is_string());
        agent.open("go").await;
    };
    let (calls, ()) = futures::join!(calls, look);
    for (urgency, answer) in calls {
        match answer {
            Ok(()) => {}
            Err(refused) if urgency == Priority::Sheddable => {
                assert!(Seen::of(&refused).retry_after.is_some(), "{refused:?}");
            }
            Err(refused) => panic!("{urgency}: {refused:?}"),
        }
    }
    for id in runs {
        assert_eq!(world.until_ended(&id).await.state(), pb::RunState::Completed);
    }
}

#[tokio::test]
async fn a_long_line_degrades_the_mode_by_rule_and_a_short_one_gives_it_back_after_the_dwell() {
    let flags = ["--max-calls", "20", "--mode-rule", "queue.degraded=25%/10%", "--mode-rule", "dwell=1s"];
    let world = World::start_with(&flags).await;
    let agent = world.agent("worker", &[WORK]).await;
    let calls = (0..7).map(|_| world.invoke("work", r#"{"gate": "go"}"#));
    let look = async {
        let degraded = until("the mode to be degraded", || async {
            let shown = ok(&world, &["mode", "show"]).await;
            (shown["mode"] == "degraded").then_some(shown)
        })
        .await;
        assert_eq!(degraded["by_hand"], false);
        assert!(degraded["reason"].as_str().unwrap().contains("the limit is 25%"), "{degraded}");
        let refused = submit(&world, "one", Priority::Sheddable).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
        agent.open("go").await;
    };
    let (calls, ()) = futures::join!(join_all(calls), look);
    assert!(calls.iter().all(Result::is_ok), "{calls:?}");
    until("the mode to be full again", || async {
        (ok(&world, &["mode", "show"]).await["mode"] == "full").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_workflow_that_a_mode_leaves_out_is_refused_with_a_delay_unless_its_key_has_started_it_before() {
    let world = World::start().await;
    let _agent = world.agent("worker", &[WORK]).await;
    world.put(BATCH).await;
    world.put(ONE).await;
    let keyed = || pb::RunSpec { idempotency_key: "monday".to_owned(), ..spec("batch", "{}") };
    let before = world.submit(keyed()).await.unwrap();
    ok(&world, &["mode", "set", "degraded", "--reason", "batches can wait"]).await;
    let refused = world.submit(spec("batch", "{}")).await.unwrap_err();
    let seen = Seen::of(&refused);
    assert_eq!((refused.code(), &*seen.reason), (Code::ResourceExhausted, "OVERLOADED"), "{refused:?}");
    assert!(seen.retry_after.is_some() && refused.message().contains("degraded"), "{refused:?}");
    assert_eq!(world.submit(keyed()).await.unwrap(), before);
    let other = world.submit(spec("one", "{}")).await.unwrap();
    assert_eq!(world.until_ended(&other).await.state(), pb::RunState::Completed);
    ok(&world, &["mode", "auto"]).await;
    world.submit(spec("batch", "{}")).await.unwrap();
}

#[tokio::test]
async fn a_step_that_a_mode_drops_is_on_record_and_the_run_completes_without_it() {
    let mut world = World::start().await;
    let agent = world.agent("worker", &[WORK]).await;
    world.put(REVIEWED).await;
    ok(&world, &["mode", "set", "degraded", "--reason", "reviews cost too much today"]).await;
    let id = world.submit(spec("reviewed", "{}")).await.unwrap();
    let run = world.until_ended(&id).await;
    assert_eq!(run.state(), pb::RunState::Completed, "{run:?}");
    assert_eq!((run.steps[1].state(), agent.begun()), (pb::StepState::Skipped, 1));
    assert!(run.steps[1].skipped.contains("degraded"), "{run:?}");
    let skipped = world.events(&id, 1).await.into_iter().find_map(|event| match event.event {
        Some(pb::run_event::Event::StepSkipped(skipped)) => Some(skipped.reason),
        _ => None,
    });
    assert!(skipped.unwrap().contains("degraded"));

    world.kill();
    world.restart().await;
    ok(&world, &["mode", "auto"]).await;
    let again = world.get_run(&id).await.unwrap();
    assert_eq!(again.steps[1].state(), pb::StepState::Skipped, "what was decided stays");
    world.until_healthy("worker").await;
    let id = world.submit(spec("reviewed", "{}")).await.unwrap();
    let run = world.until_ended(&id).await;
    assert_eq!(run.steps[1].state(), pb::StepState::Completed);
}
