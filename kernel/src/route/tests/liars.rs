//! A router agent that lies in every way, ten thousand requests each: none is lost, and the record says what happened.

use super::*;
use crate::dice::Dice;

const REQUESTS: usize = 10_000;

/// One way to lie: what the router says, and what the record must call it.
type Lie = fn(&mut Dice) -> Result<Answer, Failure>;

/// Letters that look like Latin ones.
const LOOK_ALIKE: [(char, char); 6] = [
    ('a', '\u{430}'),
    ('e', '\u{435}'),
    ('i', '\u{456}'),
    ('n', '\u{578}'),
    ('r', '\u{433}'),
    ('k', '\u{212a}'),
];

fn names(capability: &str) -> Result<Answer, Failure> {
    let output = serde_json::json!({ "capability": capability, "confidence": 0.99 });
    Ok(answers(&output.to_string()))
}

fn ghost(dice: &mut Dice) -> Result<Answer, Failure> {
    names(&format!("billing.ghost-{}", dice.below(1_000_000)))
}

fn down(_: &mut Dice) -> Result<Answer, Failure> {
    names("night.work")
}

fn forbidden(dice: &mut Dice) -> Result<Answer, Failure> {
    // What the document does not list, the generalist it may not name, and the router itself.
    names(["secret.read", "anything", "pick"][dice.below(3)])
}

fn timeout(_: &mut Dice) -> Result<Answer, Failure> {
    Err(fails(Class::Timeout, Began::Unknown))
}

fn garbage(dice: &mut Dice) -> Result<Answer, Failure> {
    const ALL: [&str; 12] = [
        "null",
        "true",
        "\"billing.refund\"",
        "[]",
        "[\"billing.refund\", 1.0]",
        "{}",
        r#"{"confidence": 1}"#,
        r#"{"capability": 7, "confidence": 1}"#,
        r#"{"capability": {"name": "billing.refund"}, "confidence": 1}"#,
        r#"{"capability": "billing.refund", "confidence": "high"}"#,
        r#"{"capability": "billing.refund", "confidence": -1}"#,
        r#"{"capability": "billing.refund", "confidence": 1e300}"#,
    ];
    match dice.below(ALL.len() + 1) {
        // What is not even JSON, the sidecar refuses.
        0 => Err(fails(Class::ContractBreach, Began::Yes)),
        at => Ok(answers(ALL[at - 1])),
    }
}

fn look_alike(dice: &mut Dice) -> Result<Answer, Failure> {
    let real = ["billing.refund", "shipping.track"][dice.below(2)];
    let hits: Vec<_> = LOOK_ALIKE.into_iter().filter(|(latin, _)| real.contains(*latin)).collect();
    let (latin, other) = hits[dice.below(hits.len())];
    let forged = match dice.below(4) {
        0 => real.replacen(latin, &other.to_string(), 1),
        1 => format!("{real}\u{200b}"),
        2 => format!("\u{202e}{real}"),
        _ => real.to_uppercase(),
    };
    names(&forged)
}

fn unsure(dice: &mut Dice) -> Result<Answer, Failure> {
    let confidence = dice.fraction() * 0.59;
    Ok(answers(&serde_json::json!({ "capability": "billing.refund", "confidence": confidence }).to_string()))
}

/// Ten thousand requests that come as far as the router, which says what `lie` makes it say.
fn lies(lie: Lie, expected: Why) {
    let (registry, mut dice) = (town(), Dice::seeded(42));
    let (routing, classifier) = (routing(DOCUMENT), classifier());
    let mut served = 0;
    for number in 0..REQUESTS {
        let request = asks(&format!(r#"{{"question": "lamp {number}"}}"#));
        let mut machine = Machine::new(Arc::clone(&routing), Some(Arc::clone(&classifier)), request);
        assert!(matches!(machine.next(&registry), Move::Ask(_)), "{number}");
        let said = lie(&mut dice);
        machine.on_router(said.as_ref(), &registry);
        // One in ten finds that the generalist has just gone, too.
        let mut moved = machine.next(&registry);
        assert_eq!(moved, Move::Call(target("anything", None)), "{number}: {said:?}");
        if dice.below(10) == 0 {
            assert!(machine.on_failed(&fails(Class::Unavailable, Began::No)));
            moved = machine.next(&registry);
            assert!(matches!(moved, Move::Respond(_)), "{moved:?}");
        }
        let decision = machine.into_decision();
        let router: Vec<_> = decision.passed.iter().filter(|passed| passed.rung == Rung::Router).collect();
        assert_eq!(router.len(), 1, "{decision:?}");
        assert_eq!(router[0].why, expected, "{said:?}: {decision:?}");
        assert!(!router[0].detail.is_empty() && router[0].detail.chars().count() <= 301, "{decision:?}");
        let fallback = matches!(moved, Move::Respond(_));
        assert_eq!(decision.rung, if fallback { Rung::Static } else { Rung::Generalist });
        served += 1;
    }
    assert_eq!(served, REQUESTS, "none is lost");
}

#[test]
fn a_router_that_names_ghosts_loses_nothing() {
    lies(ghost, Why::Unknown);
}

#[test]
fn a_router_that_names_what_is_down_loses_nothing() {
    lies(down, Why::Down);
}

#[test]
fn a_router_that_names_what_is_forbidden_loses_nothing() {
    lies(forbidden, Why::Forbidden);
}

#[test]
fn a_router_that_does_not_answer_loses_nothing() {
    lies(timeout, Why::Timeout);
}

#[test]
fn a_router_that_answers_garbage_loses_nothing() {
    lies(garbage, Why::Garbage);
}

#[test]
fn a_router_that_answers_a_megabyte_loses_nothing() {
    thread_local! {
        static MEGABYTE: Answer = answers(
            &serde_json::json!({ "capability": "billing.refund", "confidence": 1, "why": "x".repeat(1 << 20) }).to_string(),
        );
    }
    lies(|_| Ok(MEGABYTE.with(Answer::clone)), Why::Garbage);
}

#[test]
fn a_router_that_writes_look_alike_letters_loses_nothing() {
    lies(look_alike, Why::Unknown);
}

#[test]
fn a_router_that_is_not_sure_loses_nothing() {
    lies(unsure, Why::LowConfidence);
}
