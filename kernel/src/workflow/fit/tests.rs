use serde_json::{Value, json};

use super::{Contract, misfits};
use crate::workflow::Workflow;

/// What is wrong with two steps, of which the second is given `input`; the first gives what `output` says.
fn found(input: Value, takes: Value, output: Value) -> Vec<String> {
    let document = json!({
        "name": "w",
        "version": 1,
        "steps": [
            { "id": "one", "call": { "capability": "gives" } },
            { "id": "two", "after": ["one"], "call": { "capability": "takes" }, "input": input },
        ],
    });
    let workflow = Workflow::parse(&document.to_string()).unwrap();
    misfits(&workflow, &|name| match name {
        "gives" => Some(Contract { input: json!(true), output: output.clone() }),
        "takes" => Some(Contract { input: takes.clone(), output: json!(true) }),
        _ => None,
    })
}

fn quote() -> Value {
    json!({
        "type": "object",
        "required": ["from", "people"],
        "additionalProperties": false,
        "properties": { "from": { "type": "string" }, "people": { "type": "integer" }, "extras": { "type": "array", "items": { "type": "string" } } },
    })
}

fn route() -> Value {
    json!({ "type": "object", "properties": { "city": { "type": "string" }, "stops": { "type": "array" } } })
}

#[test]
fn what_fits_or_cannot_be_known_is_not_reported() {
    let none: [String; 0] = [];
    let good = json!({ "from": "${steps.one.output.city}", "people": "${input.people}", "extras": ["${input.x}", "wine"] });
    assert_eq!(found(good, quote(), route()), none);
    let computed =
        json!({ "from": "from ${steps.one.output.stops}", "people": "${size(steps.one.output.stops)}" });
    assert_eq!(found(computed, quote(), route()), none);
    assert_eq!(found(json!("${steps.one.output}"), quote(), route()), none, "an object as a whole");
    let open = json!({ "from": "${steps.one.output.anything}", "people": 2 });
    assert_eq!(found(open.clone(), quote(), json!(true)), none);
    assert_eq!(found(open, quote(), json!({ "anyOf": [{ "type": "object" }] })), none);
}

#[test]
fn fields_that_are_missing_or_too_many_are_named() {
    assert_eq!(
        found(json!({ "from": "here", "colour": "red" }), quote(), route()),
        [
            "step `two`: input lacks the field `people`, which its agent needs",
            "step `two`: input has a field `colour`, which its agent does not take",
        ]
    );
}

#[test]
fn a_type_that_can_never_fit_is_named_with_both_sides() {
    assert_eq!(
        found(
            json!({ "from": 7, "people": "${steps.one.output.city}", "extras": [["x"]] }),
            quote(),
            route()
        ),
        [
            "step `two`: input.extras[0] is array where its agent takes string",
            "step `two`: input.from is integer where its agent takes string",
            "step `two`: input.people is string where its agent takes integer",
        ]
    );
    assert_eq!(
        found(json!("${steps.one.output}"), quote(), json!({ "type": "array" })),
        ["step `two`: input is array where its agent takes object"]
    );
}

#[test]
fn a_field_that_an_output_does_not_have_is_named() {
    assert_eq!(
        found(json!({ "from": "${steps.one.output.town}", "people": 1 }), quote(), route()),
        ["step `two`: input.from reads `town` of the output of `one`, whose schema has no such field"]
    );
}
