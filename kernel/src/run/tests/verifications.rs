//! Answers that are verified before they count: whole runs as texts, and what no verification may do.

use serde_json::json;

use super::golden::transcript;
use super::rules::say;
use super::world::{Fate, Plan, World, answer, at, id, list, part, plan, ruling, text};
use crate::effect::EffectClass;
use crate::outcome::{Answer, Began, Class};
use crate::run::{EndState, Event, Finding, FoldError, Soundness, Verdict, Verified, Way};
use crate::workflow::{Call, StepId};

const GOOD: Fate = Fate::Answer(r#"{"score":0.9,"grounds":"all there"}"#);
const POOR: Fate = Fate::Answer(r#"{"score":0.4,"grounds":["no sources","too short"]}"#);
const FAILS: Fate = Fate::Fail(Class::AgentError, Began::Yes);

fn by() -> serde_json::Value {
    json!({ "capability": "check.it", "threshold": 0.8 })
}

fn conditions_hold() -> Plan {
    plan(vec![
        part("quote", &[])
            .fates(&[Fate::Answer(r#"{"total":3}"#)])
            .verify(json!({ "that": ["output.total >= 0"] })),
        part("send", &["quote"]),
    ])
}

fn mended_at_the_first_repair() -> Plan {
    let because = "a price is never negative";
    let that = json!([{ "holds": "output.total >= 0 && given.q == input.question", "because": because }]);
    let quote = part("quote", &[]).input(&[("q", "${input.question}")]);
    let quote =
        quote.fates(&[Fate::Answer(r#"{"total":-3}"#)]).inside("repair_1", &[Fate::Answer(r#"{"total":3}"#)]);
    plan(vec![quote.verify(json!({ "that": that })), part("send", &["quote"])])
}

fn a_verifier_refuses_and_then_does_not() -> Plan {
    let quote = part("quote", &[]).input(&[("q", "${input.question}")]).fates(&[Fate::Answer("\"short\"")]);
    let quote = quote.inside("verify_1", &[POOR]).inside("repair_1", &[Fate::Answer("\"longer\"")]);
    let quote = quote.inside("verify_2", &[GOOD]);
    let input = json!({ "text": "${output}", "asked": "${given.q}", "before": "${grounds}" });
    let by = json!({ "capability": "check.it", "threshold": 0.8, "input": input });
    let again = json!({ "q": "${given.q}", "feedback": "${grounds}", "draft": "${output}" });
    plan(vec![quote.verify(json!({ "by": by, "repairs": 2, "repair_input": again }))])
}

fn refused_as_often_as_allowed() -> Plan {
    let quote = part("quote", &[]).fates(&[Fate::Answer("1")]).on_failure(json!({ "default": 0 }));
    let quote = quote.inside("repair_1", &[Fate::Answer("2")]).inside("repair_2", &[Fate::Answer("3")]);
    plan(vec![quote.verify(json!({ "that": ["output > 9"], "repairs": 2 })), part("send", &["quote"])])
}

fn the_same_answer_again() -> Plan {
    plan(vec![part("quote", &[]).verify(json!({ "that": "output > 9", "repairs": 4 }))])
}

fn what_was_done_is_not_done_twice() -> Plan {
    let book = part("book", &[]).effect(EffectClass::SideEffecting).verify(json!({ "that": ["output > 9"] }));
    let ask = json!({ "escalate": { "ask": "What now?", "within": "2s" } });
    let book = book.on_failure(json!([{ "fallback": { "capability": "other" } }, ask]));
    plan(vec![book.says(500, ruling(Verdict::Approved)), part("send", &["book"])])
}

fn no_verdict_fails_the_step() -> Plan {
    let quote = part("quote", &[]).tries(2).inside("verify_1", &[Fate::Answer(r#"{"score":7}"#), FAILS]);
    plan(vec![quote.verify(json!({ "by": by() })), part("send", &["quote"])])
}

fn no_verdict_is_accepted() -> Plan {
    let quote = part("quote", &[]).inside("verify_1", &[FAILS]);
    let by = json!({ "capability": "check.it", "if_unavailable": "accept" });
    plan(vec![quote.verify(json!({ "by": by })), part("send", &["quote"])])
}

fn a_repair_that_fails() -> Plan {
    let quote = part("quote", &[]).inside("repair_1", &[FAILS]);
    plan(vec![quote.verify(json!({ "that": ["output > 9"] }))])
}

fn who_answers_instead_is_verified_too() -> Plan {
    let quote = part("quote", &[]).fates(&[FAILS]).instead(&[Fate::Answer("2")]);
    let quote = quote.on_failure(json!([{ "fallback": { "capability": "other" } }, { "default": 0 }]));
    let quote = quote.inside("repair_1", &[Fate::Answer("10")]).inside("verify_1", &[POOR]);
    let quote = quote.inside("verify_2", &[GOOD]);
    plan(vec![quote.verify(json!({ "that": ["output > 1"], "by": by() }))])
}

fn a_list_is_verified_as_a_whole() -> Plan {
    let each = part("each", &[]).over(list(json!([1, 2]))).inside("verify_1", &[POOR]);
    plan(vec![each.verify(json!({ "by": by() }))])
}

fn a_worker_that_was_found_is_handed_its_work_back() -> Plan {
    let way = Way {
        decision: "dec_1".to_owned(),
        rung: "rules".to_owned(),
        call: Some(Call::of(super::world::name("answer.it"))),
        response: None,
    };
    let find = part("find", &[]).does("route", json!({ "by": "door" })).finds(5, Finding::Way(way));
    let find = find.inside("repair_1", &[Fate::Answer("10")]);
    plan(vec![find.verify(json!({ "that": ["output > 9"] }))])
}

fn a_workflow_is_run_again() -> Plan {
    let inner = json!({
        "name": "inner",
        "version": 1,
        "steps": [{ "id": "verify_1", "call": { "capability": "do.it" } }],
        "output": "${steps.verify_1.output}",
    });
    let sub = part("sub", &[]).does("sub", json!({ "workflow": "inner" })).fates(&[Fate::Answer("1")]);
    let sub = sub.inside("repair_1/verify_1", &[Fate::Answer("10")]).inside("verify_1_", &[POOR]);
    let sub = sub.inside("verify_2", &[GOOD]);
    Plan { subs: vec![inner], ..plan(vec![sub.verify(json!({ "by": by() }))]) }
}

fn cancelled_while_it_is_verified() -> Plan {
    let quote = part("quote", &[]).takes(100).verify(json!({ "by": by() }));
    Plan { cancel_at: Some(150), ..plan(vec![quote]) }
}

fn a_budget_does_not_reach_for_the_verifier() -> Plan {
    let quote = part("quote", &[]).budget(json!({ "calls": 1 })).verify(json!({ "by": by() }));
    plan(vec![quote])
}

pub(super) fn all() -> Vec<(&'static str, Plan)> {
    vec![
        ("conditions hold", conditions_hold()),
        ("mended at the first repair", mended_at_the_first_repair()),
        ("a verifier refuses and then does not", a_verifier_refuses_and_then_does_not()),
        ("refused as often as allowed", refused_as_often_as_allowed()),
        ("the same answer again", the_same_answer_again()),
        ("what was done is not done twice", what_was_done_is_not_done_twice()),
        ("no verdict fails the step", no_verdict_fails_the_step()),
        ("no verdict is accepted", no_verdict_is_accepted()),
        ("a repair that fails", a_repair_that_fails()),
        ("who answers instead is verified too", who_answers_instead_is_verified_too()),
        ("a list is verified as a whole", a_list_is_verified_as_a_whole()),
        ("a worker is handed its work back", a_worker_that_was_found_is_handed_its_work_back()),
        ("a workflow is run again", a_workflow_is_run_again()),
        ("cancelled while it is verified", cancelled_while_it_is_verified()),
        ("no budget for the verifier", a_budget_does_not_reach_for_the_verifier()),
        ("the same doubtful answer again", the_same_doubtful_answer_again()),
        ("the same call over and over", the_same_call_over_and_over()),
    ]
}

fn the_same_doubtful_answer_again() -> Plan {
    let fates = [Fate::Unsure("1", 0), Fate::Unsure("2", 0), Fate::Unsure("1", 100)];
    plan(vec![part("quote", &[]).tries(5).fates(&fates).confidence(0.7, "retry")])
}

fn the_same_call_over_and_over() -> Plan {
    let each = part("each", &[]).over(list(json!([1, 1, 1, 1, 1]))).input(&[("item", "${item}")]);
    plan(vec![each])
}

/// A verification's beginning, as a transcript tells it.
pub(super) fn begun(step: &StepId, answer: &Answer, repairs: u32) -> String {
    format!("{step} verified: {}, at most {repairs} repairs", answer.output)
}

/// A verdict, as a transcript tells it.
pub(super) fn told(step: &StepId, verified: &Verified) -> String {
    let Verified { verdict, score_bp, grounds, by } = verified;
    let score = score_bp.map_or(String::new(), |score| format!(" {score}"));
    let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
    format!("{step} {}{score}{by}: {}", verdict.as_str(), grounds.join("; "))
}

#[test]
fn an_answer_that_meets_its_conditions_counts() {
    insta::assert_snapshot!(transcript(conditions_hold()));
}

#[test]
fn a_refused_answer_goes_back_with_the_grounds_under_a_key_of_its_own() {
    insta::assert_snapshot!(transcript(mended_at_the_first_repair()));
}

#[test]
fn a_verifier_who_had_no_part_in_it_is_asked_and_its_grounds_go_back_as_the_workflow_says() {
    insta::assert_snapshot!(transcript(a_verifier_refuses_and_then_does_not()));
}

#[test]
fn an_answer_goes_back_as_often_as_allowed_and_then_the_step_fails() {
    insta::assert_snapshot!(transcript(refused_as_often_as_allowed()));
}

#[test]
fn the_same_answer_given_again_is_not_looked_at_again() {
    insta::assert_snapshot!(transcript(the_same_answer_again()));
}

#[test]
fn a_side_effect_is_not_repaired_and_a_person_sees_the_answer() {
    insta::assert_snapshot!(transcript(what_was_done_is_not_done_twice()));
}

#[test]
fn a_verdict_that_cannot_be_read_is_asked_for_again_and_without_one_the_step_fails() {
    insta::assert_snapshot!(transcript(no_verdict_fails_the_step()));
}

#[test]
fn an_answer_nobody_verified_goes_on_only_where_the_workflow_says_so() {
    insta::assert_snapshot!(transcript(no_verdict_is_accepted()));
}

#[test]
fn a_repair_that_fails_fails_the_step() {
    insta::assert_snapshot!(transcript(a_repair_that_fails()));
}

#[test]
fn whoever_is_asked_instead_is_verified_as_well() {
    insta::assert_snapshot!(transcript(who_answers_instead_is_verified_too()));
}

#[test]
fn what_several_made_fails_at_the_first_refusal() {
    insta::assert_snapshot!(transcript(a_list_is_verified_as_a_whole()));
}

#[test]
fn the_worker_that_a_route_found_is_handed_its_work_back() {
    insta::assert_snapshot!(transcript(a_worker_that_was_found_is_handed_its_work_back()));
}

#[test]
fn a_workflow_whose_answer_is_refused_is_run_again() {
    insta::assert_snapshot!(transcript(a_workflow_is_run_again()));
}

#[test]
fn a_cancel_reaches_the_verifier() {
    insta::assert_snapshot!(transcript(cancelled_while_it_is_verified()));
}

#[test]
fn a_verifier_is_paid_out_of_the_budget_of_the_step() {
    insta::assert_snapshot!(transcript(a_budget_does_not_reach_for_the_verifier()));
}

#[test]
fn a_try_that_gives_an_answer_that_was_not_taken_before_is_the_last() {
    insta::assert_snapshot!(transcript(the_same_doubtful_answer_again()));
}

#[test]
fn the_same_call_made_over_and_over_by_steps_that_grew_is_named_once() {
    insta::assert_snapshot!(transcript(the_same_call_over_and_over()));
}

#[test]
fn a_score_and_a_verdict_must_both_let_it_pass() {
    let ends = |word: &'static str, threshold: Option<f64>| {
        let mut by = json!({ "capability": "check.it" });
        if let Some(threshold) = threshold {
            by["threshold"] = threshold.into();
        }
        let quote = part("quote", &[]).inside("verify_1", &[Fate::Answer(word)]);
        let quote = quote.verify(json!({ "by": by, "repairs": 0 }));
        let world = World::new(plan(vec![quote])).finish();
        let verdicts = &world.run.step("quote").unwrap().1.verdicts;
        assert_eq!(verdicts.len(), 1, "{word}");
        assert_eq!(
            verdicts[0].verdict.lets_pass(),
            world.run.end.as_ref().unwrap().state == EndState::Completed
        );
        verdicts[0].verdict
    };
    assert_eq!(ends(r#"{"score":0.8,"grounds":""}"#, Some(0.8)), Soundness::Passed);
    assert_eq!(ends(r#"{"score":0.79,"grounds":""}"#, Some(0.8)), Soundness::Refused);
    assert_eq!(ends(r#"{"score":1,"verdict":"fail","grounds":[]}"#, Some(0.8)), Soundness::Refused);
    assert_eq!(ends(r#"{"verdict":"pass","grounds":[]}"#, None), Soundness::Passed);
    assert_eq!(ends(r#"{"verdict":"fail","grounds":"x"}"#, None), Soundness::Refused);
    // What is no verdict is a failure of the verifier.
    assert_eq!(ends(r#"{"verdict":"pass","grounds":[]}"#, Some(0.8)), Soundness::Unavailable);
    assert_eq!(ends(r#"{"score":0.9,"grounds":[]}"#, None), Soundness::Unavailable);
    assert_eq!(ends(r#"{"verdict":"pass"}"#, None), Soundness::Unavailable);
    assert_eq!(ends(r#"{"verdict":"maybe","grounds":[]}"#, None), Soundness::Unavailable);
}

#[test]
fn the_verifier_is_kept_from_everyone_who_had_a_part_in_the_answer() {
    let each = part("each", &[]).over(list(json!([1, 2]))).inside("verify_1", &[GOOD]);
    let mut world = World::new(plan(vec![each.verify(json!({ "by": by() }))]));
    world.go_until(at(15));
    let owed = crate::run::outstanding(&world.run);
    let [call] = &owed.calls[..] else { panic!("the verifier is asked: {owed:?}") };
    assert_eq!(call.step.as_str(), "each/verify_1");
    assert_eq!(call.not_by, [super::world::name("agent")]);
}

#[test]
fn the_journal_takes_no_answer_that_was_not_verified_and_no_verdict_too_many() {
    let verify = json!({ "that": ["output > 9"], "repairs": 1 });
    let plain = plan(vec![part("quote", &[]).verify(verify), part("plain", &[])]);
    let mut run = World::new(plain).run;
    let refused = |name: &str| Err(FoldError::Verification { step: id(name) });
    let done = |name: &str| Event::StepCompleted {
        step: id(name),
        answer: answer("10").into(),
        attempts: Vec::new(),
    };
    let begun = |name: &str| Event::VerificationBegun {
        step: id(name),
        answer: answer("10").into(),
        repairs: 1,
        attempts: Vec::new(),
    };
    let says = |verdict| Event::VerdictReached {
        step: id("quote"),
        verified: Verified { verdict, score_bp: None, grounds: Vec::new(), by: String::new() }.into(),
    };
    assert_eq!(say(&mut run, vec![done("quote")]), refused("quote"), "nobody looked at it");
    assert_eq!(say(&mut run, vec![begun("plain")]), refused("plain"), "its workflow does not say so");
    assert_eq!(say(&mut run, vec![says(Soundness::Passed)]), refused("quote"), "there is no answer");
    say(&mut run, vec![begun("quote")]).unwrap();
    assert_eq!(say(&mut run, vec![begun("quote")]), refused("quote"), "once");
    say(&mut run, vec![says(Soundness::Refused)]).unwrap();
    assert_eq!(say(&mut run, vec![done("quote")]), refused("quote"), "it was refused");
    say(&mut run, vec![says(Soundness::Refused)]).unwrap();
    assert_eq!(say(&mut run, vec![says(Soundness::Passed)]), refused("quote"), "more than it may go back");
    let repeats =
        Event::RepetitionNoticed { step: id("plain"), capability: super::world::name("do.it"), times: 3 };
    assert_eq!(say(&mut run, vec![repeats]), Err(FoldError::Repetition { step: id("plain") }));
}

#[test]
fn a_repair_is_given_what_was_given_before_with_the_refusal_beside_it() {
    let quote =
        part("quote", &[]).input(&[("n", "${input.question}")]).verify(json!({ "that": ["output > 9"] }));
    let mut world = World::new(plan(vec![quote]));
    world.go_until(at(15));
    let given = world.run.step("quote/repair_1").unwrap().1.input.clone().unwrap();
    let expected = r#"{"n":"why","repair":{"output":1,"grounds":["`output > 9` does not hold"],"repair":1,"repairs":1}}"#;
    assert_eq!(given, text(expected));
}
