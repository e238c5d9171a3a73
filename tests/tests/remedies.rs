//! What a step that failed falls back on, across kills of the control plane.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::pb;
use mainstay_tests::world::{World, spec};

const WORK: &str = "effect: side-effecting, max_concurrency: 8";
const TRIP: &str = "
name: trip
version: 1
deadline: 1h
steps:
  - id: book
    call: { capability: work }
    on_failure:
      - fallback: { capability: cheaper }
      - escalate: { ask: 'Book ${input.to} by hand?', form: { type: object, required: [x] }, within: 30m }
output: { booked: '${steps.book.output}' }
";

fn step<'r>(run: &'r pb::Run, id: &str) -> &'r pb::Step {
    run.steps.iter().find(|step| step.id == id).unwrap()
}

#[tokio::test]
async fn whoever_is_asked_instead_is_asked_once_whatever_is_killed_meanwhile() {
    let mut world = World::start().await;
    let worker = world.agent("worker", &[("work", WORK)]).await;
    let other = world.agent("other", &[("cheaper", WORK)]).await;
    world.put(TRIP).await;
    worker.fail(100).await;
    worker.open("go").await;

    let id = world.submit(spec("trip", r#"{"to": "Rome", "x": 1, "gate": "go"}"#)).await.unwrap();
    other.until_begun(1).await;
    world.kill();
    world.restart().await;
    world
        .until_run(&id, "the fallback to be under way again", |run| {
            run.steps.iter().any(|step| step.id == "book/fallback" && step.state() == pb::StepState::Running)
        })
        .await;
    other.open("go").await;

    let run = world.until_ended(&id).await;
    assert_eq!(
        (run.state(), String::from_utf8_lossy(&run.output).into_owned()),
        (pb::RunState::Completed, r#"{"booked":{"x":2}}"#.to_owned())
    );
    assert_eq!((worker.begun(), other.begun()), (1, 1), "each was asked once");
    let (book, fallback) = (step(&run, "book"), step(&run, "book/fallback"));
    assert_eq!((book.remedy.as_str(), fallback.attempts.len()), ("fallback", 1));
    assert!(book.warnings[0].starts_with("`cheaper` answered instead: AGENT_FAILED"), "{:?}", book.warnings);
    let agent_time = |step: &pb::Step| step.usage.as_ref().map_or(0, |usage| usage.agent_micros);
    assert!(agent_time(fallback) > 0, "the answer was worked for");
    assert_eq!(agent_time(book), agent_time(fallback), "a step is charged for what was done inside it");
    assert_eq!(agent_time(book), run.usage.as_ref().unwrap().agent_micros);
}

#[tokio::test]
async fn a_person_is_asked_about_a_failure_and_the_answer_outlives_a_kill() {
    let mut world = World::start().await;
    let worker = world.agent("worker", &[("work", WORK), ("cheaper", WORK)]).await;
    world.put(TRIP).await;
    let id = world.submit(spec("trip", r#"{"to": "Rome", "fail": "sold out"}"#)).await.unwrap();
    world
        .until_run(&id, "a person to be asked", |run| step(run, "book").state() == pb::StepState::Waiting)
        .await;
    world.kill();
    world.restart().await;

    let listed = world.orchestrator().list_escalations(pb::ListEscalationsRequest::default()).await.unwrap();
    let [asked] = &listed.into_inner().escalations[..] else { panic!("one question, taken up again") };
    assert!(asked.question.starts_with("Book Rome by hand? [AGENT_FAILED: "), "{}", asked.question);
    assert!(asked.question.contains("`cheaper` failed as well"), "{}", asked.question);
    let answer = pb::AnswerEscalationRequest {
        run_id: id.clone(),
        step_id: "book".to_owned(),
        verdict: pb::Verdict::Corrected.into(),
        value: r#"{"x": 7}"#.to_owned().into(),
        by: "ann".to_owned(),
        ..Default::default()
    };
    world.orchestrator().answer_escalation(answer).await.unwrap();
    world.kill();
    world.restart().await;

    let run = world.until_ended(&id).await;
    assert_eq!(String::from_utf8_lossy(&run.output), r#"{"booked":{"x": 7}}"#);
    assert_eq!(step(&run, "book").remedy, "escalate");
    assert_eq!(worker.begun(), 2, "the work, and what was asked instead");
}
