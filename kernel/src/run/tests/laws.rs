//! Laws that hold for every workflow and whatever the world does. [`World`] checks most of them after every transition.

use proptest::prelude::*;

use serde_json::{Value, json};

use super::shapes::{any_recourse, falls_back, verified};
use super::world::{
    Fate, List, Part, Plan, World, answer, at, failure, id, list, name, part, plan, ruling, text,
};
use crate::budget::spend;
use crate::effect::EffectClass;
use crate::mode::Mode;
use crate::outcome::{Began, Class};
use crate::run::{
    Attempt, EndState, Event, Finding, Offered, Ruling, Run, SkipReason, Soundness, Transition, Verdict,
    Verified, Way, outstanding,
};
use crate::workflow::Call;

fn any_began() -> impl Strategy<Value = Began> {
    prop_oneof![Just(Began::No), Just(Began::Yes), Just(Began::Unknown)]
}

fn any_class() -> impl Strategy<Value = Class> {
    let classes = [
        Class::Transport,
        Class::Timeout,
        Class::Overload,
        Class::AgentError,
        Class::ContractBreach,
        Class::LowConfidence,
        Class::CallerFault,
        Class::Unavailable,
        Class::Cancelled,
    ];
    prop::sample::select(classes.to_vec())
}

pub(super) fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Answer("1")),
        1 => Just(Fate::Unsure("2", 4_000)),
        1 => Just(Fate::Answer(r#"{"a":null}"#)),
        3 => (any_class(), any_began()).prop_map(|(class, began)| Fate::Fail(class, began)),
    ]
}

fn any_effect() -> impl Strategy<Value = EffectClass> {
    prop_oneof![Just(EffectClass::ReadOnly), Just(EffectClass::Idempotent), Just(EffectClass::SideEffecting)]
}

fn any_budget() -> impl Strategy<Value = Value> {
    let some = |range| prop::option::weighted(0.4, range);
    let limits = (some(1..40_u64), some(1..60_u64), some(1..8_u64), some(1..900_u64), any::<bool>());
    prop_oneof![
        3 => Just(Value::Null),
        2 => limits.prop_map(|(cents, tokens, calls, ms, partial)| {
            let mut budget = json!({ "calls": calls.unwrap_or(50), "on_exhausted": if partial { "partial" } else { "fail" } });
            if let Some(cents) = cents {
                budget["usd"] = json!(cents as f64 / 100.0);
            }
            if let Some(tokens) = tokens {
                budget["tokens"] = tokens.into();
            }
            if let Some(ms) = ms {
                budget["time"] = format!("{ms}ms").into();
            }
            budget
        }),
    ]
}

/// What a step does.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    Call,
    Map(usize, usize, bool, Option<u64>),
    Choose(bool, bool),
    Wait(u64),
    Signal(Option<u64>, bool),
    Approve(u64, &'static str, Option<(u64, Verdict)>),
    Sub(bool),
    Consensus(usize, bool, Option<u64>),
    Supervise(bool, Option<u64>),
    Plan(u64, bool, Option<u64>),
    Route(u64, bool),
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let says = prop::option::of((0..900_u64, prop::sample::select(Verdict::ALL.to_vec())));
    let within = || prop::option::of(1..900_u64);
    prop_oneof![
        6 => Just(Shape::Call),
        3 => (0..5_usize, 1..4_usize, any::<bool>(), within())
            .prop_map(|(count, parallel, partial, within)| Shape::Map(count, parallel, partial, within)),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(holds, call)| Shape::Choose(holds, call)),
        1 => (1..900_u64).prop_map(Shape::Wait),
        1 => (within(), any::<bool>()).prop_map(|(within, default)| Shape::Signal(within, default)),
        1 => (1..900_u64, prop::sample::select(vec!["approve", "reject"]), says)
            .prop_map(|(within, default, says)| Shape::Approve(within, default, says)),
        1 => any::<bool>().prop_map(Shape::Sub),
        1 => (1..4_usize, any::<bool>(), within())
            .prop_map(|(quorum, judge, within)| Shape::Consensus(quorum, judge, within)),
        1 => (any::<bool>(), within()).prop_map(|(partial, within)| Shape::Supervise(partial, within)),
        1 => (0..50_u64, any::<bool>(), within())
            .prop_map(|(after, good, within)| Shape::Plan(after, good, within)),
        1 => (0..50_u64, any::<bool>()).prop_map(|(after, somebody)| Shape::Route(after, somebody)),
    ]
}

/// Step number `n` of an acyclic graph: it depends on some of the steps before it.
fn any_part(n: usize) -> impl Strategy<Value = Part> {
    let after = prop::collection::vec(prop::bool::weighted(0.3), n);
    let fates = prop::collection::vec(any_fate(), 1..4);
    let strict = prop::bool::weighted(0.1);
    let optional = prop_oneof![
        Just((false, None)),
        Just((true, None)),
        Just((true, Some(Mode::Degraded))),
        Just((true, Some(Mode::Emergency))),
    ];
    let recourse = (prop::option::weighted(0.4, any_recourse()), prop::option::weighted(0.4, any::<bool>()));
    let uses = (-2..30_i64, prop_oneof![9 => 0..40_u64, 1 => Just(u64::MAX)], any_budget());
    (after, optional, 1..4_u32, any_effect(), 0..400_i64, fates, strict, (any_shape(), uses, recourse)).prop_map(
        move |(after, optional, tries, effect, takes, fates, strict, (shape, (cents, tokens, budget), (recourse, compensate)))| {
            let after: Vec<String> =
                after.iter().enumerate().filter(|(_, yes)| **yes).map(|(i, _)| format!("s{i}")).collect();
            let after: Vec<&str> = after.iter().map(String::as_str).collect();
            let mut part =
                part(&format!("s{n}"), &after).tries(tries).effect(effect).takes(takes).fates(&fates);
            part = part.costs(cents * 10_000_000, tokens);
            if matches!(shape, Shape::Call | Shape::Map(..) | Shape::Choose(..)) {
                part.budget = budget;
                if let Some(fields) = part.budget.as_object_mut() {
                    fields.remove("on_exhausted");
                }
            }
            part.input = part.input.into_iter().take(1).collect();
            if strict {
                // Fails unless what comes before answers with this field.
                let field = after.first().map_or("input".to_owned(), |dep| format!("steps.{dep}.output"));
                part.input = vec![("strict", format!("${{{field}.a}}"))];
            }
            (part.optional, part.drop_in) = optional;
            if let Some((remedies, below, instead, verify)) = recourse {
                part = falls_back(part, &shape, remedies, below).instead(&instead);
                part = verified(part, &shape, verify);
            }
            let acts = !matches!(shape, Shape::Wait(_) | Shape::Signal(..) | Shape::Approve(..));
            if let Some(when_unknown) = compensate.filter(|_| acts) {
                let undo = json!({ "capability": "un.do.it", "input": 1, "when_unknown": when_unknown });
                part = part.undone_by(undo);
            }
            match shape {
                Shape::Call => part,
                Shape::Map(count, parallel, partial, within_ms) => {
                    let over = Value::from((0..count).collect::<Vec<_>>());
                    part.over(List { max_items: 3, parallel, partial, within_ms, ..list(over) })
                }
                Shape::Choose(holds, call) => {
                    let when = format!("${{{holds}}}");
                    let first = match call {
                        true => json!({ "when": when, "call": { "capability": "do.it" } }),
                        false => json!({ "when": when, "value": 3 }),
                    };
                    part.does("choose", json!([first, { "call": { "capability": "do.it" } }]))
                }
                Shape::Sub(deep) => {
                    part.does("sub", json!({ "workflow": if deep { "deep" } else { "flat" } }))
                }
                Shape::Consensus(quorum, judge, within_ms) => {
                    let call = json!({ "capability": "do.it" });
                    let mut consensus = json!({ "of": [call, call, call], "quorum": quorum });
                    if judge {
                        consensus["judge"] = json!({ "capability": "judge", "rubric": "Choose well." });
                    }
                    if let Some(ms) = within_ms {
                        consensus["within"] = json!(format!("{ms}ms"));
                    }
                    let verdict = Fate::Answer(r#"{"choice":"B","confidence":0.5}"#);
                    part.does("consensus", consensus).inside("judge", &[verdict])
                }
                Shape::Supervise(partial, within_ms) => {
                    let mut team = json!({
                        "by": { "capability": "lead" },
                        "workers": [{ "capability": "do.it" }, { "workflow": "flat" }],
                        "partial": partial,
                        "parallel": 2,
                    });
                    if let Some(ms) = within_ms {
                        team["within"] = json!(format!("{ms}ms"));
                    }
                    let first = r#"{"tasks":[{"worker":"do.it","input":1},{"worker":"flat","input":2},{"worker":"ghost"}]}"#;
                    let second = r#"{"tasks":[{"worker":"do.it","input":1},{"worker":"do.it","input":3}]}"#;
                    part.does("supervise", team)
                        .inside("1", &[Fate::Answer(first)])
                        .inside("2", &[Fate::Answer(second)])
                        .inside("3", &[Fate::Answer(r#"{"answer":1}"#)])
                }
                Shape::Plan(after, good, within_ms) => {
                    let mut plan = json!({ "by": { "capability": "planner" }, "capabilities": ["do.it"] });
                    if let Some(ms) = within_ms {
                        plan["within"] = json!(format!("{ms}ms"));
                    }
                    let proposal = r#"{"steps":[{"id":"a","capability":"do.it"},{"id":"b","capability":"do.it","after":["a"]}]}"#;
                    let proposal = if good { proposal } else { r#"{"steps":[{"id":"a","capability":"no"}]}"# };
                    let finding = Finding::Offers(vec![Offered {
                        capability: name("do.it"),
                        description: String::new(),
                        input_schema: text("true"),
                        output_schema: text("true"),
                        effect: EffectClass::ReadOnly,
                    }]);
                    part.does("plan", plan).finds(after, finding).inside("1", &[Fate::Answer(proposal)])
                }
                Shape::Route(after, somebody) => {
                    let call = somebody.then(|| Call::of(name("do.it")));
                    let response = (!somebody).then(|| text("0"));
                    let finding = Finding::Way(Way {
                        decision: String::new(),
                        rung: "rules".to_owned(),
                        call,
                        response,
                    });
                    let route = json!({ "by": "door", "fallback": { "capability": "do.it" } });
                    part.does("route", route).finds(after, finding)
                }
                Shape::Wait(ms) => part.does("wait", json!({ "for": format!("{ms}ms") })),
                Shape::Signal(within_ms, default) => {
                    let within = within_ms.map(|ms| format!("{ms}ms"));
                    let mut wait = json!({ "signal": "go", "within": within });
                    if default && within.is_some() {
                        wait["default"] = json!(0);
                    }
                    part.does("wait", wait)
                }
                Shape::Approve(within_ms, default, says) => {
                    let ask =
                        json!({ "ask": "Well?", "within": format!("{within_ms}ms"), "default": default });
                    let part = part.does("approve", ask);
                    match says {
                        Some((after, verdict)) => {
                            let value = (verdict == Verdict::Corrected).then(|| text("7"));
                            part.says(after, Ruling { value, ..ruling(verdict) })
                        }
                        None => part,
                    }
                }
            }
        },
    )
}

pub(super) fn any_plan() -> impl Strategy<Value = Plan> {
    let parts = (1..8_usize).prop_flat_map(|n| (0..n).map(any_part).collect::<Vec<_>>());
    let signal = prop::option::of(0..1_500_i64);
    let budget = (any_budget(), prop::option::of(0..200_000_000_u64));
    let (mode, cancel) = (prop::sample::select(&Mode::ALL), prop::option::weighted(0.3, 0..1_500_i64));
    (parts, 1..4_usize, 1..3_000_u64, cancel, signal, mode, budget).prop_map(
        |(parts, max_parallel, deadline_ms, cancel_at, signal, mode, (budget, declared))| Plan {
            budget,
            estimates: declared.map(|nano| ("do.it", nano)).into_iter().collect(),
            signals: signal
                .filter(|_| {
                    parts
                        .iter()
                        .any(|part| part.kind.as_ref().is_some_and(|(_, what)| what.get("signal").is_some()))
                })
                .map(|ms| (ms, "go", "5"))
                .into_iter()
                .collect(),
            max_parallel,
            max_retries: 100,
            deadline_ms,
            cancel_at,
            mode,
            subs: subs(),
            ..plan(parts)
        },
    )
}

/// Workflows that steps of any plan may run: a list and an optional step, and one around that.
fn subs() -> Vec<Value> {
    let call = json!({ "capability": "do.it" });
    let flat = json!([
        { "id": "each", "map": { "over": [1, 2], "call": call, "parallel": 1, "partial": true } },
        { "id": "may", "call": call, "optional": true, "retry": { "max_attempts": 2 } },
        { "id": "last", "call": call, "after": ["each", "may"], "input": "${steps.each.output}" },
    ]);
    let deep = json!([
        { "id": "inner", "sub": { "workflow": "flat" } },
        { "id": "pause", "wait": { "for": "20ms" } },
    ]);
    let of =
        |name: &str, steps: Value| json!({ "name": name, "version": 1, "deadline": "500ms", "steps": steps });
    vec![of("flat", flat), of("deep", deep)]
}

/// Something that might be said to have happened, likely or not.
fn any_event() -> impl Strategy<Value = Event> {
    let step = prop::sample::select(vec!["s0", "s1", "s2", "ghost"]).prop_map(id);
    let attempt = (step.clone(), 1..4_u32, 1..4_u32).prop_map(|(step, number, key)| {
        let id = crate::id::AttemptId::derive(super::world::RUN, step.as_str(), key);
        Attempt { number, id }
    });
    let input = prop_oneof![Just(None), Just(Some(text("1")))];
    let ends = vec![EndState::Completed, EndState::Failed, EndState::Cancelled, EndState::TimedOut];
    let failed = || failure(Class::Transport, Began::No);
    let words = String::new;
    prop_oneof![
        (step.clone(), attempt.clone(), input).prop_map(|(step, attempt, input)| Event::StepStarted {
            step,
            attempt,
            input
        }),
        (step.clone(), attempt, 0..2_000_i64).prop_map(move |(step, next, ms)| Event::AttemptFailed {
            step,
            failure: failed(),
            next,
            retry_at: at(ms),
            reason: words(),
            attempts: Vec::new()
        }),
        step.clone().prop_map(|step| Event::StepCompleted {
            step,
            answer: answer("1").into(),
            attempts: Vec::new()
        }),
        step.clone().prop_map(move |step| Event::StepFailed {
            step,
            failure: failed(),
            reason: words(),
            attempts: Vec::new(),
            effect_stands: false
        }),
        (step.clone(), 0..3_usize).prop_map(move |(step, remedy)| Event::RemedyBegun {
            step,
            remedy,
            failure: failed(),
            reason: words(),
            answer: None,
            until: None,
            attempts: Vec::new()
        }),
        step.clone().prop_map(|step| Event::VerificationBegun {
            step,
            answer: answer("1").into(),
            repairs: 1,
            attempts: Vec::new()
        }),
        (step.clone(), any::<bool>()).prop_map(|(step, passes)| {
            let verdict = if passes { Soundness::Passed } else { Soundness::Refused };
            let verified = Verified { verdict, score_bp: None, grounds: Vec::new(), by: String::new() };
            Event::VerdictReached { step, verified: verified.into() }
        }),
        step.clone().prop_map(|step| Event::StepSkipped { step, reason: SkipReason::RunEnded }),
        step.clone().prop_map(|step| Event::StepSkipped { step, reason: SkipReason::Mode(Mode::Degraded) }),
        step.prop_map(|step| Event::StepCancelled { step }),
        Just(Event::CancelRequested { reason: "why".into() }),
        prop::sample::select(ends).prop_map(|state| Event::RunEnded {
            state,
            output: None,
            failure: None,
            step: None
        }),
        Just(World::new(plan(vec![part("s0", &[])])).log[0].events[0].clone()),
    ]
}

proptest! {
    #[test]
    fn every_run_ends_and_keeps_the_laws_on_its_way(plan in any_plan()) {
        let world = World::new(plan).finish();
        let end = world.run.end.clone().unwrap();
        prop_assert_eq!(end.state == EndState::Completed, end.failure.is_none());
        prop_assert_eq!(end.state == EndState::Completed, end.output.is_some());
        let critical = world.run.steps.iter().zip(&world.plan.parts).any(|(step, part)| {
            let skips = part.recourse.iter().any(|(_, what)| what.to_string().contains("skip"));
            let unpaid = world.plan.budget["on_exhausted"] == "partial"
                && step.failure.as_ref().is_some_and(|failure| failure.class == Class::OverBudget);
            step.state == crate::run::StepState::Failed && !part.optional && !unpaid && !skips
        });
        prop_assert!(!(critical && end.state == EndState::Completed), "a critical failure is never passed over");
        prop_assert!(end.state != EndState::Completed || end.at < world.run.deadline);
        let usages = world.run.usages();
        let of_steps = &usages[..world.plan.parts.len()];
        let of_steps = of_steps.iter().fold(0_u64, |sum, usage| sum.saturating_add(usage.tokens_in));
        prop_assert_eq!(of_steps, world.run.usage.tokens_in, "what the steps cost is what the run cost");
    }

    #[test]
    fn what_is_undone_is_undone_once_after_everything_else_and_backwards(plan in any_plan()) {
        let world = World::new(plan).finish();
        let events: Vec<Event> = world.history().into_iter().map(|(_, event)| event).collect();
        let place = |wanted: &dyn Fn(&Event) -> bool| events.iter().position(wanted);
        let begun = place(&|event| matches!(event, Event::UndoBegun { .. }));
        let undos = world.run.undoing.as_ref().map_or(&[][..], |undoing| &undoing.undos);
        prop_assert!(begun.is_some() || undos.is_empty());
        let mut later = events.len() as u64;
        for &at in undos {
            let (undo, host) = (world.run.spec(at).id.clone(), world.run.inside(at).unwrap());
            let ended = world.run.steps[host].ended_by.unwrap();
            prop_assert!(ended < later, "the last effect first");
            prop_assert!((ended as usize) <= begun.unwrap(), "not before it had ended");
            later = ended;
            let started = place(&|event| matches!(event, Event::StepStarted { step, .. } if *step == undo));
            prop_assert!(started.is_none_or(|started| started > begun.unwrap()));
            let done = |event: &&Event| matches!(event, Event::StepCompleted { step, .. } if *step == undo);
            prop_assert!(events.iter().filter(done).count() <= 1, "once");
        }
        let end = world.run.end.as_ref().unwrap();
        prop_assert_eq!(world.run.undoing.as_ref().map_or(end.state, |undoing| undoing.state), end.state);
    }

    #[test]
    fn spend_is_the_sum_of_the_attempts_on_record_however_it_is_summed_up(plan in any_plan()) {
        let world = World::new(plan).finish();
        let mut by_transition = spend::Rows::new();
        for transition in &world.log {
            spend::add(&mut by_transition, spend::of_transition(&world.run, transition));
        }
        let by_run = spend::of_run(&world.run);
        prop_assert_eq!(&by_run, &by_transition);
        let attempts = world.run.steps.iter().flat_map(|step| &step.attempts);
        let every = attempts.map(|attempt| spend::Spend::of_call(attempt));
        let every = every.fold(spend::Spend::default(), spend::Spend::plus);
        prop_assert_eq!(by_run.into_values().fold(spend::Spend::default(), spend::Spend::plus), every);
        let usage = world.run.usage;
        prop_assert_eq!((every.tokens_in, every.tokens_out), (usage.tokens_in, usage.tokens_out));
    }

    #[test]
    fn the_same_world_gives_the_same_run(plan in any_plan()) {
        let once = World::new(plan.clone()).finish();
        prop_assert_eq!(once.history(), World::new(plan).finish().history());
    }

    #[test]
    fn a_log_reads_back_from_its_text_as_it_was_written(plan in any_plan()) {
        for transition in World::new(plan).finish().log {
            let text = serde_json::to_string(&transition).unwrap();
            prop_assert_eq!(serde_json::from_str::<Transition>(&text).unwrap(), transition);
        }
    }

    #[test]
    fn fold_takes_or_refuses_whatever_it_is_given_and_a_refusal_changes_nothing(
        events in prop::collection::vec(prop::collection::vec(any_event(), 0..3), 0..40),
        gap in 0..20_u64,
    ) {
        let remedies = json!([{ "fallback": { "capability": "c" } }, "skip"]);
        let plan = plan(vec![part("s0", &[]).on_failure(remedies), part("s1", &[]).drop_in(Mode::Degraded), part("s2", &["s0", "s1"]).input(&[])]);
        let mut run: Run = World::new(plan).run;
        for events in events {
            // One in twenty comes with a wrong number.
            let first_event = run.last_event + if gap == 0 { 2 } else { 1 };
            let before = format!("{run:?}");
            if run.fold(&Transition { first_event, at: at(1), events }).is_err() {
                prop_assert_eq!(before, format!("{run:?}"));
            }
            let owed = outstanding(&run);
            prop_assert_eq!(owed.wake_at.is_none(), run.end.is_some());
            prop_assert!(run.active() <= run.workflow.max_parallel());
        }
    }
}
