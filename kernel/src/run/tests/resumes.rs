//! Going on from where another run failed.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::golden::transcript;
use super::laws::any_plan;
use super::world::{Fate, List, Part, Plan, RUN, World, at, id, list, part, plan};
use crate::effect::EffectClass;
use crate::outcome::{Began, Class};
use crate::run::resume::{Carried, Ended, MAX_CARRIED};
use crate::run::{EndState, Event, FoldError, ResumeError, Resumed, Run, Start, StepState, carry, start};

const FAILS: [Fate; 1] = [Fate::Fail(Class::AgentError, Began::Yes)];
const UNKNOWN: [Fate; 1] = [Fate::Fail(Class::Timeout, Began::Unknown)];
const GOOD: Fate = Fate::Answer(r#"{"score":0.9,"grounds":"fine"}"#);
const POOR: Fate = Fate::Answer(r#"{"score":0.1,"grounds":"too short"}"#);
const WELL: [Fate; 1] = [Fate::Answer("\"now\"")];

fn harmless(_: &crate::name::Name) -> EffectClass {
    EffectClass::ReadOnly
}

fn noticed(_: &crate::name::Name) -> EffectClass {
    EffectClass::SideEffecting
}

/// The end of a run of `failed`, and `then` going on from there.
fn after(failed: Plan, then: Plan) -> Plan {
    let before = World::new(failed).finish();
    let resumed = carry(&before.run, harmless, &[]).unwrap();
    Plan { resumed: Some(Arc::new(resumed)), ..then }
}

fn pipeline(second: &[Fate]) -> Plan {
    plan(vec![part("first", &[]), part("second", &["first"]).fates(second), part("third", &["second"])])
}

fn at_the_stage_that_failed() -> Plan {
    after(pipeline(&FAILS), pipeline(&WELL))
}

fn items(third: Fate) -> Plan {
    let fates = [Fate::Answer("10"), Fate::Answer("11"), third, Fate::Answer("13")];
    let each = part("each", &[]).over(List { parallel: 1, ..list(json!([1, 2, 3, 4])) }).fates(&fates);
    plan(vec![each, part("last", &["each"])])
}

fn with_the_items_that_are_left() -> Plan {
    after(items(FAILS[0].clone()), items(Fate::Answer("12")))
}

/// A workflow of two steps inside a step.
fn nested(second: &[Fate]) -> Plan {
    let inner = json!({
        "name": "inner",
        "version": 1,
        "input": true,
        "deadline": "1s",
        "steps": [
            { "id": "one", "call": { "capability": "do.it" } },
            { "id": "two", "after": ["one"], "call": { "capability": "do.it" }, "input": "${steps.one.output}",
              "retry": { "max_attempts": 1 } },
        ],
        "output": { "two": "${steps.two.output}" },
    });
    let outer = part("outer", &[]).does("sub", json!({ "workflow": "inner" })).inside("two", second);
    let outer = outer.inside("one", &[Fate::Answer("\"one\"")]);
    Plan { subs: vec![inner], ..plan(vec![outer, part("last", &["outer"])]) }
}

fn in_a_workflow_inside() -> Plan {
    after(nested(&FAILS), nested(&WELL))
}

/// `third` began when `lost` had failed, so that stands; nobody built on `spare`.
fn with_gaps(fates: &[Fate]) -> Plan {
    let lost = part("lost", &[]).optional().fates(&FAILS);
    let spare = part("spare", &[]).optional().fates(fates);
    let last = part("last", &["third"]).fates(fates);
    plan(vec![lost, spare, part("third", &["lost"]), last])
}

fn what_was_built_on_stands() -> Plan {
    after(with_gaps(&FAILS), with_gaps(&WELL))
}

/// One of two workers fails. The supervisor is told, asks for more, and somebody cancels.
fn team(cancel_at: Option<i64>) -> Plan {
    let tasks = r#"{"tasks":[{"worker":"search","input":1},{"worker":"search","input":2}]}"#;
    let by = json!({ "capability": "lead" });
    let team = json!({ "by": by, "workers": [{ "capability": "search" }], "rounds": 3, "partial": true });
    let team = part("team", &[])
        .does("supervise", team)
        .inside("1", &[Fate::Answer(tasks)])
        .inside("1_0", &FAILS)
        .inside("2", &[Fate::Answer(r#"{"tasks":[{"worker":"search","input":3}]}"#)])
        .inside("3", &[Fate::Answer(r#"{"answer":7}"#)]);
    Plan { cancel_at, ..plan(vec![team]) }
}

fn a_team_goes_on_in_its_round() -> Plan {
    after(team(Some(35)), team(None))
}

/// Two bookings, and time runs out; the run that goes on from there fails and takes back what the other one did.
fn undone(ends: &[Fate], takes: i64) -> Plan {
    let books = |name: &str, after: &[&str]| {
        part(name, after).effect(EffectClass::SideEffecting).undone_by(
            json!({ "capability": "give.back", "input": { "of": format!("${{steps.{name}.output}}") } }),
        )
    };
    let pay = part("pay", &["room"]).fates(ends).takes(takes);
    Plan { deadline_ms: 500, ..plan(vec![books("flight", &[]), books("room", &["flight"]), pay]) }
}

fn what_the_other_run_did_is_undone() -> Plan {
    after(undone(&WELL, 900), undone(&FAILS, 10))
}

/// An answer that is refused, and whose repair fails, or does not.
fn verified(first: &[Fate], verdict: Fate) -> Plan {
    let quote =
        part("quote", &["find"]).fates(first).inside("verify_1", &[verdict]).inside("repair_1", &FAILS);
    let by = json!({ "by": { "capability": "check.it", "threshold": 0.5 } });
    plan(vec![part("find", &[]), quote.verify(by), part("send", &["quote"])])
}

fn what_was_verified_begins_anew() -> Plan {
    after(verified(&[Fate::Answer("1")], POOR), verified(&WELL, GOOD))
}

pub(super) fn all() -> Vec<(&'static str, Plan)> {
    vec![
        ("resumed at the stage that failed", at_the_stage_that_failed()),
        ("resumed with the items that are left", with_the_items_that_are_left()),
        ("resumed in a workflow inside", in_a_workflow_inside()),
        ("resumed with gaps", what_was_built_on_stands()),
        ("resumed with a team", a_team_goes_on_in_its_round()),
        ("resumed where an answer was refused", what_was_verified_begins_anew()),
        ("resumed and undone", what_the_other_run_did_is_undone()),
    ]
}

/// What a run goes on from, as a transcript tells it.
pub(super) fn told(resumed: &Resumed) -> String {
    let carried = resumed.carried.iter().map(|carried| match &**carried {
        Carried::Opened(opened) => format!("{} goes on", opened.step),
        Carried::Ended(past) => match &past.output {
            Some(output) => format!("{} {output}", past.step),
            None => format!("{} {}", past.step, StepState::from(past.state).as_str()),
        },
    });
    format!(", from another with [{}]", carried.collect::<Vec<_>>().join(", "))
}

#[test]
fn a_pipeline_goes_on_at_the_stage_that_failed() {
    insta::assert_snapshot!(transcript(at_the_stage_that_failed()));
}

#[test]
fn a_list_goes_on_with_the_items_that_are_left() {
    insta::assert_snapshot!(transcript(with_the_items_that_are_left()));
}

#[test]
fn a_workflow_inside_a_step_goes_on_where_it_failed() {
    insta::assert_snapshot!(transcript(in_a_workflow_inside()));
}

#[test]
fn what_others_were_built_on_stands_and_what_nobody_built_on_is_tried_anew() {
    insta::assert_snapshot!(transcript(what_was_built_on_stands()));
}

#[test]
fn what_a_supervisor_was_told_of_its_workers_stands() {
    insta::assert_snapshot!(transcript(a_team_goes_on_in_its_round()));
}

#[test]
fn an_answer_that_was_refused_is_made_and_verified_anew() {
    insta::assert_snapshot!(transcript(what_was_verified_begins_anew()));
    let books =
        part("book", &[]).effect(EffectClass::SideEffecting).verify(json!({ "that": ["output > 9"] }));
    let refused = World::new(plan(vec![books])).finish();
    let uncertain = ResumeError::Uncertain { steps: vec![id("book")] };
    assert_eq!(
        carry(&refused.run, noticed, &[]).unwrap_err(),
        uncertain,
        "it was done, and would be done again"
    );
}

#[test]
fn a_run_that_goes_on_and_fails_undoes_what_the_one_before_did() {
    insta::assert_snapshot!(transcript(what_the_other_run_did_is_undone()));
}

#[test]
fn a_run_that_went_on_is_gone_on_from_as_any_other() {
    let again = World::new(after(pipeline(&FAILS), pipeline(&FAILS))).finish();
    let resumed = carry(&again.run, harmless, &[]).unwrap();
    assert_eq!(told(&resumed), ", from another with [first 1]");
    let done = World::new(Plan { resumed: Some(Arc::new(resumed)), ..pipeline(&WELL) }).finish();
    assert_eq!(done.run.end.as_ref().unwrap().state, EndState::Completed);
    assert_eq!(done.run.usage.tokens_in, 20, "it pays for what it called and for nothing else");
}

#[test]
fn a_run_that_goes_on_completed_or_was_undone_is_not_gone_on_from() {
    let refused = |run: &Run| carry(run, harmless, &[]).unwrap_err();
    assert_eq!(refused(&World::new(pipeline(&FAILS)).run), ResumeError::Open);
    assert_eq!(refused(&World::new(pipeline(&WELL)).finish().run), ResumeError::Completed);
    let undone = World::new(undone(&FAILS, 10)).finish();
    assert_eq!(refused(&undone.run), ResumeError::Undone);
    let output = vec![("result", "${steps.first.output.nothing}".to_owned())];
    let no_output = World::new(Plan { output, ..pipeline(&WELL) }).finish();
    assert_eq!(no_output.run.end.as_ref().unwrap().state, EndState::Failed);
    assert_eq!(refused(&no_output.run), ResumeError::NothingLeft);
}

#[test]
fn what_would_not_fit_into_one_record_is_not_carried() {
    let big: &'static str = Box::leak(format!("\"{}\"", "x".repeat(900_000)).into_boxed_str());
    let parts = (0..40).map(|n| part(&format!("s{n}"), &[]).fates(&[Fate::Answer(big)]));
    let last = part("last", &["s39"]).input(&[]).takes(50).fates(&FAILS);
    let world = World::new(Plan { max_parallel: 40, ..plan(parts.chain([last]).collect()) }).finish();
    let refused = carry(&world.run, harmless, &[]).unwrap_err();
    assert!(matches!(refused, ResumeError::TooLarge { bytes } if bytes > MAX_CARRIED), "{refused}");
}

#[test]
fn what_may_have_been_done_is_done_again_only_if_somebody_says_so() {
    let second = part("second", &["first"]).effect(EffectClass::SideEffecting);
    let steps = |fates: &[Fate]| plan(vec![part("first", &[]), second.clone().fates(fates)]);
    let lost = World::new(steps(&UNKNOWN)).finish();
    let uncertain = |step: &str| ResumeError::Uncertain { steps: vec![id(step)] };
    assert_eq!(carry(&lost.run, noticed, &[]).unwrap_err(), uncertain("second"));
    assert!(carry(&lost.run, noticed, &["second".to_owned()]).is_ok());
    assert!(carry(&lost.run, harmless, &[]).is_ok(), "what leaves nothing behind may be done twice");
    let nobody = ResumeError::NoSuchStep { step: "nobody".to_owned() };
    assert_eq!(carry(&lost.run, noticed, &["nobody".to_owned()]).unwrap_err(), nobody);
    let said_so = World::new(steps(&FAILS)).finish();
    assert!(carry(&said_so.run, noticed, &[]).is_ok(), "an agent that says that it failed is believed");
    let cut = World::new(Plan { cancel_at: Some(15), ..steps(&WELL) }).finish();
    assert_eq!(carry(&cut.run, noticed, &[]).unwrap_err(), uncertain("second"), "cut off in the middle");
}

#[test]
fn what_lies_in_a_step_that_begins_anew_may_have_been_done_as_well() {
    // Everything inside it answered, and what it adds up to is not what it must be: it would come to that again.
    let each = |part: Part| part.effect(EffectClass::SideEffecting).output_schema(r#"{"maxItems":1}"#);
    let each = each(part("each", &[]).over(list(json!([1, 2]))));
    let world = World::new(plan(vec![each])).finish();
    let steps = ["each/0", "each/1"].map(|step| crate::workflow::StepId::path(step).unwrap());
    let uncertain = ResumeError::Uncertain { steps: steps.to_vec() };
    assert_eq!(carry(&world.run, noticed, &[]).unwrap_err(), uncertain);
    let resumed = carry(&world.run, noticed, &["each".to_owned()]).unwrap();
    assert!(resumed.carried.is_empty(), "the step says it for all inside");
}

#[test]
fn a_start_with_what_cannot_have_been_is_refused() {
    let plan = at_the_stage_that_failed();
    let resumed = plan.resumed.clone().unwrap();
    let begins = |carried: Vec<Carried>| {
        let carried = carried.into_iter().map(Arc::new).collect();
        let resumed = Some(Arc::new(Resumed { carried, ..(*resumed).clone() }));
        start(Start { resumed, ..plan.start() }, at(0)).map(|_| ())
    };
    let Carried::Ended(first) = (*resumed.carried[0]).clone() else { panic!("a call ended") };
    let ended = |step: &str| Carried::Ended(crate::run::resume::Past { step: id(step), ..first.clone() });
    assert_eq!(begins(vec![ended("first"), ended("second")]), Ok(()));
    let refused = |carried: Vec<Carried>| match begins(carried) {
        Err(crate::run::StartError::Illegal(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(vec![ended("second")]), FoldError::TooEarly { step: id("second") });
    assert_eq!(refused(vec![ended("ghost")]), FoldError::UnknownStep { step: id("ghost") });
    assert!(matches!(refused(vec![ended("first"), ended("first")]), FoldError::Illegal { .. }));
    let silent = crate::run::resume::Past { output: None, ..first.clone() };
    assert_eq!(refused(vec![Carried::Ended(silent)]), FoldError::TooEarly { step: id("first") });
    assert_eq!(first.state, Ended::Completed);
}

proptest! {
    #[test]
    fn any_run_goes_on_from_any_other_without_a_step_that_had_finished(plan in any_plan(), well in any::<bool>()) {
        let before = World::new(plan.clone()).finish();
        let Ok(resumed) = carry(&before.run, harmless, &[]) else { return Ok(()) };
        let mut then = Plan { resumed: Some(Arc::new(resumed)), cancel_at: None, ..plan };
        for part in then.parts.iter_mut().filter(|_| well) {
            (part.fates, part.takes_ms) = (vec![Fate::Answer("1")], 0);
        }
        let world = World::new(then).finish();
        for (spec, step) in world.run.each().filter(|(_, step)| step.carried.is_some()) {
            let (_, was) = before.run.step(spec.id.as_str()).unwrap();
            prop_assert_eq!((&step.output, step.state), (&was.output, was.state), "{} is as it was", spec.id);
            prop_assert!(step.attempts.is_empty());
            let called = |event: &Event| matches!(event, Event::StepStarted { step, .. } if *step == spec.id);
            prop_assert!(!world.history().iter().any(|(_, event)| called(event)), "{} is not called", spec.id);
        }
        for (spec, _) in before.run.each().take(before.run.workflow.steps().len()) {
            let (_, was) = before.run.step(spec.id.as_str()).unwrap();
            let (_, is) = world.run.step(spec.id.as_str()).unwrap();
            prop_assert!(was.state != StepState::Completed || is.carried.is_some(), "{} had finished", spec.id);
        }
        prop_assert_eq!(world.run.id, RUN);
    }
}
