//! Contracts at every hand-off: what does not hold to its schema is not passed on, and what was done is not done again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::world::{Agent, World};
use tonic::Code;

/// The first step does what the run's input says; the second is given what it answers.
const TWO: &str = "
name: two
version: 1
steps:
  - { id: first, call: { capability: first }, retry: { max_attempts: 2, initial: 10ms } }
  - { id: second, after: [first], call: { capability: second }, input: '${steps.first.output}' }
";
/// Takes and answers numbers only.
const NUMBERS: &str = "effect: read-only, input: { properties: { x: { type: integer } } }";

async fn world(first: &str) -> (World, Agent) {
    let world = World::start().await;
    let agent = world.agent("worker", &[("first", first), ("second", NUMBERS)]).await;
    world.put(TWO).await;
    (world, agent)
}

fn failure(step: &pb::Step) -> (pb::OutcomeClass, &str) {
    let failure = step.failure.as_ref().unwrap();
    (failure.class(), failure.code.as_str())
}

#[tokio::test]
async fn an_answer_that_breaks_its_schema_or_is_not_json_never_reaches_the_next_step() {
    let (world, agent) = world("effect: read-only, output: { properties: { x: { type: integer } } }").await;
    for input in [r#"{"bad": true}"#, r#"{"garbage": true}"#] {
        let run = world.run("two", input).await;
        assert_eq!(run.state(), pb::RunState::Failed, "{input}: {run:?}");
        let first = &run.steps[0];
        assert_eq!(failure(first), (pb::OutcomeClass::ContractBreach, "OUTPUT_SCHEMA_MISMATCH"), "{input}");
        assert_eq!(first.attempts.len(), 2, "{input}: a read-only call is tried again");
        assert!(first.output.is_empty(), "{input}: what was refused is on record as a failure only");
        assert_eq!(run.steps[1].state(), pb::StepState::Skipped, "{input}");
    }
    assert!(agent.ledger().iter().all(|row| row.step == "first"));
}

#[tokio::test]
async fn a_side_effect_with_a_bad_answer_was_done_and_is_not_done_again() {
    let (world, agent) =
        world("effect: side-effecting, output: { properties: { x: { type: integer } } }").await;
    let run = world.run("two", r#"{"bad": true}"#).await;
    assert_eq!(run.state(), pb::RunState::Failed);
    assert_eq!(failure(&run.steps[0]), (pb::OutcomeClass::ContractBreach, "OUTPUT_SCHEMA_MISMATCH"));
    assert_eq!((run.steps[0].attempts.len(), agent.begun()), (1, 1));
}

#[tokio::test]
async fn an_input_that_the_next_agent_does_not_take_is_stopped_before_it() {
    let (world, agent) = world("effect: read-only").await;
    let run = world.run("two", r#"{"bad": true}"#).await;
    assert_eq!(run.state(), pb::RunState::Failed, "{run:?}");
    assert_eq!(failure(&run.steps[1]), (pb::OutcomeClass::CallerFault, "INPUT_SCHEMA_MISMATCH"));
    assert_eq!(run.steps[1].attempts.len(), 1, "a caller's fault stays one");
    assert!(agent.ledger().iter().all(|row| row.step == "first"));
    let good = world.run("two", r#"{"x": 5}"#).await;
    assert_eq!(good.output, r#"{"second":{"x":7}}"#);
}

#[tokio::test]
async fn a_workflow_may_ask_more_of_an_answer_than_its_agent_declares() {
    let (world, _agent) = world("effect: read-only").await;
    let stricter = TWO.replace("version: 1", "version: 2").replace(
        "retry: { max_attempts: 2, initial: 10ms }",
        "retry: { max_attempts: 1 }, output_schema: { properties: { x: { minimum: 10 } } }",
    );
    world.put(&stricter).await;
    let small = world.run("two", r#"{"x": 8}"#).await;
    assert_eq!(failure(&small.steps[0]), (pb::OutcomeClass::ContractBreach, "OUTPUT_SCHEMA_MISMATCH"));
    assert_eq!(world.run("two", r#"{"x": 9}"#).await.state(), pb::RunState::Completed);
}

#[tokio::test]
async fn a_mapping_that_finds_nothing_fails_its_step_and_names_the_expression() {
    let (world, agent) = world("effect: read-only").await;
    world
        .put(&TWO.replace("version: 1", "version: 2").replace("steps.first.output", "steps.first.output.y"))
        .await;
    let run = world.run("two", r#"{"x": 1}"#).await;
    assert_eq!(run.state(), pb::RunState::Failed, "{run:?}");
    let failure = run.steps[1].failure.as_ref().unwrap();
    assert_eq!(failure.code, "MAPPING_FAILED");
    assert!(failure.message.contains("steps.first.output.y"), "{}", failure.message);
    assert_eq!(agent.begun(), 1);
}

#[tokio::test]
async fn a_direct_call_is_held_to_the_same_contract() {
    let (world, agent) =
        world("effect: side-effecting, output: { properties: { x: { type: integer } } }").await;
    let status = world.invoke("second", r#"{"x": "text"}"#).await.unwrap_err();
    assert_eq!((status.code(), &*Seen::of(&status).reason), (Code::InvalidArgument, "INPUT_SCHEMA_MISMATCH"));
    assert_eq!(agent.begun(), 0);
    let status = world.invoke("first", r#"{"bad": true}"#).await.unwrap_err();
    let expected = (Code::FailedPrecondition, "OUTPUT_SCHEMA_MISMATCH");
    assert_eq!((status.code(), &*Seen::of(&status).reason), expected);
    assert_eq!(agent.begun(), 1);
}

#[tokio::test]
async fn a_pattern_that_backtracks_for_ever_elsewhere_ends_here() {
    let evil = "effect: read-only, input: { properties: { s: { pattern: '^(a+)+$' } } }";
    let world = World::start().await;
    let agent = world.agent("worker", &[("first", evil)]).await;
    let input = format!("{{\"x\": 1, \"s\": \"{}!\"}}", "a".repeat(50_000));
    let status = world.invoke("first", &input).await.unwrap_err();
    assert_eq!((status.code(), &*Seen::of(&status).reason), (Code::InvalidArgument, "INPUT_SCHEMA_MISMATCH"));
    assert_eq!(agent.begun(), 0);
    world.invoke("first", &input.replace('!', "a")).await.unwrap();
}
