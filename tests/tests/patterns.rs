//! Steps that are made of others, with real processes, across kills of the control plane: workflows inside workflows, votes,
//! supervisors, plans, and requests that a routing document sends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_proto::pb::run_event::Event;
use mainstay_tests::wait::until;
use mainstay_tests::world::{Agent, World, spec};

const READS: &str = "effect: read-only, max_concurrency: 64";
/// Every answer of it breaks its own schema.
const FAILS: &str = "effect: read-only, max_concurrency: 64, output: { required: [never] }";
const BOOKS: &str = "effect: side-effecting, max_concurrency: 64";

const INNER: &str = "
name: inner
version: 1
input: { type: object, required: [x] }
steps:
  - id: first
    call: { capability: work }
  - id: second
    after: [first]
    call: { capability: book }
    input: { x: '${steps.first.output.x}', gate: hold }
output: { x: '${steps.second.output.x}' }
";

const OUTER: &str = "
name: outer
version: 1
steps:
  - id: nested
    sub: { workflow: inner }
  - id: last
    after: [nested]
    call: { capability: work }
    input: '${steps.nested.output}'
";

const VOTE: &str = "
name: vote
version: 1
steps:
  - id: review
    consensus:
      of: [{ capability: work }, { capability: fails }, { capability: book }]
      schema: { type: object, required: [x] }
      judge: { capability: work, rubric: 'The greatest x wins.' }
    retry: { max_attempts: 1 }
";

const TEAM: &str = "
name: team
version: 1
steps:
  - id: research
    supervise:
      by: { capability: work }
      workers: [{ capability: book }, { workflow: inner }]
      accept: '${item.x > 0}'
";

const PLAN: &str = "
name: planned
version: 1
steps:
  - id: trip
    plan:
      by: { capability: work }
      capabilities: [book]
      repairs: 1
";

const ROUTED: &str = "
name: routed
version: 1
steps:
  - id: answer
    route: { by: door, fallback: { capability: work } }
    retry: { max_attempts: 1 }
";

const DOOR: &str = "
name: door
version: 1
rules:
  - { name: booking, when: 'input.kind == \"book\"', to: { capability: book } }
  - { name: failing, when: 'input.kind == \"fail\"', to: { capability: fails } }
static: { x: 0 }
";

struct Bed {
    world: World,
    agent: Agent,
}

async fn bed() -> Bed {
    let world = World::start().await;
    let agent = world.agent("worker", &[("work", READS), ("book", BOOKS), ("fails", FAILS)]).await;
    Bed { world, agent }
}

impl Bed {
    /// Lets the run of `workflow` come to where a call holds it, kills the control plane, and lets it go on.
    async fn killed_while_held(&mut self, workflow: &str, input: &str, held: &str) -> pb::Run {
        let id = self.world.submit(spec(workflow, input)).await.unwrap();
        let runs = |run: &pb::Run| step(run, held).is_some_and(|step| step.state() == pb::StepState::Running);
        self.world.until_run(&id, "the held step to run", runs).await;
        self.world.kill();
        self.world.restart().await;
        self.agent.open("hold").await;
        self.world.until_ended(&id).await
    }

    /// How often each side effect was begun.
    fn booked(&self) -> usize {
        let rows = self.agent.ledger();
        let held = |body: &str| serde_json::from_str::<serde_json::Value>(body).unwrap()["gate"] == "hold";
        let keys = rows.iter().filter(|row| row.output.is_none() && held(&row.body));
        keys.map(|row| row.key.clone()).collect::<std::collections::BTreeSet<_>>().len()
    }
}

fn step<'a>(run: &'a pb::Run, id: &str) -> Option<&'a pb::Step> {
    run.steps.iter().find(|step| step.id == id)
}

fn output(run: &pb::Run) -> serde_json::Value {
    assert_eq!(run.state(), pb::RunState::Completed, "{:?}", run.failure);
    serde_json::from_slice(&run.output).unwrap()
}

#[tokio::test]
async fn a_workflow_inside_a_step_survives_a_kill_and_keeps_the_version_it_started_with() {
    let mut bed = bed().await;
    bed.world.put(INNER).await;
    bed.world.put(OUTER).await;
    let id = bed.world.submit(spec("outer", r#"{"x": 1}"#)).await.unwrap();
    let held =
        |run: &pb::Run| step(run, "nested/second").is_some_and(|it| it.state() == pb::StepState::Running);
    bed.world.until_run(&id, "the inner step to run", held).await;
    bed.world.put(&INNER.replace("version: 1", "version: 2").replace("work", "ghost")).await;
    bed.world.kill();
    bed.world.restart().await;
    bed.agent.open("hold").await;
    let run = bed.world.until_ended(&id).await;
    assert_eq!(output(&run)["last"]["x"], 4);
    assert_eq!(bed.booked(), 1);
    let begun = bed.world.events(&id, 1).await.into_iter().filter_map(|event| match event.event {
        Some(Event::StepStarted(it)) => Some((it.step_id, it.capability)),
        _ => None,
    });
    let begun: Vec<_> = begun.collect();
    assert!(begun.contains(&("nested/second".to_owned(), "book".to_owned())), "{begun:?}");
}

#[tokio::test]
async fn workflows_that_cannot_be_linked_start_nothing() {
    let bed = bed().await;
    bed.world.put(OUTER).await;
    let refused = bed.world.submit(spec("outer", "{}")).await.unwrap_err();
    let seen = Seen::of(&refused);
    assert_eq!(seen.reason, "WORKFLOW_NOT_LINKED");
    assert!(refused.message().contains("`nested`") && refused.message().contains("inner"), "{refused:?}");
    bed.world.put("name: inner\nversion: 1\nsteps:\n- {id: back, sub: {workflow: outer}}\n").await;
    let refused = bed.world.submit(spec("outer", "{}")).await.unwrap_err();
    assert!(refused.message().contains("outer → inner → outer"), "{refused:?}");
}

#[tokio::test]
async fn a_vote_goes_on_without_the_member_that_fails_and_says_how_sure_it_is() {
    let mut bed = bed().await;
    bed.world.put(VOTE).await;
    let run = bed.killed_while_held("vote", r#"{"x": 1, "gate": "hold"}"#, "review/2").await;
    let said = output(&run)["review"].clone();
    assert_eq!((said["answer"]["x"].clone(), said["members"].clone()), (2.into(), 3.into()), "{said}");
    assert_eq!((said["answered"].clone(), said["agreement"].clone()), (2.into(), 1.0.into()));
    assert_eq!(said["confidence"], 0.6, "the judge's 0.9, times two of three");
    let judge = step(&run, "review/judge").unwrap();
    let shown = String::from_utf8_lossy(&judge.input).into_owned();
    assert!(shown.contains(r#""label":"A""#) && !shown.contains("worker"), "no names: {shown}");
}

#[tokio::test]
async fn a_supervisor_hands_out_work_across_a_kill_and_nothing_is_done_twice() {
    let mut bed = bed().await;
    bed.world.put(INNER).await;
    bed.world.put(TEAM).await;
    let input = r#"{"says": [
        {"tasks": [{"worker": "book", "input": {"x": 1, "gate": "hold"}}, {"worker": "inner", "input": {"x": 5}}, {"worker": "nobody"}]},
        {"answer": {"done": true}}
    ]}"#;
    let run = bed.killed_while_held("team", input, "research/1_1/second").await;
    let said = output(&run)["research"].clone();
    assert_eq!((said["answer"]["done"].clone(), said["rounds"].clone()), (true.into(), 2.into()));
    assert_eq!(bed.booked(), 2, "one by the worker, one by the workflow that is a worker");
    let brief = step(&run, "research/2").unwrap();
    let brief: serde_json::Value = serde_json::from_slice(&brief.input).unwrap();
    assert_eq!(brief["results"][0]["output"]["x"], 2);
    assert_eq!(brief["results"][1]["output"]["x"], 7);
    assert_eq!(brief["problems"][0], "task 2: there is no worker `nobody`");
}

#[tokio::test]
async fn a_plan_is_sent_back_until_it_can_be_carried_out_and_then_survives_a_kill() {
    let mut bed = bed().await;
    bed.world.put(PLAN).await;
    let input = r#"{"says": [
        {"steps": [{"id": "a", "capability": "ghost"}]},
        {"steps": [
            {"id": "a", "capability": "book", "input": {"x": 1}},
            {"id": "b", "capability": "book", "after": ["a"], "input": {"x": "${steps.a.output.x}", "gate": "hold"}}
        ], "output": "${steps.b.output.x}"}
    ]}"#;
    let run = bed.killed_while_held("planned", input, "trip/b").await;
    assert_eq!(output(&run)["trip"], 3);
    assert_eq!(bed.booked(), 1);
    let brief = step(&run, "trip/2").unwrap();
    let brief: serde_json::Value = serde_json::from_slice(&brief.input).unwrap();
    assert_eq!(brief["problems"][0], "step `a`: `ghost` is none of the capabilities a plan may use");
    let events = bed.world.events(&run.run_id, 1).await;
    let accepted = events.iter().find_map(|event| match &event.event {
        Some(Event::PlanAccepted(it)) => Some(it.plan.clone()),
        _ => None,
    });
    assert!(accepted.unwrap().contains(r#""id":"b""#), "the accepted plan is on record");
}

#[tokio::test]
async fn a_request_goes_where_the_document_sends_it_and_stays_there_across_a_kill() {
    let mut bed = bed().await;
    bed.world.put(ROUTED).await;
    put_door(&bed.world, DOOR).await;
    let id = bed.world.submit(spec("routed", r#"{"kind": "book", "x": 1, "gate": "hold"}"#)).await.unwrap();
    let held =
        |run: &pb::Run| step(run, "answer/worker").is_some_and(|it| it.state() == pb::StepState::Running);
    bed.world.until_run(&id, "the worker to run", held).await;
    // From now on the document sends such requests elsewhere; this one is on its way.
    put_door(
        &bed.world,
        &DOOR.replace("version: 1", "version: 2").replace("capability: book", "capability: work"),
    )
    .await;
    bed.world.kill();
    bed.world.restart().await;
    bed.agent.open("hold").await;
    let run = bed.world.until_ended(&id).await;
    assert_eq!(output(&run)["answer"]["x"], 2);
    assert_eq!(step(&run, "answer/worker").unwrap().capability, "book");
    assert_eq!(bed.booked(), 1);

    let run = bed.world.run("routed", r#"{"kind": "fail", "x": 1}"#).await;
    assert_eq!(output(&run)["answer"]["x"], 2);
    assert_eq!(step(&run, "answer/worker").unwrap().state(), pb::StepState::Failed);
    assert_eq!(step(&run, "answer/fallback").unwrap().state(), pb::StepState::Completed);
    let run = bed.world.run("routed", r#"{"kind": "other"}"#).await;
    assert_eq!(output(&run)["answer"]["x"], 0, "the document answers itself");
}

/// What the events say of workflows that do not fit their agents.
async fn until_contract(world: &World, kind: &str) -> String {
    until("an event of the kind", async || {
        let filter = pb::EventFilter { kind: kind.to_owned(), ..Default::default() };
        let request = pb::ListEventsRequest { filter: Some(filter), ..Default::default() };
        let listed = world.operations().list_events(request).await.ok()?.into_inner();
        listed.events.first().map(|event| format!("{} {}", event.subject, event.reason))
    })
    .await
}

#[tokio::test]
async fn a_new_version_of_an_agent_that_breaks_a_workflow_is_told_of_and_so_is_the_one_that_mends_it() {
    let world = World::start().await;
    world
        .put("name: quote\nversion: 1\nsteps:\n- {id: ask, call: {capability: price}, input: {city: Rome}}\n")
        .await;
    let takes =
        |required: &str| format!("effect: read-only, input: {{ type: object, required: [{required}] }}");
    let registered = |n: usize| {
        world.until_agent("pricing", "to have its versions", move |agent| agent.instances.len() == n)
    };
    let _first = world.version("pricing", "1", &[("price", &takes("city"))]).await;
    registered(1).await;
    let _second = world.version("pricing", "2", &[("price", &takes("city, people"))]).await;
    let broken = until_contract(&world, "contract.broken").await;
    assert_eq!(
        broken,
        "workflow/quote version 1: step `ask`: input lacks the field `people`, which its agent needs"
    );
    let _third = world.version("pricing", "3", &[("price", &takes("city"))]).await;
    assert_eq!(until_contract(&world, "contract.mended").await, "workflow/quote it fits the agents again");
}

async fn put_door(world: &World, document: &str) {
    let request = pb::PutRoutesRequest { document: document.to_owned(), ..Default::default() };
    pb::routes_client::RoutesClient::new(world.channel()).put_routes(request).await.unwrap();
}
