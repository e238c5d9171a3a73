use serde_json::{Value, json};

use super::*;
use crate::id::RunId;
use std::collections::BTreeMap;

mod context;
mod graphs;
mod links;
mod lints;
mod problems;
mod recourse;
mod teams;
mod verification;

const TRIP_QUOTE: &str = r#"
name: trip-quote
version: 3
description: Quotes a trip.   # for people
input: { type: object, required: [destination] }
deadline: 90s
max_parallel: 4
steps:
  - id: research
    call: { capability: travel.research }
    input: { destination: "${input.destination}" }
    timeout: 20s
    retry: { max_attempts: 2, initial: 1s }
  - id: price
    after: [research]
    call: { capability: pricing.quote, agent: pricer }
    input: { options: "${steps.research.output.options}", note: "for ${input.destination}" }
    output_schema: { type: object, required: [total] }
  - id: review
    after: [price]
    optional: true
    call: { capability: review.check }
    input: "${steps.price.output}"
output: { quote: "${steps.price.output}", reviewed: "${steps.review.ok}" }
"#;

fn parse(text: &str) -> Workflow {
    Workflow::parse(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn scope<'a>(input: &'a Json, outputs: &'a BTreeMap<String, Json>) -> Scope<'a> {
    Scope { input, run: RunId::from_bytes([1; 16]), intent: "quote", context: input, outputs }
}

fn json(value: Value) -> Json {
    Json::from(&value)
}

#[test]
fn a_document_becomes_a_workflow_with_every_field() {
    let workflow = parse(TRIP_QUOTE);
    assert_eq!(workflow.to_string(), "trip-quote v3");
    assert_eq!(workflow.description(), "Quotes a trip.");
    assert_eq!((workflow.deadline(), workflow.max_parallel()), (Duration::from_secs(90), 4));
    assert!(workflow.input().check_value(&json!({})).is_err());
    assert_eq!(workflow.source(), TRIP_QUOTE);
    assert_eq!(workflow.order(), [0, 1, 2]);

    let [research, price, review] = workflow.steps() else { panic!("three steps") };
    assert_eq!(research.timeout, Duration::from_secs(20));
    assert_eq!((research.retry.max_attempts, research.retry.initial), (2, Duration::from_secs(1)));
    assert_eq!((research.after.as_slice(), research.dependents.as_slice()), ([].as_slice(), [1].as_slice()));
    assert_eq!((price.after.as_slice(), price.dependents.as_slice()), ([0].as_slice(), [2].as_slice()));
    let agent = Some(Name::new("pricer").unwrap());
    let StepKind::Call(call) = &price.kind else { panic!("a call") };
    assert_eq!(*call, Call { agent, ..Call::of(Name::new("pricing.quote").unwrap()) });
    assert!(price.output_schema.check_value(&json!({"total": 1})).is_ok());
    assert_eq!((price.timeout, price.retry.clone()), (DEFAULT_TIMEOUT, RetryPolicy::DEFAULT));
    assert!(review.optional && !price.optional);
    assert_eq!(workflow.lint(), []);
}

#[test]
fn a_document_says_what_each_mode_leaves_out() {
    let steps = "steps:\n  - {id: a, call: {capability: c}}\n  - {id: b, call: {capability: c}, optional: true, drop_in: degraded}\n";
    let workflow = parse(&format!("name: w\nversion: 1\ndrop_in: emergency\n{steps}"));
    assert_eq!(workflow.drop_in(), Some(Mode::Emergency));
    assert_eq!(
        workflow.steps().iter().map(|step| step.drop_in).collect::<Vec<_>>(),
        [None, Some(Mode::Degraded)]
    );
    assert_eq!(parse(&format!("name: w\nversion: 1\n{steps}")).drop_in(), None);
}

#[test]
fn data_flows_from_step_to_step_to_the_output() {
    let workflow = parse(TRIP_QUOTE);
    let input = json(json!({"destination": "Rome"}));
    let mut outputs = BTreeMap::new();
    let research = workflow.step("research").unwrap().input.eval(&scope(&input, &outputs)).unwrap();
    assert_eq!(research.value(), json!({"destination": "Rome"}));

    outputs.insert("research".to_owned(), json(json!({"options": [1, 2.0]})));
    let price = workflow.step("price").unwrap().input.eval(&scope(&input, &outputs)).unwrap();
    assert_eq!(price.as_str(), r#"{"note":"for Rome","options":[1,2.0]}"#);

    outputs.insert("price".to_owned(), json(json!({"total": 7})));
    let output = workflow.output(&scope(&input, &outputs)).unwrap();
    assert_eq!(output.as_str(), r#"{"quote":{"total":7},"reviewed":false}"#);
}

#[test]
fn what_is_left_out_has_a_default() {
    let workflow = parse(
        "{name: w, version: 1, steps: [{id: a, call: {capability: c}}, {id: b, call: {capability: c}}]}",
    );
    assert_eq!((workflow.deadline(), workflow.max_parallel()), (DEFAULT_DEADLINE, DEFAULT_PARALLEL));
    assert!(workflow.input().accepts_anything());
    let input = json(json!([1]));
    let outputs = BTreeMap::from([("a".to_owned(), json(json!("A"))), ("b".to_owned(), json(json!("B")))]);
    let scope = scope(&input, &outputs);
    assert_eq!(workflow.steps()[0].input.eval(&scope).unwrap(), input, "a step is given the run's input");
    assert_eq!(workflow.output(&scope).unwrap().as_str(), r#"{"a":"A","b":"B"}"#, "the last steps' outputs");
}

#[test]
fn layout_and_language_do_not_change_the_hash_and_content_does() {
    let yaml = parse("name: w\nversion: 1\nsteps:\n  - id: a   # comment\n    call: { capability: c }\n");
    let json = parse(r#"{"version": 1, "steps": [{"call": {"capability": "c"}, "id": "a"}], "name": "w"}"#);
    assert_eq!(yaml.hash(), json.hash());
    let other = parse(r#"{"version": 1, "steps": [{"call": {"capability": "d"}, "id": "a"}], "name": "w"}"#);
    assert_ne!(yaml.hash(), other.hash());
    assert_eq!(yaml.hash().to_string().parse(), Ok(yaml.hash()));
    assert!("xyz".parse::<WorkflowHash>().is_err());
}

#[test]
fn a_hash_recorded_today_is_the_hash_tomorrow() {
    let workflow = parse("{name: w, version: 1, steps: [{id: a, call: {capability: c}}]}");
    insta::assert_snapshot!(workflow.hash(), @"0635f9dd1a4fe2ecd2042ed1f2b8333db9a512ae778add82912156e6fd8693b7");
}
