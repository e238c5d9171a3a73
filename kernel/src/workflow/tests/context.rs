//! What a workflow reads of the shared context.

use std::time::Duration;

use super::*;
use crate::context::{Pin, Pins};
use crate::id::RunId;
use crate::time::Wall;

const DOCUMENT: &str = r#"
name: quote
version: 1
context:
  prices: { key: market/prices, max_age: 10m }
  rates: { key: bank/rates }
steps:
  - id: quote
    call: { capability: pricing.quote }
    input: { eur: "${context.prices.eur}", all: "${context.rates}", sum: "${context.prices.eur + 1.0}" }
output: "${context.prices}"
"#;

fn codes(text: &str) -> Vec<String> {
    let problems = Workflow::parse(text).unwrap_err();
    problems.iter().map(|problem| format!("{} {}", problem.code, problem.path)).collect()
}

#[test]
fn a_workflow_says_what_it_reads_and_how_old_that_may_be() {
    let workflow = parse(DOCUMENT);
    let read: Vec<_> =
        workflow.context().iter().map(|read| (&*read.name, read.key.as_str(), read.max_age)).collect();
    let minutes = Some(Duration::from_secs(600));
    assert_eq!(read, [("prices", "market/prices", minutes), ("rates", "bank/rates", None)]);
}

#[test]
fn mappings_see_what_the_run_read() {
    let workflow = parse(DOCUMENT);
    let pin = |name: &str, value| Pin {
        of: "".into(),
        name: name.into(),
        key: "a/b".parse().unwrap(),
        version: 1,
        at: Wall::from_millis(0),
        value: json(value),
    };
    let pins =
        Pins::new(vec![pin("prices", serde_json::json!({"eur": 2.5})), pin("rates", serde_json::json!([1]))]);
    let (input, outputs) = (Json::null(), BTreeMap::new());
    let run = RunId::from_bytes([1; 16]);
    let scope = Scope { input: &input, run, intent: "", context: pins.values(None), outputs: &outputs };
    let given = workflow.steps()[0].input.eval(&scope).unwrap();
    assert_eq!(given.as_str(), r#"{"all":[1],"eur":2.5,"sum":3.5}"#);
    assert_eq!(workflow.output(&scope).unwrap().as_str(), r#"{"eur":2.5}"#);
}

#[test]
fn what_cannot_be_read_is_found_before_it_runs() {
    let unknown = DOCUMENT.replace("${context.prices}", "${context.price}");
    assert_eq!(codes(&unknown), ["CONTEXT_UNKNOWN output"]);
    let in_step = DOCUMENT.replace("${context.rates}", "${context.other.x}");
    assert_eq!(codes(&in_step), ["CONTEXT_UNKNOWN steps[0].input.all"]);
    let key = DOCUMENT.replace("bank/rates", "bank//rates");
    assert_eq!(codes(&key)[0], "CONTEXT_KEY_INVALID context.rates.key");
    let name = DOCUMENT.replace("  rates:", "  Rates:");
    assert_eq!(codes(&name)[0], "NAME_INVALID context.Rates");
    let missing = DOCUMENT.replace("{ key: bank/rates }", "{ max_age: 0s }");
    assert_eq!(
        codes(&missing)[..2],
        ["FIELD_MISSING context.rates.key", "FIELD_RANGE context.rates.max_age"]
    );
    let reads: Vec<String> = (0..17).map(|n| format!("  k{n}: {{ key: k{n} }}\n")).collect();
    let many = DOCUMENT.replace("context:\n", &format!("context:\n{}", reads.concat()));
    assert!(codes(&many).contains(&"FIELD_RANGE context".to_owned()));
}
