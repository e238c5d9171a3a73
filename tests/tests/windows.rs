//! What a model cannot read is refused, cut or summarised before it is called, as its capability declares.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::pb;
use mainstay_tests::world::{World, spec};
use serde_json::{Value, json};

const READ: &str = "effect: read-only";

fn workflow(name: &str, capability: &str) -> String {
    format!(
        "name: {name}\nversion: 1\nsteps:\n  - {{ id: a, call: {{ capability: {capability} }}, input: '${{input}}', timeout: 20s, \
         retry: {{ max_attempts: 1 }} }}\n"
    )
}

fn words(n: usize) -> String {
    "word ".repeat(n)
}

/// A run of a workflow of one step, to its end.
async fn ended(world: &World, workflow: &str, input: &Value) -> pb::Run {
    let id = world.submit(spec(workflow, &input.to_string())).await.unwrap();
    world.until_ended(&id).await
}

#[tokio::test]
async fn an_input_over_the_context_budget_is_cut_and_the_record_says_so() {
    let world = World::start().await;
    let budget = "context_budget: { max_tokens: 200, over: truncate, fields: [/text] }";
    let agent = world.agent("reader", &[("read", &format!("{READ}, {budget}"))]).await;
    world.put(&workflow("read", "read")).await;

    let run = ended(&world, "read", &json!({ "x": 1, "text": "short" })).await;
    assert_eq!((run.state(), run.steps[0].warnings.len()), (pb::RunState::Completed, 0), "{run:?}");

    let input = json!({ "x": 1, "text": words(1_000), "keep": words(50) });
    let run = ended(&world, "read", &input).await;
    assert_eq!(run.state(), pb::RunState::Completed, "{run:?}");
    let [warning] = &run.steps[0].warnings[..] else { panic!("{:?}", run.steps[0].warnings) };
    assert!(warning.starts_with("context_budget of 200 tokens: cut /text from 1001 to "), "{warning}");
    let rows = agent.ledger();
    let seen: Value = serde_json::from_str(&rows.last().unwrap().body).unwrap();
    let text = seen["text"].as_str().unwrap();
    assert_eq!((&seen["keep"], &seen["x"]), (&input["keep"], &input["x"]), "what may not be cut is not");
    assert!(text.starts_with("word word ") && text.ends_with("[cut]") && text.len() < 1_000, "{text}");
}

#[tokio::test]
async fn an_input_that_cannot_be_made_to_fit_is_refused_and_nobody_is_called() {
    let world = World::start().await;
    let reject =
        format!("{READ}, context_budget: {{ max_tokens: 100, over: reject, encoding: cl100k_base }}");
    let narrow = format!("{READ}, context_budget: {{ max_tokens: 100, over: truncate, fields: [/text] }}");
    let agent = world.agent("reader", &[("strict", &reject), ("narrow", &narrow)]).await;
    world.put(&workflow("strict", "strict")).await;
    world.put(&workflow("narrow", "narrow")).await;
    for (name, why) in
        [("strict", "at most 100 are allowed"), ("narrow", "what may not be cut of it is too long")]
    {
        let run = ended(&world, name, &json!({ "x": 1, "text": "t", "more": words(300) })).await;
        let failure = run.steps[0].failure.as_ref().unwrap();
        assert_eq!((run.state(), failure.code.as_str()), (pb::RunState::Failed, "CONTEXT_EXCEEDED"));
        assert!(failure.message.ends_with(why), "{}", failure.message);
        assert_eq!(run.steps[0].attempts.len(), 1, "the same input is not tried again");
    }
    assert!(agent.whole_ledger().is_empty(), "nobody was called");
}

#[tokio::test]
async fn a_text_that_is_too_long_is_summarised_by_who_is_named_and_else_cut() {
    let world = World::start().await;
    let budget = "context_budget: { max_tokens: 200, over: summarize, by: shorten, fields: [/text, /more] }";
    let agent = world.agent("reader", &[("read", &format!("{READ}, {budget}"))]).await;
    world.put(&workflow("read", "read")).await;
    let input = json!({ "x": 1, "text": words(900), "more": "short" });

    let run = ended(&world, "read", &input).await;
    let [missing, cut] = &run.steps[0].warnings[..] else { panic!("{:?}", run.steps[0].warnings) };
    assert!(missing.starts_with("context_budget: shorten did not summarise /text: "), "{missing}");
    assert!(cut.contains("cut /text from 901"), "{cut}");

    let other = world.agent("writer", &[("shorten", READ)]).await;
    other.price(2).await;
    let run = ended(&world, "read", &input).await;
    assert_eq!(run.state(), pb::RunState::Completed, "{run:?}");
    let [summarised] = &run.steps[0].warnings[..] else { panic!("{:?}", run.steps[0].warnings) };
    assert_eq!(summarised, "context_budget: /text of 901 tokens summarised by shorten");
    let seen: Value = serde_json::from_str(&agent.ledger().last().unwrap().body).unwrap();
    assert_eq!((&seen["text"], &seen["more"]), (&json!("in short"), &json!("short")));
    let asked: Value = serde_json::from_str(&other.ledger().last().unwrap().body).unwrap();
    assert_eq!(asked["text"], input["text"]);
    assert!((1..200).contains(&asked["max_tokens"].as_u64().unwrap()), "{asked}");
    let cost = run.usage.as_ref().unwrap().cost_nano_usd;
    assert_eq!(
        u64::try_from(cost).unwrap(),
        other.ledger().last().unwrap().nano_usd,
        "who asked pays for it"
    );
}

#[tokio::test]
async fn one_that_would_have_itself_summarise_is_told_of_the_circle_and_cuts() {
    let world = World::start().await;
    let budget = "context_budget: { max_tokens: 200, over: summarize, by: read, fields: [/text] }";
    let agent = world.agent("reader", &[("read", &format!("{READ}, {budget}"))]).await;
    world.put(&workflow("read", "read")).await;
    let run = ended(&world, "read", &json!({ "x": 1, "text": words(900) })).await;
    assert_eq!((run.state(), agent.begun()), (pb::RunState::Completed, 1), "{run:?}");
    let [circle, cut] = &run.steps[0].warnings[..] else { panic!("{:?}", run.steps[0].warnings) };
    assert!(circle.contains("read is being carried out already, further up: reader/read"), "{circle}");
    assert!(cut.contains("cut /text from 901"), "{cut}");
}
