//! Plans in which steps lie inside others: lists, and workflows inside a step.

use serde_json::json;

use super::super::world::{Fate, List, Plan, list, part, plan};
use crate::outcome::{Began, Class};

pub(super) fn over_a_list() -> Plan {
    let fates = [Fate::Answer("\"a\""), Fate::Answer("\"b\""), Fate::Answer("\"c\"")];
    plan(vec![
        part("find", &[]).fates(&[Fate::Answer(r#"[12345678901234567890.5,{"x":"${input}"},null]"#)]),
        part("each", &["find"]).over(list(json!("${steps.find.output}"))).fates(&fates),
        part("sum", &["each"]),
    ])
}

pub(super) fn over_a_list_with_gaps() -> Plan {
    let fates = [Fate::Answer("1"), Fate::Fail(Class::AgentError, Began::Yes), Fate::Answer("3")];
    let list = List { partial: true, ..list(json!(["one", "two", "three"])) };
    plan(vec![part("each", &[]).over(list).tries(2).fates(&fates)])
}

pub(super) fn over_a_list_that_fails() -> Plan {
    let fates = [Fate::Answer("1"), Fate::Fail(Class::AgentError, Began::Yes), Fate::Answer("3")];
    plan(vec![
        part("each", &[]).over(List { parallel: 3, ..list(json!([1, 2, 3, 4, 5])) }).fates(&fates),
        part("after", &["each"]),
    ])
}

pub(super) fn over_a_list_out_of_time() -> Plan {
    let list = List { partial: true, parallel: 1, within_ms: Some(25), ..list(json!([1, 2, 3, 4])) };
    plan(vec![part("each", &[]).over(list)])
}

pub(super) fn over_nothing() -> Plan {
    plan(vec![part("each", &[]).over(list(json!([]))), part("after", &["each"])])
}

pub(super) fn over_too_much() -> Plan {
    plan(vec![
        part("each", &[]).optional().over(List { max_items: 2, ..list(json!([1, 2, 3])) }),
        part("after", &["each"]),
    ])
}

pub(super) fn over_a_list_cancelled() -> Plan {
    Plan { cancel_at: Some(15), ..over_a_list() }
}

/// A question triaged and answered by whoever does that.
fn another(name: &str, second: &serde_json::Value) -> serde_json::Value {
    let mut second = second.clone();
    second["id"] = "second".into();
    second["after"] = json!(["first"]);
    json!({
        "name": name,
        "version": 1,
        "input": { "type": "object", "required": ["from"] },
        "deadline": "1s",
        "steps": [
            { "id": "first", "call": { "capability": "do.it" }, "input": "${input.from}" },
            second,
        ],
        "output": { "first": "${steps.first.output}", "second": "${steps.second.output}" },
    })
}

pub(super) fn a_workflow_inside() -> Plan {
    let inner =
        json!({ "call": { "capability": "do.it" }, "input": ["${input.from}", "${steps.first.output}"] });
    let parts = vec![
        part("first", &[]).fates(&[Fate::Answer("\"outer\"")]),
        part("nested", &["first"])
            .does("sub", json!({ "workflow": "another" }))
            .inside("first", &[Fate::Answer("\"inner\"")])
            .inside("second", &[Fate::Answer("2")]),
        part("last", &["nested"]),
    ];
    Plan { subs: vec![another("another", &inner)], ..plan(parts) }
}

pub(super) fn workflows_in_each_other() -> Plan {
    let list = json!({
        "map": { "over": ["${steps.first.output}", "${input.from}"], "call": { "capability": "do.it" } },
        "input": { "item": "${item}", "of": "${steps.first.output}" },
    });
    let deeper = json!({ "sub": { "workflow": "innermost" }, "input": { "from": "${steps.first.output}" } });
    let parts = vec![
        part("outer", &[])
            .input(&[("from", "${input.question}")])
            .does("sub", json!({ "workflow": "middle" }))
            .inside("first", &[Fate::Answer("\"m\"")])
            .inside("second/first", &[Fate::Answer("\"i\"")])
            .fates(&[Fate::Answer("10"), Fate::Answer("11")]),
    ];
    Plan { subs: vec![another("middle", &deeper), another("innermost", &list)], ..plan(parts) }
}

pub(super) fn a_workflow_inside_fails() -> Plan {
    let inner = json!({ "call": { "capability": "do.it" } });
    let parts = vec![
        part("nested", &[])
            .optional()
            .input(&[("from", "${input.question}")])
            .does("sub", json!({ "workflow": "another" }))
            .inside("first", &[Fate::Fail(Class::AgentError, Began::Yes)]),
        part("last", &["nested"]),
    ];
    Plan { subs: vec![another("another", &inner)], ..plan(parts) }
}

pub(super) fn a_workflow_inside_refuses() -> Plan {
    let inner = json!({ "call": { "capability": "do.it" } });
    let parts = vec![
        part("first", &[]),
        part("nested", &["first"]).input(&[]).does("sub", json!({ "workflow": "another" })),
    ];
    Plan { subs: vec![another("another", &inner)], ..plan(parts) }
}

pub(super) fn a_workflow_inside_is_late() -> Plan {
    let inner = json!({ "wait": { "signal": "go" } });
    let parts =
        vec![part("nested", &[]).input(&[("from", "1")]).does("sub", json!({ "workflow": "another" }))];
    Plan { subs: vec![another("another", &inner)], ..plan(parts) }
}

pub(super) fn a_signal_for_a_workflow_inside() -> Plan {
    Plan { signals: vec![(5, "go", "\"went\"")], ..a_workflow_inside_is_late() }
}
