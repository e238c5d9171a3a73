//! What steps of any shape fall back on, and how their answers are verified.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::laws::{Shape, any_fate};
use super::world::{Fate, Part};

/// What a step falls back on, as far as it fits.
pub(super) fn any_recourse()
-> impl Strategy<Value = (Vec<Value>, Option<&'static str>, Vec<Fate>, Option<Value>)> {
    let fallback = |capability: &str| json!({ "fallback": { "capability": capability } });
    let ask =
        |default: &str| json!({ "escalate": { "ask": "Well?", "within": "300ms", "default": default } });
    let last = vec![json!("skip"), json!({ "default": 7 }), ask("approve"), ask("reject")];
    let remedies =
        (0..3_usize, prop::option::of(prop::sample::select(last))).prop_map(move |(fallbacks, last)| {
            let fallbacks = ["other", "third"].into_iter().take(fallbacks).map(fallback);
            fallbacks.chain(last).collect::<Vec<_>>()
        });
    let below = prop::option::of(prop::sample::select(vec!["accept", "retry", "fallback", "escalate"]));
    (remedies, below, prop::collection::vec(any_fate(), 1..3), prop::option::of(any_verification()))
}

/// How an answer is verified, as far as it fits.
fn any_verification() -> impl Strategy<Value = Value> {
    let that = prop::sample::select(vec!["true", "output != 1", "output == 1", "output.a == 1"]);
    let by = prop::option::of((any::<bool>(), any::<bool>()));
    (that, by, 0..3_u32).prop_map(|(that, by, repairs)| {
        let mut verify = json!({ "that": [that], "repairs": repairs });
        if let Some((threshold, accept)) = by {
            verify["by"] = json!({ "capability": "check.it" });
            verify["by"]["if_unavailable"] = json!(if accept { "accept" } else { "fail" });
            if threshold {
                verify["by"]["threshold"] = json!(0.5);
            }
        }
        verify
    })
}

/// Leaves out what would contradict the rest of the step.
pub(super) fn verified(part: Part, shape: &Shape, verify: Option<Value>) -> Part {
    let Some(mut verify) = verify else { return part };
    match shape {
        Shape::Wait(_) | Shape::Signal(..) | Shape::Approve(..) => return part,
        Shape::Call | Shape::Choose(..) | Shape::Sub(_) | Shape::Route(..) => {}
        Shape::Map(..) | Shape::Consensus(..) | Shape::Supervise(..) | Shape::Plan(..) => {
            verify["repairs"] = json!(0);
        }
    }
    let poor = Fate::Answer(r#"{"score":0.4,"verdict":"fail","grounds":"no"}"#);
    let good = Fate::Answer(r#"{"score":0.9,"verdict":"pass","grounds":[]}"#);
    part.verify(verify)
        .inside("verify_1", &[poor])
        .inside("repair_1", &[Fate::Answer("2")])
        .inside("verify_2", &[good])
}

/// Leaves out what would contradict the rest of the step.
pub(super) fn falls_back(
    part: Part,
    shape: &Shape,
    remedies: Vec<Value>,
    below: Option<&'static str>,
) -> Part {
    let fits = |remedy: &Value| match shape {
        Shape::Wait(_) | Shape::Signal(..) => remedy.get("fallback").is_none(),
        Shape::Approve(..) => remedy.get("escalate").is_none() && (remedy.get("fallback").is_none()),
        Shape::Call
        | Shape::Map(..)
        | Shape::Choose(..)
        | Shape::Sub(_)
        | Shape::Consensus(..)
        | Shape::Supervise(..)
        | Shape::Plan(..)
        | Shape::Route(..) => true,
    };
    let remedies: Vec<Value> = remedies.into_iter().filter(fits).collect();
    let has = |name: &str| remedies.iter().any(|remedy| remedy.get(name).is_some());
    let below = below.filter(|below| match *below {
        "retry" => part.max_attempts > 1,
        "fallback" | "escalate" => has(below),
        _ => true,
    });
    let part = match below.filter(|_| matches!(shape, Shape::Call)) {
        Some(below) => part.confidence(0.5, below),
        None => part,
    };
    if remedies.is_empty() { part } else { part.on_failure(Value::from(remedies)) }
}
