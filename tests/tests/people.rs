//! Word from outside: signals, and people's answers, across kills of the control plane.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::world::{World, spec};
use tonic::Status;

const BOOK: &str = "effect: side-effecting, max_concurrency: 64";
const TRIP: &str = "
name: trip
version: 1
deadline: 1h
steps:
  - id: quote
    call: { capability: work }
  - id: approve
    after: [quote]
    approve:
      ask: 'Book ${input.to}?'
      form: { type: object, required: [x] }
      assignee: sales
      within: 30m
    input: '${steps.quote.output}'
  - id: paid
    after: [quote]
    wait: { signal: paid, schema: { type: object, required: [amount] }, within: 30m }
  - id: book
    after: [approve, paid]
    choose:
      - when: '${steps.paid.output.amount > 10}'
        call: { capability: work }
      - value: nothing
    input: '${steps.approve.output.value}'
output: { by: '${steps.approve.output.by}', booked: '${steps.book.output}' }
";

async fn signal(world: &World, run: &str, signal: &str, value: &str) -> Result<(), Status> {
    let request = pb::SignalRunRequest {
        tenant: String::new(),
        run_id: run.to_owned(),
        signal: signal.to_owned(),
        value: value.to_owned().into(),
    };
    world.orchestrator().signal_run(request).await.map(drop)
}

async fn answer(world: &World, run: &str, verdict: pb::Verdict, value: &str) -> Result<(), Status> {
    let request = pb::AnswerEscalationRequest {
        tenant: String::new(),
        run_id: run.to_owned(),
        step_id: "approve".to_owned(),
        verdict: verdict.into(),
        value: value.to_owned().into(),
        by: "ann".to_owned(),
        comment: String::new(),
    };
    world.orchestrator().answer_escalation(request).await.map(drop)
}

async fn waiting(world: &World) -> Vec<pb::Escalation> {
    let request = pb::ListEscalationsRequest { assignee: "sales".to_owned(), ..Default::default() };
    world.orchestrator().list_escalations(request).await.unwrap().into_inner().escalations
}

fn code(refused: Result<(), Status>) -> String {
    Seen::of(&refused.unwrap_err()).reason
}

/// A run whose question waits for a person.
async fn asking(world: &World) -> String {
    world.put(TRIP).await;
    let id = world.submit(spec("trip", r#"{"to": "Rome", "x": 1}"#)).await.unwrap();
    let waits =
        |run: &pb::Run| run.steps.iter().filter(|step| step.state() == pb::StepState::Waiting).count() == 2;
    world.until_run(&id, "two steps to wait", waits).await;
    id
}

#[tokio::test]
async fn what_was_said_to_a_run_is_said_once_and_outlives_a_kill_on_either_side() {
    let mut world = World::start().await;
    let agent = world.agent("worker", &[("work", BOOK)]).await;
    let id = asking(&world).await;

    world.kill();
    world.restart().await;
    let [question] = &waiting(&world).await[..] else { panic!("one question, taken up again") };
    assert_eq!((question.run_id.as_str(), question.step_id.as_str()), (id.as_str(), "approve"));
    assert_eq!(question.question, "Book Rome?");
    assert_eq!(String::from_utf8_lossy(&question.shown), r#"{"x":2}"#);

    answer(&world, &id, pb::Verdict::Corrected, r#"{"x": 40}"#).await.unwrap();
    world.kill();
    world.restart().await;
    assert!(waiting(&world).await.is_empty(), "the answer was on disk before it was taken");
    answer(&world, &id, pb::Verdict::Corrected, r#"{"x": 40}"#).await.unwrap();
    assert_eq!(code(answer(&world, &id, pb::Verdict::Rejected, "").await), "ESCALATION_ANSWERED");

    signal(&world, &id, "paid", r#"{"amount": 12}"#).await.unwrap();
    world.kill();
    world.restart().await;
    signal(&world, &id, "paid", r#"{"amount": 12}"#).await.unwrap();
    let run = world.until_ended(&id).await;
    let output = String::from_utf8_lossy(&run.output).into_owned();
    assert_eq!(
        (run.state(), output.as_str()),
        (pb::RunState::Completed, r#"{"booked":{"x":41},"by":"ann"}"#)
    );
    assert_eq!(agent.begun(), 2, "one quote, one booking");
    answer(&world, &id, pb::Verdict::Corrected, r#"{"x": 40}"#).await.unwrap();
    assert_eq!(code(answer(&world, &id, pb::Verdict::Approved, "").await), "RUN_ENDED");
}

#[tokio::test]
async fn word_that_cannot_be_taken_is_refused_by_name_and_changes_nothing() {
    let world = World::start().await;
    let _agent = world.agent("worker", &[("work", BOOK)]).await;
    let id = asking(&world).await;
    let before = world.get_run(&id).await.unwrap().last_event;

    assert_eq!(code(signal(&world, &id, "payed", "{}").await), "SIGNAL_UNKNOWN");
    assert_eq!(code(signal(&world, &id, "paid", "{}").await), "SIGNAL_INVALID");
    assert_eq!(code(signal(&world, &id, "paid", "{").await), "JSON_INVALID");
    assert_eq!(
        code(signal(&world, "run_00000000000000000000000000000000", "paid", "1").await),
        "RUN_NOT_FOUND"
    );
    assert_eq!(code(answer(&world, &id, pb::Verdict::Corrected, "{}").await), "CORRECTION_INVALID");
    assert_eq!(code(answer(&world, &id, pb::Verdict::Corrected, "").await), "CORRECTION_INVALID");
    assert_eq!(code(answer(&world, &id, pb::Verdict::Approved, "1").await), "CORRECTION_INVALID");
    assert_eq!(code(answer(&world, &id, pb::Verdict::Unspecified, "").await), "FIELD_INVALID");
    assert_eq!(code(answer(&world, &id, pb::Verdict::Clarified, "").await), "FIELD_INVALID");
    let elsewhere = pb::AnswerEscalationRequest {
        run_id: id.clone(),
        step_id: "quote".to_owned(),
        verdict: pb::Verdict::Approved.into(),
        ..Default::default()
    };
    let refused = world.orchestrator().answer_escalation(elsewhere).await.map(drop);
    assert_eq!(code(refused), "ESCALATION_NOT_FOUND");
    assert_eq!(world.get_run(&id).await.unwrap().last_event, before);

    answer(&world, &id, pb::Verdict::Rejected, "").await.unwrap();
    let run = world.until_ended(&id).await;
    let failure = run.failure.clone().unwrap();
    assert_eq!((run.state(), failure.code.as_str()), (pb::RunState::Failed, "STEP_FAILED"));
    assert!(failure.message.contains("REJECTED: ann rejected it"), "{}", failure.message);
    assert_eq!(code(signal(&world, &id, "paid", r#"{"amount": 1}"#).await), "RUN_ENDED");
}

#[tokio::test]
async fn questions_are_listed_page_by_page_soonest_default_first() {
    let world = World::start().await;
    let ask = |name: &str, within: &str| {
        format!(
            "name: {name}\nversion: 1\ndeadline: 2h\nsteps:\n  - {{ id: ok, approve: {{ ask: '{name}?', within: {within} }} }}\n"
        )
    };
    for (name, within) in [("late", "90m"), ("soon", "10m"), ("middle", "50m")] {
        world.put(&ask(name, within)).await;
        let id = world.submit(spec(name, "{}")).await.unwrap();
        world.until_run(&id, "it to ask", |run| run.steps[0].state() == pb::StepState::Waiting).await;
    }
    let (mut questions, mut page_token) = (Vec::new(), String::new());
    for left in (0..3).rev() {
        let request = pb::ListEscalationsRequest { page_size: 1, page_token, ..Default::default() };
        let page = world.orchestrator().list_escalations(request).await.unwrap().into_inner();
        questions.extend(page.escalations.into_iter().map(|it| it.question));
        page_token = page.next_page_token;
        assert_eq!(page_token.is_empty(), left == 0);
    }
    assert_eq!(questions, ["soon?", "middle?", "late?"]);
    assert!(waiting(&world).await.is_empty(), "none is for sales");
}
