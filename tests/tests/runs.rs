//! Runs, from their start to their end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use futures::future::join_all;
use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::world::{World, spec};
use pb::run_event::Event;

const ECHO: &str = "effect: idempotent, max_concurrency: 64";
const PIPELINE: &str = "
name: pipeline
version: 1
steps:
  - { id: a, call: { capability: work }, input: { x: '${input.x}' } }
  - { id: b, after: [a], call: { capability: work }, input: { x: '${steps.a.output.x}' } }
  - { id: c, after: [b], call: { capability: work }, input: { x: '${steps.b.output.x}' } }
output: { x: '${steps.c.output.x}' }
";

/// One step whose input is the run's.
fn one(name: &str, more: &str) -> String {
    format!(
        "name: {name}\nversion: 1\nsteps:\n  - {{ id: a, call: {{ capability: work }}{more} }}\noutput: {{ x: '${{steps.a.output.x}}' }}\n"
    )
}

fn output(run: &pb::Run) -> String {
    String::from_utf8_lossy(&run.output).into_owned()
}

fn step<'a>(run: &'a pb::Run, id: &str) -> &'a pb::Step {
    run.steps.iter().find(|step| step.id == id).unwrap()
}

#[tokio::test]
async fn a_pipeline_hands_each_output_to_the_next_step() {
    let world = World::start().await;
    let agent = world.agent("worker", &[("work", ECHO)]).await;
    world.put(PIPELINE).await;
    let run = world.run("pipeline", r#"{"x": 1}"#).await;
    assert_eq!((run.state(), output(&run).as_str()), (pb::RunState::Completed, r#"{"x":4}"#));
    let steps: Vec<_> =
        agent.ledger().into_iter().filter(|row| row.output.is_none()).map(|row| row.step).collect();
    assert_eq!(steps, ["a", "b", "c"]);
    assert_eq!(step(&run, "b").attempts.len(), 1);
    assert_eq!(step(&run, "b").attempts[0].agent, "worker");
}

#[tokio::test]
async fn a_diamond_runs_its_sides_side_by_side() {
    let world = World::start().await;
    let _agent = world.agent("worker", &[("work", ECHO)]).await;
    world
        .put(
            "
name: diamond
version: 1
steps:
  - { id: top, call: { capability: work }, input: { x: '${input.x}' } }
  - { id: left, after: [top], call: { capability: work }, input: { x: '${steps.top.output.x}', sleep_ms: 300 } }
  - { id: right, after: [top], call: { capability: work }, input: { x: '${steps.top.output.x * 10}', sleep_ms: 300 } }
  - { id: end, after: [left, right], call: { capability: work }, input: { x: '${steps.left.output.x + steps.right.output.x}' } }
output: { x: '${steps.end.output.x}' }
",
        )
        .await;
    let run = world.run("diamond", r#"{"x": 1}"#).await;
    assert_eq!(output(&run), r#"{"x":25}"#);
    let id = run.run_id.clone();
    let names: Vec<_> = events(&world, &id, 1).await.into_iter().map(|event| event.event.unwrap()).collect();
    let at = |wanted: &dyn Fn(&Event) -> bool| names.iter().position(wanted).unwrap();
    let started = |id: &'static str| at(&move |e| matches!(e, Event::StepStarted(s) if s.step_id == id));
    let completed = |id: &'static str| at(&move |e| matches!(e, Event::StepCompleted(s) if s.step_id == id));
    assert!(started("left") < completed("right") && started("right") < completed("left"));
    assert!(completed("left") < started("end") && completed("right") < started("end"));
}

#[tokio::test]
async fn a_failed_attempt_is_tried_again_and_the_record_says_why() {
    let world = World::start().await;
    let _agent = world.agent("worker", &[("work", ECHO)]).await;
    world.put(&one("flaky", ", retry: { initial: 10ms }")).await;
    let run = world.run("flaky", r#"{"x": 1, "fail_times": 2}"#).await;
    assert_eq!(output(&run), r#"{"x":2}"#);
    let attempts = &step(&run, "a").attempts;
    assert_eq!(attempts.iter().map(|a| a.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(attempts[0].class(), pb::OutcomeClass::AgentError);
    assert_eq!(attempts[0].failure.as_ref().unwrap().code, "AGENT_FAILED");
    assert_eq!(attempts[2].class(), pb::OutcomeClass::Success);
}

#[tokio::test]
async fn a_side_effect_that_failed_is_not_tried_again() {
    let world = World::start().await;
    let agent = world.agent("worker", &[("work", "effect: side-effecting")]).await;
    world.put(&one("pay", "")).await;
    let run = world.run("pay", r#"{"x": 1, "fail": "no money"}"#).await;
    assert_eq!(run.state(), pb::RunState::Failed);
    assert!(step(&run, "a").failure.as_ref().unwrap().message.contains("no money"));
    assert_eq!(agent.ledger().len(), 1);
}

#[tokio::test]
async fn an_optional_step_may_fail_and_a_critical_one_may_not() {
    let world = World::start().await;
    let _agent = world.agent("worker", &[("work", ECHO)]).await;
    let document = |name: &str, optional: bool| {
        format!(
            "
name: {name}
version: 1
steps:
  - {{ id: risky, call: {{ capability: work }}, optional: {optional}, retry: {{ max_attempts: 1 }}, input: {{ fail: 'broken' }} }}
  - {{ id: safe, after: [risky], call: {{ capability: work }}, input: {{ x: 1 }} }}
output: {{ ok: '${{steps.risky.ok}}', x: '${{steps.safe.output.x}}' }}
"
        )
    };
    world.put(&document("optional", true)).await;
    world.put(&document("critical", false)).await;
    let run = world.run("optional", "{}").await;
    assert_eq!((run.state(), output(&run).as_str()), (pb::RunState::Completed, r#"{"ok":false,"x":2}"#));
    let run = world.run("critical", "{}").await;
    assert_eq!(run.state(), pb::RunState::Failed);
    assert_eq!(run.failure.as_ref().unwrap().code, "STEP_FAILED");
    assert_eq!(step(&run, "safe").state(), pb::StepState::Skipped);
}

#[tokio::test]
async fn a_slow_agent_is_cut_at_its_timeout_and_control_returns() {
    let world = World::start().await;
    let _agent = world.agent("worker", &[("work", ECHO)]).await;
    world.put(&one("slow", ", timeout: 300ms, retry: { max_attempts: 1 }")).await;
    let run = world.run("slow", r#"{"x": 1, "sleep_ms": 600000}"#).await;
    assert_eq!(run.state(), pb::RunState::Failed);
    let attempt = &step(&run, "a").attempts[0];
    assert_eq!(attempt.class(), pb::OutcomeClass::Timeout);
    assert_eq!(attempt.failure.as_ref().unwrap().code, "AGENT_TIMEOUT");
}

#[tokio::test]
async fn bad_output_is_caught_at_the_hand_off() {
    let world = World::start().await;
    let schema = "effect: read-only, output: { type: object, properties: { x: { type: integer } } }";
    let agent = world.agent("worker", &[("work", schema)]).await;
    world.put(&PIPELINE.replace("version: 1", "version: 1\ndeadline: 30s")).await;
    world.put(&one("bad", ", retry: { max_attempts: 1 }")).await;
    let run = world.run("bad", r#"{"x": 1, "bad": true}"#).await;
    assert_eq!(run.state(), pb::RunState::Failed);
    let failure = step(&run, "a").failure.as_ref().unwrap();
    assert_eq!(failure.code, "OUTPUT_SCHEMA_MISMATCH");
    assert!(failure.message.contains("/x"), "{}", failure.message);
    assert!(step(&run, "a").output.is_empty());
    assert_eq!(agent.ledger().len(), 2, "it was asked once");
}

#[tokio::test]
async fn a_cancel_takes_effect_while_running_and_while_backing_off() {
    let world = World::start().await;
    let _agent = world.agent("worker", &[("work", ECHO)]).await;
    world.put(&one("slow", "")).await;
    world
        .put(
            &one("waits", ", retry: { initial: 10m, max: 10m }")
                .replace("version: 1", "version: 1\ndeadline: 1h"),
        )
        .await;
    let cancel = |id: String| {
        let request =
            pb::CancelRunRequest { run_id: id, reason: "no longer needed".into(), ..Default::default() };
        let mut client = world.orchestrator();
        async move { client.cancel_run(request).await }
    };
    for (workflow, input, state) in [
        ("slow", r#"{"sleep_ms": 600000}"#, pb::StepState::Running),
        ("waits", r#"{"fail": "no"}"#, pb::StepState::BackingOff),
    ] {
        let id = world.submit(spec(workflow, input)).await.unwrap();
        // Full jitter may make a back-off short; then it fails again and backs off again, up to the third time.
        world.until_run(&id, "to be under way", |run| step(run, "a").state() == state).await;
        assert_eq!(
            cancel(id.clone()).await.unwrap().into_inner().state(),
            pb::RunState::Cancelled,
            "{workflow}"
        );
        let run = world.get_run(&id).await.unwrap();
        assert_eq!(step(&run, "a").state(), pb::StepState::Cancelled);
        assert!(cancel(id).await.is_ok(), "a second cancel changes nothing");
    }
    let done = world.run("slow", r#"{"x": 1}"#).await;
    assert_eq!(Seen::of(&cancel(done.run_id).await.unwrap_err()).reason, "RUN_ENDED");
}

#[tokio::test]
async fn a_run_is_cut_at_its_deadline() {
    let world = World::start().await;
    let _agent = world.agent("worker", &[("work", ECHO)]).await;
    world.put(&one("late", "").replace("version: 1", "version: 1\ndeadline: 400ms")).await;
    let run = world.run("late", r#"{"sleep_ms": 600000}"#).await;
    assert_eq!(run.state(), pb::RunState::TimedOut);
    assert_eq!(run.failure.unwrap().code, "RUN_DEADLINE");
}

#[tokio::test]
async fn one_key_a_hundred_times_at_once_is_one_run() {
    let world = World::start().await;
    let agent = world.agent("worker", &[("work", ECHO)]).await;
    world.put(PIPELINE).await;
    let keyed = |x: u32| pb::RunSpec {
        idempotency_key: "same".into(),
        ..spec("pipeline", &format!("{{\"x\":{x}}}"))
    };
    let ids = join_all((0..100).map(|_| world.submit(keyed(1)))).await;
    let ids: BTreeSet<String> = ids.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids.len(), 1);
    let run = world.until_ended(ids.first().unwrap()).await;
    assert_eq!(agent.ledger().iter().filter(|row| row.output.is_none()).count(), 3);
    let status = world.submit(keyed(2)).await.unwrap_err();
    assert_eq!(
        (status.code(), Seen::of(&status).reason.as_str()),
        (tonic::Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED")
    );
    assert_eq!(world.get_run(&run.run_id).await.unwrap(), run, "the first run is unchanged");
}

#[tokio::test]
async fn a_watcher_sees_every_event_once_wherever_it_joins() {
    let world = World::start().await;
    let _agent = world.agent("worker", &[("work", ECHO)]).await;
    world.put(PIPELINE).await;
    let id = world.submit(spec("pipeline", r#"{"x": 1}"#)).await.unwrap();
    let live: Vec<u64> = events(&world, &id, 0).await.iter().map(|event| event.number).collect();
    assert_eq!(live, (1..=8).collect::<Vec<_>>());
    let late: Vec<u64> = events(&world, &id, 5).await.iter().map(|event| event.number).collect();
    assert_eq!(late, [5, 6, 7, 8]);
    assert!(events(&world, &id, 9).await.is_empty());
}

#[tokio::test]
async fn the_answer_of_a_step_reaches_who_watches_while_others_are_still_at_work() {
    let world = World::start().await;
    let agent = world.agent("worker", &[("work", ECHO)]).await;
    let all = "map: { over: '${input.items}', call: { capability: work } }";
    world.put(&format!("name: each\nversion: 1\nsteps:\n  - {{ id: all, {all} }}\n")).await;
    let id = world.submit(spec("each", r#"{"items": [{"x": 1}, {"x": 2, "gate": "go"}]}"#)).await.unwrap();
    let request = pb::WatchRunRequest { run_id: id.clone(), ..Default::default() };
    let mut watched = world.orchestrator().watch_run(request).await.unwrap().into_inner();
    let mut completed = Vec::new();
    while let Some(answer) = watched.message().await.unwrap() {
        let Some(Event::StepCompleted(step)) = answer.event.unwrap().event else { continue };
        if completed.is_empty() {
            assert_eq!(world.get_run(&id).await.unwrap().state(), pb::RunState::Running);
            agent.open("go").await;
        }
        completed.push((step.step_id, String::from_utf8(step.output.to_vec()).unwrap()));
    }
    let completed: Vec<_> = completed.iter().map(|(step, output)| (step.as_str(), output.as_str())).collect();
    assert_eq!(
        completed,
        [("all/0", r#"{"x":2}"#), ("all/1", r#"{"x":3}"#), ("all", r#"[{"x":2},{"x":3}]"#)]
    );
}

#[tokio::test]
async fn a_run_pins_the_version_it_started_with() {
    let world = World::start().await;
    let _agent = world.agent("worker", &[("work", ECHO)]).await;
    world.put(&one("pinned", "")).await;
    let id = world.submit(spec("pinned", r#"{"x": 1, "sleep_ms": 500}"#)).await.unwrap();
    world
        .put(
            "name: pinned\nversion: 2\nsteps:\n  - { id: z, call: { capability: work } }\noutput: { v: 2 }\n",
        )
        .await;
    let run = world.until_ended(&id).await;
    assert_eq!((run.version, output(&run).as_str()), (1, r#"{"x":2}"#));
    assert_eq!(output(&world.run("pinned", "{}").await), r#"{"v":2}"#);
}

#[tokio::test]
async fn runs_are_listed_newest_first_page_by_page() {
    let world = World::start().await;
    let _agent = world.agent("worker", &[("work", ECHO)]).await;
    world.put(&one("many", "")).await;
    let mut started = Vec::new();
    for x in 0..7 {
        started.push(world.run("many", &format!("{{\"x\":{x}}}")).await.run_id);
    }
    started.reverse();
    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListRunsRequest { page_size: 3, page_token: token, ..Default::default() };
        let page = world.orchestrator().list_runs(request).await.unwrap().into_inner();
        listed.extend(page.runs.into_iter().map(|run| run.run_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, started);
    let failed = pb::ListRunsRequest { states: vec![pb::RunState::Failed.into()], ..Default::default() };
    assert!(world.orchestrator().list_runs(failed).await.unwrap().into_inner().runs.is_empty());
}

async fn events(world: &World, id: &str, from: u64) -> Vec<pb::RunEvent> {
    let request = pb::WatchRunRequest { run_id: id.to_owned(), from_event: from, ..Default::default() };
    let mut stream = world.orchestrator().watch_run(request).await.unwrap().into_inner();
    let mut events = Vec::new();
    while let Some(answer) = stream.message().await.unwrap() {
        events.push(answer.event.unwrap());
    }
    events
}

#[tokio::test]
async fn a_list_is_gone_over_item_by_item_and_what_fails_is_a_gap_with_a_name() {
    let mut world = World::start().await;
    let agent = world.agent("worker", &[("work", ECHO)]).await;
    let each = "map: { over: '${input.items}', call: { capability: work }, parallel: 2, partial: true }";
    world
        .put(&format!(
            "name: each\nversion: 1\nsteps:\n  - {{ id: all, {each}, retry: {{ max_attempts: 1 }} }}\noutput: '${{steps.all.output}}'\n"
        ))
        .await;
    let items = r#"{"items": [{"x": 1}, {"x": 2, "fail": "no"}, {"x": 3, "gate": "go"}]}"#;
    let id = world.submit(spec("each", items)).await.unwrap();
    world
        .until_run(&id, "two items to have ended", |run| {
            run.steps.iter().filter(|step| step.id.starts_with("all/") && step.ended_at.is_some()).count()
                == 2
        })
        .await;
    world.kill();
    world.restart().await;
    agent.open("go").await;
    let run = world.until_ended(&id).await;
    assert_eq!((run.state(), output(&run).as_str()), (pb::RunState::Completed, r#"[{"x":2},null,{"x":4}]"#));
    let all = step(&run, "all");
    assert!(
        all.warnings.len() == 1 && all.warnings[0].starts_with("item 1 is missing"),
        "{:?}",
        all.warnings
    );
    assert_eq!((all.kind.as_str(), step(&run, "all/2").capability.as_str()), ("map", "work"));
    let begun = agent.ledger().into_iter().filter(|row| row.output.is_none());
    let begun: BTreeSet<_> = begun.map(|row| (row.step, row.key)).collect();
    assert_eq!(begun.len(), 3, "one key an item, across the kill: {begun:?}");
    let events = world.events(&id, 1).await;
    let grafted = events.iter().find_map(|event| match &event.event {
        Some(Event::StepsGrafted(it)) => {
            Some(it.steps.iter().map(|step| step.step_id.as_str()).collect::<Vec<_>>())
        }
        _ => None,
    });
    assert_eq!(grafted.unwrap(), ["all/0", "all/1", "all/2"]);
}
